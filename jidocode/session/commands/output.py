"""`HeadAndTail`: the beginning and the end of an output of any length, in bounded memory."""

from __future__ import annotations

from jidocode.session.commands.result import CapturedOutput


class HeadAndTail:
    """Takes in any number of bytes, and keeps the first and the last of them.

    What somebody needs of a long output stands at its beginning (what was run, the first
    error) and at its end (the last one, the summary).

    Attributes:
        size: How many bytes came.
    """

    def __init__(self, limit: int) -> None:
        """Keep *limit* bytes at most: the first half of them, and the last."""
        self._tail_limit = limit // 2
        self._head_limit = limit - self._tail_limit
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0

    def append(self, data: bytes, unread: int | None = None) -> None:
        """Take in *data*; what stands behind the offset *unread* is kept, however much it is."""
        self.size += len(data)
        if len(self._head) < self._head_limit:
            room = self._head_limit - len(self._head)
            self._head += data[:room]
            data = data[room:]
        most = self._tail_limit
        if unread is not None:
            most = max(most, self.size - unread)
        # A bytearray forgets its beginning without moving the rest.
        self._tail += data[max(0, len(data) - most) :]
        del self._tail[: max(0, len(self._tail) - most)]

    def is_full(self, unread: int) -> bool:
        """Whether as much stands behind the offset *unread* as is kept of an end."""
        return self.size - unread >= max(self._tail_limit, 1)

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return len(self._head) + len(self._tail)

    @property
    def _tail_offset(self) -> int:
        return self.size - len(self._tail)

    def read(self, offset: int, size: int) -> tuple[int, bytes]:
        """Return up to *size* bytes from *offset* on, and where they stood.

        If what stood at *offset* is not kept, they are the next ones that are. There are
        none only if none came after it.
        """
        if offset < len(self._head):
            return offset, bytes(self._head[offset : offset + size])
        if offset >= self.size:
            return offset, b""
        start = max(offset, self._tail_offset)
        begin = start - self._tail_offset
        return start, bytes(self._tail[begin : begin + size])

    def captured(self) -> CapturedOutput:
        """Return the first and the last bytes."""
        tail = bytes(self._tail[max(0, len(self._tail) - self._tail_limit) :])
        return CapturedOutput(bytes(self._head), tail, self.size - len(self._head) - len(tail))
