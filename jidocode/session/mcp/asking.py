"""Who is asked when the MCP servers of a session are: their processes, which are started first.

A plan, as in `session/starting.py`: who carries it out waits, or awaits it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar, cast

from jidocode.errors import (
    ActorExitedError,
    CallError,
    McpServerError,
    ReadOnlyError,
    SupervisorError,
)
from jidocode.otp.naming.messages import REGISTRY
from jidocode.session.admission.messages import GetOpenSession, OpenSession
from jidocode.session.mcp.messages import ANSWER_TIME, Connect, ListTools, Offered
from jidocode.session.mcp.spec import McpServer
from jidocode.session.requests import Request
from jidocode.session.starting import Ask, asking, mcp_id

LIST = "list_mcp_tools"
"""Has one argument: the prefix of the one server that is asked, None for all."""
CALL = "call_mcp_tool"
"""Has the prefix of a server, and a `CallTool`."""
CANCEL = "cancel_mcp_call"
"""Has the prefix of a server, and a `CancelCall`."""

_Step = TypeVar("_Step")

_FAILURES = (CallError, SupervisorError, ReadOnlyError)
"""What comes of asking a process that is gone, cannot be started, or must not be asked."""


def asking_servers(
    ask: Ask[_Step], session_id: str, request: Request[Any], timeout: float | None
) -> Generator[_Step, Any, Any]:
    """Ask the processes that keep the MCP servers of a session; they are started if need be."""
    if request.operation == LIST:
        return (yield from _listing(ask, session_id, cast("str | None", request.args[0])))
    prefix, message = cast("tuple[str, object]", request.args)
    name = (mcp_id(prefix), session_id)
    if request.operation == CANCEL:
        return (yield from ask(name, message, timeout))
    return (yield from asking(ask, name, message, timeout))


def _listing(
    ask: Ask[_Step], session_id: str, prefix: str | None
) -> Generator[_Step, Any, list[Offered]]:
    opened: OpenSession = yield from ask(REGISTRY, GetOpenSession(session_id), None)
    servers = [each for each in opened.upkeep.mcp_servers if prefix in {None, each.prefix}]
    if len(servers) > 1:  # so that all begin, and the slowest alone is waited for
        for server in servers:
            with suppress(*_FAILURES):
                yield from asking(ask, (mcp_id(server.prefix), session_id), Connect(), None)
    offered: list[Offered] = []
    for server in servers:
        each = yield from _offered(ask, session_id, server)
        offered.append(each)
    return offered


def _offered(ask: Ask[_Step], session_id: str, server: McpServer) -> Generator[_Step, Any, Offered]:
    offered: Offered
    name, seconds = (mcp_id(server.prefix), session_id), server.timeout + ANSWER_TIME
    try:
        try:
            offered = yield from asking(ask, name, ListTools(), seconds)
        except ActorExitedError:  # it has ended with its server, and the next one has another
            offered = yield from asking(ask, name, ListTools(), seconds)
    except _FAILURES as error:
        problem = McpServerError(server.name, f"its process failed: {error.message}")
        return Offered(server.name, error=problem)
    return offered
