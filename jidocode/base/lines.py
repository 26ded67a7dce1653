"""Bytes that come in pieces, read as lines of bounded length."""

from __future__ import annotations

from collections.abc import Iterator


class LineReader:
    """What cuts lines out of pieces of any size, and keeps no more than one of them.

    Nobody who writes lines without an end can fill the memory of who reads them.
    """

    def __init__(self, longest: int) -> None:
        """Take lines of up to *longest* bytes, their end aside."""
        self._longest = longest
        self._rest = bytearray()
        self._skips = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Yield the lines that end in *data*, and None for one that is too long, once.

        The rest of that one is passed over. All has to be read before the next piece is fed.
        """
        *ended, last = data.split(b"\n")
        for piece in ended:
            yield from self._add(piece)
            if not self._skips:
                yield bytes(self._rest)
            self._rest, self._skips = bytearray(), False
        yield from self._add(last)

    def _add(self, piece: bytes) -> Iterator[None]:
        if self._skips:
            return
        self._rest += piece
        if len(self._rest) > self._longest:
            self._rest, self._skips = bytearray(), True
            yield None
