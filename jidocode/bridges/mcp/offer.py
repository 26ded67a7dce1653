"""Which tools a client is shown, and how a call of one is made, and ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from attrs import frozen

from jidocode.base.stop import Stop, Stopped
from jidocode.base.text import describe
from jidocode.errors import HostExitedError, JidocodeError
from jidocode.session.commands import operations
from jidocode.session.commands.client import CommandsClient
from jidocode.session.manager.client import ManagerClient
from jidocode.session.mcp.asking import CANCEL
from jidocode.session.mcp.client import McpServersClient
from jidocode.session.requests import Channel, Request, Script
from jidocode.session.state.client import StateClient
from jidocode.session.tools.calls import ToolCalls
from jidocode.session.tools.policy import Policy, accept_edits, allow_all, read_only
from jidocode.session.tools.tool import Tool, ToolKind
from jidocode.session.tools.toolbox import Toolbox
from jidocode.system.handle import SessionHandle

_Result = TypeVar("_Result")

_PATIENCE = 10.0
"""Seconds for a policy to decide; ours do so at once."""


class Access(StrEnum):
    """What clients may do."""

    READ_ONLY = "read-only"
    ACCEPT_EDITS = "accept-edits"
    ALLOW_ALL = "allow-all"

    @property
    def policy(self) -> Policy:
        """Who decides about each call of a tool that edits or executes."""
        match self:
            case Access.READ_ONLY:
                return read_only
            case Access.ACCEPT_EDITS:
                return accept_edits()
            case Access.ALLOW_ALL:
                return allow_all

    def offers(self, kind: ToolKind) -> bool:
        """Whether a client is shown tools of a *kind*: those that it may never use it is not."""
        match self:
            case Access.READ_ONLY:
                return kind.is_harmless
            case Access.ACCEPT_EDITS:
                return kind is not ToolKind.EXECUTE
            case Access.ALLOW_ALL:
                return True


@frozen
class Answer:
    """What came of a call: a text, and whether that says what went wrong."""

    text: str
    is_error: bool


class Offer:
    """The tools of a session that clients may use.

    Attributes:
        tools: They.
        lost: Why nothing can be asked any more, if the system of the session has ended.
    """

    def __init__(self, session: SessionHandle, access: Access) -> None:
        self._session = session
        self._policy = access.policy
        self.tools: tuple[Tool, ...] = tuple(
            tool for tool in session.tools if access.offers(tool.kind)
        )
        self.lost: HostExitedError | None = None

    def lives(self) -> bool:
        """Whether the session's system has not ended."""
        try:
            self._session._system.client.check()  # noqa: SLF001 - a handle asks nothing without a call
        except HostExitedError as error:
            self.lost = error
        return self.lost is None

    def call(self, name: str, arguments: Mapping[str, Any], stop: Stop) -> Answer:
        """Make a call, and return what came of it; whatever goes wrong is an answer, too.

        *stop*, from another thread, ends a command that it waits for.
        """
        # What a session remembers to be allowed for good is no matter here: a tool that is not
        # offered is in no toolbox.
        context = _Context(self._session, stop)
        calls = ToolCalls(context.id, self.tools, self._policy, patience=_PATIENCE)
        try:
            result = Toolbox(context, calls).call(name, arguments)
        except JidocodeError as error:
            return Answer(error.message, is_error=True)
        except Exception as error:  # noqa: BLE001 - the client is told, and the server goes on
            return Answer(describe(error), is_error=True)
        return Answer(_sendable(result.content), is_error=result.is_error)


def _sendable(text: str) -> str:
    """Return *text* as JSON can have it: names of files that are no UTF-8 have half characters."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _Context:
    """The session of one call."""

    def __init__(self, session: SessionHandle, stop: Stop) -> None:
        self._session = session
        self._stop = stop

    @property
    def id(self) -> str:
        return self._session.id

    @property
    def manager(self) -> ManagerClient:
        return self._session.manager

    @property
    def state(self) -> StateClient:
        return self._session.state

    @property
    def commands(self) -> CommandsClient:
        channel = self._session.commands._channel  # noqa: SLF001 - it asks over the same one
        return _EndableCommands(_EndableChannel(channel, self._stop))

    @property
    def mcp(self) -> McpServersClient:
        channel = self._session.mcp._channel  # noqa: SLF001 - as above
        return McpServersClient(_EndableChannel(channel, self._stop))


class _EndableCommands(CommandsClient):
    """Ends a command that nobody waits for any more, as if its task had been cancelled."""

    def _carry_out(self, script: Script[_Result]) -> _Result:
        try:
            return super()._carry_out(script)
        except Stopped as stopped:
            raise InterruptedError("the call was cancelled") from stopped


class _EndableChannel:
    """The way to the commands on which nobody waits longer than until a stop."""

    def __init__(self, channel: Channel, stop: Stop) -> None:
        self._channel = channel
        self._stop = stop

    def __call__(
        self,
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> _Result:
        del stop
        # That a command has to end is said after the stop, and has to be heard.
        ends = request.operation in {operations.cancel_command.__name__, CANCEL}
        return self._channel(request, timeout=timeout, stop=None if ends else self._stop)
