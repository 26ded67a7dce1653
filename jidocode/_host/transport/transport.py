"""Carries messages between the processes of one system, and nothing to anybody else.

It takes the place of Thespian's `TCPTransport` under Thespian's process model.
Thespian's listens on every interface and unpickles what arrives; this one
listens on 127.0.0.1, and every frame proves the system's one-time key before
it is looked at (see `frames`). Conventions, admin routing and forwarding to
other machines do not exist here.

Three kinds of process hold one: the Admin (`LoopbackTransport.for_admin`), an
actor (Thespian makes it from the `LoopbackEndpoint` that its parent prepared),
and an app (`LoopbackTransport.for_client`).
"""
# ruff: noqa: N802 - Thespian calls these methods by these names

from __future__ import annotations

import math
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn, Self

from msgspec import Struct
from thespian.actors import (
    ActorAddress,
    ActorExitRequest,
    ActorSystemStartupFailure,
    InvalidActorAddress,
    WakeupMessage,
    WatchMessage,
)
from thespian.system.addressManager import ActorAddressManager, CannotPickleAddress
from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.timing import ExpirationTimer
from thespian.system.transport import (
    ReceiveEnvelope,
    SendStatus,
    Thespian__Run__Result,
    Thespian__Run_Expired,
    Thespian__Run_HandlerResult,
    Thespian__Run_Terminated,
    Thespian__UpdateWork,
    TransmitIntent,
    TransmitOnly,
    TransportInit__Base,
)

from jidocode._host import wire
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import KEY_BYTES, MAX_BODY, Kind
from jidocode._host.transport.inbound import Acceptor
from jidocode._host.transport.outbound import TOO_LONG, Link, Parcel, Settle
from jidocode._host.transport.poller import Poller, Watch
from jidocode.base import log
from jidocode.base.records import Discreet
from jidocode.errors import HostError

_BACKLOG = 1024
_NONCE_BITS = 63

Handler = Callable[[Any], Any]


def new_key() -> bytes:
    """Return the key of a new system: 256 random bits."""
    return secrets.token_bytes(KEY_BYTES)


class LoopbackEndpoint(Discreet, TransportInit__Base, frozen=True):
    """What a forked child needs to join the system; it passes by fork, never by argv or disk.

    Attributes:
        key: The key of the system.
        admin: Address of the Admin; None for the Admin itself.
        parent: Address of the parent actor, if there is one.
        addrInst: The parent's number for the child; Thespian's name.
    """

    hidden = ("key",)

    key: bytes
    admin: ActorAddress | None = None
    parent: ActorAddress | None = None
    addrInst: int | None = None  # noqa: N815 - Thespian's name


class Envelope(ReceiveEnvelope):
    """A message as `run` hands it over.

    Attributes:
        origin: Whose it is.
        message: The message.
    """

    __slots__ = ("message", "origin")
    message: object

    def __init__(self, origin: LoopbackAddress, message: object) -> None:
        self.origin = origin
        self.message = message

    @property
    def sender(self) -> ActorAddress:
        """Whose it is, as Thespian has it."""
        return ActorAddress(self.origin)


class _Wakeup(Struct):
    transport: LoopbackTransport
    period: float | timedelta
    payload: object

    def __call__(self) -> None:
        self.transport.deliver(self.transport.address, WakeupMessage(self.period, self.payload))


