"""How Thespian's processes are started, watched and ended here.

Thespian splits every process in two: a manager that talks to the system, and
the actor that it runs. `Replicator` is the half of both managers (the Admin's
and the actors') that makes children; `ActorHost` is the actors' manager.

What differs from Thespian's own: children are forked lean and die with their
parent, every death is announced exactly once, our own messages reach the actor
without detours, and an actor leaves in order only when it says so itself.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import time
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from loguru import logger
from thespian.actors import Actor, ActorAddress, ActorExitRequest, ChildActorExited
from thespian.system.actorManager import ActorManager
from thespian.system.messages.multiproc import EndpointConnected
from thespian.system.multiprocCommon import ChildInfo, MultiProcReplicator
from thespian.system.transport import TransmitOnly

from jidocode._host import logs, processes, signals
from jidocode._host.rehearsal import rehearse
from jidocode._host.standby import Standbys, await_turn
from jidocode._host.transport import Envelope, LoopbackEndpoint, LoopbackTransport
from jidocode._host.wire import SpawnOrder, StandbyOrder

if TYPE_CHECKING:
    from jidocode._host.actor import Shell

FAREWELL_SECONDS = 1.0
"""How long a leaving actor may take to deliver its last words."""


class Replicator(MultiProcReplicator):
    """Makes child processes for a manager, and tells of their deaths."""

    transport: LoopbackTransport
    shipper: logs.Shipper
    """How this process and its children log."""
    _child_procs: list[ChildInfo]

    def _startChildActor(  # noqa: N802, PLR0913, PLR0917 - Thespian's name and signature
        self,
        childAddr: ActorAddress,  # noqa: N803 - Thespian's name
        childClass: object,  # noqa: N803 - Thespian's name
        globalName: str | None,  # noqa: N803 - Thespian's name
        parentAddr: ActorAddress,  # noqa: N803 - Thespian's name
        notifyAddr: ActorAddress,  # noqa: N803 - Thespian's name
        childRequirements: SpawnOrder | StandbyOrder,  # noqa: N803 - Thespian's name
        sourceHash: str | None = None,  # noqa: ARG002, N803 - Thespian's name
        sourceToLoad: object = None,  # noqa: ARG002, N803 - Thespian's name
    ) -> None:
        """Fork a process for a new actor; Thespian's managers call this from `createActor`."""
        endpoint = self.transport.prepEndpoint(childAddr, self.capabilities)
        run = partial(
            run_actor,
            endpoint,
            globalName,
            parentAddr,
            notifyAddr,
            self._adminAddr,
            childRequirements,
            self.capabilities,
            self.shipper,
        )
        turn = (childRequirements.turn,) if isinstance(childRequirements, StandbyOrder) else ()
        process = processes.fork(run, keep=[self.shipper.descriptor, *turn])
        info = ChildInfo(childAddr, childClass, process, endpoint.addrInst)
        self._child_procs.append(info)
        self.transport.connectEndpoint(endpoint)

    def childDied(self) -> bool:  # noqa: N802 - Thespian's name
        """Announce each child that is dead, once (called after SIGCHLD)."""
        dead = [info for info in self._child_procs if not info.childProc.is_alive()]
        for info in dead:
            self._child_procs.remove(info)
            address = getattr(info, "childRealAddr", info.childAddr)
            self.transport.deliver(self.transport.address, ChildActorExited(address))
        return True

    @staticmethod
    def log_trace(process: processes.ChildProcess | None) -> None:
        """Log where a dead child was when a fatal signal hit it, if it could still say."""
        trace = process.trace() if process else ""
        if process and trace:
            logger.bind(pid=process.pid).error("a fatal signal ended a process\n{}", trace)

    def _childExited(self, childAddr: ActorAddress) -> None:  # noqa: N802, N803 - Thespian's names
        """Do nothing: `childDied` has dropped the child.

        Thespian's own drops every child that is dead by now, and so loses the
        notices of those that died together with *childAddr*.
        """


