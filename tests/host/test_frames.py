"""The wire format: whatever the pieces, the same frames; whatever is changed, refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import (
    HEADER,
    MAX_BODY,
    MAX_HELLO_BODY,
    Frame,
    FrameDecoder,
    FrameError,
    FrameMac,
    Hello,
    HelloMemory,
    Kind,
    connection_keys,
    hello_mac,
    pack_count,
    unpack_count,
)

KEY = bytes(range(32))
SENDER = LoopbackAddress(4711, 12345)

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


def test_each_connection_and_each_direction_has_its_own_keys() -> None:
    """A frame of one connection, or of one direction, proves nothing in another."""
    first = Hello(SENDER, 1).pack()
    second = Hello(SENDER, 1).pack()
    keys = [
        connection_keys(KEY, first).forward,
        connection_keys(KEY, first).back,
        connection_keys(KEY, second).forward,
        connection_keys(bytes(32), first).forward,
        hello_mac(KEY),
    ]

    assert len({mac.seal(Kind.MESSAGE, b"same") for mac in keys}) == len(keys)


def test_both_ends_derive_the_same_keys_from_hello() -> None:
    """What the opener seals, the listener accepts, and the other way round."""
    body = Hello(SENDER, 1).pack()
    opener, listener = connection_keys(KEY, body), connection_keys(KEY, bytearray(body))
    for sealing, checking in (
        (opener.forward, listener.forward),
        (listener.back, opener.back),
    ):
        frame = frames_of(sealing.seal(Kind.ACK, b"x") + b"x", [])[0]

        checking.check(frame)


def test_hello_travels_unchanged() -> None:
    """It names the sender, the life of the target, the moment and a salt."""
    hello = Hello(SENDER, (1 << 63) - 1)

    assert Hello.unpack(Frame(Kind.HELLO, b"", hello.pack())) == hello
    assert len(hello.pack()) <= MAX_HELLO_BODY


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.MESSAGE, b"", Hello(SENDER, 1).pack()),
        Frame(Kind.HELLO, b"", b""),
        Frame(Kind.HELLO, b"", Hello(SENDER, 1).pack() + b"x"),
        Frame(Kind.HELLO, b"", b"jidoco99" + Hello(SENDER, 1).pack()[8:]),
    ],
)
def test_a_first_frame_that_is_no_hello_of_ours_is_refused(frame: Frame) -> None:
    """Kind, length and version are looked at before anything in it is used."""
    with pytest.raises(FrameError, match="HELLO"):
        Hello.unpack(frame)


def test_a_count_travels_unchanged_and_nothing_else_passes_for_one() -> None:
    """Acknowledgements carry eight bytes."""
    assert unpack_count(Frame(Kind.ACK, b"", pack_count(7))) == 7

    with pytest.raises(FrameError, match="length"):
        unpack_count(Frame(Kind.ACK, b"", b"1234"))


def test_a_hello_opens_one_connection_only() -> None:
    """A recorded HELLO opens nothing, however much later it is played."""
    memory = HelloMemory(size=3)
    hellos = [Hello(SENDER, 1, stamp) for stamp in range(10)]
    assert [memory.admit(hello) for hello in hellos] == [True] * 10

    assert [memory.admit(hello) for hello in hellos] == [False] * 10


@given(st.lists(st.integers(0, 30), unique=True, min_size=1), st.integers(1, 5))
def test_the_memory_of_hellos_is_bounded_and_never_admits_twice(
    stamps: list[int], size: int
) -> None:
    """Whatever the order, the memory keeps *size* entries and refuses every copy."""
    memory = HelloMemory(size=size)
    hellos = [Hello(SENDER, 1, stamp) for stamp in stamps]
    admitted = [hello for hello in hellos if memory.admit(hello)]

    assert not any(memory.admit(hello) for hello in admitted)
    assert hellos[0] in admitted
    assert len(memory._seen) <= size
