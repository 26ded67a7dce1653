"""Rules for what is given to an operation."""

from __future__ import annotations

import re
from typing import TypeGuard

from jidocode.base.faults import fault_in
from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.otp.seconds import INFINITY, is_seconds

_SHA256 = re.compile("[0-9a-f]{64}")


def is_sha256(value: object) -> TypeGuard[str]:
    """Whether *value* is a SHA-256 in lower-case hexadecimal."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def require_ref(what: str, value: object) -> ActorRef:
    """Return *value*, called *what*, if it is a sound `ActorRef`; else InvalidRequestError."""
    if not isinstance(value, ActorRef) or fault_in(value) is not None:
        raise InvalidRequestError(f"{what} must be a sound ActorRef, not {quote(value)}")
    return value


def require_int(what: str, value: object, *, least: int, most: float = INFINITY) -> None:
    """Raise InvalidRequestError unless *value*, called *what*, is an int from *least* to *most*."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        rule = f"{least} or more" if most == INFINITY else f"{least} to {most}"
        raise InvalidRequestError(f"{what} must be an int of {rule}, not {quote(value)}")


def require_wait(what: str, value: float, *, most: float) -> None:
    """Raise InvalidRequestError unless *value*, called *what*, is 0 to *most* seconds."""
    if not is_seconds(value) or value > most:
        raise InvalidRequestError(f"{what} must be 0 to {most:g} seconds, not {quote(value)}")
