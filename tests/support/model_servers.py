"""A server that plays a model's as nobody should: cuts, stalls, garbage, no end.

What a proper fake can do, aimock does (tests/model).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Generator, Sequence
from enum import Enum, auto
from typing import Any, Self

from attrs import define, field


class Step(Enum):
    """What the server does instead of sending bytes."""

    STALL = auto()
    """Nothing, until the client hangs up."""
    RESET = auto()
    """Break the connection, by RST."""
    FLOOD = auto()
    """The bytes before it again, as fast as they are taken, until the client hangs up."""
    PAUSE = auto()
    """Let what was sent arrive by itself."""


Answer = Sequence[bytes | Step]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(**delta: Any) -> bytes:
    """Return the event of a piece of an answer."""
    return chunk(choices=[{"index": 0, "delta": delta}])


def end(reason: str = "stop") -> bytes:
    """Return the event that says why the answer ended."""
    return chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])


def chunk(**fields: Any) -> bytes:
    """Return an event."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def said(*pieces: bytes) -> Answer:
    """Return a whole answer of these events."""
    return [HEAD, *pieces, end(), DONE]


def status(code: int, body: object = None, **headers: str) -> Answer:
    """Return an answer that is an error; `retry_after="1"` is a header."""
    text = json.dumps({"error": {"message": "no"}} if body is None else body).encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(text)}", "Content-Type: application/json"]
    head = f"HTTP/1.1 {code} Whatever\r\n" + "\r\n".join([*lines, "Connection: close"])
    return [head.encode() + b"\r\n\r\n" + text]


@define
class Asked:
    """A request that came."""

    headers: dict[str, str]
    body: dict[str, Any]


@define
class ModelServer:
    """Answers requests by *answers*, one after the other; the last one again and again."""

    answers: Sequence[Answer]
    asked: list[Asked] = field(factory=list[Asked])
    hung_up: asyncio.Event = field(factory=asyncio.Event)
    """Set when a client has closed a connection before the server has."""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The base_url of a model."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                await self._answer(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(Asked(headers, json.loads(body or b"{}")))
        last = b""
        for step in answer:
            match step:
                case bytes():
                    last = step
                    writer.write(step)
                    await writer.drain()
                case Step.PAUSE:
                    await asyncio.sleep(0.02)
                case Step.FLOOD:
                    while True:
                        writer.write(last)
                        await writer.drain()
                case Step.STALL:
                    await reader.read(1)
                    self.hung_up.set()
                case Step.RESET:
                    writer.transport.abort()
                    return


@contextlib.contextmanager
def serving(answers: Sequence[Answer]) -> Generator[ModelServer]:
    """Play a model in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = ModelServer(answers)
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield server
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
