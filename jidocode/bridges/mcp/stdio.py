"""A client at the other end of standard input and output.

The transport of the `mcp` package does the talking. What it reads from and writes to is ours: its
own waits in threads, which no signal ends, so that a process told to end would go on until its
client writes a line.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from jidocode.base.lines import LineReader
from jidocode.bridges.mcp.offer import Offer
from jidocode.bridges.mcp.server import make_server, run_until_told
from jidocode.bridges.pipes import Pipes

_AT_ONCE = 2**16
"""Bytes that are read at once."""
_NEVER_WAITS = 4096
"""Bytes that a pipe which can be written to takes at once: PIPE_BUF."""
_LONGEST_LINE = 2**26
"""Bytes of one message; a client that sends longer ones is not listened to any more."""


def serve_stdio(offer: Offer, pipes: Pipes) -> None:
    """Serve the client at *pipes* until that is gone.

    Raises:
        HostExitedError: The session's system has ended.
    """
    server = make_server(offer)
    run_until_told(offer, lambda: _talk(server, pipes))


async def _talk(server: Server[Any], pipes: Pipes) -> None:
    lines, sink = cast("Any", _Lines(pipes.source)), cast("Any", _Sink(pipes.sink))
    async with stdio_server(lines, sink) as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


class _Lines:
    """The lines that come, to be iterated over."""

    def __init__(self, source: int) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reader = LineReader(_LONGEST_LINE)
        while True:
            # A file can always be read, and not be waited for.
            with contextlib.suppress(PermissionError):
                await anyio.wait_readable(self._source)
            data = os.read(self._source, _AT_ONCE)
            if not data:
                return
            for text in reader.feed(data):
                if text is None:
                    return
                yield text


class _Sink:
    """Where messages are written to."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._is_gone = False

    async def write(self, text: str) -> None:
        left = memoryview(text.encode())
        while left and not self._is_gone:
            with contextlib.suppress(PermissionError):
                await anyio.wait_writable(self._sink)
            try:
                left = left[os.write(self._sink, left[:_NEVER_WAITS]) :]
            except BrokenPipeError:  # nobody is there; soon the end of the input says so, too
                self._is_gone = True

    async def flush(self) -> None:
        """Do nothing: what is written is written."""
