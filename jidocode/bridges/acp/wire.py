"""Messages over standard input and output, one a line, as the protocol has them.

The SDK's own transport ends when a line is JSON and no object, takes lines of any length, and
waits in a way that a file as input does not know. Whatever comes here, what is no message is
answered, and the next line counts.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from acp import RequestError

from jidocode.bridges.pipes import Pipes

LONGEST_LINE = 2**25
"""Bytes of one message; of a longer one nothing is kept."""


class StdioTransport:
    """The client at the other end of standard input and output; a `Transport` of the SDK."""

    def __init__(self, pipes: Pipes, longest: int = LONGEST_LINE) -> None:
        """Talk to the client at *pipes*, in messages of up to *longest* bytes."""
        self._pipes = pipes
        self._lines = pipes.lines(longest)
        self._writing = asyncio.Lock()
        self._is_gone = False

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, None when the client is gone."""
        async for text in self._lines:
            message = _refusal("the message is too long") if text is None else read(text)
            if message is None:
                continue
            if "error" in message and "id" in message and message["id"] is None:
                await self.send(message)
                continue
            return message
        return None

    async def send(self, message: dict[str, Any]) -> None:
        """Write a message, whole, even if whoever sends it is cancelled."""
        # Names of files that are no UTF-8 have half characters, which JSON of others cannot have.
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        await asyncio.shield(self._write(text.encode("utf-8", "replace") + b"\n"))

    async def close(self) -> None:
        """Send nothing more."""
        self._is_gone = True

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            if self._is_gone:
                return
            try:
                await self._pipes.write(data)
            except ConnectionError:
                self._is_gone = True


def read(text: bytes) -> dict[str, Any] | None:
    """Return the message in a line; an error to be answered, with the id null, if it is none."""
    if not text.strip():
        return None
    try:
        said: object = json.loads(text)
    except (ValueError, RecursionError):
        return {"jsonrpc": "2.0", "id": None, "error": RequestError.parse_error().to_error_obj()}
    if not isinstance(said, dict):
        return _refusal("a message is an object")
    message = cast("dict[str, Any]", said)
    # What the connection of the SDK does not survive, or would take for something else.
    if "method" in message:
        if not isinstance(message["method"], str):
            return _refusal("a method is a text")
        if "id" in message and not _is_id(message["id"]):
            return _refusal("an id is a number or a text")
        return message
    if not _is_id(message.get("id")):
        return None  # an answer to nothing; to answer it would be to talk for ever
    error = message.get("error")
    if "error" in message and not isinstance(error, dict):
        return {**message, "error": {}}
    return message


def _is_id(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _refusal(problem: str) -> dict[str, Any]:
    error = RequestError.invalid_request({"details": problem}).to_error_obj()
    return {"jsonrpc": "2.0", "id": None, "error": error}
