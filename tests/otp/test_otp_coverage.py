"""What OTP's and Elixir's own suites ask and no other test does, and the page on all of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorder import Recorded

from jidocode.base.exits import NORMAL, SHUTDOWN, Crashed, ExitReason, Shutdown
from jidocode.otp.partitions import Partitions
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.machine import ContinueReceived, Event, Exit, StopReceived
from jidocode.otp.supervision.children import Children
from jidocode.otp.supervision.dynamic_supervisor import (
    DynamicFlags,
    DynamicSupervisor,
    DynamicSupervisorLoop,
)
from jidocode.otp.supervision.management import (
    ChildCounts,
    CountChildren,
    StartChild,
    TerminateChild,
)
from jidocode.otp.supervision.specs import AutoShutdown, ChildSpec, ChildType, Flags, Start
from jidocode.otp.supervision.strategy import Restart, Strategy
from jidocode.otp.supervision.supervisor import Supervisor, SupervisorLoop
from tests.otp.machines import (
    SUPERVISOR,
    Pool,
    Worker,
    World,
    supervise,
    supervise_dynamically,
    worker,
)

DOCS = Path(__file__).parents[2] / "docs"
REASONS: list[ExitReason] = [NORMAL, SHUTDOWN, Shutdown("test"), Crashed("other")]
CATEGORIES = ("shown", "not applicable", "deviation", "missing")


class Plain(GenServer):
    """A server with no callbacks of its own."""

    kind = "plain"


class Unwell(Supervisor):
    """Its `init` raises."""

    def init(self) -> tuple[Flags, tuple[ChildSpec, ...]]:
        raise OSError("no")


class UnwellPool(DynamicSupervisor):
    """Its `init` raises."""

    def init(self) -> DynamicFlags:
        raise OSError("no")


@pytest.mark.parametrize(
    ("loop", "start"),
    [(SupervisorLoop, Start(Unwell)), (DynamicSupervisorLoop, Start(UnwellPool))],
)
def test_a_supervisor_whose_init_raises_does_not_start(
    loop: type[SupervisorLoop | DynamicSupervisorLoop], start: Start
) -> None:
    """The reason says what was raised."""
    (line,) = World(loop.of(start, SUPERVISOR), start).start()

    assert line.startswith("failed: crashed: OSError: no")


def test_temporary_child_that_ignores_is_forgotten() -> None:
    """When the supervisor starts, and when it is added."""
    world = supervise(worker("a", restart=Restart.TEMPORARY), worker("b"))
    world.ignoring = {"a", "c"}
    world.start()
    answer = world.ask(StartChild(worker("c", restart=Restart.TEMPORARY)))

    assert answer[-1] == "reply 1: None"
    assert world.answer(CountChildren()) == ChildCounts(1, 1, 0, 1)


@pytest.mark.parametrize(
    ("event", "reason"),
    [(StopReceived(SHUTDOWN), "shutdown"), (ContinueReceived("nobody knows"), "crashed: ")],
)
def test_a_server_without_terminate_ends_as_others_do(event: Event, reason: str) -> None:
    """In order and in disorder: `terminate` need not be there."""
    loop = Recorded(Plain(), SUPERVISOR)
    loop.start(Start(Plain))
    (end,) = loop.handle(event)

    assert isinstance(end, Exit)
    assert str(end.reason).startswith(reason)


@pytest.mark.parametrize("significant", [True, False])
def test_a_supervisor_that_ended_itself_ends_the_one_above_if_significant(
    *, significant: bool
) -> None:
    """Which takes the end of the inner one for a good one."""
    above = supervise(
        worker(
            "inner", type=ChildType.SUPERVISOR, restart=Restart.TRANSIENT, significant=significant
        ),
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    inner = supervise(
        worker("a", restart=Restart.TRANSIENT, significant=True),
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    above.start()
    inner.start()

    assert inner.end("a") == ["exited a#1: normal", "exit: shutdown"]
    ends = ["exit: shutdown"] if significant else []
    assert above.end("inner", SHUTDOWN) == ["exited inner#1: shutdown", *ends]


@pytest.mark.parametrize("auto_shutdown", [*AutoShutdown][1:])
@pytest.mark.parametrize("strategy", Strategy)
def test_the_kill_of_a_sibling_ends_no_supervisor(
    strategy: Strategy, auto_shutdown: AutoShutdown
) -> None:
    """However many significant children are stopped for its sake: they start again."""
    significant = {"restart": Restart.TRANSIENT, "significant": True}
    world = supervise(
        worker("a", **significant),
        worker("b", restart=Restart.TRANSIENT),
        worker("c", **significant),
        strategy=strategy,
        auto_shutdown=auto_shutdown,
    )
    world.start()
    world.kill("b")

    assert world.answer(CountChildren()) == ChildCounts(3, 3, 0, 3)


@pytest.mark.parametrize("make", [supervise, supervise_dynamically])
def test_whatever_children_end_for_a_shutdown_goes_on(make: Callable[[], World]) -> None:
    """Of every restart type and with every reason, beside one that is waited for."""
    world = make()
    world.start()
    world.ask(StartChild(worker("first")))
    ends: dict[str, ExitReason] = {}
    for restart in Restart:
        for number, reason in enumerate(REASONS):
            child_id = f"{restart.value} {number}"
            ends[child_id] = reason
            world.ask(StartChild(worker(child_id, restart=restart)))
    world.ask(StartChild(worker("last")))
    world.stubborn = {*ends, "last"}
    world.shut_down()
    said = [line for child_id, reason in ends.items() for line in world.end(child_id, reason)]

    assert [line for line in said if "restarting" in line or "exit:" in line] == []
    assert len(said) == len(ends)
    assert world.end("last", SHUTDOWN)[-1] == "exit: shutdown"
    assert world.alive == []


def test_a_thousand_supervisors_are_counted() -> None:
    """As such, and not as workers."""
    world = supervise_dynamically()
    world.start()
    for number in range(1000):
        world.ask(StartChild(Pool.child_spec(id=str(number))))
    world.ask(StartChild(worker("w")))

    assert world.answer(CountChildren()) == ChildCounts(1001, 1001, 1000, 1)


@pytest.mark.parametrize("make", [supervise, supervise_dynamically])
def test_none_of_many_children_is_looked_at_for_another(
    make: Callable[[], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To start and to stop one that has no name costs the same among few and among many."""
    looks: list[str] = []
    values = Children.values

    def look(children: Children) -> Any:
        looks.append("at all")
        return values(children)

    monkeypatch.setattr(Children, "values", look)
    world = make()
    world.start()
    for number in range(10):
        world.ask(StartChild(worker(str(number))))
    for number in range(10):
        world.ask(TerminateChild(str(number)))

    assert looks == []


