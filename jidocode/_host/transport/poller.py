"""Waits for sockets, timers and wake-ups: one epoll that lives as long as its transport.

Descriptors are registered once, not at every turn, so a turn costs the same
with one peer and with a thousand. Linux only: epoll and eventfd.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import math
import os
import select
import socket
import time
from collections.abc import Callable, Iterator

from jidocode.errors import HostError

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
ONCE = select.EPOLLONESHOT
"""With READ: report it once, and not again until `modify`."""
_EVENTS_PER_TURN = 64
_LONGEST_WAIT = 86_400.0

Handler = Callable[[int], object]
Timer = Callable[[], None]


class _Waker:
    """An eventfd that stays open for who is about to write to it: its number is no other file's."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        os.close(self.fd)


class Poller:
    """One epoll, one eventfd, one heap of timers.

    `wait` belongs to one thread at a time; every other method may be called
    by any thread, `wake` by a signal handler too.

    Attributes:
        unwritten: The descriptors that have more to write than the kernel takes.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waker: _Waker | None = _Waker()
        self.unwritten: set[int] = set()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._sleeps = False
        waker_fd = self._waker.fd
        self.register(waker_fd, READ, lambda _events: os.eventfd_read(waker_fd))

    def register(self, fd: int, events: int, handler: Handler) -> None:
        """Call *handler* with the event mask whenever *fd* is ready, until `unregister`.

        Raises:
            HostError: The poller is closed.
            OSError: The kernel refuses.
        """
        self._handlers[fd] = handler
        try:
            self._epoll.register(fd, events)
        except BaseException as error:
            del self._handlers[fd]
            if self._epoll.closed:
                raise HostError("this transport is closed") from error
            raise

    def modify(self, fd: int, events: int) -> None:
        """Wait for other *events* of a registered *fd*."""
        self._epoll.modify(fd, events)
        (self.unwritten.add if events & WRITE else self.unwritten.discard)(fd)

    def unregister(self, fd: int) -> None:
        """Forget *fd*; unknown ones are fine. To be called before it is closed.

        Closing alone is not enough: while a forked child still holds a copy,
        the kernel would go on reporting it, and nothing could stop it, for its
        number means another file by then.
        """
        self.unwritten.discard(fd)
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close_socket(self, sock: socket.socket) -> None:
        """Forget a registered socket and close it, so that its peer sees the end now.

        A forked child may hold a copy for a moment; closing alone would wait for it.
        """
        self.unregister(sock.fileno())
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.ECONNRESET):
                raise
        finally:
            sock.close()

    def call_at(self, when: float, timer: Timer) -> None:
        """Call *timer* in the waiting thread at *when* (monotonic seconds).

        Raises:
            ValueError: *when* is NaN, which has no place in the order of the others.
        """
        if math.isnan(when):
            raise ValueError("a timer was set to NaN")
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
        self._sleeps = True  # before the look at the timers, see `wake_for_timer`
        if self._timers:
            deadline = min(deadline, self._timers[0][0])
        # epoll takes None for ever, and 2**31 ms at most; a moment in the past waits not at all.
        left = min(max(0.0, deadline - time.monotonic()), _LONGEST_WAIT)
        timeout = None if deadline == math.inf else left
        ready = self._epoll.poll(timeout, _EVENTS_PER_TURN)
        self._sleeps = False
        for fd, events in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        if self._timers and self._timers[0][0] <= time.monotonic():
            self._run_timers()

    def wake(self) -> None:
        """Make the running, or the next, `wait` return at once; nothing after `close`."""
        waker = self._waker
        if waker is not None:
            os.eventfd_write(waker.fd, 1)

    def wake_for_timer(self) -> None:
        """Have a timer that was just set be looked at; any thread may, and a signal handler.

        That is a system call, and a change of threads, only if nobody is about to look: a loop
        that begins a hundred calls in one turn wakes the one that sends them once.
        """
        if self._sleeps:
            self.wake()

    def fileno(self) -> int:
        """Return the epoll descriptor; it is readable when something is ready."""
        return self._epoll.fileno()

    def filenos(self) -> list[int]:
        """Return the descriptors of the poller itself."""
        return [self._epoll.fileno(), *([self._waker.fd] if self._waker else [])]

    def close(self) -> None:
        """Close the poller; what it watched stays open."""
        self._handlers.clear()
        self._timers.clear()
        self._epoll.close()
        self._waker = None

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
