"""Which tools a client is shown, and how a call of one is made, and ended."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NoReturn

from attrs import frozen

from jidocode.base.stop import Stop
from jidocode.base.text import describe
from jidocode.bridges.ending import until_lost
from jidocode.errors import JidocodeError
from jidocode.session.tools.calls import ToolCalls
from jidocode.session.tools.policy import (
    Allow,
    Decision,
    Policy,
    ToolRequest,
    allow_all,
    is_plain_edit,
    read_only,
)
from jidocode.session.tools.tool import Tool, ToolKind
from jidocode.session.tools.toolbox import Toolbox
from jidocode.system.handle import SessionHandle

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
                return _plain_edits
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


def _plain_edits(request: ToolRequest) -> Decision:
    """Allow what edits files: what a person has allowed for good was not said to these clients."""
    return Allow() if is_plain_edit(request) else read_only(request)


@frozen
class Answer:
    """What came of a call: a text, and whether that says what went wrong."""

    text: str
    is_error: bool


class Offer:
    """The tools of a session that clients may use.

    Attributes:
        tools: They.
    """

    def __init__(self, session: SessionHandle, access: Access) -> None:
        self._session = session
        self._policy = access.policy
        self.tools: tuple[Tool, ...] = tuple(
            tool for tool in session.tools if access.offers(tool.kind)
        )

    async def until_lost(self) -> NoReturn:
        """Wait for the end of the session's system.

        Raises:
            HostExitedError: It has ended.
        """
        await until_lost(self._session._system.client)  # noqa: SLF001 - a handle asks nothing without a call

    def call(self, name: str, arguments: Mapping[str, Any], stop: Stop) -> Answer:
        """Make a call, and return what came of it; whatever goes wrong is an answer, too.

        *stop*, from another thread, ends a command, or a call of an MCP server, that it waits for.
        """
        session = SessionHandle(self._session._system, self._session.id, stop)  # noqa: SLF001 - as the handle itself does it
        # What a session remembers to be allowed for good is no matter here: a tool that is not
        # offered is in no toolbox, and none is asked for elsewhere.
        calls = ToolCalls(
            session.id, self.tools, self._policy, patience=_PATIENCE, asks_servers=False
        )
        try:
            result = Toolbox(session, calls).call(name, arguments)
        except JidocodeError as error:
            return Answer(error.message, is_error=True)
        except Exception as error:  # noqa: BLE001 - the client is told, and the server goes on
            return Answer(describe(error), is_error=True)
        return Answer(_sendable(result.content), is_error=result.is_error)


def _sendable(text: str) -> str:
    """Return *text* as JSON can have it: names of files that are no UTF-8 have half characters."""
    return text.encode("utf-8", "replace").decode("utf-8")
