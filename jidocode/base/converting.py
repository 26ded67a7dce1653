"""Plain data as records, whichever thread wants that first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_learning = threading.Lock()
_known: set[type[Any]] = set()


def convert(value: object, cls: type[T], hook: Callable[[type[Any], Any], Any] | None = None) -> T:
    """Return *value* as a *cls*, a class of attrs; *hook* reads what msgspec does not know.

    Raises:
        ValidationError: It is none (of msgspec's).
        Exception: Whatever a validator of the class, or *hook*, raises.
    """
    # How a class is read, msgspec works out when it reads one first, in Python code that lets
    # other threads run; and one that meets what is worked out in part ends the process by a
    # segmentation fault (0.22). So the first one is alone.
    if cls not in _known:
        with _learning:
            with suppress(msgspec.ValidationError):
                msgspec.convert(None, cls)
            _known.add(cls)
    return msgspec.convert(value, cls, dec_hook=hook)
