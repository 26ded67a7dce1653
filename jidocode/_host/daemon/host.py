"""The host: Thespian's Admin, which forks all processes and holds the root of the tree.

Differs from Thespian's Admin in four things. It has no logger process to die
of. It ends when a guard does, or the app. It forks, kills and
reaps processes for the supervisors, as Thespian's Admin does for actors that
cannot do it themselves ("nannying"). And it starts the root again when the root
dies, within a budget of restarts, for a globally named actor has no supervisor.

It decides nothing else. A supervisor asks it for a process (`Fork`), for a process's end
(`Kill`), and hears of each end (`ChildExited`) once all that was below it is gone too.
"""

from __future__ import annotations

import gc
import importlib
import math
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

from jidocode._host import processes, wire
from jidocode._host.actor import signals
from jidocode._host.actor.child_exited import ChildExited
from jidocode._host.actor.process import run_actor
from jidocode._host.actor.reports import report_root
from jidocode._host.actor.warm_up import StandbyOrder
from jidocode._host.daemon.guard import MAX_MISSED, Watch
from jidocode._host.daemon.process_table import ProcessEntry, ProcessTable
from jidocode._host.limits import explain
from jidocode._host.shipper import Shipper
from jidocode._host.transport.address import Address
from jidocode._host.transport.poller import ONCE, READ
from jidocode._host.transport.thespian import ThespianEnvelope, ThespianTransport
from jidocode._host.wire import RootExited, SpawnOrder
from jidocode.base import log, orphans
from jidocode.base.exits import Crashed, best_reason
from jidocode.base.text import clip
from jidocode.otp.supervision.intensity import RestartIntensity
from jidocode.otp.supervision.machine import PulseHeard

CAPABILITIES = {
    "Thespian ActorSystem Name": "multiprocTCPBase",
    "Thespian ActorSystem Version": 2,
    "Thespian Watch Supported": True,
}
ROOT_NAME = "jidocode"
"""The root's global name, which makes it a child of Thespian's Admin."""
ROOT_MAX_RESTARTS = 3
ROOT_MAX_SECONDS = 5.0
INIT_SECONDS = 10.0
"""How long the root may take until it answers probes."""
SHORT_REFILL_DELAY = 0.01
REFILL_DELAY = 0.05
"""Seconds without a request until the missing standbys are forked; the short one if none is left.

While a standby is forked and warms up, it takes time from whoever waits for a process.
"""


