"""`CommandOutput`: the output of a command, as it is read on and on; and the one for coroutines.

Where it is read, and that something was cut out before, is one `Place`; the two read at it, one
waiting and one awaited.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Self

from jidocode.base.closing import AsyncClosing, Closing
from jidocode.errors import JidocodeError, OutputCutError
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
        self.offset = chunk.next_offset
        self.ended = self.ended or chunk.ended  # it may have been closed meanwhile
        return chunk.data


class CommandOutput(Closing, Iterator[bytes]):
    """The output of a command, chunk by chunk, as it comes: read it by `for`.

    Close it, or use it as a context manager, if you may leave it before its end: then the command
    is told that nobody reads on. Else it waits 10 seconds for that.

    After an `OutputCutError`, `next` goes on behind what was cut out.
    """

    def __init__(
        self,
        read: Callable[[Place, float], OutputChunk],
        leave: Callable[[Place], None],
        stream: StreamName,
    ) -> None:
        """Read *stream* by *read*, which is told the place, and how many seconds to wait.

        *leave* is told the place at which nobody reads on.
        """
        self._read = read
        self._leave = leave
        self._place = Place(stream)

    def __next__(self) -> bytes:
        while not self._place.ended:
            if data := self._place.take(self._read(self._place, POLL_SECONDS)):
                return data
        raise StopIteration

    def hold(self) -> None:
        """Have the command wait 10 seconds from now on: what has come is still being worked at.

        Raises:
            SessionNotFoundError: The session has ended.
            NoCommandError: The process that ran it has ended, or others have ended after it.
        """
        if not self._place.ended:
            self._read(self._place, 0.0)

    def close(self) -> None:
        """Read no more, and have the command not wait for it; again is fine."""
        if not self._place.ended:
            self._place.ended = True
            with suppress(JidocodeError):  # who cannot be told waits for nobody, or 10 seconds
                self._leave(self._place)


class AsyncCommandOutput(AsyncClosing):
    """The output of a command, chunk by chunk, as it comes: read it by `async for`.

    Close it, or use it in an `async with` block, if you may leave it before its end; see
    `CommandOutput`. It is no generator: one that is not closed leaves nothing for a loop to close.

    After an `OutputCutError`, `anext` goes on behind what was cut out.
    """

    def __init__(
        self,
        read: Callable[[Place, float], Awaitable[OutputChunk]],
        leave: Callable[[Place], Awaitable[None]],
        stream: StreamName,
    ) -> None:
        """Read *stream* by *read*, which is told the place, and how many seconds to wait.

        *leave* is told the place at which nobody reads on.
        """
        self._read = read
        self._leave = leave
        self._place = Place(stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._place.ended:
            if data := self._place.take(await self._read(self._place, POLL_SECONDS)):
                return data
        raise StopAsyncIteration

    async def hold(self) -> None:
        """Have the command wait 10 seconds from now on; see `CommandOutput.hold`."""
        if not self._place.ended:
            await self._read(self._place, 0.0)

    async def aclose(self) -> None:
        """Read no more, and have the command not wait for it; again is fine."""
        if not self._place.ended:
            self._place.ended = True
            with suppress(JidocodeError):  # as in `CommandOutput.close`
                await self._leave(self._place)
