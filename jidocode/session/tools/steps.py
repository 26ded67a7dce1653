"""What is done for a call of a tool, step by step; a thread or a coroutine does each step.

See `base/stepwise.py`. What a tool does with its session it says as a function of one that
waits; a coroutine hands it a session that is awaited, and awaits what it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from jidocode.base.stepwise import carry_out
from jidocode.base.structs import Discreet

if TYPE_CHECKING:
    from jidocode.session.tools.policy import AsyncPolicy, ToolRequest
    from jidocode.session.tools.tool import Tool, ToolContext

T = TypeVar("T")


class Use(Discreet, frozen=True):
    """Do something with the session; comes to what that returns.

    *whole* is what asks more than once: it is given a session that waits, in any case.
    """

    do: Callable[[ToolContext], object]
    whole: bool = False


class Run(Discreet, frozen=True):
    """Have *tool*, a function of the app's, do its work; comes to what it returns."""

    hidden = ("arguments",)

    tool: Tool
    arguments: object


class Decide(Discreet, frozen=True):
    """Ask *policy* about *request*; comes to what it decides, or raises `UndecidedError`."""

    policy: AsyncPolicy
    request: ToolRequest


class UndecidedError(Exception):
    """A policy has not answered in time."""


Step = Use | Run | Decide
Steps = Generator[Step, Any, T]


def use(do: Callable[[ToolContext], T], *, whole: bool = False) -> Steps[T]:
    """Do something with the session, and return what comes of it; see `Use`."""
    outcome: T = yield Use(do, whole)
    return outcome


class InSteps:
    """What a tool does, for a session that waits and for one that is awaited.

    Attributes:
        steps: Returns the steps of it, for the arguments of a call.
    """

    def __init__(self, steps: Callable[[Any], Steps[str]]) -> None:
        self.steps = steps

    def __call__(self, session: ToolContext, arguments: object) -> str:
        """Do it, and wait for it."""

        def take(step: Step) -> object:
            assert isinstance(step, Use)  # noqa: S101 - a tool neither runs one nor asks a policy
            return step.do(session)

        return carry_out(self.steps(arguments), take)
