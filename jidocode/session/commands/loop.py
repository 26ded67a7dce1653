"""`EventLoop`: descriptors, timers and jobs of one thread, for all commands of a session.

asyncio would do it as well; to import it takes each process that runs commands longer than
all the rest of its start.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

Job = Callable[[], object]


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


Watched = int | _HasDescriptor


class Timer:
    """Something to be done later, unless it is cancelled."""

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job

    def cancel(self) -> None:
        """Have it not done; again, or later, is fine."""
        self.job = None


class EventLoop:
    """Runs until `stop`; but for `call_soon`, all is for the thread that runs it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._clear_wake)
        self._jobs: deque[Job] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._stopped = False

    def run(self) -> None:
        """Do what is to be done until `stop`; raises what a job or callback raises."""
        while not self._stopped:
            for key, _ in self._selector.select(self._seconds_left()):
                if key.fileobj in self._selector.get_map():  # not removed by another one
                    key.data()
            for _ in range(len(self._jobs)):
                self._jobs.popleft()()
            self._run_timers()

    def close(self) -> None:
        """Let its descriptors go, after `run` has returned."""
        self._selector.close()
        os.close(self._wake)

    def stop(self) -> None:
        """Have `run` return."""
        self._stopped = True

    def call_soon(self, job: Job) -> None:
        """Have *job* done in the loop's thread; any thread may ask."""
        self._jobs.append(job)
        os.eventfd_write(self._wake, 1)

    def call_later(self, seconds: float, job: Job) -> Timer:
        """Have *job* done after *seconds*."""
        timer = Timer(job)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        return timer

    def watch(self, descriptor: Watched, callback: Job, *, writes: bool = False) -> None:
        """Call *callback* whenever *descriptor* is readable, or *writes* and it is writable."""
        events = selectors.EVENT_WRITE if writes else selectors.EVENT_READ
        self._selector.register(descriptor, events, callback)

    def unwatch(self, descriptor: Watched) -> None:
        """Watch *descriptor* no more; it must be watched."""
        self._selector.unregister(descriptor)

    def _clear_wake(self) -> None:
        os.eventfd_read(self._wake)

    def _seconds_left(self) -> float | None:
        while self._timers and self._timers[0][2].job is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            job = heapq.heappop(self._timers)[2].job
            if job is not None:
                job()
