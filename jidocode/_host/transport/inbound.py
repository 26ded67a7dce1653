"""The receiving end: an `Acceptor` lets connections in, an `Inbound` reads one of them.

Its other end is an `outbound.Link`. Everybody on this machine can connect, so
this file bounds what a peer costs until it has proven the key, and belongs to
the run loop alone: no other thread comes here.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Protocol

from jidocode._host import wire
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
    pack_count,
)
from jidocode._host.transport.handshake import Reception
from jidocode._host.transport.poller import READ, WRITE, Poller
from jidocode.base import log
from jidocode.base.text import clip

MAX_STRANGERS = 64
"""Connections that may be open without having proven the key; beyond it the oldest goes."""
STRANGER_SECONDS = 5.0
"""Seconds in which a connection has to prove the key."""
ACK_EVERY = 32
"""Messages after which they are acknowledged."""
ACK_BYTES = 1 << 18
"""Bytes of messages after which they are acknowledged."""
ACK_SECONDS = 1.0
"""Seconds after which a message is acknowledged at the latest."""

_ACCEPTS_PER_TURN = 16
_TALLY_SECONDS = 1.0
_ACCEPT_PAUSE = 0.1
_READ = 1 << 16
_READ_PER_TURN = 1 << 20


class InboundHub(Protocol):
    """What the receiving end needs from the transport it belongs to."""

    key: bytes
    address: LoopbackAddress
    poller: Poller

    def deliver(self, sender: LoopbackAddress, message: object) -> None:
        """Hand a message to the actor."""

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back from the run loop at *when* (monotonic seconds)."""

    def spare_descriptor(self) -> None:
        """Close a connection that nobody needs now."""


class Acceptor:
    """Lets connections in, and shows out those that do not prove the key in time."""

    # Why strangers cost so little here.
    #
    # Anybody may connect, and hang up, as fast as he can. Each that is accepted takes
    # time from the peers, so a turn of the loop accepts few, and only after it has read
    # what the peers have sent. But own peers wait in the same backlog as strangers: who
    # accepts slowly keeps them out. So to accept must be cheap, and what has hung up
    # already, or never says anything, must cost next to nothing: no object, no place in
    # the poller, no line in the log.

    def __init__(self, hub: InboundHub, listener: socket.socket) -> None:
        self._hub = hub
        self._listener = listener
        self._inbounds: set[Inbound] = set()
        self._strangers: dict[Inbound, float] = {}  # until when they may stay, oldest first
        self._deadline_set = False
        self._turned_away = 0
        hub.poller.register(listener.fileno(), READ, self._on_event)

    def acknowledge_all(self) -> None:
        """Acknowledge everything that was delivered."""
        for inbound in tuple(self._inbounds):
            inbound.acknowledge()

    def take_own(self) -> None:
        """Take a connection that this process itself has made, and hung up: it is no stranger."""
        connection, _ = self._listener.accept()
        connection.close()

    def close_oldest_stranger(self) -> bool:
        """Make room, and return whether there was a stranger to close."""
        for stranger in self._strangers:
            stranger.close()
            return True
        return False

    def admit(self, inbound: Inbound) -> None:
        """Have *inbound*, whose peer has proved the key, stay."""
        self._strangers.pop(inbound, None)

    def turn_away(self) -> None:
        """Count a stranger that is turned away; they are logged together."""
        if self._turned_away == 0:
            self._hub.poller.call_at(time.monotonic() + _TALLY_SECONDS, self._log_tally)
        self._turned_away += 1

    def _log_tally(self) -> None:
        log.debug("connections that hung up or did not prove the key: {}", self._turned_away)
        self._turned_away = 0

    def forget(self, inbound: Inbound) -> None:
        """Forget *inbound*, which is closed."""
        self._inbounds.discard(inbound)
        self._strangers.pop(inbound, None)

    def await_end(self, sender: object, callback: Callable[[], None]) -> None:
        """Call back when all that *sender*, which is dead, has sent is delivered."""
        for inbound in self._inbounds:
            if inbound.sender == sender:
                inbound.at_end.append(lambda: self.await_end(sender, callback))
                return
        callback()

    def filenos(self) -> list[int]:
        """Return every descriptor of this end."""
        return [self._listener.fileno(), *(inbound.fileno() for inbound in self._inbounds)]

    def close(self) -> None:
        """Close the listener and all connections."""
        for inbound in tuple(self._inbounds):
            inbound.close()
        self._hub.poller.unregister(self._listener.fileno())
        self._listener.close()

    def _on_event(self, _events: int) -> None:
        self._hub.poller.call_at(0.0, self._accept)  # what the peers have sent is read first

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(error)
                return
            self._take_in(sock)

    def _take_in(self, sock: socket.socket) -> None:
        sock.settimeout(0)  # it has that which an app, or a child, has set for all sockets
        # An honest peer has sent its HELLO by now, and a flood cannot push it out any more.
        try:
            data: bytes | None = sock.recv(_READ)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        if data == b"":
            sock.close()
            self.turn_away()
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._strangers) >= MAX_STRANGERS:
            self.close_oldest_stranger()
        inbound = Inbound(self._hub, self, sock)
        self._inbounds.add(inbound)
        self._strangers[inbound] = time.monotonic() + STRANGER_SECONDS
        if data is not None:
            inbound.begin(data)
        self._set_deadline()

    def _set_deadline(self) -> None:
        if self._strangers and not self._deadline_set:
            self._deadline_set = True
            self._hub.call_at(next(iter(self._strangers.values())), self._close_late)

    def _close_late(self) -> None:
        self._deadline_set = False
        now = time.monotonic()
        for inbound in [i for i, until in self._strangers.items() if until <= now]:
            inbound.close()
        self._set_deadline()

    def _pause(self, error: OSError) -> None:
        """Make room and try again soon: a full table of descriptors must not make us spin."""
        log.warning("cannot accept a connection: {}", error.strerror)
        self._hub.spare_descriptor()
        self._hub.poller.modify(self._listener.fileno(), 0)
        self._hub.call_at(time.monotonic() + _ACCEPT_PAUSE, self._resume)

    def _resume(self) -> None:
        self._hub.poller.modify(self._listener.fileno(), READ)


