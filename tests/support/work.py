"""Functions for tasks, in a module that their processes can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def double(number: int) -> int:
    """Return twice *number*."""
    return 2 * number


def own_pid() -> int:
    """Return who runs this."""
    return os.getpid()


def touch(path: Path, seconds: float = 0.0) -> None:
    """Make a file, after a while."""
    time.sleep(seconds)
    path.touch()


def fail(text: str) -> None:
    """Raise."""
    raise LookupError(text)


def die(_: object = None) -> None:
    """End without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds: float) -> float:
    """Return *seconds* after so many."""
    time.sleep(seconds)
    return seconds


def odd_only(number: int) -> int:
    """Return an odd *number*."""
    if number % 2 == 0:
        raise ValueError(f"{number} is even")
    return number


def unpicklable() -> object:
    """Return what cannot travel."""
    return lambda: None
