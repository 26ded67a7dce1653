"""What is sent over a connection, and what becomes of it: bytes out, replies in, no socket.

Rule: whether a message is sent, sent again, or given up is decided here. A
`SendWindow` never touches a socket, a clock or a lock; `outbound.Link` does, and
only passes on bytes. So every promise about messages can be tested without a network.

The window is a queue of all that is not acknowledged, in the order in which it
was posted. Nothing of it is sealed before the peer has proven itself (see `handshake`).
It has three parts::

    acknowledged | sealed for this connection | not sealed
                 ^ acked                      ^ acked + what is sealed
                   (leaves the queue)

A place in that order counts the messages of one connection from 0. When a
connection is opened anew both counts start at 0 again, and whatever is in the
queue is sealed again, with the keys of the new connection. That makes nothing
arrive twice, because a peer drops a connection only before it has read from it
(too many strangers) or when it ends for good.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from jidocode._host.transport.frames import (
    MAX_REPLY_BODY,
    FrameDecoder,
    FrameError,
    FrameMac,
    Kind,
    unpack_count,
)
from jidocode._host.transport.handshake import Hello, Opening

MAX_QUEUED_MESSAGES = 10_000
"""Messages to one peer that may wait for their acknowledgement."""
MAX_QUEUED_BYTES = 128 << 20
"""Bytes of them; one message of any size is always taken."""

BATCH_BYTES = 1 << 16
"""Bytes of messages that are sealed at a time; a longer one is sealed alone."""
_BATCH_MESSAGES = 1 << 10


class Outcome(enum.Enum):
    """How a message ended; as text, the end of the sentence that says why it did not arrive."""

    DELIVERED = "it arrived"
    """The target has acknowledged it."""
    DEAD_TARGET = "nobody listens there any more"
    """The target was dead, or died before it acknowledged: it may have handled the message."""
    UNREADABLE = "it cannot be unpickled there"
    EXPIRED = "it waited too long"
    CLOSED = "its sender has ended"
    TOO_LONG = "it is too long"
    TOO_MANY = "too many messages wait there already"
    UNREACHABLE = "every connection breaks"
    """The target may live; it has let nobody in for some twenty attempts."""

    def __str__(self) -> str:
        return self.value


Settle = Callable[[Outcome], object]


class Parcel(Struct, eq=False):
    """One message on its way to one peer.

    Attributes:
        kind: MESSAGE, CONFIRM or NUDGE.
        body: The pickled message.
        settle: Called once, from the run loop, with how it ended, a MESSAGE's
            only if that is not well; None when nobody asks.
        expires: When to give up (monotonic seconds).
        asked_for: Whether the peer waits for it, and so reads it: it is always taken.
    """

    kind: Kind
    body: bytes
    settle: Settle | None = None
    expires: float = math.inf
    asked_for: bool = False


class Batch(NamedTuple):
    """What is being written to a connection.

    One value, replaced as a whole: whoever is interrupted (Ctrl-C) while he makes
    the next one has changed nothing.
    """

    sealed: int
    """Messages that this connection has carried, these included."""
    pieces: Sequence[bytes]
    size: int
    """Bytes of the pieces together."""
    sent: deque[int]
    """How many of them the kernel took, call by call."""


class SendWindow:
    """The messages to one peer that are not acknowledged, over one connection at a time.

    Several threads use it, under two locks of their own (see `outbound.Link`): one is
    held around whatever changes the queue, and hardly for long; the other by who
    writes, that is from `connect` or `unsealed` to the last `next_piece`. So sealing
    a long message keeps nobody from posting the next.

    Attributes:
        batch: What is being written; note in its `sent` what the kernel took.
    """

    def __init__(self) -> None:
        self.batch = _nothing_after(0)
        self._queue: deque[Parcel] = deque()
        self._bytes = 0
        self._acked = 0
        self._opening: Opening | None = None
        self._forward: FrameMac | None = None
        self._back: FrameMac | None = None
        self._decoder = FrameDecoder(MAX_REPLY_BODY)
        self._rejected: set[int] = set()

    # What is posted

    def __len__(self) -> int:
        """Return how many messages are not acknowledged."""
        return len(self._queue)

    def add(self, parcel: Parcel) -> bool:
        """Take *parcel* behind all others; False if there is no room for it."""
        size = len(parcel.body)
        if not parcel.asked_for and self._is_full(size):
            return False
        self._queue.append(parcel)
        self._bytes += size
        return True

    def _is_full(self, size: int) -> bool:
        queued = len(self._queue)
        return queued >= MAX_QUEUED_MESSAGES or (
            queued > 0 and self._bytes + size > MAX_QUEUED_BYTES
        )

    @property
    def wants_nudge(self) -> bool:
        """Whether the peer would take its time to acknowledge the last message."""
        return bool(self._queue) and self._queue[-1].kind is Kind.MESSAGE

    # Connections

    def connect(self, key: bytes, hello: Hello) -> None:
        """Begin a connection with *hello*, which is all there is to write until it is answered."""
        self._opening = Opening(key, hello)
        self._decoder = FrameDecoder(MAX_REPLY_BODY)
        self._rejected.clear()
        self._acked = 0
        first = self._opening.first
        self.batch = Batch(0, (first,), len(first), deque())

    def disconnect(self) -> None:
        """Drop what is sealed: the connection is gone."""
        self._opening = None
        self.batch = _nothing_after(self._acked)

    @property
    def has_acknowledged(self) -> bool:
        """Whether the peer has acknowledged anything over this connection."""
        return self._acked > 0

    @property
    def is_greeting(self) -> bool:
        """Whether the peer of this connection has yet to prove that it is the target."""
        return self._opening is not None

    @property
    def has_more(self) -> bool:
        """Whether there is more to write.

        Without the lock it may count messages that are just acknowledged, but
        misses none: see the order in `_acknowledge`.
        """
        batch = self.batch
        has_unsealed = self._opening is None and len(self._queue) > batch.sealed - self._acked
        return has_unsealed or sum(batch.sent) < batch.size

    def next_piece(self) -> bytes | memoryview | None:
        """Return the bytes of the batch to write next; None if all of it is written."""
        sealed, pieces, size, sent = self.batch
        taken = sum(sent)
        if taken < size:
            return _from(pieces, taken) if taken else pieces[0]
        if size > BATCH_BYTES:  # free it: the next message may be a long time coming
            self.batch = _nothing_after(sealed)
        return None

    def unsealed(self) -> list[Parcel]:
        """Return the messages for the next batch."""
        first = self.batch.sealed - self._acked
        return list(itertools.islice(self._queue, first, first + _BATCH_MESSAGES))

    def seal(self, parcels: Sequence[Parcel]) -> None:
        """Make a batch of *parcels*, or of the first of them; small ones are joined."""
        assert self._forward is not None  # noqa: S101 - nothing is unsealed before WELCOME
        sealed = self.batch.sealed
        self._forward.place = sealed  # an interruption may have left it elsewhere
        pieces: list[bytes] = []
        small, size = list[bytes](), 0
        for parcel in parcels:
            body = parcel.body
            small.append(self._forward.seal(parcel.kind, body))
            sealed += 1
            size += len(body)
            if len(body) < BATCH_BYTES:
                small.append(body)
            else:
                pieces += (b"".join(small), body)
                small = []
            if size >= BATCH_BYTES:
                break
        pieces.append(b"".join(small))
        self.batch = Batch(sealed, pieces, sum(map(len, pieces)), deque())

    # Replies, and ends

    def receive(self, data: bytes) -> Iterator[tuple[Settle | None, Outcome]]:
        """Take the next bytes of the peer, and yield how messages end by them, in order.

        Only of those whose senders want to know: one that could not be read, and a
        CONFIRM that was.

        Raises:
            FrameError: It is not this connection's peer who speaks, or it
                refuses: the target is dead. What was yielded before holds.
        """
        self._decoder.receive(data)
        while not self._decoder.spent and (frame := self._decoder.next_frame()) is not None:
            if self._opening is not None:
                self._forward, self._back = self._opening.finish(frame)
                self._opening = None  # last: from now on others write
                continue
            assert self._back is not None  # noqa: S101 - there was a WELCOME
            self._back.check(frame)
            if frame.kind == Kind.ACK:
                yield from self._acknowledge(unpack_count(frame))
            elif frame.kind == Kind.REJECT:
                self._rejected.add(unpack_count(frame))
            else:
                raise FrameError("a reply is of an unknown kind")

    def _acknowledge(self, count: int) -> list[tuple[Settle | None, Outcome]]:
        first = self._acked
        if not first <= count <= self.batch.sealed:
            raise FrameError("an acknowledgement counts what was not sent")
        self._acked = count  # before the queue changes, for `has_more`
        ended: list[tuple[Settle | None, Outcome]] = []
        for place in range(first, count):
            parcel = self._queue.popleft()
            self._bytes -= len(parcel.body)
            if place in self._rejected:
                self._rejected.discard(place)
                ended.append((parcel.settle, Outcome.UNREADABLE))
            elif parcel.kind is Kind.CONFIRM:
                ended.append((parcel.settle, Outcome.DELIVERED))
        return ended

    def expire(self, now: float) -> list[Settle | None]:
        """Return whom to tell that a message's time is over, once; drop what was not sealed."""
        late = [parcel for parcel in self._queue if parcel.expires <= now]
        sealed = set(itertools.islice(self._queue, self.batch.sealed - self._acked))
        unsent = [parcel for parcel in late if parcel not in sealed]
        if unsent:
            self._queue = deque(p for p in self._queue if p.expires > now or p in sealed)
            self._bytes -= sum(len(parcel.body) for parcel in unsent)
        ended = [parcel.settle for parcel in late]
        for parcel in late:  # those that were sealed may still arrive, and stay
            parcel.settle, parcel.expires = None, math.inf
        return ended

    def next_expiry(self) -> float:
        """Return when the next message expires (monotonic seconds), or infinity."""
        return min((parcel.expires for parcel in self._queue), default=math.inf)

    def clear(self) -> list[Settle | None]:
        """Drop all messages, and return whom to tell."""
        ended = [parcel.settle for parcel in self._queue]
        self._queue.clear()
        self._bytes = 0
        return ended


def _from(pieces: Sequence[bytes], skip: int) -> bytes | memoryview:
    """Return what follows the *skip* first bytes of *pieces*, up to the end of one."""
    for piece in pieces:
        if skip < len(piece):
            return memoryview(piece)[skip:] if skip else piece
        skip -= len(piece)
    raise IndexError(skip)


def _nothing_after(sealed: int) -> Batch:
    return Batch(sealed, (), 0, deque())
