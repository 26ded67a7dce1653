"""The sending end of a connection: one `Link` per peer that is written to.

Its other end is an `inbound.Inbound`. Messages travel from a Link to an
Inbound, acknowledgements back; two peers that talk both ways have one
connection per direction.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import math
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from msgspec import Struct
from thespian.system.transport import SendStatus

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import (
    MAX_REPLY_BODY,
    Frame,
    FrameDecoder,
    FrameError,
    Hello,
    Kind,
    connection_keys,
    hello_mac,
    unpack_count,
)
from jidocode._host.transport.poller import READ, WRITE, Poller
from jidocode.base import log

MAX_QUEUED_MESSAGES = 10_000
"""Messages to one peer that may wait for their acknowledgement."""
MAX_QUEUED_BYTES = 128 << 20
"""Bytes of them; one message of any size is always taken."""

_BATCH = 1 << 10
_CHUNK = 1 << 16
_PER_TURN = 1 << 20
_REPLY_READ = 1 << 12
_MAX_ATTEMPTS = 20
_LONGEST_PAUSE = 1.0
_SHORTEST_PAUSE = 0.001
_EXPIRY_STEP = 1.0
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_SIOCOUTQNSD = 0x894B  # linux/sockios.h: how many bytes the kernel has not sent yet

Settle = Callable[[SendStatus.BASE], object]


class Undelivered(SendStatus.BASE):
    """Why a message will not arrive although its target may live; as text, a sentence's end."""

    _isGood = False  # noqa: N815 - Thespian's name

    def __init__(self, why: str) -> None:
        self._why = why

    def __str__(self) -> str:
        return self._why


TOO_LONG = Undelivered("it is too long")
TOO_MANY = Undelivered("too many messages wait there already")
UNREACHABLE = Undelivered("every connection breaks")


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


