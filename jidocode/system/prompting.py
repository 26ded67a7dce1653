"""How an app reaches the agent of a session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

from jidocode.base.stop import Stop
from jidocode.errors import NoProcessError
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.streams import CallStream
from jidocode.session.agent.messages import BeginTurn
from jidocode.session.agent.presence import asking_agent
from jidocode.session.commands.operations import cancel_command
from jidocode.session.mcp.asking import CANCEL
from jidocode.session.requests import Channel, Request
from jidocode.session.starting import AGENT, starting
from jidocode.session.tools.tool import is_awaited
from jidocode.system.session_router import process_name

if TYPE_CHECKING:
    from jidocode.session.agent.driver import StoppablePolicy
    from jidocode.session.tools.policy import AsyncPolicy, Policy
    from jidocode.session.tools.toolbox import Toolbox
    from jidocode.system.running_sessions import RunningSystem

_Result = TypeVar("_Result")


class AgentWay:
    """The way to one session's agent: a `WayToAgent`."""

    def __init__(
        self,
        system: RunningSystem,
        session_id: str,
        tools: Callable[[Stop | None], Toolbox],
        stoppable: Callable[[AsyncPolicy], StoppablePolicy],
    ) -> None:
        """Reach it in *system*; *tools* has commands ended once its argument is requested.

        *stoppable* says how a policy is asked.
        """
        self._tools = tools
        self._stoppable = stoppable
        self._system = system
        self._session_id = session_id
        self._name = process_name(AGENT, session_id)

    def open(self, request: BeginTurn) -> CallStream:
        """Begin a turn; see `WayToAgent`."""
        system = self._system
        with suppress(NoProcessError):
            return system.call_stream(self._name, request, timeout=INFINITY)
        system.carry_out(starting(system.router.ask, self._name))
        return system.call_stream(self._name, request, timeout=INFINITY)

    def cast(self, request: object) -> None:
        """Tell the agent something; see `WayToAgent`."""
        self._system.cast(self._name, request)

    def ask(self, request: object, *, timeout: float | None = None) -> bool:
        """Ask the agent something; see `WayToAgent`."""
        system = self._system
        plan = asking_agent(system.router.ask, self._session_id, request, timeout)
        return system.carry_out(plan)

    def tools(self, stop: Stop | None = None) -> Toolbox:
        """Return the tools; see `WayToAgent`."""
        return self._tools(stop)

    def stoppable(self, policy: AsyncPolicy) -> StoppablePolicy:
        """Return how *policy* is asked; see `WayToAgent`."""
        return self._stoppable(policy)


def in_its_thread(policy: AsyncPolicy) -> StoppablePolicy:
    """Return *policy* as what nothing ends: it is a function, in a thread.

    Raises:
        TypeError: It can only be awaited.
    """
    if is_awaited(policy):
        raise TypeError("a policy that is awaited takes an AsyncSessionHandle")
    decide = cast("Policy", policy)
    return lambda request, _stop: decide(request)


def until(stop: Stop, channel: Channel) -> Channel:
    """Return *channel*, on which nothing is waited for once *stop* is requested.

    Whoever then does not wait for a command, or a call, any more ends it, which he may ask for.
    """

    def ask(
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = stop,
    ) -> _Result:
        ends = request.operation in {cancel_command.__name__, CANCEL}
        return channel(request, timeout=timeout, stop=None if ends else stop)

    return ask
