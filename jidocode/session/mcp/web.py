"""A server behind an address: its answers are bounded, and its headers given to nobody else."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from jidocode.session.proxies import HERE

# Each request would be a line in the app's log, with its address, in which a key may stand.
for _name in ("httpx2", "httpcore2", "mcp"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_PLAIN = {"Accept-Encoding": "identity"}
"""A little that is sent could be made much where it is unpacked."""
MAX_ANSWER = 2**24
"""Bytes of an answer that is no stream of events; the transport bounds each event itself."""
STREAM_SECONDS = 3600.0
"""How long a stream of events may be silent; each call has its own time."""

END_SECONDS = 0.5
"""How long a server has to hear that the connection ends."""


@asynccontextmanager
async def web_client(
    headers: Mapping[str, str], seconds: float
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Give a client whose requests have *headers*; a server has *seconds* to be there."""
    timeout = httpx2.Timeout(seconds, read=STREAM_SECONDS)
    heads = {**_PLAIN, **headers}
    hooks: dict[str, list[Callable[..., Any]]] = {"request": [_hurry], "response": [_bound]}
    async with httpx2.AsyncClient(
        headers=heads, timeout=timeout, mounts=dict.fromkeys(HERE), event_hooks=hooks
    ) as client:
        yield client


async def _hurry(request: httpx2.Request) -> None:
    """Have the end of a session wait for hardly anything: nobody needs the answer."""
    if request.method == "DELETE":
        request.extensions["timeout"] = httpx2.Timeout(END_SECONDS).as_dict()


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.RemoteProtocolError("an answer that is packed, which was not asked for")
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        response.stream = _Bounded(response.stream)  # type: ignore[arg-type] # it is that of an AsyncClient


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > MAX_ANSWER:
                raise httpx2.StreamError(f"an answer of more than {MAX_ANSWER} bytes")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
