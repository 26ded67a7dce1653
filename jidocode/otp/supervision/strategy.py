"""Which siblings share the fate of a dead child, and whether it comes back.

The two tables of supervision stand here and nowhere else, to be held against
OTP's manual: strategy (supervisor.erl: `restart/2`) and restart type x exit
reason (supervisor.erl: `do_restart/3`).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from jidocode.base.exits import is_normal

if TYPE_CHECKING:
    from jidocode.base.exits import ExitReason


class Strategy(enum.Enum):
    """Who is restarted when one child dies."""

    ONE_FOR_ONE = "one_for_one"
    """Only the child that died."""
    ONE_FOR_ALL = "one_for_all"
    """All children."""
    REST_FOR_ONE = "rest_for_one"
    """The child that died and those started after it."""


StrategyText = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""A `Strategy` as text."""


class Restart(enum.Enum):
    """When a dead child is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After an abnormal exit only."""
    TEMPORARY = "temporary"
    """Never; its spec is forgotten with it."""


class Verdict(enum.Enum):
    """What a supervisor does about a child that died by itself."""

    RESTART = "restart"
    KEEP = "keep the spec, without a process"
    FORGET = "forget the spec"


def verdict(restart: Restart, reason: ExitReason) -> Verdict:
    """Return what becomes of a child, by its restart type and exit *reason*.

    | restart   | normal, shutdown | anything else |
    |-----------|------------------|---------------|
    | permanent | restart          | restart       |
    | transient | keep             | restart       |
    | temporary | forget           | forget        |
    """
    match restart:
        case Restart.PERMANENT:
            return Verdict.RESTART
        case Restart.TRANSIENT:
            return Verdict.KEEP if is_normal(reason) else Verdict.RESTART
        case Restart.TEMPORARY:
            return Verdict.FORGET


def restart_group(strategy: Strategy, child_id: str, children: Sequence[str]) -> tuple[str, ...]:
    """Return who is restarted with *child_id*, in start order.

    Args:
        strategy: The supervisor's strategy.
        child_id: The child that died; one of *children*.
        children: All children in start order.
    """
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (child_id,)
        case Strategy.ONE_FOR_ALL:
            return tuple(children)
        case Strategy.REST_FOR_ONE:
            return tuple(children[children.index(child_id) :])
