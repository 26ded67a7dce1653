"""What Thespian wants of a transport, on top of a `Messenger`.

It takes the place of Thespian's `TCPTransport` under Thespian's process model.
Thespian's listens on every interface and unpickles what arrives; a `Messenger` does
neither. Conventions, admin routing and forwarding to other machines do not exist here.

Two kinds of process hold one: the host, which is Thespian's Admin
(`ThespianTransport.for_admin`), and an actor, whose parent has prepared a
`LoopbackEndpoint` for it.
"""
# ruff: noqa: N802 - Thespian calls these methods by these names

from __future__ import annotations

import math
import select
import time
from collections.abc import Sequence
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
from jidocode._host.transport.frames import Kind
from jidocode._host.transport.messenger import Ending, Handler, Messenger
from jidocode._host.transport.poller import READ
from jidocode._host.transport.window import Outcome, Parcel
from jidocode.base import log
from jidocode.base.structs import Discreet

PROBE_SECONDS = 1.0
"""Seconds in which a connection to who listens is made."""


class Undelivered(SendStatus.BASE):
    """Why a message will not arrive although its target may live; as text, a sentence's end."""

    _isGood = False  # noqa: N815 - Thespian's name

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def __str__(self) -> str:
        return str(self._outcome)


STATUSES: dict[Outcome, SendStatus.BASE] = {
    Outcome.DELIVERED: SendStatus.Sent,
    Outcome.DEAD_TARGET: SendStatus.DeadTarget,
    Outcome.UNREADABLE: SendStatus.BadPacket,
    Outcome.EXPIRED: SendStatus.Failed,
    Outcome.CLOSED: SendStatus.Failed,
    Outcome.TOO_LONG: Undelivered(Outcome.TOO_LONG),
    Outcome.TOO_MANY: Undelivered(Outcome.TOO_MANY),
    Outcome.UNREACHABLE: Undelivered(Outcome.UNREACHABLE),
}
"""How Thespian calls what became of a message."""


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


class ThespianEnvelope(ReceiveEnvelope):
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
    transport: ThespianTransport
    period: float | timedelta
    payload: object

    def __call__(self) -> None:
        self.transport.deliver(self.transport.address, WakeupMessage(self.period, self.payload))


class ThespianTransport(Messenger):
    """A messenger that Thespian can use as its transport.

    One thread at a time may be inside `run`. Every other thread may also
    schedule a transmit, add a wake-up and interrupt meanwhile.

    Attributes:
        myAddress: Where this process listens, as an `ActorAddress`.
        adminAddress: The Admin of the system.
    """

    def __init__(self, endpoint: TransportInit__Base, *_: object) -> None:
        """Bind and listen; Thespian calls this in a forked child.

        Raises:
            ActorSystemStartupFailure: *endpoint* was not prepared by a `ThespianTransport`.
        """
        if not isinstance(endpoint, LoopbackEndpoint):
            raise ActorSystemStartupFailure(
                f"expected a LoopbackEndpoint, got {type(endpoint).__name__}"
            )
        super().__init__(endpoint.key)
        self.myAddress = ActorAddress(self.address)
        self.adminAddress = endpoint.admin or self.myAddress
        self._watchlist = _Watchlist(self)
        self._addresses: ActorAddressManager | None = None
        self._exit_signalled = False
        self._children_signalled = False

    @classmethod
    def for_admin(cls, key: bytes) -> Self:
        """Return the transport of a new system's Admin; the kernel chooses the port."""
        return cls(LoopbackEndpoint(key))

    # -- sending

    def scheduleTransmit(
        self,
        addressManager: ActorAddressManager | None,  # noqa: N803 - Thespian's name
        transmitIntent: TransmitIntent,  # noqa: N803 - Thespian's name
        has_exclusive_flag: bool = False,  # noqa: ARG002, FBT001, FBT002 - Thespian's signature
    ) -> None:
        """Send what the intent says and tell it how that ended, from the run loop.

        Thespian calls this for everything it sends. The intent ends as Sent
        when the target has acknowledged it, DeadTarget, BadPacket, Failed when
        it has expired, or an `Undelivered`.

        Raises:
            CannotPickleAddress: The target, or an address in the message, is
                not known yet; Thespian tries again when it is.
            Exception: Whatever pickling the message raises.
        """
        intent = transmitIntent
        if isinstance(intent.message, Thespian__UpdateWork):
            intent.tx_done(SendStatus.Sent)
            return

        def settle(outcome: Outcome) -> None:
            intent.tx_done(STATUSES[outcome])

        address = self.resolve(intent.targetAddr, addressManager)
        body = wire.encode(intent.message)
        if address.nonce == self.address.nonce:
            self.deliver(self.address, intent.message)
            self.settle(settle, Outcome.DELIVERED)
            return
        expires = time.monotonic() + intent.expiration().view().remainingSeconds(math.inf)
        self.post(address, Parcel(Kind.CONFIRM, body, settle, expires))

    def resolve(
        self, target: ActorAddress, addresses: ActorAddressManager | None = None
    ) -> LoopbackAddress:
        """Return where *target* listens.

        Raises:
            CannotPickleAddress: It is a child whose address is not known yet.
        """
        details = target.addressDetails
        if self.reaches(details):
            return details
        addresses = addresses or self._addresses
        known = addresses.exportAddr(target) if addresses else None
        details = getattr(known, "addressDetails", None)
        if self.reaches(details):
            return details
        raise CannotPickleAddress(target)

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
        if incomingHandler is TransmitOnly or isinstance(incomingHandler, TransmitOnly):
            self._watchlist.mute(muted=True)  # nobody would read what is readable
            left = self.drain(deadline)
            return _run_result(left) if isinstance(left, Ending) else left
        self._watchlist.mute(muted=False)
        first: list[ThespianEnvelope] = []
        ending, result = self.serve(incomingHandler or first.append, deadline)
        if first:
            return first[0]
        return _run_result(ending, result)

    def _go_round(self, deadline: float, *, wait: bool) -> bool:
        wait = wait and not (self._exit_signalled or self._children_signalled)
        expired = super()._go_round(deadline, wait=wait)
        if self._exit_signalled or self._children_signalled:
            self._deliver_signals()
        return expired

    def deliver(self, sender: LoopbackAddress, message: object) -> None:
        """Put a message into the inbox."""
        self._inbox.append(ThespianEnvelope(sender, message))

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

    def addWakeup(self, timePeriod: float | timedelta, payload: object) -> None:  # noqa: N803 - Thespian's name
        """Deliver `WakeupMessage(timePeriod, payload)` after that time (seconds or timedelta)."""
        self.call_at(time.monotonic() + _seconds(timePeriod), _Wakeup(self, timePeriod, payload))

    def set_watch(self, watchlist: Sequence[int]) -> None:
        """Deliver a `WatchMessage` when some of these descriptors are readable.

        Thespian calls this after every message of its own; our actors `watch`. The
        list that is watched already costs nothing; so a descriptor that was closed and
        opened again under its old number has to be left out once in between.
        """
        self._watchlist.set(watchlist)

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
        return [*self.filenos(), *self._watchlist.filenos()]

    def childResetFileNumList(self) -> list[int]:
        """Return what a forked child has to close, and only close, before it does anything."""
        return self.protectedFileNumList()

    def deadAddress(self, addressManager: ActorAddressManager, childAddr: ActorAddress) -> None:  # noqa: N803 - Thespian's names
        """End what is on its way to *childAddr* as DeadTarget; Thespian saw it die."""
        known = addressManager.exportAddr(childAddr)
        details = getattr(known, "addressDetails", None)
        if self.reaches(details):
            self.hang_up(details)

    def getAdminAddr(self, capabilities: object) -> ActorAddress:  # noqa: ARG002 - Thespian's signature
        """Return the Admin's address: it is part of the endpoint, not of the capabilities."""
        return self.adminAddress

    def probeAdmin(self, addr: ActorAddress) -> bool:
        """Return whether somebody listens at *addr*."""
        try:
            self.try_connecting(self.resolve(addr), PROBE_SECONDS)
        except OSError:
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

    def external_transport_clone(self) -> Self:
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
        if not self._closed:
            self._watchlist.set(())
        super().close()


