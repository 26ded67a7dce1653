"""The wire format: whatever the pieces, the same frames; whatever is changed, refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from jidocode._host.transport.frames import (
    HEADER,
    MAX_BODY,
    MAX_HELLO_BODY,
    Frame,
    FrameDecoder,
    FrameError,
    FrameMac,
    Kind,
    pack_count,
    unpack_count,
)

KEY = bytes(range(32))

bodies = st.lists(st.binary(max_size=40), max_size=6)


def stream_of(bodies: list[bytes], key: bytes = KEY) -> bytes:
    mac = FrameMac(key)
    return b"".join(mac.seal(Kind.MESSAGE, body) + body for body in bodies)


def frames_of(stream: bytes, cuts: list[int], *, limit: int = MAX_BODY) -> list[Frame]:
    decoder = FrameDecoder(limit)
    frames: list[Frame] = []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        decoder.receive(stream[start:end])
        while (frame := decoder.next_frame()) is not None:
            frames.append(frame)
    return frames


def accepted(frames: list[Frame], key: bytes = KEY) -> list[bytes]:
    mac = FrameMac(key)
    for frame in frames:
        mac.check(frame)
    return [bytes(frame.body) for frame in frames]


def accepted_before_refusal(stream: bytes) -> list[bytes]:
    decoder, mac, taken = FrameDecoder(1000), FrameMac(KEY), list[bytes]()
    decoder.receive(stream)
    try:
        while (frame := decoder.next_frame()) is not None:
            mac.check(frame)
            taken.append(bytes(frame.body))
    except FrameError:
        pass
    return taken


@given(bodies=bodies, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_split_of_the_stream_gives_the_same_frames(
    bodies: list[bytes], cuts: list[int]
) -> None:
    """TCP keeps no borders: a frame may come in any pieces, several in one piece."""
    frames = frames_of(stream_of(bodies), cuts)

    assert accepted(frames) == bodies


@given(bodies=bodies.filter(bool), data=st.data())
def test_a_flipped_bit_anywhere_is_refused(bodies: list[bytes], data: st.DataObject) -> None:
    """Length, kind, MAC and body are all proven: no changed stream yields what was not sent."""
    stream = bytearray(stream_of(bodies))
    bit = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[bit // 8] ^= 1 << bit % 8
    taken = accepted_before_refusal(bytes(stream))

    assert taken == bodies[: len(taken)]
    assert len(taken) < len(bodies)


def test_a_body_read_into_its_room_is_the_same_body() -> None:
    """A long body is received in place, without copies."""
    body = bytes(range(256)) * 40
    stream = stream_of([body, b"next"])
    decoder = FrameDecoder(MAX_BODY)
    decoder.receive(stream[:100])
    assert decoder.next_frame() is None
    room = decoder.room()
    assert room is not None
    room[:] = stream[100 : 100 + len(room)]
    decoder.filled(len(room))
    first = decoder.next_frame()
    assert first is not None
    decoder.receive(stream[100 + len(room) :])
    second = decoder.next_frame()
    assert second is not None

    assert accepted([first, second]) == [body, b"next"]
    assert decoder.room() is None


@pytest.mark.parametrize("length", [MAX_HELLO_BODY + 1, 1 << 31, (1 << 32) - 1])
def test_an_announced_length_beyond_the_limit_is_refused_at_once(length: int) -> None:
    """No memory is set aside for what a stranger announces (a negative length is a huge one)."""
    with pytest.raises(FrameError, match="allowed"):
        frames_of(HEADER.pack(length, Kind.HELLO, bytes(16)), [], limit=MAX_HELLO_BODY)


def test_a_frame_sent_again_is_refused() -> None:
    """The place in the order is part of the MAC."""
    frame = frames_of(stream_of([b"one"]), [])[0]
    mac = FrameMac(KEY)
    mac.check(frame)

    with pytest.raises(FrameError):
        mac.check(frame)


def test_frames_in_another_order_are_refused() -> None:
    """Nobody can move a frame within its connection."""
    one, two = frames_of(stream_of([b"one", b"two"]), [])

    with pytest.raises(FrameError):
        accepted([two, one])


def test_a_count_travels_unchanged_and_nothing_else_passes_for_one() -> None:
    """Acknowledgements carry eight bytes."""
    assert unpack_count(Frame(Kind.ACK, b"", pack_count(7))) == 7

    with pytest.raises(FrameError, match="length"):
        unpack_count(Frame(Kind.ACK, b"", b"1234"))
