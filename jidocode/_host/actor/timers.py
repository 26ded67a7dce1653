"""The timers of a server, each of which can be cancelled."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Hashable

from jidocode._host.transport.messenger import Messenger

_SPARE = 64
"""Cancelled timers that are kept whatever there is beside them."""


class Timers:
    """Calls back at its time, behind the messages that wait then; for the run loop alone.

    A cancelled timer keeps nothing of what it was to call.
    """

    # Nearly every timer is a call's deadline, and cancelled long before it is due. So the
    # poller, which can forget none, is given one alarm for all of them, and a cancelled one
    # stays in the heap as a number, until half of the heap is such numbers.

    def __init__(self, transport: Messenger) -> None:
        """Have *transport* call back."""
        self._transport = transport
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int]] = []
        self._callbacks: dict[int, tuple[Hashable, Callable[[], object]]] = {}
        self._number_of: dict[Hashable, int] = {}
        self._alarm = math.inf

    def set(self, key: Hashable, delay: float, callback: Callable[[], object]) -> None:
        """Call *callback* after *delay* seconds, never if they are infinite.

        *key* is for `cancel`, and belongs to one timer at a time.
        """
        if delay == math.inf:
            return
        number, due = next(self._numbers), time.monotonic() + delay
        self._callbacks[number], self._number_of[key] = (key, callback), number
        heapq.heappush(self._heap, (due, number))
        self._keep_alarm()

    def cancel(self, key: Hashable) -> None:
        """Forget the timer *key*; one that there is not is fine."""
        number = self._number_of.pop(key, None)
        if number is not None:
            del self._callbacks[number]
        if len(self._heap) > 2 * len(self._callbacks) + _SPARE:
            self._heap = [each for each in self._heap if each[1] in self._callbacks]
            heapq.heapify(self._heap)

    def _keep_alarm(self) -> None:
        if self._heap and self._heap[0][0] < self._alarm:
            self._alarm = alarm = self._heap[0][0]
            self._transport.call_at(alarm, lambda: self._on_alarm(alarm))

    def _on_alarm(self, alarm: float) -> None:
        if alarm != self._alarm:
            return  # an earlier one, set after it, stood for it
        self._alarm = math.inf
        now = time.monotonic()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in self._callbacks):
            _, number = heapq.heappop(self._heap)
            key, callback = self._callbacks.pop(number, (None, None))
            if callback is not None:
                del self._number_of[key]
                self._transport.after(0.0, callback)
        self._keep_alarm()