class LoopbackTransport:
    """One process's way to send and receive.

    One thread at a time may be inside `run`. Every other thread may `send`,
    schedule a transmit, add a wake-up, interrupt or abort meanwhile.

    Attributes:
        key: The key of the system.
        address: Where this process listens.
        myAddress: The same as an `ActorAddress`.
        adminAddress: The Admin of the system.
        poller: What it waits with.
    """

    def __init__(self, endpoint: TransportInit__Base, *_: object) -> None:
        """Bind and listen; Thespian calls this in a forked child.

        Raises:
            ActorSystemStartupFailure: *endpoint* was not prepared by a `LoopbackTransport`.
        """
        if not isinstance(endpoint, LoopbackEndpoint):
            raise ActorSystemStartupFailure(
                f"expected a LoopbackEndpoint, got {type(endpoint).__name__}"
            )
        self.key = endpoint.key
        listener = self._listen()
        self.address = LoopbackAddress(listener.getsockname()[1], self._draw_nonce())
        self.myAddress = ActorAddress(self.address)
        self.adminAddress = endpoint.admin or self.myAddress
        self.poller = Poller()
        self._acceptor = Acceptor(self, listener)
        self._watch = Watch(self.poller, self._on_watched)
        self._links: dict[int, Link] = {}
        self._inbox: deque[Envelope] = deque()
        self._settled: deque[tuple[Settle, SendStatus.BASE]] = deque()
        self._addresses: ActorAddressManager | None = None
        self._runner: int | None = None
        self._abort: bool | None = None  # None: go on; True: when all is sent; False: now
        self._exit_signalled = False
        self._children_signalled = False
        self._closed = False

    @classmethod
    def for_admin(cls, key: bytes) -> Self:
        """Return the transport of a new system's Admin; the kernel chooses the port."""
        return cls(LoopbackEndpoint(key))

    @classmethod
    def for_client(cls, key: bytes, admin: LoopbackAddress) -> Self:
        """Return the transport of an app that talks to the system whose Admin is *admin*."""
        return cls(LoopbackEndpoint(key, admin=ActorAddress(admin)))

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
        return secrets.randbits(_NONCE_BITS)

    # -- sending

    def send(
        self,
        target: LoopbackAddress,
        message: object,
        on_failure: Settle | None = None,
    ) -> None:
        """Send *message* after all that was sent to *target* before; any thread may.

        The bytes are usually with the kernel when this returns. *on_failure*
        is called once, from the run loop, when the message is known not to be
        delivered, or may not have been. It is told why: DeadTarget if nobody
        listens there, another life does, or the target died before it
        acknowledged (it may have handled the message), BadPacket if the target
        cannot unpickle it, Failed at `close`, else an `outbound.Undelivered`.
        An answer is always taken: whoever asked for it will read it.

        Raises:
            HostError: This transport is closed.
            Exception: Whatever pickling *message* raises.
        """
        body = wire.encode(message)
        if target.nonce == self.address.nonce:
            self.deliver(self.address, wire.decode(body))
            self._wake_runner()
        else:
            asked_for = isinstance(message, wire.Answer)
            self.post(target, Parcel(Kind.MESSAGE, body, on_failure, asked_for=asked_for))

    def scheduleTransmit(
        self,
        addressManager: ActorAddressManager | None,  # noqa: N803 - Thespian's name
        transmitIntent: TransmitIntent,  # noqa: N803 - Thespian's name
        has_exclusive_flag: bool = False,  # noqa: ARG002, FBT001, FBT002 - Thespian's signature
    ) -> None:
        """Send what the intent says and tell it how that ended, from the run loop.

        Thespian calls this for everything it sends. The intent ends as Sent
        when the target has acknowledged it, DeadTarget, BadPacket, Failed when
        it has expired, or an `outbound.Undelivered`.

        Raises:
            CannotPickleAddress: The target, or an address in the message, is
                not known yet; Thespian tries again when it is.
            Exception: Whatever pickling the message raises.
        """
        intent = transmitIntent
        if isinstance(intent.message, Thespian__UpdateWork):
            intent.tx_done(SendStatus.Sent)
            return
        address = self.resolve(intent.targetAddr, addressManager)
        body = wire.encode(intent.message)
        if address.nonce == self.address.nonce:
            self.deliver(self.address, intent.message)
            self._note(intent.tx_done, SendStatus.Sent)
            return
        expires = time.monotonic() + intent.expiration().view().remainingSeconds(math.inf)
        self.post(address, Parcel(Kind.CONFIRM, body, intent.tx_done, expires))

    def resolve(
        self, target: ActorAddress, addresses: ActorAddressManager | None = None
    ) -> LoopbackAddress:
        """Return where *target* listens.

        Raises:
            CannotPickleAddress: It is a child whose address is not known yet.
        """
        details = target.addressDetails
        if isinstance(details, LoopbackAddress):
            return details
        addresses = addresses or self._addresses
        known = addresses.exportAddr(target) if addresses else None
        details = getattr(known, "addressDetails", None)
        if isinstance(details, LoopbackAddress):
            return details
        raise CannotPickleAddress(target)

    def _link_to(self, address: LoopbackAddress) -> Link:
        if self._closed:
            raise HostError("this transport is closed")
        # In one call, without a lock: a signal handler may come here while its thread is here.
        return self._links.setdefault(address.nonce, Link(self, address))

    # -- receiving

    def run(
        self,
        incomingHandler: Handler | type[TransmitOnly] | TransmitOnly | None,  # noqa: N803 - Thespian's name
        maximumDuration: float | timedelta | None = None,  # noqa: N803 - Thespian's name
    ) -> Thespian__Run__Result | int:
        """Send, receive and wait, until the handler says stop or the time is over.

        With a handler, calls it with a `ReceiveEnvelope` per message until it
        returns something false. With None, returns the first envelope. With
        `TransmitOnly`, hands over nothing and returns, as soon as a message
        is done with, how many are not; 0 means that all are.

        Returns:
            The envelope, `Thespian__Run_HandlerResult`, `Thespian__Run_Expired`
            after *maximumDuration* (seconds or timedelta; None: never),
            `Thespian__Run_Terminated` after `abort_run`, or the count.
        """
        deadline = _deadline(maximumDuration)
        self._runner = threading.get_ident()
        try:
            if incomingHandler is TransmitOnly or isinstance(incomingHandler, TransmitOnly):
                return self._run_transmits(deadline)
            return self._run_messages(incomingHandler, deadline)
        finally:
            self._abort = None
            self._runner = None
            if self._inbox or self._settled:
                self.poller.wake()  # for those who wait on `fileno`

    def _run_messages(self, handler: Handler | None, deadline: float) -> Thespian__Run__Result:
        self._watch.mute(muted=False)
        expired = False
        while True:
            if self._settled:
                self._tell_settled()
            for _ in range(len(self._inbox)):
                envelope = self._inbox.popleft()
                if handler is None:
                    return envelope
                result = handler(envelope)
                if not result:
                    # What an actor has handled before it ends did not fail.
                    self._acceptor.acknowledge_all()
                    return Thespian__Run_HandlerResult(result)
                if self.poller.unwritten:  # what was said goes out before more is done
                    break
            if self._abort is False or (self._abort and not self._drain()):
                self._acceptor.acknowledge_all()
                return Thespian__Run_Terminated()
            if expired:
                return Thespian__Run_Expired()
            expired = self._turn(deadline, wait=not self._inbox)

    def _run_transmits(self, deadline: float) -> Thespian__Run__Result | int:
        self._watch.mute(muted=True)
        before = self.outstanding()
        expired = False
        while True:
            self._tell_settled()
            if self._abort is False:
                return Thespian__Run_Terminated()
            left = self._drain()
            if left == 0 or left < before:
                return left
            if expired:
                return Thespian__Run_Expired()
            expired = self._turn(deadline, wait=True)

    def _turn(self, deadline: float, *, wait: bool) -> bool:
        """Do what is ready, after waiting for it; return whether *deadline* has passed."""
        busy = self._settled or self._exit_signalled or self._children_signalled
        wait = wait and not busy and self._abort is not False
        self.poller.wait(deadline if wait else 0.0)
        if self._exit_signalled or self._children_signalled:
            self._deliver_signals()
        return deadline != math.inf and time.monotonic() >= deadline

    def _tell_settled(self) -> None:
        while self._settled:
            settle, status = self._settled.popleft()
            settle(status)

    def _drain(self) -> int:
        """Have everything acknowledged now, and return how much is not yet."""
        for link in tuple(self._links.values()):
            link.nudge()
        return self.outstanding()

    def outstanding(self) -> int:
        """Return how many messages are not acknowledged yet."""
        return sum(link.outstanding() for link in tuple(self._links.values()))

    def at_risk(self) -> int:
        """Return how many messages could be lost if this process ended now (see `Link`)."""
        return sum(link.at_risk() for link in tuple(self._links.values()))

    def fileno(self) -> int:
        """Return a descriptor that is readable when `run` would have something to do.

        For an event loop: add it as a reader and call `run(handler, 0)`.
        Timers do not make it readable; see `next_deadline`.
        """
        return self.poller.fileno()

    def next_deadline(self) -> float | None:
        """Return when the next timer is due (monotonic seconds), or None."""
        return self.poller.next_deadline()

    # -- what both ends of connections ask for (see `LinkHub` and `InboundHub`)

    def post(self, address: LoopbackAddress, parcel: Parcel) -> None:
        """Send *parcel* to *address*, over the link there is or a new one."""
        if len(parcel.body) > MAX_BODY:
            log.warning("a message of {} bytes is too long to send", len(parcel.body))
            self.settle(parcel, TOO_LONG)
            return
        link = self._links.get(address.nonce)
        while link is None or not link.post(parcel):  # it has retired: the next one is new
            link = self._link_to(address)

    def settle(self, parcel: Parcel, status: SendStatus.BASE) -> None:
        """Have the sender of *parcel* told, from the run loop, how it ended."""
        if parcel.settle is not None:
            self._note(parcel.settle, status)

    def _note(self, settle: Settle, status: SendStatus.BASE) -> None:
        self._settled.append((settle, status))
        self._wake_runner()

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Call back from the run loop at *when* (monotonic seconds)."""
        self.poller.call_at(when, callback)
        self._wake_runner()

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

    # -- signals, wake-ups, watches

    def interrupt_wait(self, signal_shutdown: bool = False, check_children: bool = False) -> None:  # noqa: FBT001, FBT002 - Thespian's signature
        """Make `run` look around; safe in a signal handler and in any thread.

        Args:
            signal_shutdown: Hand the actor an `ActorExitRequest`.
            check_children: Have Thespian look which children died.
        """
        self._exit_signalled |= signal_shutdown
        self._children_signalled |= check_children
        self.poller.wake()

    def _deliver_signals(self) -> None:
        if self._children_signalled:
            self._children_signalled = False
            self.deliver(self.address, ChildMayHaveDied())
        if self._exit_signalled:
            self._exit_signalled = False
            self.deliver(self.address, ActorExitRequest())

    def abort_run(self, drain: bool = False) -> None:  # noqa: FBT001, FBT002 - Thespian's signature
        """End `run`, or the next one if none is running; any thread may.

        Args:
            drain: Only when everything that was sent is acknowledged.
        """
        self._abort = drain
        self._wake_runner()

    def addWakeup(self, timePeriod: float | timedelta, payload: object) -> None:  # noqa: N803 - Thespian's name
        """Deliver `WakeupMessage(timePeriod, payload)` after that time (seconds or timedelta)."""
        self.call_at(time.monotonic() + _seconds(timePeriod), _Wakeup(self, timePeriod, payload))

    def after_last_words(self, sender: object, callback: Callable[[], None]) -> None:
        """Deliver a `WakeupMessage` with *callback* behind all that *sender* has sent.

        Its process is dead, so that comes to an end at once; but news of its
        death come by other ways, and may be faster. For the run loop alone.
        """
        self._acceptor.await_end(sender, _Wakeup(self, 0.0, callback))

    def set_watch(self, watchlist: Sequence[int]) -> None:
        """Deliver a `WatchMessage` when some of these descriptors are readable.

        Thespian calls this after every message. The list that is watched
        already costs nothing; so a descriptor that was closed and opened
        again under its old number has to be left out once in between.
        """
        self._watch.set(watchlist)

    def _on_watched(self, ready: list[int]) -> None:
        self.deliver(self.address, WatchMessage(ready))

    def _wake_runner(self) -> None:
        if threading.get_ident() != self._runner:
            self.poller.wake()

    # -- what else Thespian calls

    def setAddressManager(self, addrManager: ActorAddressManager) -> None:  # noqa: N803 - Thespian's name
        """Take the book of child addresses; Thespian calls this once per process."""
        self._addresses = addrManager

    def enableRXPauseFlowControl(self, enable: bool = True) -> None:  # noqa: FBT001, FBT002 - Thespian's signature
        """Do nothing: a slow target fills its own queue and never stops receiving."""

    def prepEndpoint(
        self,
        assignedLocalAddr: ActorAddress,  # noqa: N803 - Thespian's name
        capabilities: object,  # noqa: ARG002 - Thespian's signature
    ) -> LoopbackEndpoint:
        """Return what the child to be started needs; the parent calls this before it forks."""
        number = getattr(assignedLocalAddr.addressDetails, "addressInstanceNum", None)
        return self.endpoint_for(number)

    def endpoint_for(self, number: int | None) -> LoopbackEndpoint:
        """Return what the child with that *number* needs."""
        return LoopbackEndpoint(
            self.key, admin=self.adminAddress, parent=self.myAddress, addrInst=number
        )

    def connectEndpoint(self, endPoint: LoopbackEndpoint) -> None:  # noqa: N803 - Thespian's name
        """Do nothing: the child reports itself."""

    def protectedFileNumList(self) -> list[int]:
        """Return every descriptor of this transport."""
        links = [fd for link in tuple(self._links.values()) for fd in link.filenos()]
        return [
            *self.poller.filenos(),
            *self._watch.filenos(),
            *self._acceptor.filenos(),
            *links,
        ]

    def childResetFileNumList(self) -> list[int]:
        """Return what a forked child has to close, and only close, before it does anything."""
        return self.protectedFileNumList()

    def deadAddress(self, addressManager: ActorAddressManager, childAddr: ActorAddress) -> None:  # noqa: N803 - Thespian's names
        """End what is on its way to *childAddr* as DeadTarget; Thespian saw it die."""
        known = addressManager.exportAddr(childAddr)
        details = getattr(known, "addressDetails", None)
        link = self._links.get(details.nonce) if isinstance(details, LoopbackAddress) else None
        if link is not None:
            link.close(SendStatus.DeadTarget)

    def getAdminAddr(self, capabilities: object) -> ActorAddress:  # noqa: ARG002 - Thespian's signature
        """Return the Admin's address: it is part of the endpoint, not of the capabilities."""
        return self.adminAddress

    def probeAdmin(self, addr: ActorAddress) -> bool:
        """Return whether somebody listens at *addr*."""
        try:
            socket.create_connection(("127.0.0.1", self.resolve(addr).port)).close()
        except ConnectionRefusedError:
            return False
        return True

    @staticmethod
    def getAddressFromString(addrspec: object, adminRouting: bool = False) -> NoReturn:  # noqa: ARG004, FBT001, FBT002, N803 - Thespian's signature
        """Refuse: an address cannot be written by hand, for nobody can guess its nonce.

        Raises:
            InvalidActorAddress: Always.
        """
        raise InvalidActorAddress(addrspec, "this transport has no conventions")

    @staticmethod
    def getConventionAddress(capabilities: object) -> None:
        """Return None: there are no conventions."""

    def lostRemote(self, rmtaddr: ActorAddress) -> None:
        """Do nothing: there are no other machines."""

    def external_transport_clone(self) -> LoopbackTransport:
        """Return one more client of the same system."""
        return type(self)(LoopbackEndpoint(self.key, admin=self.adminAddress))

    def _updateStatusResponse(self, resp: Any) -> None:
        for link in tuple(self._links.values()):
            for _ in range(link.outstanding()):
                resp.addPendingMessage(self.myAddress, ActorAddress(link.target), "a message")
        for envelope in tuple(self._inbox):
            resp.addReceivedMessage(
                ActorAddress(envelope.origin), self.myAddress, type(envelope.message).__name__
            )
        now = time.monotonic()
        resp.addWakeups(
            [
                (self.myAddress, ExpirationTimer(max(0.0, when - now)))
                for when, timer in self.poller.timers()
                if isinstance(timer, _Wakeup)
            ]
        )

    def close(self) -> None:
        """Close everything; what was not acknowledged ends as Failed. Closing twice is fine.

        No thread may be inside `run`.
        """
        if self._closed:
            return
        self._closed = True
        self._acceptor.acknowledge_all()
        for link in tuple(self._links.values()):
            link.close(SendStatus.Failed)
        self._acceptor.close()
        self._tell_settled()
        self._watch.close()
        self.poller.close()


def _seconds(period: float | timedelta) -> float:
    return period.total_seconds() if isinstance(period, timedelta) else period


def _deadline(duration: float | timedelta | None) -> float:
    return math.inf if duration is None else time.monotonic() + _seconds(duration)
