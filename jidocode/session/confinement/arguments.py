"""Rules for what is given to the records of this room."""

from __future__ import annotations

from typing import cast

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError


def require_few(what: str, value: object, *, most: int) -> tuple[object, ...]:
    """Return *value*, called *what*, as a tuple.

    Raises:
        InvalidRequestError: It is no tuple or list of at most *most*.
    """
    if not isinstance(value, (tuple, list)):
        raise InvalidRequestError(f"{what} must be a tuple, not {quote(value)}")
    values = tuple(cast("tuple[object, ...]", value))
    if len(values) > most:
        raise InvalidRequestError(f"there may be {most} {what}, not {len(values)}")
    return values
