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
from typing import TYPE_CHECKING

from loguru import logger
from thespian.actors import ActorAddress, ActorExitRequest, ChildActorExited
from thespian.system.actorManager import ActorManager
from thespian.system.messages.multiproc import EndpointConnected
from thespian.system.multiprocCommon import ChildInfo, MultiProcReplicator
from thespian.system.transport import ReceiveEnvelope, TransmitOnly

from jidocode._host import logs, processes, signals
from jidocode._host.address import LoopbackAddress
from jidocode._host.standby import await_turn
from jidocode._host.transport import LoopbackEndpoint, LoopbackTransport
from jidocode._host.wire import SpawnOrder

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
        childClass: type[Shell] | str,  # noqa: N803 - Thespian's name
        globalName: str | None,  # noqa: N803 - Thespian's name
        parentAddr: ActorAddress,  # noqa: N803 - Thespian's name
        notifyAddr: ActorAddress,  # noqa: N803 - Thespian's name
        childRequirements: SpawnOrder,  # noqa: N803 - Thespian's name
        sourceHash: str | None = None,  # noqa: ARG002, N803 - Thespian's name
        sourceToLoad: object = None,  # noqa: ARG002, N803 - Thespian's name
    ) -> None:
        """Fork a process for a new actor; Thespian's managers call this from `createActor`."""
        endpoint = self.transport.prepEndpoint(childAddr, self.capabilities)
        run = partial(
            run_actor,
            endpoint,
            childClass,
            globalName,
            parentAddr,
            notifyAddr,
            self._adminAddr,
            childRequirements,
            self.capabilities,
            self.shipper,
        )
        turn = () if childRequirements.turn is None else (childRequirements.turn,)
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
            self.transport.deliver(self.transport.myAddress, ChildActorExited(address))
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

    def run(self, order: SpawnOrder) -> None:
        """Create the shell with *order*, let it begin, and deliver messages until it leaves."""
        self._child_procs = []
        # Thespian's own way to an instance inspects signatures, which costs time and memory.
        named = isinstance(self._actorClass, str)
        shell: type[Shell] = resolve_name(self._actorClass) if named else self._actorClass
        self.actorInst = shell(order)
        self.actorInst._myRef = self  # noqa: SLF001 - the name by which an actor knows its manager
        self.actorInst.begin()
        if self._exit_status is None:
            self.transport.run(self.handleMessages)
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self.transport.run(TransmitOnly, max(0.0, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                break

    @property
    def exit_status(self) -> int:
        """What the process exits with: 0 after an end in order."""
        return 1 if self._exit_status is None else self._exit_status

    def handleMessages(self, envelope: ReceiveEnvelope) -> bool:  # noqa: N802 - Thespian's name
        """Deliver one message; False ends the process."""
        sender = envelope.sender.addressDetails
        if not isinstance(sender, LoopbackAddress) or not self.actorInst.deliver(
            envelope.message, sender
        ):
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

    def spawn(self, shell: type[Shell], order: object) -> processes.ChildProcess | None:
        """Start a child that runs *shell* with *order*; None if the kernel refused."""
        before = len(self._child_procs)
        self.actorInst.createActor(shell, targetActorRequirements=order)
        if len(self._child_procs) == before:
            return None
        process: processes.ChildProcess = self._child_procs[-1].childProc
        return process

    def children(self) -> list[int]:
        """Return the pids of the children that are not known to be dead."""
        return [info.childProc.pid for info in self._child_procs if info.childProc.status is None]


def run_actor(  # noqa: PLR0913, PLR0917 - the counterpart of Thespian's startChild
    endpoint: LoopbackEndpoint,
    shell: type[Shell] | str,
    global_name: str | None,
    parent: ActorAddress,
    notify: ActorAddress,
    admin: ActorAddress,
    order: SpawnOrder,
    capabilities: dict[str, object],
    shipper: logs.Shipper,
) -> int:
    """Be an actor process, from just after the fork to the exit status."""
    gc.freeze()
    shipper.process = order.kind
    transport = LoopbackTransport(endpoint)
    host = ActorHost(
        shell, global_name, transport, None, None, parent, admin, order, capabilities, None, None
    )
    host.asLogger = admin
    host.shipper = shipper
    signals.set_up(
        on_child_died=host.signalChildDied,
        on_terminate=lambda _number, _frame: transport.interrupt_wait(signal_shutdown=True),
    )
    transport.send(notify, EndpointConnected(endpoint.addrInst))
    turn = await_turn(order)
    if turn is None:
        return 0
    if turn.memory_limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (turn.memory_limit, turn.memory_limit))
    try:
        host.run(turn)
    except Exception:
        logger.opt(exception=True).error("an actor's process failed outside its handlers")
        raise
    finally:
        with contextlib.suppress(OSError):
            transport.close()
    return host.exit_status
