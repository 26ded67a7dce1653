"""`CommandOutput`: the output of a command, as it is read on and on; and the one for coroutines.

Where it is read, and that something was cut out before, is one `Place`; the two read at it, one
waiting and one awaited.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Self

from jidocode.errors import OutputCutError
from jidocode.session.commands.result import OutputChunk, StreamName

POLL_SECONDS = 5.0
"""How long one question waits for output."""


class Place:
    """Where somebody reads an output.

    Attributes:
        stream: Which one.
        reader: Who it is: a number that nobody else has.
        offset: Before it all is read.
        ended: Whether nothing comes any more.
    """

    def __init__(self, stream: StreamName) -> None:
        """Be at the beginning of *stream*."""
        self.stream: StreamName = stream
        self.reader = int.from_bytes(os.urandom(8), "big")
        self.offset = 0
        self.ended = False

    def take(self, chunk: OutputChunk) -> bytes:
        """Go on behind *chunk*, and return what is in it.

        Raises:
            OutputCutError: Something was cut out before it; the place is behind that now.
        """
        cut = chunk.offset - self.offset
        if cut > 0:
            self.offset = chunk.offset
            raise OutputCutError(self.stream, cut)
        self.offset, self.ended = chunk.next_offset, chunk.ended
        return chunk.data


class CommandOutput(Iterator[bytes]):
    """The output of a command, chunk by chunk, as it comes: read it by `for`.

    After an `OutputCutError`, `next` goes on behind what was cut out.
    """

    def __init__(self, read: Callable[[Place, float], OutputChunk], stream: StreamName) -> None:
        """Read *stream* by *read*, which is told the place, and how many seconds to wait."""
        self._read = read
        self._place = Place(stream)

    def __next__(self) -> bytes:
        while not self._place.ended:
            if data := self._place.take(self._read(self._place, POLL_SECONDS)):
                return data
        raise StopIteration

    def hold(self) -> None:
        """Have the command wait 10 seconds more: what has come is still being worked at.

        Raises:
            SessionNotFoundError: The session has ended.
            NoCommandError: The process that ran it has ended, or others have ended after it.
        """
        self._read(self._place, 0.0)


class AsyncCommandOutput:
    """The output of a command, chunk by chunk, as it comes: read it by `async for`.

    It is no generator, so there is nothing to close. After an `OutputCutError`, `anext` goes on
    behind what was cut out.
    """

    def __init__(
        self, read: Callable[[Place, float], Awaitable[OutputChunk]], stream: StreamName
    ) -> None:
        """Read *stream* by *read*, which is told the place, and how many seconds to wait."""
        self._read = read
        self._place = Place(stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._place.ended:
            if data := self._place.take(await self._read(self._place, POLL_SECONDS)):
                return data
        raise StopAsyncIteration

    async def hold(self) -> None:
        """Have the command wait 10 seconds more; see `CommandOutput.hold`."""
        await self._read(self._place, 0.0)
