"""What is kept of an output, against all of it."""

from __future__ import annotations

import time

from hypothesis import given, strategies as st

from jidocode.session.commands.output import HeadAndTail

LIMITS = st.integers(0, 12)
CHUNKS = st.lists(st.binary(max_size=9), max_size=12)


@given(LIMITS, CHUNKS)
def test_the_first_and_the_last_bytes_are_kept(limit: int, chunks: list[bytes]) -> None:
    output = HeadAndTail(limit)
    for chunk in chunks:
        output.append(chunk)
    whole = b"".join(chunks)
    captured = output.captured()
    assert output.size == captured.size == len(whole)
    assert captured.cut == max(0, len(whole) - limit)
    head = limit - limit // 2
    assert captured.head == whole[:head]
    assert captured.tail == whole[max(head, len(whole) - limit // 2) :]
    if not captured.cut:
        assert captured.data == whole


@given(LIMITS, CHUNKS, st.integers(1, 5), st.data())
def test_a_reader_gets_every_byte_that_is_kept_in_its_place(
    limit: int, chunks: list[bytes], size: int, data: st.DataObject
) -> None:
    output, whole, offset = HeadAndTail(limit), b"", 0
    for chunk in chunks:
        output.append(chunk)
        whole += chunk
        for _ in range(data.draw(st.integers(0, 3))):
            start, got = output.read(offset, size)
            assert start >= offset
            assert got == whole[start : start + len(got)]
            assert got or offset >= len(whole) or not output.kept or not limit // 2
            offset = start + len(got)
    captured = output.captured()
    found: dict[int, int] = {}
    offset = 0
    while (part := output.read(offset, size))[1]:
        found |= dict(enumerate(part[1], part[0]))
        offset = part[0] + len(part[1])
    assert bytes(found[place] for place in sorted(found)) == captured.data


def test_many_small_pieces_take_no_more_memory_and_time_than_one() -> None:
    output = HeadAndTail(2**16)
    began = time.process_time()
    for _ in range(200_000):
        output.append(b"x")
    assert output.kept == 2**16
    assert time.process_time() - began < 2
    assert "[... 134464 bytes cut out ...]" in output.captured().text


@given(LIMITS, CHUNKS, st.data())
def test_what_is_unread_is_kept_and_the_rest_is_as_ever(
    limit: int, chunks: list[bytes], data: st.DataObject
) -> None:
    """Whoever reads from there on gets every byte, and no more than that is kept for it."""
    output, plain, whole, unread = HeadAndTail(limit), HeadAndTail(limit), b"", 0
    for chunk in chunks:
        output.append(chunk, unread)
        plain.append(chunk)
        whole += chunk
        found, offset = b"", unread
        while (part := output.read(offset, 3))[1]:
            assert part[0] == offset
            found += part[1]
            offset += len(part[1])
        assert found == whole[unread:]
        assert output.kept <= limit + len(whole) - unread
        unread = data.draw(st.integers(unread, len(whole)))
    assert output.captured() == plain.captured()
    assert not output.is_full(len(whole))
