"""How a thread waits for others so that it hears signals in any case."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

# A signal ends the main thread's waiting for a lock, and its handler runs. But one that comes when
# that thread has looked for signals already and does not wait yet, or that another thread takes,
# ends nothing: Python would run the handler when the lock is released, so Ctrl-C would wait for
# the answer that it is to cut off. Python hears signals in the main thread alone; so that one
# waits in pieces, and looks for them in between. Most answers come within the first piece.
_PIECE = 0.5
_LONGEST = 1e6
"""Seconds that any other thread waits at once; the kernel takes 25 days at most."""


def until(is_there: Callable[[float], bool], seconds: float = math.inf) -> bool:
    """Wait by *is_there*, which waits as long as it is told; return what it says at last.

    After *seconds* at the latest.

    Raises:
        BaseException: What a signal handler has raised meanwhile.
    """
    is_main = threading.get_ident() == threading.main_thread().ident
    longest = _PIECE if is_main else _LONGEST
    end = time.monotonic() + seconds
    left = max(0.0, seconds)
    while not is_there(min(left, longest)):
        left = end - time.monotonic()
        if left <= 0:
            return False
    return True


def acquire(
    lock: threading.Lock, seconds: float = math.inf, taken: list[bool] | None = None
) -> bool:
    """Take *lock*, as soon as it is free; return False if it is not within *seconds*.

    The last of *taken* is True from when it is taken, and False before: a handler may raise between
    that and the return, and whoever waits for the lock then waits for this thread.

    Raises:
        BaseException: What a signal handler has raised meanwhile.
    """
    noted = [False] if taken is None else taken

    def take_within(piece: float) -> bool:
        noted[:] = (False,)
        # One step: see above. It is a call, after which Python looks for signals; behind an
        # assignment it would run a handler only when what is returned here has been returned.
        noted.extend(map(lock.acquire, (True,), (piece,)))
        return noted[-1]

    return until(take_within, seconds)


def take(source: SimpleQueue[T], seconds: float = math.inf) -> T:
    """Return the next of *source*, as soon as there is one.

    Raises:
        queue.Empty: There was none within *seconds*.
        BaseException: What a signal handler has raised meanwhile.
    """
    found: list[T] = []

    def take_within(piece: float) -> bool:
        with suppress(Empty):
            found.append(source.get(timeout=piece))
        return bool(found)

    if not until(take_within, seconds):
        raise Empty
    return found[0]
