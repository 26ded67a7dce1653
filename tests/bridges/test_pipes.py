"""What comes of a client's end of standard input and output."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from jidocode.bridges.pipes import Pipes

LONGEST = 10


async def read(pipes: Pipes) -> list[bytes | None]:
    return [text async for text in pipes.lines(LONGEST)]


def test_lines_come_until_the_end(tmp_path: Path) -> None:
    """Of a pipe and of a file; one that is too long is told of, and the next one comes."""
    said = b"one\n" + b"x" * 100_000 + b"\ntwo\nnone"
    file = tmp_path / "input"
    file.write_bytes(said)
    reading, writing = os.pipe()

    async def talk() -> list[bytes | None]:
        found = asyncio.ensure_future(read(Pipes(reading, writing)))
        await Pipes(reading, writing).write(said)
        os.close(writing)
        return await found

    assert asyncio.run(talk()) == [b"one", None, b"two"]
    os.close(reading)
    with file.open("rb") as opened:
        assert asyncio.run(read(Pipes(opened.fileno(), -1))) == [b"one", None, b"two"]


def test_a_client_that_is_killed_is_gone() -> None:
    """Though it has not read all: of a socket, that is an error where it is read from."""
    ours, theirs = socket.socketpair()
    with ours:
        pipes = Pipes(ours.fileno(), ours.fileno())
        asyncio.run(pipes.write(b"an answer\n"))
        theirs.close()

        assert asyncio.run(read(pipes)) == []
        with pytest.raises(ConnectionError):
            asyncio.run(pipes.write(b"another one\n"))
