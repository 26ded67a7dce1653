"""What is kept of what a server's program says on its standard error."""

from __future__ import annotations

import os

import anyio
import pytest

from jidocode.session.commands.streams import Streams
from jidocode.session.mcp.transport import PipeTransport


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", ""),
        ("no such\nfile\n", "no such\nfile"),
        ("k" * 10_000, ""),
        ("k" * 10_000 + " is no key", "is no key"),
    ],
)
def test_the_last_words_begin_with_a_whole_one(said: str, kept: str) -> None:
    """Half of a key is none that is found in them, to be taken out."""
    streams = Streams.pipes(has_input=True, merge=False)
    pipes = PipeTransport("shop", streams, lambda: None)
    os.write(streams.theirs[2], said.encode())
    streams.close_theirs()
    anyio.run(pipes._keep_last_words)
    streams.close()

    assert pipes.said_last() == kept
