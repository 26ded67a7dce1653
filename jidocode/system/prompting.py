"""How an app reaches the agent of a session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from jidocode.base.stop import Stop
from jidocode.errors import NoProcessError
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.streams import CallStream
from jidocode.session.agent.messages import BeginTurn
from jidocode.session.commands.operations import cancel_command
from jidocode.session.mcp.asking import CANCEL
from jidocode.session.requests import Channel, Request
from jidocode.session.starting import AGENT, starting
from jidocode.system.session_router import process_name

if TYPE_CHECKING:
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
    ) -> None:
        """Reach it in *system*; *tools* has commands ended once its argument is requested."""
        self._tools = tools
        self._system = system
        self._session_id = session_id
        self._name = process_name(AGENT, session_id)

    def open(self, request: BeginTurn) -> CallStream:
        """Begin a turn; see `WayToAgent`."""
        system = self._system
        with suppress(NoProcessError):
            return system.call_stream(self._name, request, timeout=INFINITY)
        system.carry_out(starting(system.router.ask, AGENT, self._session_id))
        return system.call_stream(self._name, request, timeout=INFINITY)

    def cast(self, request: object) -> None:
        """Tell the agent something; see `WayToAgent`."""
        self._system.cast(self._name, request)

    def tools(self, stop: Stop | None = None) -> Toolbox:
        """Return the tools; see `WayToAgent`."""
        return self._tools(stop)


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
