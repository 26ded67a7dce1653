"""What a server may send: the answer, or an error in its place, in bytes.

Seconds alone do not bound it: a server that sends as fast as it can fills the memory in a few of
them. The SDK reads an error to its end, whatever its length, so it is read here, before the SDK
sees it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import cast

import httpx2

from jidocode.errors import ModelInterruptedError

MOST_BYTES = 256_000_000
"""Of one answer, with all that stands around it: what sends more does not end."""
MOST_ERROR_BYTES = 65_536
"""Of an error: no more is read."""


class ErrorAnswerError(Exception):
    """A server has answered with an error.

    Attributes:
        status: The HTTP status.
        body: What it says: the JSON of its beginning if that is some, else the text of it.
        retry_after: The header, None if there is none.
    """

    def __init__(self, status: int, body: object, retry_after: str | None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.retry_after = retry_after


async def bound(response: httpx2.Response) -> None:
    """Bound *response*, of which only the head has been read: a hook of the HTTP client.

    Raises:
        ErrorAnswerError: It is an error.
        ModelInterruptedError: It is compressed, which was not asked for: its bytes say nothing
            about how much it is.
    """
    compressed = response.headers.get("content-encoding", "identity").strip().lower() != "identity"
    if response.is_success:
        if compressed:
            raise ModelInterruptedError("it is compressed, which was not asked for")
        response.stream = _BoundedStream(cast("httpx2.AsyncByteStream", response.stream))
        return
    said = bytearray()
    try:
        async for chunk in response.aiter_raw():
            said += chunk[: MOST_ERROR_BYTES - len(said)]
            if len(said) >= MOST_ERROR_BYTES:
                break
    except (httpx2.HTTPError, httpx2.StreamError):
        pass  # the status is there, and says more than that its body broke off
    finally:
        await response.aclose()
    text = "" if compressed else said.decode("utf-8", "replace")
    try:
        body: object = json.loads(text)
    except (ValueError, RecursionError):
        body = text
    raise ErrorAnswerError(response.status_code, body, response.headers.get("retry-after"))


class _BoundedStream(httpx2.AsyncByteStream):
    """The bytes of an answer, as they come; a comment in it is no event, and counts all the same.

    Raises:
        ModelInterruptedError: There are too many.
    """

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        count = 0
        async for chunk in self._stream:
            count += len(chunk)
            if count > MOST_BYTES:
                raise ModelInterruptedError(f"more than {MOST_BYTES} bytes came")
            yield chunk

    async def aclose(self) -> None:
        """Close the connection, or give it back."""
        await self._stream.aclose()
