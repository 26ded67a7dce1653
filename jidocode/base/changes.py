"""How threads of an app wait for each other, without a lock.

A signal handler runs in the main thread, between any two steps of Python, and may call or
close the system there. Whatever lock its thread holds at that moment is held as long as the
handler runs: if the reader thread took it, too, a handler that waits for the reader would
wait for ever; and if the handler itself took it. One that raises may leave it taken. So nothing
here is locked. Each step that others see is one call of C code, which neither a handler nor
another thread can divide.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from jidocode.base import waiting

T = TypeVar("T")


class Changes:
    """Lets any number of threads, and of coroutines, wait until something is so.

    Whoever changes something does so first, and tells then; any thread may, and any handler.
    """

    def __init__(self) -> None:
        # What wakes each of those who wait.
        self._waiting: dict[int, Callable[[], object]] = {}
        self._numbers = itertools.count()

    def tell(self) -> None:
        """Have all that wait look again."""
        for wake in list(self._waiting.values()):
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Generator[None]:
        """Have *wake* called, in whatever thread, at each change while the block waits.

        What has changed before was told to nobody: so look once more within the block.
        """
        number = next(self._numbers)
        try:
            self._waiting[number] = wake
            yield
        finally:
            self._waiting.pop(number, None)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def wait_for(self, look: Callable[[], T | None], deadline: float) -> T | None:
        """Return what *look* finds, as soon as it finds anything.

        None at *deadline* (monotonic seconds). It looks at once, and again when it is told.
        """
        found = look()
        if found is not None:
            return found
        bell = threading.Lock()  # it hangs still as long as it is locked
        bell.acquire()
        with self.waking(partial(_ring, bell)):
            while (found := look()) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                waiting.acquire(bell, left)
            return found


def _ring(bell: threading.Lock) -> None:
    if bell.locked():
        with suppress(RuntimeError):  # another one has just rung it
            bell.release()
