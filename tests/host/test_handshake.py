"""The handshake: who does not hold the key gets nothing, and nothing of his gets in.

What is said here is said of bytes alone; no socket is opened.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import (
    MAX_BODY,
    MAX_HELLO_BODY,
    Body,
    Frame,
    FrameDecoder,
    FrameError,
    FrameMac,
    Kind,
)
from jidocode._host.transport.handshake import Hello, Opening, Reception
from jidocode._host.transport.window import Parcel, SendWindow

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
SENDER = LoopbackAddress(4711, 12345)
NONCE = 77
SECRET = b"what only the target may read"


def frames_in(data: Body, limit: int = MAX_BODY) -> Iterator[Frame]:
    decoder = FrameDecoder(limit)
    decoder.receive(bytes(data))
    while not decoder.spent and (frame := decoder.next_frame()) is not None:
        yield frame


def frame_in(data: Body) -> Frame:
    [frame] = frames_in(data)
    return frame


def opening(nonce: int = NONCE, key: bytes = KEY) -> Opening:
    return Opening(key, Hello(SENDER, nonce))


def reception(opener: Opening, nonce: int = NONCE, key: bytes = KEY) -> Reception:
    return Reception(key, nonce, frame_in(opener.first))


class Sender:
    """An opener with something to say, all of whose bytes a stranger gets."""

    def __init__(self, nonce: int = NONCE) -> None:
        self.window = SendWindow()
        self.window.add(Parcel(Kind.CONFIRM, SECRET))
        self.window.connect(KEY, Hello(SENDER, nonce))
        self.has_ended = False
        self.written = self.write()

    def write(self) -> bytes:
        data = b""
        while True:
            if (piece := self.window.next_piece()) is not None:
                self.window.batch.sent.append(len(piece))
                data += piece
            elif self.window.has_more:
                self.window.seal(self.window.unsealed())
            else:
                return data

    def hear(self, data: bytes) -> bytes:
        """Take *data*, and return what is written then; nothing once it has ended."""
        try:
            list(self.window.receive(data))
        except FrameError:
            self.has_ended = True
        return b"" if self.has_ended else self.write()


def test_both_ends_have_the_same_keys_afterwards() -> None:
    """What one seals, the other accepts, in both directions."""
    opener = opening()
    listener = reception(opener)
    keys = opener.finish(frame_in(listener.reply))
    assert listener.keys is not None
    for sealing, checking in (
        (keys.forward, listener.keys.forward),
        (listener.keys.back, keys.back),
    ):
        checking.check(frame_in(sealing.seal(Kind.ACK, b"x") + b"x"))

    assert listener.hello.sender == SENDER


def test_nothing_of_a_message_leaves_before_the_target_has_proven_itself() -> None:
    """And all of it does afterwards."""
    sender = Sender()
    assert SECRET not in sender.written
    assert frame_in(sender.written).kind == Kind.HELLO

    welcome = Reception(KEY, NONCE, frame_in(sender.written))

    assert SECRET in sender.hear(welcome.reply)


def test_each_connection_and_each_direction_has_its_own_keys() -> None:
    """A frame of one connection, or of one direction, proves nothing in another."""
    opener = opening()
    macs: list[FrameMac] = []
    for listener in (reception(opener), reception(opener), reception(opening())):
        assert listener.keys is not None
        macs += listener.keys

    assert len({mac.seal(Kind.MESSAGE, b"same") for mac in macs}) == len(macs)


def test_another_life_refuses_with_proof() -> None:
    """A stranger on a dead actor's port cannot pass its handshake on to a living one."""
    sender = Sender()
    refusal = Reception(KEY, NONCE + 1, frame_in(sender.written))

    assert refusal.keys is None
    assert sender.hear(refusal.reply) == b""


def test_an_opener_without_the_key_is_refused() -> None:
    """Another system on this machine is a stranger like all others."""
    with pytest.raises(FrameError):
        reception(opening(key=OTHER_KEY))


def test_a_listener_without_the_key_is_refused() -> None:
    """It cannot read HELLO as its own, nor make a WELCOME."""
    opener = opening()
    forged = reception(opening(key=OTHER_KEY), key=OTHER_KEY)
    with pytest.raises(FrameError):
        opener.finish(frame_in(forged.reply))