class _Watchlist:
    """The descriptors that Thespian wants watched.

    They live in an epoll of their own, inside the poller's: Thespian's actors close
    theirs as they like, and say so later. By then the number may be a connection's,
    and a forked child may hold a copy that the poller could not forget any more. Only
    to close the whole epoll ends that. (Our own descriptors: see `watches`.)
    """

    def __init__(self, transport: ThespianTransport) -> None:
        self._transport = transport
        self._fds: list[int] = []
        self._epoll: select.epoll | None = None
        self._muted = False

    def set(self, fds: Sequence[int]) -> None:
        """Watch *fds* and nothing else."""
        if list(fds) == self._fds:
            return
        if self._epoll is not None:
            self._transport.poller.unregister(self._epoll.fileno())
            self._epoll.close()
        self._fds, self._epoll, self._muted = list(fds), None, False
        if self._fds:
            self._epoll = self._open()

    def mute(self, *, muted: bool) -> None:
        """Leave readable descriptors alone for a while."""
        if self._epoll is not None and self._muted != muted:
            self._transport.poller.modify(self._epoll.fileno(), 0 if muted else READ)
            self._muted = muted

    def filenos(self) -> list[int]:
        """Return its own descriptor, if there is one."""
        return [] if self._epoll is None else [self._epoll.fileno()]

    def _open(self) -> select.epoll:
        epoll = select.epoll()
        for fd in self._fds:
            try:
                epoll.register(fd, READ)
            except OSError as error:
                log.warning("cannot watch descriptor {}: {}", fd, error.strerror)
        self._transport.poller.register(epoll.fileno(), READ, self._on_event)
        return epoll

    def _on_event(self, _events: int) -> None:
        ready = [] if self._epoll is None else [fd for fd, _ in self._epoll.poll(0)]
        if ready:
            self._transport.deliver(self._transport.address, WatchMessage(ready))


def _run_result(ending: Ending, result: object = None) -> Thespian__Run__Result:
    match ending:
        case Ending.STOPPED:
            return Thespian__Run_HandlerResult(result)
        case Ending.EXPIRED:
            return Thespian__Run_Expired()
        case Ending.ABORTED:
            return Thespian__Run_Terminated()


def _seconds(period: float | timedelta) -> float:
    return period.total_seconds() if isinstance(period, timedelta) else period


def _deadline(duration: float | timedelta | None) -> float:
    return math.inf if duration is None else time.monotonic() + _seconds(duration)
