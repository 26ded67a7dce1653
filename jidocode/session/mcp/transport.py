"""A program's standard input and output as messages: a transport for the `mcp` package.

That package has one of its own, which starts the program itself, and reads lines of any length.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.shared.message import SessionMessage

from jidocode.base import log
from jidocode.base.lines import LineReader
from jidocode.base.text import quote
from jidocode.errors import McpServerError
from jidocode.session.commands.streams import Streams

READ_SIZE = 2**16
WRITE_SIZE = 4096
"""Bytes that a pipe which can be written to takes at once: PIPE_BUF."""
MAX_LINE = 2**24
"""Bytes of one message; a server that sends longer ones is not listened to any more."""
MAX_KEPT = 2000
"""Bytes of what it says on its standard error that are kept."""

_Messages = tuple[ObjectReceiveStream[SessionMessage | Exception], ObjectSendStream[SessionMessage]]


class PipeTransport:
    """The streams of a program.

    Attributes:
        problem: Why nobody listens to it any more, if it broke a rule.
    """

    def __init__(self, name: str, streams: Streams, on_end: Callable[[], object]) -> None:
        """Speak with the server *name* by *streams*; *on_end* hears that nothing more comes."""
        self._name = name
        self._streams = streams
        self._on_end = on_end
        self._is_noisy = False
        self.problem: McpServerError | None = None
        self._last_words = b""

    @asynccontextmanager
    async def messages(self) -> AsyncGenerator[_Messages]:
        """Give the streams of its messages; they end with it."""
        arrived, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as tasks, arrived, incoming, outgoing, leaving:
            tasks.start_soon(self._read, arrived)
            tasks.start_soon(self._write, leaving, arrived)
            tasks.start_soon(self._keep_last_words)
            yield incoming, outgoing
            tasks.cancel_scope.cancel()

    async def _read(self, arrived: ObjectSendStream[SessionMessage | Exception]) -> None:
        async with arrived:
            try:
                with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    async for text in self._lines():
                        await self._take(text, arrived)
            finally:
                self._on_end()  # before those who wait for an answer hear that none comes

    async def _take(
        self, text: bytes, arrived: ObjectSendStream[SessionMessage | Exception]
    ) -> None:
        try:
            message = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
        except ValueError:
            self._note_garbage(text)
        else:
            await arrived.send(SessionMessage(message))

    async def _lines(self) -> AsyncIterator[bytes]:
        reader = LineReader(MAX_LINE)
        while data := await self._read_some("stdout"):
            for text in reader.feed(data):
                if text is None:
                    self.problem = McpServerError(
                        self._name, f"it has sent a message of more than {MAX_LINE} bytes"
                    )
                    return
                yield text

    async def _read_some(self, stream: Any) -> bytes:
        """Return what can be read next, nothing at the end."""
        while True:
            descriptor = self._streams.outputs.get(stream)
            if descriptor is None:
                return b""
            await anyio.wait_readable(descriptor)
            with contextlib.suppress(BlockingIOError):
                return os.read(descriptor, READ_SIZE)

    def _note_garbage(self, text: bytes) -> None:
        if text.strip() and not self._is_noisy:
            self._is_noisy = True  # once: it may do nothing else
            log.debug("the MCP server {} says what is no message: {}", self._name, quote(text))

    async def _keep_last_words(self) -> None:
        while data := await self._read_some("stderr"):
            self._keep(data)

    def _read_last_words(self) -> None:
        """Take what it said as it ended, which nobody has read when its messages have."""
        descriptor = self._streams.outputs.get("stderr")
        if descriptor is not None:
            with contextlib.suppress(BlockingIOError):
                self._keep(os.read(descriptor, READ_SIZE))

    def _keep(self, data: bytes) -> None:
        self._last_words = (self._last_words + data)[-MAX_KEPT:]

    async def _write(
        self,
        leaving: ObjectReceiveStream[SessionMessage],
        arrived: ObjectSendStream[SessionMessage | Exception],
    ) -> None:
        try:
            async with leaving:
                async for message in leaving:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await self._write_all(text.encode() + b"\n")
        except OSError:  # it reads nothing any more, so it will answer nothing
            await arrived.aclose()

    async def _write_all(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            descriptor = self._streams.input
            if descriptor is None:
                raise BrokenPipeError
            await anyio.wait_writable(descriptor)
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(descriptor, left[:WRITE_SIZE]) :]

    def said_last(self) -> str:
        """Return the end of what it has said on its standard error, which begins with a word."""
        self._read_last_words()
        text = self._last_words.decode("utf-8", "replace")
        if len(self._last_words) == MAX_KEPT:  # half a word may be half a secret, which none finds
            text = "".join(text.split(maxsplit=1)[1:])
        return text.strip()
