"""What a time is, wherever one is given: a time-out, a delay, a period."""

from __future__ import annotations

import math

from jidocode.base.text import quote
from jidocode.errors import InvalidTimeError

INFINITY = math.inf
"""For ever: `shutdown=INFINITY`, right for child supervisors, or a time-out that never comes."""

MAX_SECONDS = 1e9
"""The longest time that is not `INFINITY`: some thirty years."""


def is_seconds(value: object) -> bool:
    """Whether *value* is a number of seconds: from 0 to `MAX_SECONDS`, or `INFINITY`."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and (0 <= value <= MAX_SECONDS or value == INFINITY)
    )


def require_seconds(argument: str, value: object) -> None:
    """Raise `InvalidTimeError` unless *value*, given as *argument*, is a number of seconds."""
    if not is_seconds(value):
        problem = f"must be seconds >= 0 and <= 1e9, or INFINITY, got {quote(value)}"
        raise InvalidTimeError(argument, problem)