class HostAdmin(MultiProcAdmin):
    """The Admin of one system, in its own process."""

    transport: ThespianTransport

    def __init__(self, transport: ThespianTransport, watch: Watch) -> None:
        """Take over *transport*; end when *watch* says so."""
        self.shipper = Shipper(watch.log, "host")
        self._watch = watch
        self._table = ProcessTable(self._fork, self._release)
        self._look_due = False
        self._chances = 0  # as many probes may stay unanswered in a row
        self._is_root_silent = False
        self._refill_due = False
        self._quiet_at = 0.0
        self._root: ReceiveEnvelope | None = None
        self._root_number = 0  # Thespian's
        self._root_process: ProcessEntry | None = None
        self._root_exit: RootExited | None = None
        self._restarts = RestartIntensity(ROOT_MAX_RESTARTS, ROOT_MAX_SECONDS)
        super().__init__(
            transport=transport,
            address=transport.myAddress,
            capabilities=dict(CAPABILITIES),
            logdefs=None,
            concurrency_context=None,
        )
        self.asLogger = transport.myAddress
        self._activate()
        for end in watch.lifelines:
            transport.poller.register(end, READ, lambda _events: self._on_app_gone())
        for guard in watch.guards:
            # Whatever is being done: somebody has to be above this process.
            transport.poller.register(guard, READ, lambda _events: watch.end())

    def run(self) -> None:
        """Serve until the system ends."""
        self._beat()
        super().run()

    def _on_app_gone(self) -> None:
        """End at once, whatever is being done; or in order, if the app has left time for that."""
        patience = self._watch.patience
        if not patience:
            self._watch.end()
        for end in self._watch.lifelines:
            self.transport.poller.unregister(end)
        self.transport.call_at(time.monotonic() + patience, self._watch.end)
        self.transport.deliver(self.transport.address, wire.Shutdown())

    def _beat(self) -> None:
        """Show the guards that this process does not hang, and look after root and standbys."""
        heartbeat = self._watch.heartbeat
        if heartbeat is None:
            return
        self._watch.beat()
        self._probe_root()
        if self._table.end_stopped_standbys():
            self._refill_later()
        self.transport.call_at(time.monotonic() + heartbeat, self._beat)

    def handleIncoming(self, envelope: ThespianEnvelope) -> bool:  # noqa: N802 - Thespian's name
        """Handle one message: ours, or one of Thespian's, which nobody else but itself may send."""
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
                if self._root_process is not None and envelope.origin == self._root_process.address:
                    self._root_exit = message
            case PulseHeard():
                if self._root_process is not None and envelope.origin == self._root_process.address:
                    self._chances = MAX_MISSED
            case EndpointConnected(childInstance=int() as number):
                self._on_connected(number, envelope)
            case _ if envelope.origin == self.transport.address:
                return bool(super().handleIncoming(envelope))
            case _:  # Thespian's handlers take what they get for what it should be
                log.warning("the host ignores a message of type {}", clip(type(message).__name__))
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

    def _fork(self, number: int, order: bytes | StandbyOrder) -> processes.ChildProcess:
        endpoint = self.transport.endpoint_for(number)
        run = partial(run_actor, endpoint, order, self.capabilities, self.shipper)
        pipe = (order.order_pipe,) if isinstance(order, StandbyOrder) else ()
        process = processes.fork(run, keep=[self.shipper.descriptor, *pipe])
        try:
            self.transport.poller.register(
                process.descriptor, READ | ONCE, lambda _events: self._on_end(process.pid)
            )
        except OSError:
            process.kill()  # it is reaped as an orphan
            process.close()
            raise
        return process

    def _release(self, process: processes.ChildProcess) -> None:
        self.transport.poller.unregister(process.descriptor)
        process.close()

    def _on_end(self, pid: int) -> None:
        """Look who is dead: of one that is traced, SIGCHLD goes to its tracer."""
        self._table.note_end(pid)
        self.transport.interrupt_wait(check_children=True)

    def _on_fork(self, message: wire.Fork, sender: Address) -> None:
        parent = self._table.find(sender)
        if parent is None or message.incarnation in parent.children:
            return  # it has died meanwhile, or asks twice
        try:
            entry = self._table.start(
                message.order, parent, message.incarnation, supervises=message.supervises
            )
            forked = wire.Forked(message.incarnation, entry.process.pid)
        except OSError as error:
            forked = wire.Forked(message.incarnation, None, explain(error))
            log.warning("no process could be forked: {}", forked.problem)
        self.transport.send(sender, forked)
        self._refill_later()

    def _on_kill(self, message: wire.Kill, sender: Address) -> None:
        parent = self._table.find(sender)
        entry = parent.children.get(message.incarnation) if parent else None
        if entry is not None:
            entry.process.kill()

    def _refill_later(self) -> None:
        """Have processes stand by again as soon as none was wanted for a while."""
        delay = REFILL_DELAY if self._table.has_standbys else SHORT_REFILL_DELAY
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
            while not self.isShuttingDown() and self._table.add_standby():
                pass
        except OSError as error:
            log.debug("no process can stand by: {}", error.strerror)

    def _on_connected(self, number: int, envelope: ThespianEnvelope) -> None:
        """Take in where a process listens."""
        entry = self._table.set_address(number, envelope.origin)
        if entry is not None and entry is self._root_process:
            self._pendingActorReady(self._root_number, envelope.sender)
            self._probe_root()  # it answers when it is through with its `init`

    def childDied(self) -> bool:  # noqa: N802 - Thespian's name
        """Reap the dead, and tell each one's supervisor (called after SIGCHLD)."""
        for entry in self._table.reap():
            status = entry.process.status
            if entry is self._root_process:
                address = ActorAddress(entry.address)
                self.transport.deliver(self.transport.address, ChildActorExited(address))
            elif entry.parent is not None and entry.parent.address and status is not None:
                news = ChildExited(entry.incarnation, entry.address, status)
                self.transport.send(entry.parent.address, news)
        self._look_later()
        return True

    def _look_later(self) -> None:
        """Look again at those who resist, beside all other work."""
        if self._table.next_look is not None and not self._look_due:
            self._look_due = True
            self.transport.call_at(self._table.next_look, self._look)

    def _look(self) -> None:
        self._look_due = False
        self.childDied()

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
        self._chances = max(MAX_MISSED, math.ceil(INIT_SECONDS / (self._watch.heartbeat or 1.0)))
        self._root_number = getattr(childAddr.addressDetails, "addressInstanceNum", 0)
        try:
            self._root_process = self._table.start(wire.pack(childRequirements), supervises=True)
        except OSError as error:
            reason = Crashed(f"no process could be forked: {explain(error)}")
            news = RootExited(childRequirements.incarnation, reason, restarting=False)
            self.transport.send(childRequirements.app, news)
            self.transport.abort_run(drain=True)
        else:
            self._refill_later()

    def h_ChildActorExited(self, envelope: ReceiveEnvelope) -> object:  # noqa: N802 - Thespian's name
        """Start the root again, unless it left by itself."""
        result = super().h_ChildActorExited(envelope)
        if self._root is not None and not self.isShuttingDown():
            self._replace(self._root)
        return result

    def _probe_root(self) -> None:
        """Have the root show that it does not hang; kill it if it has not for too long."""
        entry = self._root_process
        if (
            self._watch.heartbeat is None
            or entry is None
            or entry.address is None
            or entry.process.status is not None
        ):
            return
        if self._chances:
            self._chances -= 1
            self.transport.send(entry.address, wire.Heartbeat())
        else:
            self._is_root_silent = True
            entry.process.kill()

    def _replace(self, root: ReceiveEnvelope) -> None:
        request, root_exit, entry = root.message, self._root_exit, self._root_process
        assert isinstance(request, PendingActor)  # noqa: S101 - its handler kept it
        assert isinstance(request.targetActorReq, SpawnOrder)  # noqa: S101 - the app sends no other
        order = request.targetActorReq
        self._root_exit = None
        reason = best_reason(
            root_exit.reason if root_exit else None, entry.process.status if entry else None
        )
        if self._is_root_silent:
            reason = Crashed(f"no heartbeat for {MAX_MISSED * (self._watch.heartbeat or 0.0):g} s")
            self._is_root_silent = False
        again = root_exit is None and self._restarts.allow(time.monotonic())
        news = RootExited(order.incarnation, reason, restarting=again)
        self.transport.send(order.app, news)
        report_root(reason, restarting=again)
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


