"""The host: Thespian's Admin, which makes all processes and holds the root of the tree.

Differs from Thespian's Admin in four things. It has no logger process to die
of. It ends when the guard does, which ends with the app. It makes, ends and
buries processes for the supervisors, as Thespian's Admin does for actors that
cannot do it themselves ("nannying"). And it starts the root again when the root
dies, within a budget of restarts, for a globally named actor has no supervisor.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace
from thespian.actors import ActorAddress, ChildActorExited
from thespian.system.messages.admin import PendingActor, PendingActorResponse, SystemShutdown
from thespian.system.messages.multiproc import EndpointConnected
from thespian.system.multiprocCommon import MultiProcAdmin
from thespian.system.transport import ReceiveEnvelope

from jidocode._host import logs, wire
from jidocode._host.actor import signals
from jidocode._host.actor.child_exited import ChildExited
from jidocode._host.actor.process import run_actor
from jidocode._host.actor.rehearsal import Standby
from jidocode._host.daemon import processes
from jidocode._host.daemon.nursery import Nursery, Ward
from jidocode._host.transport.address import Address
from jidocode._host.transport.poller import READ
from jidocode._host.transport.thespian import ThespianEnvelope, ThespianTransport
from jidocode._host.wire import RootExited, SpawnOrder
from jidocode.base import log
from jidocode.base.exits import best_reason
from jidocode.otp.supervision.intensity import RestartIntensity

CAPABILITIES = {
    "Thespian ActorSystem Name": "multiprocTCPBase",
    "Thespian ActorSystem Version": 2,
    "Thespian Watch Supported": True,
}
ROOT_NAME = "jidocode"
"""The root's global name, which makes it a child of Thespian's Admin."""
ROOT_MAX_RESTARTS = 3
ROOT_MAX_SECONDS = 5.0
SHORT_REFILL_DELAY = 0.01
REFILL_DELAY = 0.05
"""Seconds without an order until the missing standbys are made; the short one if none is left.

