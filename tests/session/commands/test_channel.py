"""The way between the processes that run commands."""

from __future__ import annotations

from jidocode.session.commands.channel import Channel


def test_a_last_word_comes_although_the_other_end_read_nothing() -> None:
    """The kernel tells first that nobody has read, and then what was said before."""
    ours, theirs = Channel.pair()
    ours.send(b"order")
    theirs.send(b"refused")
    theirs.close()

    assert ours.receive() == (b"refused", [])
    assert ours.receive() == (b"", [])
    assert not ours.send(b"order")
    ours.close()
