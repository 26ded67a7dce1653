"""A client at the other end of standard input and output.

The transport of the `mcp` package does the talking. What it reads from and writes to is ours, for
its own waits in threads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from jidocode.bridges.mcp.offer import Offer
from jidocode.bridges.mcp.server import make_server, run_until_told
from jidocode.bridges.pipes import Pipes

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
    lines, sink = cast("Any", _lines(pipes)), cast("Any", _Sink(pipes))
    async with stdio_server(lines, sink) as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


async def _lines(pipes: Pipes) -> AsyncIterator[bytes]:
    async for text in pipes.lines(_LONGEST_LINE):
        if text is None:
            return
        yield text


class _Sink:
    """Where messages are written to."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._is_gone = False

    async def write(self, text: str) -> None:
        if not self._is_gone:
            try:
                await self._pipes.write(text.encode())
            except ConnectionError:
                self._is_gone = True

    async def flush(self) -> None:
        """Do nothing: what is written is written."""
