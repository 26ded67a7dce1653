"""The process of one actor, from just after the fork to its exit status.

Thespian splits every process in two: a manager that talks to the system, and the
actor that it runs. `ActorProcess` is the manager, a `Shell` the actor. It differs
from Thespian's own manager in three things. A process may be there before anybody
knows what it will run (see `warm_up`). Our own messages reach the shell without
detours. And an actor leaves in order only when it says so itself: for Thespian,
`ActorExitRequest` is the end, for a supervisor it is the beginning of one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
import time
import traceback

from thespian.actors import Actor, ActorExitRequest
from thespian.system.actorManager import ActorManager
from thespian.system.messages.multiproc import EndpointConnected
from thespian.system.multiprocCommon import MultiProcReplicator

from jidocode._host import processes, wire
from jidocode._host.actor import signals
from jidocode._host.actor.shell import Shell
from jidocode._host.actor.warm_up import StandbyOrder, warm_up
from jidocode._host.forks import Owner, close_in_forks, end_fork
from jidocode._host.shipper import Shipper
from jidocode._host.transport.thespian import (
    LoopbackEndpoint,
    ThespianEnvelope,
    ThespianTransport,
)
from jidocode.base import log, orphans

LINGER_SECONDS = 1.0
"""How long a leaving actor may take to deliver what it has sent."""


class ActorProcess(MultiProcReplicator, ActorManager):
    """Runs one shell, and ends when the shell leaves."""

    actorInst: Shell  # noqa: N815 - Thespian's name
    transport: ThespianTransport
    _exit_status: int | None = None

    def __init__(self, transport: ThespianTransport, capabilities: dict[str, object]) -> None:
        """Join the system that *transport* belongs to, without an actor yet."""
        super().__init__(
            # Thespian would make the actor from these two; `run` makes the shell itself.
            childClass=Actor,
            childRequirements=None,
            globalName=None,
            transport=transport,
            sourceHash=None,
            sourceToLoad=None,
            # Thespian tells its parent of its end; the host sees that itself, and tells who cares.
            parentAddr=transport.adminAddress,
            adminAddr=transport.adminAddress,
            currentSystemCapabilities=capabilities,
            concurrency_context=None,
            logdefs=None,
        )
        self.asLogger = transport.adminAddress

    def run(self, order: wire.SpawnOrder) -> None:
        """Create the shell with *order*, let it begin, and deliver messages until it leaves."""
        # Thespian's own way to an instance inspects signatures, `pkgutil.resolve_name` compiles an
        # expression: milliseconds, and pages that are this process's own from then on.
        module, name = order.shell
        shell: Shell = getattr(sys.modules[module], name)(order, self)
        shell._myRef = self  # noqa: SLF001 - by this an actor of Thespian's knows its manager
        self.actorInst = shell
        shell.begin()
        if not self.is_leaving:
            self.transport.serve(self.handleMessages)
        deadline = time.monotonic() + LINGER_SECONDS
        while self.transport.at_risk() and time.monotonic() < deadline:
            self.transport.drain(deadline)

    @property
    def exit_status(self) -> int:
        """What the process exits with: 0 after an end in order."""
        return 1 if self._exit_status is None else self._exit_status

    def handleMessages(self, envelope: ThespianEnvelope) -> bool:  # noqa: N802 - Thespian's name
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


def run_actor(
    endpoint: LoopbackEndpoint,
    order: bytes | StandbyOrder,
    capabilities: dict[str, object],
    shipper: Shipper,
) -> int:
    """Be an actor's process, and return its exit status; the host calls this in the fork.

    Args:
        endpoint: How to join the system.
        order: What to run, a pickled `SpawnOrder`; or where that will come from, for a standby.
        capabilities: The system's, as Thespian has it.
        shipper: Where log lines go.
    """
    # What the host froze is shared with it until somebody writes there, and the collector
    # writes to all that it looks at. Freezing anew adds what came up since the host did.
    gc.freeze()
    processes.set_name("jido:standby", "jidocode standby")
    # What a user's code starts and leaves behind ends with this process, and with no other.
    orphans.adopt_orphans()
    transport = ThespianTransport(endpoint)
    close_in_forks(transport, ThespianTransport.filenos)
    owner = Owner()
    transport.own_loop()
    process = ActorProcess(transport, capabilities)
    signals.set_up()
    transport.send(transport.resolve(transport.adminAddress), EndpointConnected(endpoint.addrInst))
    transport.send_off()  # a standby is out of its run loop until it is wanted
    if isinstance(order, StandbyOrder):
        warm_up(transport.address, supervises=order.supervises)
        with os.fdopen(order.order_pipe, "rb") as pipe:
            order = pipe.read()
        if not order:  # the host has closed the pipe: nobody will ever want this process
            return 0
    spawn_order = wire.unpack(order)
    assert isinstance(spawn_order, wire.SpawnOrder)  # noqa: S101 - its sender has pickled one
    if spawn_order.parent is not None:  # it waits to hear that this process is ready
        transport.dial(spawn_order.parent)
    shipper.process = spawn_order.kind
    if spawn_order.memory_limit is not None:
        _limit_memory(spawn_order.memory_limit)
    try:
        process.run(spawn_order)
    except BaseException as error:
        if not owner.is_here:  # a callback has forked, and this is the fork
            end_fork(spawn_order.kind, error)
        log.error("an actor's process failed outside its handlers\n{}", traceback.format_exc())
        raise
    finally:
        with contextlib.suppress(OSError):
            transport.close()
    return process.exit_status


def _limit_memory(size: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:  # only root may raise it
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
