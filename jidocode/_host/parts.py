"""The parts of an answer: how many may be on their way, and those that nobody has read yet."""

from __future__ import annotations

import queue
from collections.abc import Callable

from jidocode._host.transport.frames import Body

WINDOW = 32
"""How many parts of one answer may have been sent and not been read."""

_GRANT = WINDOW // 2


class Parts:
    """The parts that have come for one reader, in order.

    Its sender may send `WINDOW` parts, and one more for each that it is granted. Grants go
    out for many parts at once, so that most parts cost one message and not two.

    Attributes:
        arrivals: What has come: a part, or None for the end of all.
    """

    def __init__(self, grant: Callable[[int], object]) -> None:
        """Let the sender send so many more parts by *grant*."""
        self.arrivals: queue.SimpleQueue[Body | None] = queue.SimpleQueue()
        self._grant = grant
        self._read = 0

    def put(self, payload: Body) -> bool:
        """Take in a part, in whatever thread; False if its sender may not have sent it."""
        if self.arrivals.qsize() >= WINDOW:
            return False
        self.arrivals.put(payload)
        return True

    def end(self) -> None:
        """Take note that no more parts come."""
        self.arrivals.put(None)

    def taken(self, part: Body | None) -> Body | None:
        """Take note that the reader has taken *part* out of the arrivals, and return it."""
        if part is None:
            self.arrivals.put(None)  # for whoever asks again
            return None
        self._read += 1
        if self._read == _GRANT:
            self._read = 0
            self._grant(_GRANT)
        return part