class ActorHost(Replicator, ActorManager):
    """The manager of one actor process."""

    actorInst: Shell  # noqa: N815 - Thespian's name
    _exit_status: int | None = None

    def __init__(self, *args: Any) -> None:
        """Take what Thespian gives its manager of an actor."""
        super().__init__(*args)
        self._child_procs = []
        self._below_standbys = 0
        self.standbys = Standbys(self._fork_standby)

    def run(self, order: SpawnOrder) -> None:
        """Create the shell with *order*, let it begin, and deliver messages until it leaves."""
        # Thespian's own way to an instance inspects signatures, which costs time and memory.
        self.actorInst = resolve_name(order.shell)(order)
        self.actorInst._myRef = self  # noqa: SLF001 - the name by which an actor knows its manager
        self.actorInst.begin()
        if not self.is_leaving:
            self.transport.run(self.handleMessages)
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self.transport.at_risk() and time.monotonic() < deadline:
            self.transport.run(TransmitOnly, deadline - time.monotonic())

    @property
    def exit_status(self) -> int:
        """What the process exits with: 0 after an end in order."""
        return 1 if self._exit_status is None else self._exit_status

    def handleMessages(self, envelope: Envelope) -> bool:  # noqa: N802 - Thespian's name
        """Deliver one message; False ends the process."""
        if not self.actorInst.deliver(envelope.message, envelope.origin):
            super().handleMessages(envelope)
        return self._exit_status is None

    def _actorExit(self, exitRequest: ActorExitRequest) -> bool:  # noqa: N802, N803 - Thespian's names
        """Do nothing: the shell has the request, and stops its children in order first."""
        del exitRequest
        return True

    # For the shell

    def leave(self, exit_status: int) -> None:
        """End the process with *exit_status* after the present message."""
        self._exit_status = exit_status

    @property
    def is_leaving(self) -> bool:
        """Whether the process ends after the present message."""
        return self._exit_status is not None

    def spawn(self, order: SpawnOrder) -> processes.ChildProcess | None:
        """Start a child with *order*, by a standby process if there is one.

        None if the kernel refused.
        """
        return self.standbys.take(order) or self._fork(order)

    @property
    def standby_count(self) -> int:
        """How many processes stand by."""
        return len(self.standbys)

    def have_stand_by(self, count: int, *, each: int = 0) -> None:
        """Have *count* processes stand by, with *each* of their own standing by below them."""
        self._below_standbys = each
        before = self.standby_count
        self.standbys.keep(count)
        if self.standby_count < before:
            processes.bury_orphans(self.children())

    def _fork(self, order: SpawnOrder | StandbyOrder) -> processes.ChildProcess | None:
        before = len(self._child_procs)
        self.createActor(Actor, order, None)
        if len(self._child_procs) == before:
            return None
        process: processes.ChildProcess = self._child_procs[-1].childProc
        return process

    def _fork_standby(self, turn: int) -> processes.ChildProcess | None:
        return self._fork(StandbyOrder(turn, self._below_standbys))

    def children(self) -> list[int]:
        """Return the pids of the children that are not known to be dead."""
        return [info.childProc.pid for info in self._child_procs if info.childProc.status is None]


def run_actor(  # noqa: PLR0913, PLR0917 - the counterpart of Thespian's startChild
    endpoint: LoopbackEndpoint,
    global_name: str | None,
    parent: ActorAddress,
    notify: ActorAddress,
    admin: ActorAddress,
    order: SpawnOrder | StandbyOrder,
    capabilities: dict[str, object],
    shipper: logs.Shipper,
) -> int:
    """Be an actor process, from just after the fork to the exit status."""
    gc.freeze()
    processes.set_name("jido:standby")
    transport = LoopbackTransport(endpoint)
    host = ActorHost(
        Actor, global_name, transport, None, None, parent, admin, order, capabilities, None, None
    )
    host.asLogger = admin
    host.shipper = shipper
    signals.set_up(
        on_child_died=host.signalChildDied,
        on_terminate=lambda _number, _frame: transport.interrupt_wait(signal_shutdown=True),
    )
    transport.send(transport.resolve(notify), EndpointConnected(endpoint.addrInst))
    if isinstance(order, StandbyOrder):
        host.standbys.keep(order.standbys)
        rehearse(transport.address, supervises=order.standbys > 0)
        real = await_turn(order)
        if real is None:
            return 0
    else:
        real = order
    shipper.process = real.kind
    if real.memory_limit is not None:
        _limit_memory(real.memory_limit)
    try:
        host.run(real)
    except Exception:
        logger.opt(exception=True).error("an actor's process failed outside its handlers")
        raise
    finally:
        with contextlib.suppress(OSError):
            transport.close()
    return host.exit_status


def _limit_memory(size: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:  # only root may raise it
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
