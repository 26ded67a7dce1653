"""The two tables of supervision, cell by cell."""

from __future__ import annotations

import pytest

from jidocode.base.exits import NORMAL, SHUTDOWN, Crashed, ExitReason, Killed, NoProcess, Shutdown
from jidocode.otp.supervision.strategy import Restart, Strategy, Verdict, restart_group, verdict

RESTART, KEEP, FORGET = Verdict.RESTART, Verdict.KEEP, Verdict.FORGET

# OTP's fifteen cells: normal, shutdown, {shutdown, _}, any other error, killed.
CELLS = {
    Restart.PERMANENT: (RESTART, RESTART, RESTART, RESTART, RESTART),
    Restart.TRANSIENT: (KEEP, KEEP, KEEP, RESTART, RESTART),
    Restart.TEMPORARY: (FORGET, FORGET, FORGET, FORGET, FORGET),
}
REASONS = (NORMAL, SHUTDOWN, Shutdown("idle"), Crashed("ValueError: no"), Killed(9))


@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("column", range(5), ids=map(str, REASONS))
def test_restart_type_and_exit_reason_decide_as_in_otp(restart: Restart, column: int) -> None:
    """Each of the fifteen cells is OTP's."""
    assert verdict(restart, REASONS[column]) is CELLS[restart][column]


@pytest.mark.parametrize("reason", [Killed(), NoProcess(), Crashed("")])
def test_unknown_end_counts_as_abnormal(reason: ExitReason) -> None:
    """A transient child without a word, or with an empty one, is restarted."""
    assert verdict(Restart.TRANSIENT, reason) is RESTART


@pytest.mark.parametrize(
    ("strategy", "dead", "group"),
    [
        (Strategy.ONE_FOR_ONE, "a", ("a",)),
        (Strategy.ONE_FOR_ONE, "c", ("c",)),
        (Strategy.ONE_FOR_ALL, "a", ("a", "b", "c")),
        (Strategy.ONE_FOR_ALL, "c", ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, "a", ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, "b", ("b", "c")),
        (Strategy.REST_FOR_ONE, "c", ("c",)),
    ],
)
def test_strategy_decides_who_shares_the_fate_of_the_dead(
    strategy: Strategy, dead: str, group: tuple[str, ...]
) -> None:
    """The group is in start order, the dead child in its place."""
    assert restart_group(strategy, dead, ["a", "b", "c"]) == group
