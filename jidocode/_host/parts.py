"""The parts of an answer: how many may be on their way, and those that nobody has read yet."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from jidocode._host import wire
from jidocode._host.transport.frames import Body
from jidocode.errors import CallError

WINDOW = 32
"""How many parts of one answer may have been sent and not been read."""

_GRANT = WINDOW // 2


class Parts:
    """The parts that have come for one reader, in order; one thread reads at a time.

    Its sender may send `WINDOW` parts, and as many more as have been read. It is told so once
    for many parts, so that most of them cost one message and not two.

    Attributes:
        arrivals: Has something in it if something may have come.
        on_arrival: Called when something has, in whatever thread: for who waits in another way.
        position: How many have been read. It is counted as the last thing of each reading.
    """

    # A signal handler may raise between any two steps of the reader. So nothing is taken out
    # before it is counted, and what is done again does no harm: a part that was read is dropped
    # when the next one is asked for, and a grant says up to which part, not how many.

    def __init__(self, grant: Callable[[int], object]) -> None:
        """Let the sender send all parts before a number by *grant*."""
        self.arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.on_arrival: Callable[[], object] | None = None
        self.position = 0
        self._grant = grant
        self._granted = WINDOW
        self._parts: dict[int, Body] = {}
        self._came = 0
        self._has_ended = False

    def put(self, payload: Body) -> bool:
        """Take in a part, in whatever thread; False if its sender may not have sent it."""
        if self._came - self.position >= WINDOW:
            return False
        self._parts[self._came] = payload
        self._came += 1
        self._wake()
        return True

    def end(self) -> None:
        """Take note that no more parts come."""
        self._has_ended = True
        self._wake()

    @property
    def is_ready(self) -> bool:
        """Whether there is a part to read, or no more come."""
        return self.position < self._came or self._has_ended

    def peek(self) -> Body | None:
        """Return the part to read, None if no more come; not before `is_ready`."""
        position = self.position
        self._parts.pop(position - 1, None)
        if position + WINDOW - self._granted >= _GRANT:
            self._grant(position + WINDOW)
            self._granted = position + WINDOW
        return self._parts.get(position)

    def take(self, target: str) -> Any:
        """Return the part to read of the answer of *target*, as it was sent, and count it.

        Raises:
            CallError: It cannot be read here; it counts as read.
            BaseException: What a signal handler has raised meanwhile: it does not.
        """
        payload = self.peek()
        assert payload is not None  # noqa: S101 - it was looked at before
        try:
            part = wire.content_of(payload, target, failed=False)
        except CallError:
            self.position += 1
            raise
        self.position += 1
        return part

    def _wake(self) -> None:
        if self.arrivals.empty():
            self.arrivals.put(None)
        if self.on_arrival is not None:
            self.on_arrival()
