"""What is asked of an agent that is there: one that is not there has nothing under way.

So nobody is started for it. It is a plan, as in `session/starting.py`: who carries it out waits,
or awaits it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from msgspec import Struct

from jidocode.errors import ActorExitedError, NoProcessError
from jidocode.session.starting import AGENT, Ask

_Step = TypeVar("_Step")


class IsBusy(Struct, frozen=True):
    """Answered with whether there is a turn that has not ended."""


class CancelTurns(Struct, frozen=True):
    """End all turns, those that wait, too; answered when the conversation is written down."""


def asking_agent(
    ask: Ask[_Step], session_id: str, request: object, timeout: float | None
) -> Generator[_Step, Any, bool]:
    """Ask the agent of a session; its answer is no if there is none, or it dies over that."""
    try:
        answer: bool = yield from ask((AGENT, session_id), request, timeout)
    except (NoProcessError, ActorExitedError):
        return False
    return answer
