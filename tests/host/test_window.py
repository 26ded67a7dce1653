"""What is sent over a connection, and what becomes of it, without any connection."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jidocode._host.transport import window as window_module
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import (
    MAX_BODY,
    FrameDecoder,
    FrameError,
    Kind,
    pack_count,
)
from jidocode._host.transport.handshake import ConnectionKeys, Hello, Reception
from jidocode._host.transport.key import KEY_BYTES
from jidocode._host.transport.window import BATCH_BYTES, Outcome, Parcel, SendWindow

KEY = bytes(range(KEY_BYTES))
ME = LoopbackAddress(1, 1)
LONG = BATCH_BYTES + 1


class Receiver:
    """The other end of one connection: it checks and counts whatever is written."""

    def __init__(self, window: SendWindow, target_nonce: int = 7) -> None:
        window.connect(KEY, Hello(ME, target_nonce))
        self.target_nonce = target_nonce
        self.window = window
        self.decoder = FrameDecoder(MAX_BODY)
        self.keys: ConnectionKeys | None = None
        self.got: list[tuple[Kind, bytes]] = []

    def write(self, limit: float = math.inf) -> None:
        """Do what a link does: write pieces, no more than *limit* bytes in all."""
        while limit > 0:
            piece = self.window.next_piece()
            if piece is not None:
                taken = int(min(limit, len(piece)))
                self.window.batch.sent.append(taken)
                limit -= taken
                self.read(bytes(piece[:taken]))
            elif self.window.has_more:
                self.window.seal(self.window.unsealed())
            else:
                return

    def read(self, data: bytes) -> None:
        self.decoder.receive(data)
        while (frame := self.decoder.next_frame()) is not None:
            if self.keys is None:
                reception = Reception(KEY, self.target_nonce, frame)
                self.keys = reception.keys
                assert list(self.window.receive(reception.reply)) == []
            else:
                self.keys.forward.check(frame)
                self.got.append((Kind(frame.kind), bytes(frame.body)))

    def reply(self, kind: Kind, count: int) -> bytes:
        assert self.keys is not None
        body = pack_count(count)
        return self.keys.back.seal(kind, body) + body

    def acknowledge(self, count: int | None = None) -> list[Outcome]:
        reply = self.reply(Kind.ACK, len(self.got) if count is None else count)
        return [outcome for _, outcome in self.window.receive(reply)]


def message(body: bytes = b"x", kind: Kind = Kind.MESSAGE) -> Parcel:
    return Parcel(kind, body)


def filled(*bodies: bytes, kind: Kind = Kind.MESSAGE) -> SendWindow:
    window = SendWindow()
    for body in bodies:
        assert window.add(message(body, kind))
    return window


@given(
    st.lists(st.sampled_from([b"", b"a", bytes(1000), bytes(LONG)]), max_size=8),
    st.lists(st.integers(min_value=1, max_value=2 * LONG), max_size=20),
)
def test_whatever_the_kernel_takes_arrives_once_and_in_order(
    bodies: list[bytes], limits: list[int]
) -> None:
    """In pieces of any size."""
    window = filled(*bodies)
    receiver = Receiver(window)
    for limit in (*limits, math.inf):
        receiver.write(limit)

    assert [body for _, body in receiver.got] == bodies
    assert len(window) == len(bodies)


def test_what_was_not_acknowledged_is_sent_again_over_the_next_connection() -> None:
    """With the keys of that one, and from its start."""
    window = filled(b"1", b"2", b"3")
    first = Receiver(window)
    first.write()
    first.acknowledge(1)
    window.add(message(b"4"))
    window.disconnect()
    second = Receiver(window)
    second.write()

    assert [body for _, body in second.got] == [b"2", b"3", b"4"]
    assert second.acknowledge() == []
    assert len(window) == 0


def test_what_was_written_in_part_is_written_whole_over_the_next_connection() -> None:
    """The rest of a frame means nothing there."""
    window = filled(bytes(LONG))
    Receiver(window).write(1000)
    window.disconnect()
    second = Receiver(window)
    second.write()

    assert [len(body) for _, body in second.got] == [LONG]


def test_an_interruption_while_a_batch_is_made_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C may come anywhere; what it has kept from being sealed is sealed later."""
    window = SendWindow()
    receiver = Receiver(window)
    receiver.write()
    window.add(message(b"1"))
    window.add(message(b"2"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(window_module, "Batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            window.seal(window.unsealed())
    receiver.write()

    assert [body for _, body in receiver.got] == [b"1", b"2"]


def test_a_message_ends_by_its_acknowledgement() -> None:
    """Only those are named whose senders want to know."""
    window = filled(b"quiet")
    window.add(message(b"asks", Kind.CONFIRM))
    window.add(message(b"asks too", Kind.CONFIRM))
    receiver = Receiver(window)
    receiver.write()

    assert receiver.acknowledge(2) == [Outcome.DELIVERED]
    assert receiver.acknowledge(2) == []
    assert receiver.acknowledge(3) == [Outcome.DELIVERED]


def test_a_message_that_could_not_be_read_is_named_at_its_place() -> None:
    """In the order in which they were posted, whichever kind it is."""
    window = filled(b"0", b"1", b"2", kind=Kind.CONFIRM)
    window.add(message(b"3"))
    receiver = Receiver(window)
    receiver.write()
    for place in (1, 3):
        assert list(window.receive(receiver.reply(Kind.REJECT, place))) == []

    assert receiver.acknowledge() == [
        Outcome.DELIVERED,
        Outcome.UNREADABLE,
        Outcome.DELIVERED,
        Outcome.UNREADABLE,
    ]


def test_a_rejection_is_forgotten_with_its_connection() -> None:
    """Places are counted anew."""
    window = filled(b"0", kind=Kind.CONFIRM)
    first = Receiver(window)
    first.write()
    list(window.receive(first.reply(Kind.REJECT, 0)))
    window.disconnect()
    second = Receiver(window)
    second.write()

    assert second.acknowledge() == [Outcome.DELIVERED]


def _too_many(receiver: Receiver) -> bytes:
    return receiver.reply(Kind.ACK, 2)


def _refusal(receiver: Receiver) -> bytes:
    return receiver.reply(Kind.REFUSE, 0)


def _hello(receiver: Receiver) -> bytes:
    return receiver.reply(Kind.HELLO, 0)


def _forged(receiver: Receiver) -> bytes:
    return receiver.reply(Kind.ACK, 1)[:-1] + b"\0"


@pytest.mark.parametrize("reply", [_too_many, _refusal, _hello, _forged])
def test_replies_that_are_none_end_the_connection(reply: Callable[[Receiver], bytes]) -> None:
    """The message stays: only its link can say what becomes of it."""
    window = filled(b"0")
    receiver = Receiver(window)
    receiver.write()
    with pytest.raises(FrameError):
        list(window.receive(reply(receiver)))

    assert len(window) == 1


def test_what_was_acknowledged_before_a_forged_reply_was_delivered() -> None:
    """Although both come at once."""
    window = filled(b"0", kind=Kind.CONFIRM)
    receiver = Receiver(window)
    receiver.write()
    seen: list[Outcome] = []
    replies = window.receive(receiver.reply(Kind.ACK, 1) + bytes(100))
    seen.append(next(replies)[1])
    with pytest.raises(FrameError):
        next(replies)

    assert seen == [Outcome.DELIVERED]
    assert len(window) == 0


def test_the_number_of_messages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that somebody waits for are always taken."""
    monkeypatch.setattr(window_module, "MAX_QUEUED_MESSAGES", 2)
    window = filled(b"0", b"1")

    assert not window.add(message())
    assert window.add(Parcel(Kind.MESSAGE, b"answer", asked_for=True))


def test_the_bytes_of_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of any size is taken; the acknowledgement makes room again."""
    monkeypatch.setattr(window_module, "MAX_QUEUED_BYTES", 10)
    window = filled(bytes(50))
    assert not window.add(message())
    receiver = Receiver(window)
    receiver.write()
    receiver.acknowledge()

    assert window.add(message(bytes(10)))
    assert not window.add(message())


def test_what_expires_unsealed_is_never_sent() -> None:
    """What is sealed may be on its way; its sender is told all the same, once."""
    told: list[str] = []
    window = SendWindow()
    receiver = Receiver(window)

    def note(name: str, _outcome: Outcome) -> None:
        told.append(name)

    for name, expires in (("sealed", 1.0), ("unsealed", 2.0), ("lasting", math.inf)):
        window.add(Parcel(Kind.CONFIRM, name.encode(), partial(note, name), expires))
        if name == "sealed":
            receiver.write()
    assert window.next_expiry() == 1.0
    for settle in (*window.expire(5.0), *window.expire(6.0)):
        assert settle is not None
        settle(Outcome.EXPIRED)
    receiver.write()

    assert told == ["sealed", "unsealed"]
    assert window.next_expiry() == math.inf
    assert [body for _, body in receiver.got] == [b"sealed", b"lasting"]


def test_a_long_message_is_freed_once_it_is_acknowledged() -> None:
    """The window keeps no copy of it in its last batch."""
    window = filled(bytes(LONG))
    receiver = Receiver(window)
    receiver.write()
    receiver.acknowledge()

    assert window.batch.size == 0


class Traffic(RuleBasedStateMachine):
    """Posts, writes, acknowledgements and breaks, in any order.

    The peer drops a connection only before it has read from it, or for good: so the
    breaks here lose nothing that was read, and nothing may arrive twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.window = SendWindow()
        self.posted: list[bytes] = []
        self.arrived: list[bytes] = []
        self.receiver = Receiver(self.window)

    @rule(size=st.sampled_from([0, 10, BATCH_BYTES - 1, LONG]))
    def post(self, size: int) -> None:
        body = len(self.posted).to_bytes(4) + bytes(size)
        self.posted.append(body)
        assert self.window.add(message(body))

    @rule(limit=st.integers(min_value=1, max_value=4 * LONG))
    def write(self, limit: int) -> None:
        self.receiver.write(limit)

    @precondition(lambda self: self.receiver.keys is not None)
    @rule(part=st.floats(min_value=0, max_value=1))
    def acknowledge(self, part: float) -> None:
        already = len(self.arrived)
        count = already + int(part * (len(self.receiver.got) - already))
        self.receiver.acknowledge(count)
        self.arrived = [body for _, body in self.receiver.got[:count]]

    @precondition(lambda self: not self.arrived)
    @rule()
    def break_unread(self) -> None:
        self.window.disconnect()
        self.receiver = Receiver(self.window)

    @invariant()
    def all_is_accounted_for(self) -> None:
        got = [body for _, body in self.receiver.got]
        assert got == self.posted[: len(got)]
        assert len(self.window) == len(self.posted) - len(self.arrived)

    def teardown(self) -> None:
        self.receiver.write()
        assert [body for _, body in self.receiver.got] == self.posted


TestTraffic = Traffic.TestCase
