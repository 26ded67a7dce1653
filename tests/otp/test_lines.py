"""Bytes that come in pieces, as lines."""

from __future__ import annotations

from hypothesis import given, strategies as st

from jidocode.base.lines import LineReader

LONGEST = 5

PIECES = st.lists(st.lists(st.sampled_from([b"a", b"b", b"\n"]), max_size=9).map(b"".join))


@given(PIECES)
def test_however_lines_are_cut_into_pieces_they_are_the_same(pieces: list[bytes]) -> None:
    """One that has not ended yet is not there, unless it is too long already."""
    reader = LineReader(LONGEST)

    read = [text for piece in pieces for text in reader.feed(piece)]

    *ended, last = b"".join(pieces).split(b"\n")
    expected = [None if len(text) > LONGEST else text for text in ended]
    assert read == expected + ([None] if len(last) > LONGEST else [])


def test_of_a_line_that_is_too_long_nothing_is_kept() -> None:
    """It is told of when it is too long, not when it ends; the next line is read."""
    reader = LineReader(LONGEST)

    assert list(reader.feed(b"x" * 6)) == [None]
    for _ in range(100):
        assert not list(reader.feed(b"x" * 1000))
    assert not reader._rest
    assert list(reader.feed(b"\nnext\n")) == [b"next"]