Whoever waits is answered first.
"""


class HostAdmin(MultiProcAdmin):
    """The Admin of one system, in its own process."""

    transport: ThespianTransport

    def __init__(self, transport: ThespianTransport, guard: int, log: int, run_dir: str) -> None:
        """Take over *transport*, log to *log*; end, and remove *run_dir*, when *guard* is gone."""
        self.shipper = logs.Shipper(log, "host")
        self._run_dir = run_dir
        self._nursery = Nursery(self._fork)
        self._refill_due = False
        self._quiet_at = 0.0
        self._root: ReceiveEnvelope | None = None
        self._root_number = 0  # Thespian's
        self._root_ward: Ward | None = None
        self._farewell: RootExited | None = None
        self._restarts = RestartIntensity(ROOT_MAX_RESTARTS, ROOT_MAX_SECONDS)
        super().__init__(transport, transport.myAddress, dict(CAPABILITIES), None, None)
        self.asLogger = transport.myAddress
        self._activate()
        transport.poller.register(guard, READ, self._on_guard_gone)

    def _on_guard_gone(self, _events: int) -> None:
        """End everything at once, whatever is being done: the app is gone, too."""
        processes.bury_orphans(())
        shutil.rmtree(self._run_dir, ignore_errors=True)
        os._exit(0)

    def handleIncoming(self, envelope: ThespianEnvelope) -> bool:  # noqa: N802 - Thespian's name
        """Handle one message: ours, or one that Thespian understands."""
        message = envelope.message
        match message:
            case wire.StartRoot():
                shell = ":".join(message.order.shell)
                return self._ask_thespian(
                    PendingActor(shell, None, 1, message.order, globalName=ROOT_NAME)
                )
            case wire.Shutdown():
                return self._ask_thespian(SystemShutdown())
            case PendingActorResponse():  # the app hears from the root itself
                pass
            case wire.Fork():
                self._on_fork(message, envelope.origin)
            case wire.Kill():
                self._on_kill(message, envelope.origin)
            case RootExited():
                self._farewell = message
            case _:
                return bool(super().handleIncoming(envelope))
        return True

    def _ask_thespian(self, request: object) -> bool:
        """Have Thespian's Admin do what the app wants, as if the host itself had asked.

        So its answers, which an app could not read without importing Thespian, stay here.
        """
        return bool(super().handleIncoming(ThespianEnvelope(self.transport.address, request)))

    def h_LogRecord(self, envelope: ReceiveEnvelope) -> bool:  # noqa: N802 - Thespian's name
        """Drop it: logs do not travel through the Admin."""
        del envelope
        return True

    # Processes

    def _fork(self, number: int, order: bytes | Standby) -> processes.ChildProcess:
        endpoint = self.transport.endpoint_for(number)
        run = partial(run_actor, endpoint, order, self.capabilities, self.shipper)
        pipe = (order.turn,) if isinstance(order, Standby) else ()
        return processes.fork(run, keep=[self.shipper.descriptor, *pipe])

    def _on_fork(self, message: wire.Fork, sender: Address) -> None:
        parent = self._nursery.find(sender)
        if parent is None:  # it has died meanwhile
            return
        try:
            ward = self._nursery.start(
                message.order, parent, message.incarnation, supervises=message.supervises
            )
            pid = ward.process.pid
        except OSError as error:
            log.warning("no process could be forked: {}", error.strerror)
            pid = None
        self.transport.send(sender, wire.Forked(message.incarnation, pid))
        self._refill_later()

    def _on_kill(self, message: wire.Kill, sender: Address) -> None:
        parent = self._nursery.find(sender)
        ward = parent.below.get(message.incarnation) if parent else None
        if ward is not None:
            ward.process.kill()

    def _refill_later(self) -> None:
        """Have processes stand by again as soon as none was wanted for a while."""
        delay = REFILL_DELAY if self._nursery.has_standbys else SHORT_REFILL_DELAY
        self._quiet_at = time.monotonic() + delay
        if not self._refill_due:
            self._refill_due = True
            self.transport.call_at(self._quiet_at, self._refill)

    def _refill(self) -> None:
        if time.monotonic() < self._quiet_at:
            self.transport.call_at(self._quiet_at, self._refill)
            return
        self._refill_due = False
        try:
            while not self.isShuttingDown() and self._nursery.stand_by():
                pass
        except OSError as error:
            log.debug("no process can stand by: {}", error.strerror)

    def h_EndpointConnected(self, envelope: ThespianEnvelope) -> bool:  # noqa: N802 - Thespian's name
        """Take in where a process listens."""
        assert isinstance(envelope.message, EndpointConnected)  # noqa: S101 - called for it alone
        ward = self._nursery.connected(envelope.message.childInstance, envelope.origin)
        if ward is not None and ward is self._root_ward:
            self._pendingActorReady(self._root_number, envelope.sender)
        return True

    def childDied(self) -> bool:  # noqa: N802 - Thespian's name
        """Bury the dead, and tell each one's supervisor (called after SIGCHLD)."""
        for ward in self._nursery.bury():
            status = ward.process.status
            if ward is self._root_ward:
                address = ActorAddress(ward.address)
                self.transport.deliver(self.transport.address, ChildActorExited(address))
            elif ward.parent is not None and ward.parent.address and status is not None:
                news = ChildExited(ward.incarnation, ward.address, status)
                self.transport.send(ward.parent.address, news)
        return True

    # The root

    def h_PendingActor(self, envelope: ReceiveEnvelope) -> object:  # noqa: N802 - Thespian's name
        """Start an actor; the app asks for one, the root."""
        self._root = envelope
        return super().h_PendingActor(envelope)

    def _startChildActor(  # noqa: N802, PLR0913, PLR0917 - Thespian's name and signature
        self,
        childAddr: ActorAddress,  # noqa: N803 - Thespian's name
        childClass: object,  # noqa: ARG002, N803 - Thespian's name
        globalName: str | None,  # noqa: ARG002, N803 - Thespian's name
        parentAddr: ActorAddress,  # noqa: ARG002, N803 - Thespian's name
        notifyAddr: ActorAddress,  # noqa: ARG002, N803 - Thespian's name
        childRequirements: SpawnOrder,  # noqa: N803 - Thespian's name
        sourceHash: str | None = None,  # noqa: ARG002, N803 - Thespian's name
        sourceToLoad: object = None,  # noqa: ARG002, N803 - Thespian's name
    ) -> None:
        """Start the root's process; Thespian's Admin calls this for `h_PendingActor`."""
        self._root_number = getattr(childAddr.addressDetails, "addressInstanceNum", 0)
        self._root_ward = self._nursery.start(wire.pack(childRequirements), supervises=True)
        self._refill_later()

    def h_ChildActorExited(self, envelope: ReceiveEnvelope) -> object:  # noqa: N802 - Thespian's name
        """Start the root again, unless it left by itself."""
        result = super().h_ChildActorExited(envelope)
        if self._root is not None and not self.isShuttingDown():
            self._replace(self._root)
        return result

    def _replace(self, root: ReceiveEnvelope) -> None:
        request, farewell, ward = root.message, self._farewell, self._root_ward
        assert isinstance(request, PendingActor)  # noqa: S101 - its handler kept it
        assert isinstance(request.targetActorReq, SpawnOrder)  # noqa: S101 - the app sends no other
        order = request.targetActorReq
        self._farewell = None
        reason = best_reason(
            farewell.reason if farewell else None, ward.process.status if ward else None
        )
        again = farewell is None and self._restarts.allow(time.monotonic())
        news = RootExited(order.incarnation, reason, restarting=again)
        self.transport.send(order.app, news)
        if again:
            request.targetActorReq = replace(order, incarnation=order.incarnation + 1)
            # One that died before it had connected would be waited for, for ever.
            self._pendingChildren.clear()
            self.h_PendingActor(root)
        else:
            self.transport.abort_run(drain=True)

    def _cleanupAdmin(self, finish_cleanup: Callable[[], None]) -> None:  # noqa: N802 - Thespian's name
        """Finish: there is no logger to wait for, nor anybody who awaits Thespian's last word."""
        del finish_cleanup
        self.shutdown_completed = True


def prepare_host(admin: HostAdmin, preload: Sequence[str]) -> None:
    """Make this process fit to run *admin* and to be forked from, again and again.

    What is imported here is shared by all actors; what the collector does not
    touch stays shared.
    """
    processes.adopt_orphans()
    processes.set_name("jido-host")
    admin.shipper.install()
    for module in (wire.SERVER_SHELL[0], wire.SUPERVISOR_SHELL[0], *preload):
        importlib.import_module(module)
    signals.reset()  # whatever these modules did
    signal.signal(signal.SIGCHLD, admin.signalChildDied)
    for number in (signal.SIGTERM, signal.SIGHUP):  # the host ends after the app
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    gc.enable()
