"""One process's way to send messages to the others of its system, and to receive theirs.

Every process has one: an app a plain `Messenger`, all others the one that can also
do what Thespian wants of a transport (`thespian.ThespianTransport`). Nothing that an
app imports knows Thespian.

It listens on 127.0.0.1 alone, and every frame proves the system's one-time key
before it is looked at (see `frames`).
"""

from __future__ import annotations

import enum
import errno
import math
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeGuard

from msgspec import Struct

from jidocode._host import wire
from jidocode._host.transport.address import Address, LoopbackAddress
from jidocode._host.transport.frames import MAX_BODY, Kind
from jidocode._host.transport.inbound import Acceptor
from jidocode._host.transport.knock import Knock
from jidocode._host.transport.outbound import PATIENCE_SECONDS, WELCOME_SECONDS, Link, connect
from jidocode._host.transport.poller import Poller
from jidocode._host.transport.watches import OnReady, Watches
from jidocode._host.transport.window import BATCH_BYTES, Outcome, Parcel, Settle
from jidocode.base import log
from jidocode.base.refs import LOCAL_NODE
from jidocode.errors import HostError

_BACKLOG = 1024
_RELAY_EVERY = 64
"""Messages that the thread of the run loop sends before it looks what has come of them."""
_LONG_WELCOME = 0.1
"""Seconds that a new peer is waited for where nobody else would hear that it lets one in."""
_NONCE_BITS = 63

Handler = Callable[[Any], Any]
"""Gets each message in its envelope, and says by something false that it wants no more."""

Gather = Callable[[Callable[[], None]], None]
"""Calls a function now or soon, once for many who want that; in the thread that asks for it."""


class Envelope:
    """A message as `serve` hands it over.

    Attributes:
        origin: Whose it is.
        message: The message.
    """

    __slots__ = ("message", "origin")

    def __init__(self, origin: LoopbackAddress, message: object) -> None:
        self.origin = origin
        self.message = message


class Turn(Struct, frozen=True):
    """A message to oneself: something to call, now that all earlier messages are handled."""

    call: Callable[[], object]

    def __reduce__(self) -> NoReturn:  # what is called is here, and nowhere else
        raise TypeError("a Turn stays in its process")


class Ending(enum.Enum):
    """Why `serve` or `drain` returned."""

    STOPPED = enum.auto()
    """The handler said so."""
    EXPIRED = enum.auto()
    """The time was over."""
    ABORTED = enum.auto()
    """`abort_run` was called."""


