"""What threads of an app share, and how they wait for each other, without a lock.

A signal handler runs in the main thread, between any two steps of Python, and may call or
close the system there. Whatever lock its thread holds at that moment is held as long as the
handler runs: if the reader thread took it, too, a handler that waits for the reader would
wait for ever; and if the handler itself took it. So nothing here is locked. Each step that
others see is one call of C code, which neither a handler nor another thread can divide.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

from jidocode.otp.seconds import require_seconds

T = TypeVar("T")


def deadline_after(timeout: float | None) -> float:
    """Return when *timeout* seconds are over (monotonic); None for never.

    Raises:
        InvalidTimeError: *timeout* is no time.
    """
    if timeout is None:
        return math.inf
    require_seconds("timeout", timeout)
    return time.monotonic() + timeout


class Changes:
    """Lets any number of threads wait until something is so.

    Whoever changes something does so first, and tells then; any thread may, and any handler.
    """

    def __init__(self) -> None:
        # Of each thread a bell, which hangs still as long as it is locked.
        self._waiting: dict[int, threading.Lock] = {}
        self._numbers = itertools.count()

    def tell(self) -> None:
        """Have all that wait look again."""
        for bell in list(self._waiting.values()):
            if bell.locked():
                with suppress(RuntimeError):  # another one has just rung it
                    bell.release()

    def wait_for(self, look: Callable[[], T | None], deadline: float) -> T | None:
        """Return what *look* finds, as soon as it finds anything.

        None at *deadline* (monotonic seconds). It looks at once, and again when it is told.
        """
        found = look()
        if found is not None:
            return found
        bell, number = threading.Lock(), next(self._numbers)
        bell.acquire()
        try:
            self._waiting[number] = bell
            # A change before the bell was hung up was told to nobody: so look first.
            while (found := look()) is None:
                left = min(deadline - time.monotonic(), threading.TIMEOUT_MAX)
                if left <= 0:
                    return None
                bell.acquire(timeout=left)
            return found
        finally:
            self._waiting.pop(number, None)


class WeakBag(Generic[T]):
    """Objects, for as long as somebody else holds them.

    Unlike a `WeakSet` it may change, and lose what is collected, while another thread goes
    through it.
    """

    def __init__(self) -> None:
        self._refs: dict[int, weakref.ref[T]] = {}

    def add(self, item: T) -> None:
        """Take *item* in."""
        key, refs = id(item), self._refs
        refs[key] = weakref.ref(item, lambda _ref: refs.pop(key, None))

    def discard(self, item: T) -> None:
        """Let go of *item*; unknown ones are fine."""
        self._refs.pop(id(item), None)

    def __iter__(self) -> Iterator[T]:
        # A list of the values is made without a step of Python in between; of the items it
        # is not: the pairs may bring the collector on, and that the callback above.
        for ref in list(self._refs.values()):
            item = ref()
            if item is not None:
                yield item