class Inbound:
    """Receives from one peer.

    Until the first frame has proven the key it is a stranger: it may send 512
    bytes, and the acceptor bounds how many strangers there are, and for how
    long.

    Attributes:
        sender: Who speaks, once it has proven the key.
        at_end: Called when it is closed.
    """

    def __init__(self, hub: InboundHub, acceptor: Acceptor, sock: socket.socket) -> None:
        self.sender: LoopbackAddress | None = None
        self.at_end: list[Callable[[], None]] = []
        self._hub = hub
        self._acceptor = acceptor
        self._socket = sock
        self._open = True
        self._decoder = FrameDecoder(MAX_HELLO_BODY)
        self._forward: FrameMac | None = None
        self._back: FrameMac | None = None
        self._received = 0
        self._acked = 0
        self._unacked_bytes = 0
        self._is_awaited = False  # whether a sender waits for the acknowledgement
        self._ack_set = False
        self._outbox = b""
        hub.poller.register(sock.fileno(), READ, self.on_event)

    def on_event(self, events: int) -> None:
        """Read what has come, or write what could not be written before."""
        if not self._open:
            return
        if events & WRITE:
            self._hub.poller.modify(self._socket.fileno(), READ)
            self.acknowledge()
        if events & ~WRITE:
            self._guard(self._read)

    def begin(self, data: bytes) -> None:
        """Take the first bytes that have come."""
        self._decoder.receive(data)
        self._guard(self._handle_frames)

    def _guard(self, step: Callable[[], bool]) -> None:
        """Take a *step*, and close if that is the end of the stream, or it should be."""
        try:
            goes_on = step()
        except (FrameError, OSError) as error:
            goes_on = False
            if self.sender is not None:
                log.debug("dropped a connection: {}", error)
        if not goes_on:
            if self.sender is None:
                self._acceptor.turn_away()
            self.close()

    def acknowledge(self) -> None:
        """Tell the sender how much has arrived, if it does not know."""
        if self._open and self._outbox:
            self._push()
        if self._open and not self._outbox and self._acked < self._received:
            self._acked = self._received
            self._unacked_bytes = 0
            self._reply(Kind.ACK, self._received)

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        if self._open:
            self._open = False
            self._decoder = FrameDecoder(0)  # what has come already is not looked at any more
            self._hub.poller.close_socket(self._socket)
            self._acceptor.forget(self)
            for callback in self.at_end:
                callback()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def _read(self) -> bool:
        """Read a bounded amount, and return False at the end of the stream."""
        left = _READ_PER_TURN
        while left > 0 and self._open:
            asked, got = self._receive()
            self._handle_frames()
            if got == 0:
                return False
            if got < asked:
                break
            left -= got
        due = self._received - self._acked >= ACK_EVERY or self._unacked_bytes >= ACK_BYTES
        if self._is_awaited or due:
            self._is_awaited = False
            self.acknowledge()
        elif self._acked < self._received and not self._ack_set:
            self._ack_set = True
            self._hub.call_at(time.monotonic() + ACK_SECONDS, self._acknowledge_late)
        return True

    def _handle_frames(self) -> bool:
        while not self._decoder.spent and (frame := self._decoder.next_frame()) is not None:
            self._on_frame(frame)
        return True

    def _acknowledge_late(self) -> None:
        self._ack_set = False
        self.acknowledge()

    def _receive(self) -> tuple[int, int]:
        """Read once, and return how much was asked for and how much came."""
        room = self._decoder.room()
        try:
            if room is not None:
                got = self._socket.recv_into(room)
                self._decoder.filled(got)
                return len(room), got
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return 2, 1
        self._decoder.receive(data)
        return _READ, len(data)

    def _on_frame(self, frame: Frame) -> None:
        if self._forward is None or self.sender is None:
            self._on_hello(frame)
            return
        self._forward.check(frame)
        self._unacked_bytes += len(frame.body)
        if frame.kind in (Kind.MESSAGE, Kind.CONFIRM):
            readable = self._on_message(self.sender, frame.body)
        elif frame.kind == Kind.NUDGE:
            readable = True
        else:
            raise FrameError("a sender sent something that is no message")
        self._received += 1
        # The first one is acknowledged at once: its sender knows that all is well.
        is_first = self._received == 1
        self._is_awaited |= is_first or frame.kind != Kind.MESSAGE or not readable

    def _on_hello(self, frame: Frame) -> None:
        reception = Reception(self._hub.key, self._hub.address.nonce, frame)
        self._outbox += reception.reply
        self._push()
        if reception.keys is None:
            self.close()
        else:
            self._forward, self._back = reception.keys
            self.sender = reception.hello.sender
            self._decoder.limit = MAX_BODY
            self._acceptor.admit(self)

    def _on_message(self, sender: LoopbackAddress, body: Body) -> bool:
        try:
            message = wire.decode(body)
        except Exception as error:  # noqa: BLE001 - unpickling runs foreign code: anything may come
            why = error.__cause__ if isinstance(error, wire.UnreadableError) else error
            name = clip(type(why).__name__)
            log.warning("dropped a message that cannot be unpickled: {}", name)
            self._reply(Kind.REJECT, self._received)
            return False
        self._hub.deliver(sender, message)
        return True

    def _reply(self, kind: Kind, count: int) -> None:
        assert self._back is not None  # noqa: S101 - only messages are replied to
        body = pack_count(count)
        self._outbox += self._back.seal(kind, body) + body
        self._push()

    def _push(self) -> None:
        try:
            self._outbox = self._outbox[self._socket.send(self._outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            # The peer is gone; the end of the stream says so to the reader.
            self._outbox = b""
        if self._outbox:
            self._hub.poller.modify(self._socket.fileno(), READ | WRITE)
