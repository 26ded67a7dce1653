"""`Pipes`: standard input and output, for a protocol alone."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from typing import Self

from attrs import frozen

from jidocode.base.lines import LineReader

_AT_ONCE = 2**16
"""Bytes that are read at once."""
_NEVER_WAITS = 4096
"""Bytes that a pipe which can be written to takes at once: PIPE_BUF."""
_WRONG = (
    (0, os.O_WRONLY, "the standard input cannot be read"),
    (1, os.O_RDONLY, "the standard output cannot be written to"),
)


@frozen
class Pipes:
    """Standard input and output as the client has them, which nothing else can use any more.

    They are waited for in the loop, and in no thread: no signal would end that one, and a process
    that is told to end would go on until its client writes a line.
    """

    source: int
    sink: int

    @classmethod
    def claim(cls) -> Self:
        """Return them; from now on nothing else reads or writes there, no child either.

        Whatever prints, prints to standard error.

        Raises:
            OSError: Nothing can be read there, or written.
        """
        for descriptor, other, problem in _WRONG:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == other:
                raise OSError(errno.EBADF, problem)
        source, sink = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        return cls(source, sink)

    async def lines(self, longest: int) -> AsyncIterator[bytes | None]:
        """Yield the lines that come; None for one that has more than *longest* bytes."""
        loop = asyncio.get_running_loop()
        reader = LineReader(longest)
        while True:
            await _ready(loop.add_reader, loop.remove_reader, self.source)
            try:
                data = os.read(self.source, _AT_ONCE)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return  # the end of a socket's client: what it was sent last nobody has read
            if not data:
                return
            for text in reader.feed(data):
                yield text

    async def write(self, data: bytes) -> None:
        """Write *data*, all of it.

        Raises:
            ConnectionError: Nobody reads any more; soon the end of the input says so, too.
        """
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left:
            await _ready(loop.add_writer, loop.remove_writer, self.sink)
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(self.sink, left[:_NEVER_WAITS]) :]


async def _ready(
    add: Callable[..., object], remove: Callable[[int], object], descriptor: int
) -> None:
    """Wait until a descriptor can be read, or written."""
    ready = asyncio.get_running_loop().create_future()
    try:
        add(descriptor, lambda: None if ready.done() else ready.set_result(None))
    except PermissionError:  # a file can always be read, and not be waited for
        return
    try:
        await ready
    finally:
        remove(descriptor)