@given(st.data())
def test_whatever_a_stranger_makes_of_what_he_has_seen_gets_nothing_out(
    data: st.DataObject,
) -> None:
    """Replies of other connections and of other lives, echoes, cuts, joins, flipped bits."""
    sender, twin = Sender(), Sender()
    dead_twin = Sender(NONCE + 1)
    seen = [
        sender.written,
        twin.written,
        Reception(KEY, NONCE, frame_in(twin.written)).reply,
        Reception(KEY, NONCE + 1, frame_in(sender.written)).reply,
        Reception(KEY, NONCE + 1, frame_in(dead_twin.written)).reply,
        Opening(OTHER_KEY, Hello(SENDER, NONCE)).first,
    ]
    piece = st.one_of(st.sampled_from(seen), st.binary(max_size=80))
    for attempt in data.draw(st.lists(st.lists(piece, max_size=3), max_size=4)):
        reply = bytearray(b"".join(attempt))
        if reply and data.draw(st.booleans()):
            bit = data.draw(st.integers(0, 8 * len(reply) - 1))
            reply[bit // 8] ^= 1 << bit % 8
        cut = data.draw(st.integers(0, len(reply)))

        assert SECRET not in sender.hear(bytes(reply[:cut]))


@given(st.data())
def test_whatever_a_stranger_makes_of_what_he_has_seen_gets_nothing_in(
    data: st.DataObject,
) -> None:
    """Not even all that an honest connection to this very listener has carried."""
    honest = Sender()
    first = Reception(KEY, NONCE, frame_in(honest.written))
    content = honest.hear(first.reply)
    assert first.keys is not None
    recorded = [honest.written, content, first.reply]
    piece = st.one_of(st.sampled_from(recorded), st.binary(max_size=80))
    stream = b"".join(data.draw(st.lists(piece, max_size=5)))
    got: list[Frame] = []
    keys = None
    try:
        for frame in frames_in(stream, MAX_HELLO_BODY):
            if keys is None:
                keys = Reception(KEY, NONCE, frame).keys
            else:
                keys.forward.check(frame)
                got.append(frame)
    except FrameError:
        pass

    assert got == []


@given(st.lists(st.integers(0, 100), max_size=6))
def test_any_split_of_the_reply_is_the_same_reply(cuts: list[int]) -> None:
    """TCP keeps no borders; before the last byte nothing leaves."""
    sender = Sender()
    reply = Reception(KEY, NONCE, frame_in(sender.written)).reply
    edges = [0, *sorted(min(cut, len(reply)) for cut in cuts), len(reply)]
    pieces = [reply[start:end] for start, end in itertools.pairwise(edges)]
    written = [
        (sender.hear(piece), sum(map(len, pieces[: n + 1]))) for n, piece in enumerate(pieces)
    ]

    assert all((SECRET in out) == (out != b"") for out, _ in written)
    assert all(out == b"" or total == len(reply) for out, total in written)
    assert sum(SECRET in out for out, _ in written) == 1


def test_a_truncated_handshake_lets_nothing_through() -> None:
    """Each proper beginning of either first frame is no proof."""
    opener = opening()
    reply = reception(opener).reply

    assert all(list(frames_in(opener.first[:n])) == [] for n in range(len(opener.first)))
    for n in range(len(reply)):
        sender = Sender()
        welcome = Reception(KEY, NONCE, frame_in(sender.written)).reply
        assert sender.hear(welcome[:n]) == b""


def test_both_may_dial_at_once() -> None:
    """Two connections, each proven for itself; neither's frames mean anything in the other."""
    one, two = LoopbackAddress(1, 1), LoopbackAddress(2, 2)
    to_two, to_one = Opening(KEY, Hello(one, two.nonce)), Opening(KEY, Hello(two, one.nonce))
    at_two = Reception(KEY, two.nonce, frame_in(to_two.first))
    at_one = Reception(KEY, one.nonce, frame_in(to_one.first))
    with pytest.raises(FrameError):
        to_two.finish(frame_in(at_one.reply))
    with pytest.raises(FrameError):
        to_two.finish(frame_in(to_one.first))

    assert to_two.finish(frame_in(at_two.reply))
    assert to_one.finish(frame_in(at_one.reply))


def test_an_own_echo_is_no_welcome() -> None:
    """As when a connection to a free port meets itself, or its target sends all back."""
    opener = opening()

    with pytest.raises(FrameError):
        opener.finish(frame_in(opener.first))


def test_hello_travels_unchanged() -> None:
    """It names the sender, the life of the target, and a salt."""
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
