"""How the processes are started that a session has at first use only: by who wants one first.

They are the one that runs its commands, its agent, and those that keep its MCP servers. The app
starts them, and a child of the session may. So what they are started with is registered with the
session, where all can ask.

All here that asks is a plan: its *ask* says what is to be done to ask a process, and who carries
it out waits, or awaits it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jidocode.base.refs import Name
from jidocode.errors import AlreadyStartedError, NoProcessError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.management import StartChild
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.otp.supervision.strategy import Restart
from jidocode.session.admission.messages import GetOpenSession, OpenSession
from jidocode.session.requests import Request

if TYPE_CHECKING:
    from jidocode.otp.server.commands import ServerCommands

COMMANDS = "commands"
"""The id of what runs the commands of a session, which is no child before they are wanted."""
AGENT = "agent"
"""The id of a session's agent, which is no child before it is prompted."""
MCP = "mcp:"
"""What the ids begin with of those that keep the MCP servers of a session."""
_LIST = "list_commands"
"""Who asks for that has nothing started: none runs, and a process that only looks may ask."""
_Result = TypeVar("_Result")
_Step = TypeVar("_Step")

Ask = Callable[[Name, object, float | None], Generator[_Step, Any, Any]]
"""Asks the process with a name, and says within how many seconds; None for the usual time."""


def mcp_id(prefix: str) -> str:
    """Return the id of what keeps the MCP server with that *prefix*."""
    return f"{MCP}{prefix}"


def asking(
    ask: Ask[_Step], name: Name, request: object, timeout: float | None
) -> Generator[_Step, Any, Any]:
    """Ask the process with that *name*, as those here have one; it is started if none has it."""
    try:
        return (yield from ask(name, request, timeout))
    except NoProcessError:
        yield from starting(ask, name)
    return (yield from ask(name, request, timeout))


def asking_commands(
    ask: Ask[_Step], session_id: str, request: Request[_Result], timeout: float | None
) -> Generator[_Step, Any, _Result]:
    """Ask the process that runs a session's commands, which is started if need be."""
    name = (COMMANDS, session_id)
    answer: _Result
    if request.operation != _LIST:
        answer = yield from asking(ask, name, request, timeout)
        return answer
    try:
        answer = yield from ask(name, request, timeout)
    except NoProcessError:
        return cast("_Result", [])
    return answer


def starting(ask: Ask[_Step], name: Name) -> Generator[_Step, Any, None]:
    """Start the process with that *name*, its id and that of its session, unless it runs."""
    child_id, session_id = name
    opened: OpenSession = yield from ask(REGISTRY, GetOpenSession(session_id), None)
    with suppress(AlreadyStartedError):
        start = StartChild(_spec(child_id, opened))
        yield from ask(("session", session_id), start, INFINITY)


def _spec(child_id: str, opened: OpenSession) -> ChildSpec:
    server, given = _server(child_id, opened)
    return server.child_spec(
        opened.record,
        *given,
        id=child_id,
        name=(child_id, opened.record.id),
        restart=Restart.TEMPORARY,
        heartbeat=opened.upkeep.heartbeat,
    )


def _server(child_id: str, opened: OpenSession) -> tuple[type[ServerCommands], tuple[object, ...]]:
    """Return what runs under *child_id*, and what it is started with beside the session."""
    upkeep = opened.upkeep
    if child_id == COMMANDS:
        from jidocode.session.commands.server import Commands  # noqa: PLC0415 - few sessions run any

        return Commands, (upkeep.commands, upkeep.journal_dir, upkeep.protection, upkeep.closed)
    if child_id == AGENT:
        from jidocode.session.agent.server import Agent  # noqa: PLC0415 - few sessions have one

        return Agent, (upkeep.model, upkeep.context_tokens)
    from jidocode.session.mcp.server import McpClient  # noqa: PLC0415 - few sessions have any

    (server,) = [each for each in upkeep.mcp_servers if mcp_id(each.prefix) == child_id]
    closed = (*upkeep.closed, *([] if upkeep.journal_dir is None else [upkeep.journal_dir]))
    return McpClient, (server, upkeep.commands, closed)