class LinkHub(Protocol):
    """What a link needs from the transport it belongs to."""

    key: bytes
    address: LoopbackAddress
    poller: Poller

    def settle(self, parcel: Parcel, status: SendStatus.BASE) -> None:
        """Note that *parcel* ended so; its sender is told from the run loop."""

    def post(self, address: LoopbackAddress, parcel: Parcel) -> None:
        """Send *parcel* to *address*, by this link or the next one."""

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back from the run loop at *when* (monotonic seconds)."""

    def forget_link(self, link: Link) -> None:
        """Give *link* no more messages."""

    def spare_descriptor(self) -> None:
        """Close a connection that nobody needs now."""


class _Outgoing(NamedTuple):
    """What is being written to a connection."""

    sealed: int
    """Messages that this connection has carried, these included."""
    pieces: Sequence[bytes]
    size: int
    """Bytes of the pieces together."""
    sent: deque[int]
    """How many of them the kernel took, call by call."""


class Link:
    """Sends to one life of one peer, in order, over one connection at a time.

    Any thread may `post`. The thread that finds the connection free writes,
    for itself and for all that posted meanwhile; hardly ever does one wait for
    another. All else (acknowledgements, time-outs, breaks) happens in the run
    loop.

    A signal handler may raise in the main thread wherever that is (Ctrl-C), so
    writing goes in steps that either happened or did not: what is sealed is one
    value (`_Outgoing`), a piece is sent and noted in one call, and locks are
    taken by `with` alone. The run loop goes on where the exception came. If the
    handler, or a finalizer, posts where its thread holds the gate, the run loop
    does that later; where it holds only `_writing`, who was interrupted looks again.

    A connection that breaks is opened again and what was not acknowledged is
    sent again; a peer that is gone refuses the new one, and everything ends
    as DeadTarget. A peer drops a connection only before it has read from it
    (too many unauthenticated ones) or when it closes for good, so nothing
    arrives twice.
    """

    def __init__(self, hub: LinkHub, target: LoopbackAddress) -> None:
        self.target = target
        self._hub = hub
        # Guards what follows, never held in a system call; reentrant, for its holder is asked for.
        self._gate: Any = threading.RLock()
        self._queue: deque[Parcel] = deque()  # all that is not acknowledged, sealed ones first
        self._acked = 0  # messages of this connection that are
        self._queued_bytes = 0
        self._is_losing = False  # messages that nobody hears of; logged once until it has drained
        self._expiry = math.inf
        self._retired = False
        self._writing = threading.Lock()  # held by who writes to, opens or closes the socket
        self._socket: socket.socket | None = None
        self._blocked = False
        self._outgoing = _nothing_after(0)
        self._attempts = 0
        self._recovering = False
        self._dead = False
        self._hello: bytes = b""
        self._forward = self._back = hello_mac(hub.key)
        self._decoder = FrameDecoder(MAX_REPLY_BODY)
        self._rejected: set[int] = set()

    # -- any thread

    def post(self, parcel: Parcel) -> bool:
        """Send *parcel* after all that was posted before.

        Returns:
            False when this link has retired: take a new one.
        """
        if self._gate._is_owned():  # noqa: SLF001 - `Condition` asks it, too
            self._hub.call_at(0.0, partial(self._hub.post, self.target, parcel))
            return True
        with self._gate:
            if self._retired:
                return False
            size = len(parcel.body)
            full = not parcel.asked_for and self._is_full(size)
            earlier = not full and parcel.expires < self._expiry
            if not full:
                self._queue.append(parcel)
                self._queued_bytes += size
                if earlier:
                    self._expiry = parcel.expires
        if full:
            if parcel.settle is None and not self._is_losing:
                self._is_losing = True
                self._hub.call_at(0.0, self._warn)
            self._hub.settle(parcel, TOO_MANY)
            return True
        if earlier:
            self._hub.call_at(parcel.expires, self._expire)
        self._flush()
        return True

    def outstanding(self) -> int:
        """Return how many messages are not acknowledged."""
        return len(self._queue)

    def at_risk(self) -> int:
        """Return how many messages could be lost if this process ended now.

        What the kernel has sent over a connection that the peer has accepted
        waits with the peer, and is read there after this process has ended.
        """
        with self._writing:
            sock, accepted = self._socket, self._acked > 0
            if sock and accepted and not self._has_more() and not _unsent(sock):
                return 0
        return self.outstanding()

    def nudge(self) -> None:
        """Have the peer acknowledge now what it would acknowledge later."""
        with self._gate:
            waits = bool(self._queue) and self._queue[-1].kind is Kind.MESSAGE
        if waits:
            self.post(Parcel(Kind.NUDGE, b""))

    def _is_full(self, size: int) -> bool:
        queued = len(self._queue)
        return queued >= MAX_QUEUED_MESSAGES or (
            queued > 0 and self._queued_bytes + size > MAX_QUEUED_BYTES
        )

    def _flush(self) -> None:
        try:
            more = bool(self._queue)
            left = _PER_TURN
            # Who finds the lock held may go: its holder looks again after letting go.
            while more and not self._blocked and not self._writing.locked():
                with self._writing:
                    left = self._write(left)
                more = self._has_more()
        except BaseException:
            self._hub.call_at(0.0, self._go_on)
            raise

    def _write(self, left: int) -> int:
        """Write what there is, but no more than *left*; return what is left of that."""
        if self._retired:
            return left
        try:
            sock = self._socket or self._open()
            while True:
                sealed, pieces, size, sent = self._outgoing
                taken = sum(sent)
                if taken < size:
                    if left <= 0:  # others keep posting: the run loop goes on with it
                        self._block()
                        return left
                    piece = _from(pieces, taken) if taken else pieces[0]
                    # In one call, so that no exception can come between sending and noting it.
                    sent.extend(map(sock.send, (piece,)))
                    left -= max(sent[-1], _CHUNK)  # small ones cost, too
                elif len(self._queue) > sealed - self._acked:
                    self._seal_some(sealed)
                else:
                    if size > _CHUNK:  # the next message may be a long time coming
                        self._outgoing = _nothing_after(sealed)
                    return left
        except BlockingIOError:
            self._block()
        except OSError as error:
            self._fail(error)
        return left

    def _has_more(self) -> bool:
        # Without the gate this may count messages that are just acknowledged, but misses none.
        sealed, _, size, sent = self._outgoing
        return len(self._queue) > sealed - self._acked or sum(sent) < size

    def _seal_some(self, sealed: int) -> None:
        """Turn the messages after the *sealed* first ones into bytes, small ones together."""
        with self._gate:
            first = sealed - self._acked
            parcels = list(itertools.islice(self._queue, first, first + _BATCH))
        self._forward.place = sealed
        pieces: list[bytes] = []
        small, size = [b"" if sealed else self._hello], 0
        for parcel in parcels:
            body = parcel.body
            small.append(self._forward.seal(parcel.kind, body))
            sealed += 1
            size += len(body)
            if len(body) < _CHUNK:
                small.append(body)
            else:
                pieces += (b"".join(small), body)
                small = []
            if size >= _CHUNK:
                break
        pieces.append(b"".join(small))
        self._outgoing = _Outgoing(sealed, pieces, sum(map(len, pieces)), deque())

    def _go_on(self) -> None:
        """Finish what an exception in another thread has interrupted."""
        if not self._recovering:
            self._blocked = False
            self._flush()

    def _open(self) -> socket.socket:
        body = Hello(self._hub.address, self.target.nonce).pack()
        self._hello = hello_mac(self._hub.key).seal(Kind.HELLO, body) + body
        self._forward, self._back = connection_keys(self._hub.key, body)
        self._decoder = FrameDecoder(MAX_REPLY_BODY)
        self._rejected.clear()
        with self._gate:
            self._acked = 0
            self._outgoing = _nothing_after(0)
        sock = _connect(self.target.port)
        try:
            self._hub.poller.register(sock.fileno(), READ, self._on_event)
            self._socket = sock
        except BaseException:  # OSError, HostError if the transport was closed meanwhile, any
            self._hub.poller.close_socket(sock)
            raise
        return sock

    def _block(self) -> None:
        self._blocked = True
        if self._socket is not None:
            self._hub.poller.modify(self._socket.fileno(), READ | WRITE)

    def _fail(self, error: OSError) -> None:
        self._blocked = True
        self._dead = self._dead or error.errno == errno.ECONNREFUSED
        if error.errno in _NO_DESCRIPTORS:
            self._hub.call_at(0.0, self._hub.spare_descriptor)
        self._hub.call_at(0.0, self._recover)

    # -- the run loop

    def close(self, status: SendStatus.BASE) -> None:
        """End for good: what is not acknowledged ends with *status*."""
        self._hub.forget_link(self)
        with self._writing, self._gate:
            self._retired = True
            self._close_socket()
            parcels = tuple(self._queue)
            self._queue.clear()
        for parcel in parcels:
            self._hub.settle(parcel, status)

    def close_idle(self) -> bool:
        """End if nothing is outstanding, and return whether that is so."""
        with self._writing, self._gate:
            if self._queue:
                return False
            self._hub.forget_link(self)
            self._retired = True
            self._close_socket()
        return True

    def filenos(self) -> list[int]:
        """Return the descriptor, if there is one now."""
        sock = self._socket
        return [] if sock is None else [sock.fileno()]

    def _on_event(self, events: int) -> None:
        if events & ~WRITE:
            self._read_replies()
        if events & WRITE and self._socket is not None:
            self._hub.poller.modify(self._socket.fileno(), READ)
            self._blocked = False
            self._flush()

    def _warn(self) -> None:
        log.warning("messages to port {} are lost: {}", self.target.port, TOO_MANY)

    def _read_replies(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_REPLY_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # broken; a dead target refuses the next connection
        if not data:
            self._recover()
            return
        self._decoder.receive(data)
        try:
            while not self._decoder.spent and (frame := self._decoder.next_frame()) is not None:
                self._back.check(frame)
                self._on_reply(frame)
        except FrameError:
            # Somebody else listens on that port, so the target does not.
            self.close(SendStatus.DeadTarget)

    def _on_reply(self, frame: Frame) -> None:
        if frame.kind == Kind.ACK:
            self._on_ack(unpack_count(frame))
        elif frame.kind == Kind.REJECT:
            self._rejected.add(unpack_count(frame))
        else:
            raise FrameError("the target refuses, or a reply is of an unknown kind")

    def _on_ack(self, count: int) -> None:
        with self._gate:
            first = self._acked
            if not first <= count <= self._outgoing.sealed:
                raise FrameError("an acknowledgement counts what was not sent")
            self._acked = count  # before the queue changes, for `_has_more`
            parcels = [self._queue.popleft() for _ in range(first, count)]
            self._queued_bytes -= sum(len(parcel.body) for parcel in parcels)
            self._is_losing = self._is_losing and bool(self._queue)
        self._attempts = 0
        for place, parcel in enumerate(parcels, first):
            if place in self._rejected:
                self._rejected.discard(place)
                self._hub.settle(parcel, SendStatus.BadPacket)
            elif parcel.kind is Kind.CONFIRM:
                self._hub.settle(parcel, SendStatus.Sent)

    def _recover(self) -> None:
        """The connection broke: open it again if there is a reason to."""
        if self._dead:
            self.close(SendStatus.DeadTarget)
        elif self._attempts >= _MAX_ATTEMPTS:
            self.close(UNREACHABLE)
        elif not self._retired and not self._recovering and not self.close_idle():
            self._recovering = True
            with self._writing:
                self._close_socket()
                self._blocked = True
            pause = min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2**self._attempts)
            self._attempts += 1
            self._hub.call_at(time.monotonic() + pause, self._reopen)

    def _reopen(self) -> None:
        self._recovering = False
        if not self._retired:
            self._blocked = False
            self._flush()

    def _close_socket(self) -> None:
        self._outgoing = _nothing_after(self._acked)
        if self._socket is not None:
            self._hub.poller.close_socket(self._socket)
            self._socket = None

    def _expire(self) -> None:
        """Give up on what has waited too long."""
        now = time.monotonic()
        if now < self._expiry:
            return  # an earlier timer has done this one's work
        with self._writing, self._gate:
            late = [parcel for parcel in self._queue if parcel.expires <= now]
            sealed = set(itertools.islice(self._queue, self._outgoing.sealed - self._acked))
            unsent = [parcel for parcel in late if parcel not in sealed]
            if unsent:
                self._queue = deque(p for p in self._queue if p.expires > now or p in sealed)
                self._queued_bytes -= sum(len(parcel.body) for parcel in unsent)
            for parcel in late:
                self._hub.settle(parcel, SendStatus.Failed)
                parcel.settle, parcel.expires = None, math.inf
            first = min((parcel.expires for parcel in self._queue), default=math.inf)
            self._expiry = max(now + _EXPIRY_STEP, first)
        if self._expiry < math.inf:
            self._hub.call_at(self._expiry, self._expire)


def _from(pieces: Sequence[bytes], skip: int) -> bytes | memoryview:
    """Return what follows the *skip* first bytes of *pieces*, up to the end of one."""
    for piece in pieces:
        if skip < len(piece):
            return memoryview(piece)[skip:] if skip else piece
        skip -= len(piece)
    raise IndexError(skip)


def _nothing_after(sealed: int) -> _Outgoing:
    return _Outgoing(sealed, (), 0, deque())


def _unsent(sock: socket.socket) -> int:
    """Return how many bytes written to *sock* its kernel has not sent."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, _SIOCOUTQNSD, bytes(4)))
    return int(count)


def _connect(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    code = sock.connect_ex(("127.0.0.1", port))
    if code in (0, errno.EINPROGRESS):
        return sock
    sock.close()
    # EAGAIN means that no local port is free; it must not pass for "would block".
    raise OSError(errno.EADDRNOTAVAIL if code == errno.EAGAIN else code, "connect")
