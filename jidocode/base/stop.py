"""How one thread ends the waiting of another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Stopped(Exception):  # noqa: N818 - no failure: it was asked for
    """The waiting was ended by `Stop.request`."""


class Stop:
    """Ends what a thread waits for under it, now or later; for one waiting thread at a time.

    Attributes:
        requested: Whether it was asked for.
    """

    def __init__(self) -> None:
        self.requested = False
        self._lock = threading.RLock()  # a signal handler may ask, in the thread that waits
        self._wake: Callable[[], object] | None = None

    def request(self) -> None:
        """End the waiting, from any thread."""
        with self._lock:
            self.requested = True
            wake = self._wake
        if wake is not None:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Generator[None]:
        """Have *wake* called if this is requested while the block waits.

        Raises:
            Stopped: It was requested before.
        """
        with self._lock:
            if self.requested:
                raise Stopped
            self._wake = wake
        try:
            yield
        finally:
            with self._lock:
                self._wake = None
