"""How the process is started that runs the commands of a session: by whoever wants one first.

The app does it, and any child of the session. So what it is started with is registered with
the session, where all of them can ask.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar, cast

from jidocode.base.refs import Name
from jidocode.errors import AlreadyStartedError, NoProcessError
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.management import StartChild
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.otp.supervision.strategy import Restart
from jidocode.session.admission.messages import GetOpenSession, OpenSession
from jidocode.session.requests import Request

COMMANDS = "commands"
"""The id of what runs the commands of a session, which is no child before they are wanted."""
_LIST = "list_commands"
"""Who asks for that has nothing started: none runs, and a process that only looks may ask."""
_Result = TypeVar("_Result")
_Step = TypeVar("_Step")


def commands_spec(opened: OpenSession) -> ChildSpec:
    """Return how the process is started that runs the commands of a session."""
    from jidocode.session.commands.server import Commands  # noqa: PLC0415 - few sessions run any

    session, upkeep = opened.record, opened.upkeep
    return Commands.child_spec(
        session,
        upkeep.commands,
        upkeep.journal_dir,
        upkeep.protection,
        upkeep.closed,
        id=COMMANDS,
        name=(COMMANDS, session.id),
        restart=Restart.TEMPORARY,
        heartbeat=upkeep.heartbeat,
    )


def asking_commands(
    ask: Callable[[Name, object, float | None], Generator[_Step, Any, Any]],
    session_id: str,
    request: Request[_Result],
    timeout: float | None,
) -> Generator[_Step, Any, _Result]:
    """Ask the process that runs a session's commands, which is started if need be.

    It is a plan: *ask* says what is to be done to ask a process, and who carries it out waits,
    or awaits it.
    """
    name = (COMMANDS, session_id)
    answer: _Result
    try:
        answer = yield from ask(name, request, timeout)
    except NoProcessError:
        if request.operation == _LIST:
            return cast("_Result", [])
        opened: OpenSession = yield from ask(REGISTRY, GetOpenSession(session_id), None)
    else:
        return answer
    with suppress(AlreadyStartedError):
        yield from ask(("session", session_id), StartChild(commands_spec(opened)), INFINITY)
    answer = yield from ask(name, request, timeout)
    return answer
