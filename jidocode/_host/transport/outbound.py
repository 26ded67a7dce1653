"""The sending end of a connection: one `Link` per peer that is written to.

Its other end is an `inbound.Inbound`. Messages travel from a Link to an
Inbound, acknowledgements back; two peers that talk both ways have one
connection per direction.

Three parts, so that each can be understood, and tested, on its own: what is sent
and what becomes of it (`window.SendWindow`), whether to write, wait or try again
(`course.Course`), and here the system calls, and the locks that let any thread send.
"""

from __future__ import annotations

import errno
import fcntl
import math
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.course import Course, Event, State
from jidocode._host.transport.frames import FrameError, Kind
from jidocode._host.transport.handshake import Hello
from jidocode._host.transport.knock import Knock
from jidocode._host.transport.poller import READ, WRITE, Poller
from jidocode._host.transport.window import BATCH_BYTES, Outcome, Parcel, SendWindow, Settle
from jidocode.base import log

_PER_TURN = 1 << 20
"""Bytes that one thread writes before it leaves the rest to the run loop."""
_REPLY_READ = 1 << 12
_EXPIRY_STEP = 1.0
WELCOME_SECONDS = 0.005
"""Seconds that a new peer is waited for; after that other things are done meanwhile."""
PATIENCE_SECONDS = 0.1
"""Seconds in which the run loop waits for no peer, after it has waited in vain."""
SHORTEST_DIAL = 0.005
"""Seconds until a connection that the peer's kernel does not take has failed, at the least."""
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_SIOCOUTQNSD = 0x894B  # linux/sockios.h: how many bytes the kernel has not sent yet