@pytest.mark.parametrize(
    ("child", "counts"),
    [(Worker.child_spec(), ChildCounts(3, 3, 0, 3)), (Pool.child_spec(), ChildCounts(3, 3, 3, 0))],
)
def test_partitions_are_counted_by_what_they_are(child: ChildSpec, counts: ChildCounts) -> None:
    """Workers, or supervisors."""
    start: Start = Partitions("counter", 3).child_spec(child).start
    world = World(SupervisorLoop.of(start, SUPERVISOR), start)
    world.start()

    assert world.answer(CountChildren()) == counts


def test_the_page_counts_what_its_tables_list() -> None:
    """Every case once, and each in one of four ways."""
    page = (DOCS / "otp-coverage.md").read_text("utf-8")
    _, *suites = re.split(r"^## ", page, flags=re.MULTILINE)
    counted, totals = {}, Counter[str]()
    for suite in suites:
        name, numbers = suite.splitlines()[0].strip("`"), Counter[str]()
        listed: list[str] = []
        for line in suite.splitlines():
            if line.startswith("| `"):
                cases, _, how = line.strip("| ").split(" | ")
                kind = next((each for each in CATEGORIES if how.startswith(each)), "shown")
                assert kind != "shown" or how.startswith("`test_"), line
                names = re.findall(r"`([^`]+)`", cases)
                listed += names
                numbers[kind] += len(names)
        assert len(listed) == len(set(listed)), name
        totals += numbers
        if listed:  # the last part is about no suite
            counted[name] = numbers
    counted["all"] = totals
    summary = {
        name: Counter(dict(zip(CATEGORIES, map(int, rest), strict=True)))
        for name, *rest in re.findall(
            r"^\| `?([\w./ ]+?)`? \| \d+" + r" \| (\d+)" * 4 + r" \|$", page, re.MULTILINE
        )
    }

    assert summary == counted
