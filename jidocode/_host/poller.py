"""Waits for sockets, timers and wake-ups: one epoll that lives as long as its transport.

Descriptors are registered once, not at every turn, so a turn costs the same
with one peer and with a thousand. Linux only: epoll and eventfd.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import select
import time
from collections.abc import Callable, Iterator

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_EVENTS_PER_TURN = 64

Handler = Callable[[int], None]
Timer = Callable[[], None]


class Poller:
    """One epoll, one eventfd, one heap of timers.

    `wait` belongs to one thread at a time; every other method may be called
    by any thread, `wake` by a signal handler too.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self.register(self._eventfd, READ, self._woken)

    def register(self, fd: int, events: int, handler: Handler) -> None:
        """Call *handler* with the event mask whenever *fd* is ready, until `unregister`."""
        self._handlers[fd] = handler
        try:
            self._epoll.register(fd, events)
        except OSError:
            del self._handlers[fd]
            raise

    def modify(self, fd: int, events: int) -> None:
        """Wait for other *events* of a registered *fd*."""
        self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Forget *fd*; to be called before it is closed.

        Closing alone is not enough: while a forked child still holds a copy,
        the kernel would go on reporting it.
        """
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_at(self, when: float, timer: Timer) -> None:
        """Call *timer* in the waiting thread at *when* (monotonic seconds)."""
        heapq.heappush(self._timers, (when, next(self._numbers), timer))

    def timers(self) -> Iterator[tuple[float, Timer]]:
        """Yield what is to be called, and when, in no order."""
        for when, _, timer in tuple(self._timers):
            yield when, timer

    def next_deadline(self) -> float | None:
        """Return when the next timer is due (monotonic seconds), or None."""
        return self._timers[0][0] if self._timers else None

    def wait(self, deadline: float) -> None:
        """Handle what is ready, waiting for it until *deadline* (monotonic seconds) at most."""
        if self._timers:
            deadline = min(deadline, self._timers[0][0])
        # epoll takes None for ever; a moment in the past waits not at all.
        timeout = None if deadline == math.inf else max(0.0, deadline - time.monotonic())
        for fd, events in self._epoll.poll(timeout, _EVENTS_PER_TURN):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        if self._timers:
            self._run_timers()

    def wake(self) -> None:
        """Make the running, or the next, `wait` return at once."""
        os.eventfd_write(self._eventfd, 1)

    def fileno(self) -> int:
        """Return the epoll descriptor; it is readable when something is ready."""
        return self._epoll.fileno()

    def filenos(self) -> list[int]:
        """Return the descriptors of the poller itself."""
        return [self._epoll.fileno(), self._eventfd]

    def close(self) -> None:
        """Close the poller; what it watched stays open."""
        self._handlers.clear()
        self._timers.clear()
        self._epoll.close()
        os.close(self._eventfd)

    def _woken(self, _events: int) -> None:
        os.eventfd_read(self._eventfd)

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