class LinkHub(Protocol):
    """What a link needs from the messenger it belongs to."""

    key: bytes
    address: LoopbackAddress
    poller: Poller
    greeting: set[Link]
    """The links on which the run loop waits for their peers to let it in."""
    welcome_seconds: float
    """How long a thread beside the run loop waits for a new peer to let it in."""

    @property
    def runs_elsewhere(self) -> bool:
        """Whether another thread than this one is in the run loop."""
        ...

    def settle(self, settle: Settle | None, outcome: Outcome) -> None:
        """Have the sender of a message told, from the run loop, how it ended."""

    def post(self, address: LoopbackAddress, parcel: Parcel) -> None:
        """Send *parcel* to *address*, by this link or the next one."""

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back from the run loop at *when* (monotonic seconds)."""

    def forget_link(self, link: Link) -> None:
        """Give *link* no more messages."""

    def spare_descriptor(self) -> None:
        """Close a connection that nobody needs now."""


class Link:
    """Sends to one life of one peer, in order, over one connection at a time.

    Any thread may `post`. The thread that finds the connection free writes, for
    itself and for all that posted meanwhile; hardly ever does one wait for
    another. All else (acknowledgements, time-outs, breaks) happens in the run loop.

    A peer that is gone refuses the next connection, and everything ends as
    DEAD_TARGET. A connection that breaks for another reason is opened again, and
    what was not acknowledged is sent again; nothing arrives twice (see `window`).

    Attributes:
        target: Whom it sends to.
    """

    # Why it is written as it is.
    #
    # Two locks. The gate guards the window and the course and is held for
    # microseconds, never in a system call: so no thread that posts waits for the
    # network. `_writing` is held by who opens, writes to or closes the socket. With
    # one lock for both, 32 threads would queue up behind each system call; with none
    # for writing, two would write into each other's frames.
    #
    # Nobody waits for `_writing` in order to post. Who finds it held leaves his
    # message in the queue; its holder looks again after he has let go (`_flush`). A
    # message put in before the look is seen by it, one put in after it belongs to
    # somebody who finds the lock free. So whoever holds `_writing` and lets go without
    # having retired the link has to end with `_flush`, or with a timer that does.
    #
    # Nothing is written before the peer has proven itself, which one that is in its run
    # loop does within some 0.1 ms. An app's thread waits for that, to spare the reader
    # thread the work, but never long. The thread of the run loop does not wait here: two
    # that wait for each other would be answered by nobody. It notes the link in `greeting`
    # and looks after it before it handles the next message (`Messenger.send_off_soon`), or
    # whatever else may take long; a first answer must not wait for that.
    #
    # A full backlog drops what would open a connection, as does a port that somebody else
    # has now, in a system of his own (see `knock`). The kernel tries again after a second,
    # and goes on for minutes. We have no network between us that could lose it, so a
    # connection that is not taken soon has failed, and is tried anew like all that fail.
    #
    # Ctrl-C. A signal handler may raise in the main thread between any two
    # bytecodes. So every step has either happened or not: a batch is one value; a
    # piece is sent and noted in one call of C code (`sent.extend(map(...))`), for a
    # piece that is sent and not noted would be sent twice, and break the connection;
    # locks are taken by `with` alone. What remains to be done after the exception, the
    # run loop does (`_go_on`).
    #
    # A handler, or a finalizer, may also post, and so come here while its own thread is
    # here. If that holds the gate, the window may be half changed: the run loop posts
    # it later. The gate is reentrant because only such a lock tells its owner. If it
    # holds only `_writing`, it looks again anyway, being its holder.

    def __init__(self, hub: LinkHub, target: LoopbackAddress) -> None:
        self.target = target
        self._hub = hub
        self._gate: Any = threading.RLock()
        self._window = SendWindow()
        self._course = Course()
        self._alarm = math.inf  # when `_expire` will be called
        self._is_losing = False  # messages that nobody hears of; logged once until it has drained
        self._writing = threading.Lock()
        self._socket: socket.socket | None = None

    # -- any thread

    def post(self, parcel: Parcel) -> bool:
        """Send *parcel* after all that was posted before.

        Returns:
            False when this link has retired: take a new one.
        """
        taken = self.queue(parcel)
        self.flush()
        return taken

    def queue(self, parcel: Parcel) -> bool:
        """Have *parcel* be sent by the next `flush`, after all that was posted before.

        Returns:
            False when this link has retired: take a new one.
        """
        if self._gate._is_owned():  # noqa: SLF001 - `Condition` asks it, too
            self._hub.call_at(0.0, partial(self._hub.post, self.target, parcel))
            return True
        with self._gate:
            if self._course.state is State.RETIRED:
                return False
            taken = self._window.add(parcel)
            earlier = taken and parcel.expires < self._alarm
            if earlier:
                self._alarm = parcel.expires
        if not taken:
            self._turn_away(parcel)
        elif earlier:
            self._hub.call_at(parcel.expires, self._expire)
        return True

    def flush(self) -> None:
        """Send what was queued; a run loop does it later, if this thread may be changing that."""
        if not self._gate._is_owned():  # noqa: SLF001 - as above
            self._flush()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, and its peer has let this process in."""
        return self._socket is not None and not self._window.is_greeting

    def _turn_away(self, parcel: Parcel) -> None:
        if parcel.settle is None and not self._is_losing:
            self._is_losing = True
            self._hub.call_at(0.0, self._warn)
        self._hub.settle(parcel.settle, Outcome.TOO_MANY)

    def outstanding(self) -> int:
        """Return how many messages are not acknowledged."""
        return len(self._window)

    def at_risk(self) -> int:
        """Return how many messages could be lost if this process ended now.

        What the kernel has sent over a connection waits with the peer, and is
        read there after this process has ended.
        """
        with self._writing:
            sock, window = self._socket, self._window
            welcome = sock is not None and not window.is_greeting
            safe = sock is not None and welcome and not window.has_more and not _unsent(sock)
        self._flush()
        return 0 if safe else self.outstanding()

    def dial(self) -> None:
        """Open the connection, for what will be posted soon."""
        with self._writing:
            if self._socket is None and self._course.writes:
                try:
                    self._open()
                except OSError as error:
                    self._break(error)
        self._flush()

    def nudge(self) -> None:
        """Have the peer acknowledge now what it would acknowledge later."""
        with self._gate:
            waits = self._window.wants_nudge
        if waits:
            self.post(Parcel(Kind.NUDGE, b""))

    # -- writing: any thread, one at a time

    def _flush(self) -> None:
        """Write what there is, unless somebody else does, or the run loop will."""
        try:
            more = self._window.has_more
            left = _PER_TURN
            while more and self._course.writes and not self._writing.locked():
                with self._writing:
                    left = self._write(left)
                more = self._window.has_more
        except BaseException:
            self._hub.call_at(0.0, self._go_on)
            raise

    def _write(self, left: int) -> int:
        """Write what there is, but no more than *left*; return what is left of that."""
        if not self._course.writes:  # it was asked before the lock was taken
            return left
        window = self._window
        try:
            sock = self._socket or self._open()
            while True:
                piece = window.next_piece()
                if piece is not None:
                    if left <= 0:  # others keep posting: the run loop goes on with it
                        self._block()
                        return left
                    sent = window.batch.sent
                    sent.extend(map(sock.send, (piece,)))  # in one call: see above
                    left -= max(sent[-1], BATCH_BYTES)  # small ones cost, too
                elif window.has_more:
                    with self._gate:
                        parcels = window.unsealed()
                    window.seal(parcels)
                else:
                    return left
        except BlockingIOError:
            self._block()
        except OSError as error:
            self._break(error)
        return left

    def _open(self) -> socket.socket:
        hello = Hello(self._hub.address, self.target.nonce)
        with self._gate:
            self._window.connect(self._hub.key, hello)
        sock = connect(self._hub.key, self.target.port)
        try:
            if self._hub.runs_elsewhere:
                self._await_welcome(sock)
            else:
                self._hub.greeting.add(self)
            self._hub.poller.register(sock.fileno(), READ, self._on_event)
            self._happens(Event.CONNECT)
            self._socket = sock  # last: whoever finds one writes to it
        except BaseException:  # OSError, HostError if the messenger was closed meanwhile, any
            self._hub.poller.close_socket(sock)
            raise
        return sock

    def _await_welcome(self, sock: socket.socket) -> None:
        """Write HELLO and wait a moment for its answer; nobody else has *sock* yet."""
        [hello], sent = self._window.batch.pieces, self._window.batch.sent
        try:
            sent.extend(map(sock.send, (hello,)))
        except BlockingIOError:
            return  # it is not connected yet: the run loop goes on
        look = select.poll()
        look.register(sock, select.POLLIN)
        if not look.poll(1000 * self._hub.welcome_seconds):
            return
        data = sock.recv(_REPLY_READ)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "dropped")
        try:
            self._take_replies(data)
        except FrameError as error:
            # Somebody else listens on that port, so the target does not.
            raise ConnectionRefusedError(errno.ECONNREFUSED, str(error)) from error

    def _block(self) -> None:
        self._happens(Event.FILL)
        sock = self._socket
        if sock is not None:
            self._hub.poller.modify(sock.fileno(), READ | WRITE)
            if self._window.is_greeting:
                when = time.monotonic() + max(SHORTEST_DIAL, self._course.pause())
                self._hub.call_at(when, partial(self._hang_up, sock))

    def _break(self, error: OSError) -> None:
        refused = error.errno == errno.ECONNREFUSED
        self._happens(Event.REFUSE if refused else Event.BREAK)
        if error.errno in _NO_DESCRIPTORS:
            self._hub.call_at(0.0, self._hub.spare_descriptor)
        self._hub.call_at(0.0, self._recover)

    def _happens(self, event: Event) -> bool:
        with self._gate:
            return self._course.take(event)

    # -- the run loop

    def close(self, outcome: Outcome) -> None:
        """End for good: what is not acknowledged ends so."""
        self._hub.forget_link(self)
        with self._writing, self._gate:
            self._course.take(Event.RETIRE)
            self._close_socket()
            ended = self._window.clear()
        for settle in ended:
            self._hub.settle(settle, outcome)

    def close_idle(self) -> bool:
        """End if nothing is outstanding, and return whether that is so."""
        with self._writing, self._gate:
            idle = len(self._window) == 0
            if idle:
                self._hub.forget_link(self)
                self._course.take(Event.RETIRE)
                self._close_socket()
        if not idle:
            self._flush()
        return idle

    def filenos(self) -> list[int]:
        """Return the descriptor, if there is one now."""
        sock = self._socket
        return [] if sock is None else [sock.fileno()]

    def _on_event(self, events: int) -> None:
        if events & ~WRITE:
            self._read_replies()
        if events & WRITE and self._socket is not None:
            self._hub.poller.modify(self._socket.fileno(), READ)
            self._go_on()

    def _go_on(self) -> None:
        """Write what could not be written, or what an exception has kept a thread from."""
        self._happens(Event.DRAIN)
        if self._course.is_broken:
            self._recover()
        else:
            self._flush()

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
            self._happens(Event.BREAK)
            self._recover()
            return
        was_greeting = self._window.is_greeting
        try:
            self._take_replies(data)
        except FrameError:
            # Somebody else listens on that port, so the target does not.
            self.close(Outcome.DEAD_TARGET)
        self._is_losing = self._is_losing and len(self._window) > 0
        if was_greeting:
            self._flush()

    def _take_replies(self, data: bytes) -> None:
        with self._gate:
            for settle, outcome in self._window.receive(data):
                self._hub.settle(settle, outcome)
            if not self._window.is_greeting:
                self._hub.greeting.discard(self)
            if self._window.has_acknowledged:
                self._course.succeeded()

    def _hang_up(self, sock: socket.socket) -> None:
        """Give *sock* up if it is still waiting to be let in by the kernel."""
        if sock is self._socket and self._window.is_greeting and self._window.has_more:
            self._happens(Event.BREAK)
            self._recover()

    def _recover(self) -> None:
        """See to a connection that broke: open it again if there is a reason to."""
        if not self._course.is_broken:
            return  # somebody else's report of the same break came first
        if self._course.state is State.REFUSED:
            self.close(Outcome.DEAD_TARGET)
        elif self._course.is_hopeless:
            self.close(Outcome.UNREACHABLE)
        elif not self.close_idle():
            pause = self._course.pause()
            with self._writing, self._gate:
                self._close_socket()
                self._course.take(Event.PAUSE)
            self._hub.call_at(time.monotonic() + pause, self._reopen)

    def _reopen(self) -> None:
        self._happens(Event.REOPEN)
        self._flush()

    def _close_socket(self) -> None:
        self._window.disconnect()
        self._hub.greeting.discard(self)
        if self._socket is not None:
            self._hub.poller.close_socket(self._socket)
            self._socket = None

    def _expire(self) -> None:
        """Give up on what has waited too long."""
        now = time.monotonic()
        if now < self._alarm:
            return  # an earlier timer has done this one's work
        with self._writing, self._gate:
            ended = self._window.expire(now)
            self._alarm = max(now + _EXPIRY_STEP, self._window.next_expiry())
        for settle in ended:
            self._hub.settle(settle, Outcome.EXPIRED)
        if self._alarm < math.inf:
            self._hub.call_at(self._alarm, self._expire)
        self._flush()

    def _warn(self) -> None:
        log.warning("messages to port {} are lost: {}", self.target.port, Outcome.TOO_MANY)


def _unsent(sock: socket.socket) -> int:
    """Return how many bytes written to *sock* its kernel has not sent."""
    (count,) = struct.unpack("i", fcntl.ioctl(sock, _SIOCOUTQNSD, bytes(4)))
    return int(count)


def connect(key: bytes, port: int) -> socket.socket:
    """Return a socket that is connecting to *port* in the system with that *key*.

    Raises:
        OSError: The kernel refuses.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    Knock.at(key, port).give(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    code = sock.connect_ex(("127.0.0.1", port))
    if code in (0, errno.EINPROGRESS):
        return sock
    sock.close()
    # EAGAIN means that no local port is free; it must not pass for "would block".
    raise OSError(errno.EADDRNOTAVAIL if code == errno.EAGAIN else code, "connect")
