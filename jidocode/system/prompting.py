"""How an app reaches the agent of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

from jidocode._host.client.part_reader import PendingParts
from jidocode.base.stop import Stop
from jidocode.errors import CallTimeoutError, NoProcessError
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.streams import CallStream
from jidocode.session.agent.presence import asking_agent
from jidocode.session.commands.operations import cancel_command
from jidocode.session.mcp.asking import CANCEL
from jidocode.session.requests import Channel, Request
from jidocode.session.starting import AGENT, starting
from jidocode.session.tools.tool import is_awaited
from jidocode.system.session_router import process_name

if TYPE_CHECKING:
    from jidocode._host.client.calls import PendingStream
    from jidocode.session.agent.driver import StoppablePolicy
    from jidocode.session.agent.messages import BeginTurn, TurnPart
    from jidocode.session.tools.policy import AsyncPolicy, Policy
    from jidocode.session.tools.toolbox import Toolbox
    from jidocode.system.running_sessions import RunningSystem

_Result = TypeVar("_Result")


class AgentStream(CallStream):
    """What an agent sends of a turn: a `TurnStream`."""

    def __init__(self, system: RunningSystem, pending: PendingStream) -> None:
        """Read *pending*, which *system* has begun."""
        super().__init__(PendingParts(system.client, pending), INFINITY)
        self._system = system
        self._pending = pending

    def parts(self, seconds: float) -> Iterator[Sequence[TurnPart] | None]:
        """Yield what comes; see `TurnStream`."""
        while True:
            has_ended = self._pending.ended  # a time-out may be what it was refused with
            try:
                yield self._source.next_part(seconds)
            except StopIteration:
                return
            except CallTimeoutError:
                if has_ended:
                    raise
                yield None

    def end_agent(self) -> None:
        """End the agent by force; see `TurnStream`."""
        self._system.kill(self._pending.ref)


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
        self.call_timeout = system.settings.call_timeout
        self._name = process_name(AGENT, session_id)

    def open(self, request: BeginTurn) -> AgentStream:
        """Begin a turn; see `WayToAgent`."""
        system = self._system
        with suppress(NoProcessError):
            return self._begin(request)
        system.carry_out(starting(system.router.ask, self._name))
        return self._begin(request)

    def _begin(self, request: BeginTurn) -> AgentStream:
        system = self._system
        pending = system.carry_out(system.router.begin_stream(self._name, request))
        return AgentStream(system, pending)

    def cast(self, request: object) -> None:
        """Tell the agent something; see `WayToAgent`."""
        self._system.cast(self._name, request)

    def ask(self, request: object) -> bool:
        """Ask the agent something; see `WayToAgent`."""
        system = self._system
        return system.carry_out(asking_agent(system.router.ask, self._session_id, request, None))

    def cancel_turns(self) -> None:
        """End all of its turns; see `WayToAgent`."""
        self._system.carry_out(self._system.cancelling_turns(self._session_id))

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