def prepare_host(
    admin: HostAdmin, preload: Sequence[str], use_app_path: Callable[[], None]
) -> None:
    """Make this process fit to run *admin* and to be forked from, again and again.

    Args:
        admin: What will run here.
        preload: Modules to import once, for all actors to share.
        use_app_path: Has this process import from where the app does. Until then it finds
            Python's own library first, so that is when our own modules are imported.
    """
    orphans.adopt_orphans()
    admin.shipper.install()
    modules = [wire.SERVER_SHELL[0], wire.SUPERVISOR_SHELL[0], *preload]
    for name in modules:
        if name.startswith(f"{log.PACKAGE}."):
            importlib.import_module(name)
    use_app_path()
    for name in modules:  # those that were imported are found as they are
        importlib.import_module(name)
    # After the imports, for a module may set signals when it is imported; a host that no
    # longer got SIGCHLD would hear of no death any more.
    signals.reset()
    signal.signal(signal.SIGCHLD, admin.signalChildDied)
    for number in signals.LEFT_TO_APP:  # the host ends after the app
        signal.signal(number, signal.SIG_IGN)
    # A fork shares a page until one of the two writes to it, and the collector writes to each
    # object that it looks at. So it shall not look at what is there now; and it has not run
    # before (see `main`), for the holes that it would have left would be filled, page by page,
    # in each child.
    gc.freeze()
    gc.enable()
