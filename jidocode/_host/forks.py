"""Forks of the app: each has a copy of its memory and of its descriptors, and none of its threads.

And forks of a child's process, which a handler makes by `os.fork` or `multiprocessing`:
each has a copy of the conversation that its parent is in the middle of (`end_fork`).

In a fork of the app nobody reads what the system says, and a lock that another thread held at the
moment of the fork is held there for ever. Whoever would wait in a fork has to be told
before it takes any lock (`Owner`).

And as long as a fork holds the end of a pipe, the other end does not hear that the app
has closed it, or is gone. So a fork lets go of all of them at once (`close_in_forks`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from jidocode.base import log
from jidocode.errors import HostError

T = TypeVar("T")

_held: WeakKeyDictionary[Any, Callable[[Any], Iterable[int]]] = WeakKeyDictionary()


class Owner:
    """The process that this was made in, and none of its forks."""

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether it is the process that asks."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Raise `HostError` in a fork."""
        if not self.is_here:
            raise HostError(
                "this process is a fork of the one that started the system: "
                "start one of its own here, or attach to it by its name"
            )


def close_in_forks(holder: T, descriptors: Callable[[T], Iterable[int]]) -> None:
    """Have every fork let go of the *descriptors* of *holder*, as they are at the fork.

    They are asked for, and not given, because a number may be another file's by then.
    What an object has closed is -1.
    """
    _held[holder] = descriptors


def _let_go() -> None:
    """Put nothing in the place of each descriptor (called in a fork).

    They are not closed: the objects that hold them still would, when they are collected,
    and the numbers might be those of the fork's own files by then.
    """
    descriptors = {fd for holder, of in list(_held.items()) for fd in of(holder) if fd >= 0}
    _held.clear()
    if descriptors:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in descriptors:
            os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)


def end_fork(of: str, error: BaseException | None) -> NoReturn:
    """End this process, which is a fork of *of*, where it would come out of a callback.

    There it would answer the same call once more, and at the end shut down the connections
    of its parent. What it leaves with goes to standard error, as at any end of Python.
    """
    status = 1
    if error is None:
        status = 0
        log.warning("a fork of {} ends where it would come out of a callback", of)
    elif isinstance(error, SystemExit) and isinstance(error.code, int | None):
        status = error.code or 0
    else:
        traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status & 0xFF)


os.register_at_fork(after_in_child=_let_go)
