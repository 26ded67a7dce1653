"""Functions for tasks, in a module that their processes can import."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from jidocode.otp import ActorRef, Name, tasks


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


def fail(text: str, gate: Path | None = None) -> None:
    """Raise, if there is a *gate* not before that is there."""
    while gate is not None and not gate.exists():
        time.sleep(0.001)
    raise LookupError(text)


def die(_: object = None) -> None:
    """End without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds: float) -> float:
    """Return *seconds* after so many."""
    time.sleep(seconds)
    return seconds


def callers_of(path: Path, supervisors: list[Name]) -> None:
    """Note who wanted this, after having a task in each of *supervisors*, from task to task."""
    if supervisors:
        tasks.start(tasks.current(), supervisors[0], callers_of, path, supervisors[1:])
    with path.open("a") as notes:
        pids = [caller.os_pid for caller in tasks.callers()]
        notes.write(json.dumps([os.getpid(), *pids]) + "\n")


def own_callers(_: object = None) -> tuple[ActorRef, ...]:
    """Return who wanted this."""
    return tasks.callers()


def odd_only(number: int) -> int:
    """Return an odd *number*."""
    if number % 2 == 0:
        raise ValueError(f"{number} is even")
    return number


def unpicklable() -> object:
    """Return what cannot travel."""
    return lambda: None
