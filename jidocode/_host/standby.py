"""Standby processes: forked ahead of their turn, so that the next child starts at once.

A supervisor starts its children strictly one after the other, but making a
process takes longer than most `init`s. So processes are forked while the child
before is still starting, or is still being stopped, and wait. A standby is
nobody yet: it learns what to run, and runs it, when its turn comes.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable

from loguru import logger
from msgspec import Struct

from jidocode._host import processes
from jidocode._host.wire import SpawnOrder, StandbyOrder


class Standby(Struct, frozen=True, eq=False):
    """A process that waits for its turn, seen from its parent.

    Attributes:
        process: The process.
        go: The pipe on which it is told what to run.
    """

    process: processes.ChildProcess
    go: int


class Standbys:
    """The standby processes of one parent."""

    def __init__(self, fork: Callable[[int], processes.ChildProcess | None]) -> None:
        """Make them by *fork*, which gets the end of the pipe that the process waits on."""
        self._fork = fork
        self._waiting: list[Standby] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, count: int) -> None:
        """Have *count* processes stand by, no more and no fewer."""
        while len(self._waiting) > count:
            standby = self._waiting.pop()
            os.close(standby.go)
            _end(standby.process)
        while len(self._waiting) < count and self._add():
            pass

    def take(self, order: SpawnOrder) -> processes.ChildProcess | None:
        """Have one of them run *order*; None if there is none that can."""
        try:
            told = pickle.dumps(order, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 - arguments that only a fork can pass on
            logger.debug("a child's arguments cannot be pickled: {}", type(error).__name__)
            return None
        while self._waiting:
            standby = self._waiting.pop(0)
            if _tell(standby.go, told):
                return standby.process
            _end(standby.process)  # it has died while it waited
        return None

    def _add(self) -> bool:
        try:
            turn, go = os.pipe()
        except OSError:  # no descriptor is left, and a child can start without a standby
            return False
        process = self._fork(turn)
        os.close(turn)
        if process is None:
            os.close(go)
            return False
        self._waiting.append(Standby(process, go))
        return True


def _end(process: processes.ChildProcess) -> None:
    process.kill()
    process.wait()
    process.close()


def _tell(go: int, told: bytes) -> bool:
    try:
        with os.fdopen(go, "wb") as pipe:
            pipe.write(told)
    except BrokenPipeError:
        return False
    return True


def await_turn(order: StandbyOrder) -> SpawnOrder | None:
    """Wait until it is this process's turn, and return what to run; None if it never is."""
    with os.fdopen(order.turn, "rb") as pipe:
        told = pipe.read()
    if not told:
        return None
    real: SpawnOrder = pickle.loads(told)
    return real
