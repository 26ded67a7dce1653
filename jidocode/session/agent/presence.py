"""What is asked of an agent that is there: one that is not there has nothing under way.

So nobody is started for it. It is a plan, as in `session/starting.py`: who carries it out waits,
or awaits it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar

from msgspec import Struct

from jidocode.errors import ActorExitedError, CallTimeoutError, NoProcessError
from jidocode.session.starting import AGENT, Ask

PATIENCE = 5.0
"""Seconds without a sign of life after which an agent that is to end a turn cannot: it is ended."""

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


def cancelling_turns(
    ask: Ask[_Step], session_id: str, end_agent: Callable[[], Generator[_Step, Any, None]]
) -> Generator[_Step, Any, None]:
    """End all turns of the agent of a session; if it does not even answer, have *end_agent* do it.

    Its conversation may be long, and its State slow: as long as it answers it is waited for.
    """
    while True:
        with suppress(CallTimeoutError):
            yield from asking_agent(ask, session_id, CancelTurns(), PATIENCE)
            return
        try:
            yield from asking_agent(ask, session_id, IsBusy(), PATIENCE)
        except CallTimeoutError:
            yield from end_agent()
