"""A clock that moves when it is told to, for tests that let no real time pass."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from jidocode.errors import InvalidTimeError
from jidocode.otp.seconds import INFINITY, require_seconds

_NANO = 1_000_000_000


class FakeClock:
    """A clock that moves when it is told to; to the nanosecond, so that tenths add up.

    Call it, or read `now`, for the time: it stands in for `time.monotonic`,
    and its time is what machines such as `RestartIntensity` take.
    """

    def __init__(self, now: float = 0.0) -> None:
        """Start at *now* seconds."""
        self._now = round(now * _NANO)
        self._timers: list[tuple[int, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def __repr__(self) -> str:
        return f"FakeClock({self.now:g})"

    @property
    def now(self) -> float:
        """The time in seconds."""
        return self._now / _NANO

    def call_after(self, delay: float, action: Callable[[], object]) -> None:
        """Call *action* as soon as *delay* seconds have passed."""
        if delay == INFINITY:
            return
        due = self._now + max(0, round(delay * _NANO))
        heapq.heappush(self._timers, (due, next(self._numbers), action))

    def advance(self, seconds: float, *, until: Callable[[], bool] | None = None) -> None:
        """Let *seconds* pass, with every action at its own time, in order.

        Stops as soon as *until* says so, if it is given.

        Raises:
            InvalidTimeError: *seconds* is no time, or has no end.
        """
        require_seconds("seconds", seconds)
        if seconds == INFINITY:
            raise InvalidTimeError("seconds", "must be finite")
        end = self._now + round(seconds * _NANO)
        while until is None or not until():
            if not self._timers or self._timers[0][0] > end:
                self._now = end
                return
            self._now, _, action = heapq.heappop(self._timers)
            action()