class Messenger:
    """Sends and receives the messages of one process.

    One thread at a time may be inside `serve` or `drain`, the run loop. Every other
    thread may `send`, `call_at`, `after` and `abort_run` meanwhile.

    Attributes:
        key: The key of the system.
        address: Where this process listens.
        poller: What it waits with.
        greeting: The links on which the run loop waits for their peers to let it in.
        patient_from: When peers may be waited for again (monotonic seconds).
        welcome_seconds: How long a thread beside the run loop waits for a new peer to let it in.
    """

    def __init__(self, key: bytes) -> None:
        """Bind and listen; the kernel chooses the port."""
        self.key = key
        listener = self._listen()
        self.address = LoopbackAddress(listener.getsockname()[1], self._draw_nonce())
        Knock.at(key, self.address.port).guard(listener)
        self.poller = Poller()
        self.greeting: set[Link] = set()
        self.patient_from = 0.0
        self.welcome_seconds = WELCOME_SECONDS
        self._watches = Watches(self.poller, self._take_turn)
        self._acceptor = Acceptor(self, listener)
        self._links: dict[int, Link] = {}
        self._inbox: deque[Any] = deque()
        self._settled: deque[tuple[Settle, Outcome]] = deque()
        self._owner: int | None = None
        self._runner: int | None = None
        self._depth = 0  # of run loops, each in a handler of the one outside it
        self._sent = 0
        self._abort: bool | None = None  # None: go on; True: when all is sent; False: now
        self._closed = False

    @staticmethod
    def _listen() -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener

    @staticmethod
    def _draw_nonce() -> int:
        return int.from_bytes(os.urandom(8)) >> (64 - _NONCE_BITS)

    # -- sending

    @staticmethod
    def reaches(address: object) -> TypeGuard[LoopbackAddress]:
        """Whether *address* can be sent to from here: it is that of an actor on this machine."""
        return isinstance(address, LoopbackAddress) and address.node == LOCAL_NODE

    def send(
        self,
        target: Address,
        message: object,
        on_failure: Settle | None = None,
        gather: Gather | None = None,
    ) -> None:
        """Send *message* after all that was sent to *target* before; any thread may.

        The bytes are usually with the kernel when this returns. *on_failure* is
        called once, from the run loop, with the `Outcome`, when the message is
        known not to be delivered, or may not have been. An answer, and a part of one, is
        always taken: whoever asked for it will read it.

        Of a thread that must not be held up, which is not that of the run loop, *gather* sends
        what is quickly sent: with other messages to the same target, if there are any. The run
        loop sends the rest.

        Raises:
            HostError: This messenger is closed, or does not reach *target*.
            Exception: Whatever pickling *message* raises.
        """
        if not self.reaches(target):
            raise HostError(f"no message can be sent to {target} from here")
        body = wire.encode(message)
        if target.nonce == self.address.nonce:
            self.deliver(self.address, wire.decode(body))
            self._wake_runner()
        else:
            asked_for = isinstance(message, wire.Answer | wire.Part)
            self.post(target, Parcel(Kind.MESSAGE, body, on_failure, asked_for=asked_for), gather)

    def dial(self, address: Address) -> None:
        """Connect to *address* beforehand, for what will be sent to it soon; wait for nobody."""
        if self.reaches(address):
            self._link_to(address).dial()

    def try_connecting(self, address: LoopbackAddress, seconds: float) -> None:
        """Connect to *address* as an own peer does, and hang up.

        Raises:
            OSError: Nobody listens there, or is reached within *seconds*.
        """
        with connect(self.key, address.port) as sock:
            look = select.poll()
            look.register(sock, select.POLLOUT)
            code = errno.ETIMEDOUT
            if look.poll(1000 * seconds):
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def reach_itself(self, seconds: float) -> None:
        """Connect to this very process as its peers will; raises as `try_connecting`."""
        self.try_connecting(self.address, seconds)
        self._acceptor.take_own()

    @property
    def runs_elsewhere(self) -> bool:
        """Whether another thread than this one is in the run loop."""
        return self._runner not in (None, threading.get_ident())

    def _link_to(self, address: LoopbackAddress) -> Link:
        if self._closed:
            raise HostError("this transport is closed")
        # In one call, without a lock: a signal handler may come here while its thread is here.
        return self._links.setdefault(address.nonce, Link(self, address))

    def outstanding(self) -> int:
        """Return how many messages are not acknowledged yet."""
        return sum(link.outstanding() for link in tuple(self._links.values()))

    def at_risk(self) -> int:
        """Return how many messages could be lost if this process ended now (see `Link`)."""
        return sum(link.at_risk() for link in tuple(self._links.values()))

    # -- the run loop

    def serve(self, handler: Handler, deadline: float = math.inf) -> tuple[Ending, object]:
        """Send, receive and wait, and hand each message to *handler* in its envelope.

        A handler may serve itself, for a message that it waits for, and then `put_back`
        the others.

        Returns:
            When the handler has returned something false, with that; after
            *deadline* (monotonic seconds); or after `abort_run`.
        """
        self._enter_loop()
        try:
            return self._serve(handler, deadline)
        finally:
            self._leave_loop()

    def _serve(self, handler: Handler, deadline: float) -> tuple[Ending, object]:
        expired = False
        while True:
            if self._settled:
                self._tell_settled()
            for _ in range(len(self._inbox)):
                if not self._inbox:  # the handler has served itself
                    break
                result = handler(self._inbox.popleft())
                if not result:
                    if self._depth == 1:
                        # What an actor has handled before it ends did not fail.
                        self._acceptor.acknowledge_all()
                    return Ending.STOPPED, result
                if self.poller.unwritten:  # what was said goes out before more is done
                    break
                if self.greeting:
                    self.send_off_soon()
            if self._abort is False or (self._abort and not self._hurry()):
                self._acceptor.acknowledge_all()
                return Ending.ABORTED, None
            if expired:
                return Ending.EXPIRED, None
            expired = self._go_round(deadline, wait=not self._inbox)

    def drain(self, deadline: float = math.inf) -> Ending | int:
        """Send, and hand over nothing, until a message is done with; 0 means that all are.

        Returns:
            How many are not; or why it ended before that.
        """
        self._enter_loop()
        try:
            return self._drain(deadline)
        finally:
            self._leave_loop()

    def _drain(self, deadline: float) -> Ending | int:
        before = self.outstanding()
        expired = False
        while True:
            self._tell_settled()
            if self._abort is False:
                return Ending.ABORTED
            left = self._hurry()
            if left == 0 or left < before:
                return left
            if expired:
                return Ending.EXPIRED
            expired = self._go_round(deadline, wait=True)

    def send_off(self, deadline: float = math.inf) -> None:
        """Hand over nothing until the first messages to new peers have left (see `Link`).

        For the thread of the run loop alone, before it does something long that
        the peers must not wait for.
        """
        while self.greeting and time.monotonic() < deadline:
            self.poller.wait(deadline)

    def send_off_soon(self) -> None:
        """Do the same, but be neither long nor often in doing it, whatever the peers do."""
        now = time.monotonic()
        if self.greeting and now >= self.patient_from:
            self.send_off(now + WELCOME_SECONDS)
            if self.greeting:
                self.patient_from = time.monotonic() + PATIENCE_SECONDS

    def send_off_to(self, target: LoopbackAddress) -> None:
        """Wait longer than that, and seldom, until what was sent to *target* has left.

        For one that always reads, but may be slow about it: an app whose main thread
        computes has its reader wait for the interpreter at each step of the greeting.
        """
        link, now = self._links.get(target.nonce), time.monotonic()
        if link in self.greeting and now >= self.patient_from:
            deadline = now + _LONG_WELCOME
            while link in self.greeting and time.monotonic() < deadline:
                self.poller.wait(deadline)
            if link in self.greeting:
                self.patient_from = time.monotonic() + 10 * _LONG_WELCOME

    def _go_round(self, deadline: float, *, wait: bool) -> bool:
        """Do what is ready, after waiting for it; return whether *deadline* has passed."""
        wait = wait and not self._settled and self._abort is not False
        self.poller.wait(deadline if wait else 0.0)
        return deadline != math.inf and time.monotonic() >= deadline

    def _enter_loop(self) -> None:
        self._depth += 1
        self._runner = threading.get_ident()

    def _leave_loop(self) -> None:
        self._depth -= 1
        if self._depth > 0:
            return  # whatever it was told to do, the loop outside it does
        self._abort = None
        self._runner = self._owner
        if self._inbox or self._settled:
            self.poller.wake()  # for those who wait on `fileno`

    def own_loop(self) -> None:
        """Have this thread be the only one that is ever in the run loop.

        While it handles a message nobody is; so a thread that sends to a new peer then
        waits longer for it, because nobody else would hear that it is let in.
        """
        self._owner = self._runner = threading.get_ident()
        self.welcome_seconds = _LONG_WELCOME

    def relay(self) -> None:
        """Let what was sent leave: for the thread of the run loop, in something that takes long.

        What has been received goes to the inbox meanwhile.
        """
        self.send_off_soon()
        self._sent += 1
        if self.poller.unwritten or self._sent >= _RELAY_EVERY:
            self._sent = 0
            self.poller.wait(0.0)

    def put_back(self, envelopes: Iterable[Any]) -> None:
        """Have *envelopes*, in their order, be the next ones that are handled."""
        self._inbox.extendleft(reversed([*envelopes]))

    def _tell_settled(self) -> None:
        while self._settled:
            settle, outcome = self._settled.popleft()
            settle(outcome)

    def _hurry(self) -> int:
        """Have everything acknowledged now, and return how much is not yet."""
        for link in tuple(self._links.values()):
            link.nudge()
        return self.outstanding()

    def abort_run(self, drain: bool = False) -> None:  # noqa: FBT001, FBT002 - Thespian's signature
        """End the run loop, or the next one if none is running; any thread may.

        Args:
            drain: Only when everything that was sent is acknowledged.
        """
        self._abort = drain
        self._wake_runner()

    def _wake_runner(self) -> None:
        if threading.get_ident() != self._runner:
            self.poller.wake()

    def fileno(self) -> int:
        """Return a descriptor that is readable when the run loop would have something to do.

        For an event loop: add it as a reader and serve with a deadline that has passed.
        Timers do not make it readable; see `next_deadline`.
        """
        return self.poller.fileno()

    def next_deadline(self) -> float | None:
        """Return when the next timer is due (monotonic seconds), or None."""
        return self.poller.next_deadline()

    # -- what comes at its place among the messages

    def after(self, delay: float, callback: Callable[[], object]) -> None:
        """Have the handler get a `Turn` with *callback* after *delay* seconds; any thread may."""
        self.call_at(time.monotonic() + delay, lambda: self._take_turn(callback))

    def after_last_words(self, sender: object, callback: Callable[[], object]) -> None:
        """Have the handler get a `Turn` with *callback* behind all that *sender* has sent.

        Its process is dead, so that comes to an end at once; but news of its
        death come by other ways, and may be faster. For the run loop alone.
        """
        self._acceptor.await_end(sender, lambda: self._take_turn(callback))

    def watch(self, descriptor: int, callback: OnReady) -> None:
        """Have the handler get a `Turn` with *callback* whenever *descriptor* is readable.

        For the run loop alone; `unwatch` before the descriptor is closed.

        Raises:
            OSError: It cannot be watched.
        """
        self._watches.add(descriptor, callback)

    def unwatch(self, descriptor: int) -> None:
        """Watch *descriptor* no longer; unknown ones are fine."""
        self._watches.remove(descriptor)

    def _take_turn(self, callback: Callable[[], object]) -> None:
        self.deliver(self.address, Turn(callback))

    # -- what both ends of connections ask for (see `LinkHub` and `InboundHub`)

    def post(self, address: LoopbackAddress, parcel: Parcel, gather: Gather | None = None) -> None:
        """Send *parcel* to *address*, over the link there is or a new one."""
        link = self.queue(address, parcel)
        if link is None:
            return
        if gather is None:
            link.flush()
        elif link.is_open and len(parcel.body) < BATCH_BYTES:
            gather(link.flush)
        else:  # to open a connection is to wait, and to seal what is long, too
            self.call_at(0.0, link.flush)

    def queue(self, address: LoopbackAddress, parcel: Parcel) -> Link | None:
        """Do all of that but the system calls; return the link whose `flush` does these."""
        if len(parcel.body) > MAX_BODY:
            log.warning("a message of {} bytes is too long to send", len(parcel.body))
            self.settle(parcel.settle, Outcome.TOO_LONG)
            return None
        link = self._links.get(address.nonce)
        while link is None or not link.queue(parcel):  # it has retired: the next one is new
            link = self._link_to(address)
        return link

    def settle(self, settle: Settle | None, outcome: Outcome) -> None:
        """Have the sender of a message told, from the run loop, how it ended."""
        if settle is not None:
            self._settled.append((settle, outcome))
            self._wake_runner()

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back from the run loop at *when* (monotonic seconds); any thread may."""
        self.poller.call_at(when, callback)
        self._wake_runner()

    def hang_up(self, address: LoopbackAddress) -> None:
        """Have all that is on its way to *address*, who is gone, end; for the run loop alone."""
        link = self._links.get(address.nonce)
        if link is not None:
            link.close(Outcome.DEAD_TARGET)

    def forget_link(self, link: Link) -> None:
        """Give *link* no more messages."""
        self._links.pop(link.target.nonce, None)

    def spare_descriptor(self) -> None:
        """Close one connection that nobody needs now."""
        if not self._acceptor.close_oldest_stranger():
            any(link.close_idle() for link in tuple(self._links.values()))

    def deliver(self, sender: LoopbackAddress, message: object) -> None:
        """Put a message into the inbox."""
        self._inbox.append(Envelope(sender, message))

    # -- descriptors, and the end

    def filenos(self) -> list[int]:
        """Return every descriptor of this messenger; what it watches is not its own."""
        return [*self.poller.filenos(), *self.sockets()]

    def sockets(self) -> list[int]:
        """Return the descriptors of what is connected, or can be connected to."""
        links = [fd for link in tuple(self._links.values()) for fd in link.filenos()]
        return [*self._acceptor.filenos(), *links]

    def close(self) -> None:
        """Close everything; what was not acknowledged ends so. Closing twice is fine.

        No thread may be in the run loop.
        """
        if self._closed:
            return
        self._closed = True
        self._acceptor.acknowledge_all()
        for link in tuple(self._links.values()):
            link.close(Outcome.CLOSED)
        self._acceptor.close()
        self._tell_settled()
        self.poller.close()
