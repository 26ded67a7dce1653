"""How the processes are started that a session has at first use only: by who wants one first.

They are the one that runs its commands, its agent, and those that keep its MCP servers. The app
starts them, and a child of the session may. So what they are started with is registered with the
session, where all can ask.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar, cast

from jidocode.base.refs import Name
from jidocode.errors import AlreadyStartedError, NoProcessError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.commands import ServerCommands
from jidocode.otp.supervision.management import StartChild
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.otp.supervision.strategy import Restart
from jidocode.session.admission.messages import GetOpenSession, OpenSession
from jidocode.session.requests import Request

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


def _spec(
    server: type[ServerCommands], opened: OpenSession, child_id: str, *arguments: object
) -> ChildSpec:
    """Return how a *server* is started as the child *child_id* of a session, with *arguments*."""
    return server.child_spec(
        opened.record,
        *arguments,
        id=child_id,
        name=(child_id, opened.record.id),
        restart=Restart.TEMPORARY,
        heartbeat=opened.upkeep.heartbeat,
    )


def _commands_spec(opened: OpenSession) -> ChildSpec:
    """Return how the process is started that runs the commands of a session."""
    from jidocode.session.commands.server import Commands  # noqa: PLC0415 - few sessions run any

    upkeep = opened.upkeep
    rules, journals = upkeep.commands, upkeep.journal_dir
    return _spec(Commands, opened, COMMANDS, rules, journals, upkeep.protection, upkeep.closed)


def _agent_spec(opened: OpenSession) -> ChildSpec:
    """Return how the agent of a session is started."""
    from jidocode.session.agent.server import Agent  # noqa: PLC0415 - few sessions have one

    upkeep = opened.upkeep
    return _spec(Agent, opened, AGENT, upkeep.model, upkeep.context_tokens)


def mcp_id(prefix: str) -> str:
    """Return the id of what keeps the MCP server with that *prefix*."""
    return f"{MCP}{prefix}"


def _mcp_spec(opened: OpenSession, child_id: str) -> ChildSpec:
    """Return how the process *child_id* is started that keeps an MCP server of a session."""
    from jidocode.session.mcp.server import McpClient  # noqa: PLC0415 - few sessions have any

    upkeep = opened.upkeep
    (server,) = [each for each in upkeep.mcp_servers if mcp_id(each.prefix) == child_id]
    closed = (*upkeep.closed, *([] if upkeep.journal_dir is None else [upkeep.journal_dir]))
    return _spec(McpClient, opened, child_id, server, upkeep.commands, closed)


_SPECS = {COMMANDS: _commands_spec, AGENT: _agent_spec}


def starting(
    ask: Callable[[Name, object, float | None], Generator[_Step, Any, Any]],
    child_id: str,
    session_id: str,
) -> Generator[_Step, Any, None]:
    """Start `COMMANDS`, `AGENT` or what keeps an MCP server in a session, unless it runs.

    It is a plan: *ask* says what is to be done to ask a process, and who carries it out waits,
    or awaits it.
    """
    opened: OpenSession = yield from ask(REGISTRY, GetOpenSession(session_id), None)
    build = _SPECS.get(child_id)
    spec = _mcp_spec(opened, child_id) if build is None else build(opened)
    with suppress(AlreadyStartedError):
        start = StartChild(spec)
        yield from ask(("session", session_id), start, INFINITY)


def asking_commands(
    ask: Callable[[Name, object, float | None], Generator[_Step, Any, Any]],
    session_id: str,
    request: Request[_Result],
    timeout: float | None,
) -> Generator[_Step, Any, _Result]:
    """Ask the process that runs a session's commands, which is started if need be; a plan, too."""
    name = (COMMANDS, session_id)
    answer: _Result
    try:
        answer = yield from ask(name, request, timeout)
    except NoProcessError:
        if request.operation == _LIST:
            return cast("_Result", [])
    else:
        return answer
    yield from starting(ask, COMMANDS, session_id)
    answer = yield from ask(name, request, timeout)
    return answer
