"""The half of an actor's process that talks to Thespian's system.

Thespian splits every process in two: a manager that talks to the system, and
the actor that it runs. Differs from Thespian's own manager in three things: a
process is somebody only when it is told whom to run (see `nursery`), our own
messages reach the actor without detours, and an actor leaves in order only when
it says so itself.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
import time
import traceback
from typing import TYPE_CHECKING

from thespian.actors import Actor, ActorExitRequest
from thespian.system.actorManager import ActorManager
from thespian.system.messages.multiproc import EndpointConnected
from thespian.system.multiprocCommon import MultiProcReplicator

from jidocode._host import logs, wire
from jidocode._host.actor import signals
from jidocode._host.actor.rehearsal import Standby, rehearse
from jidocode._host.daemon import processes
from jidocode._host.transport.thespian import (
    LoopbackEndpoint,
    ThespianEnvelope,
    ThespianTransport,
)
from jidocode.base import log

if TYPE_CHECKING:
    from jidocode._host.actor.shell import Shell

FAREWELL_SECONDS = 1.0
"""How long a leaving actor may take to deliver its last words."""


class ActorHost(MultiProcReplicator, ActorManager):
    """The manager of one actor process."""

    actorInst: Shell  # noqa: N815 - Thespian's name
    transport: ThespianTransport
    _exit_status: int | None = None

    def run(self, order: wire.SpawnOrder) -> None:
        """Create the shell with *order*, let it begin, and deliver messages until it leaves."""
        # Thespian's own way to an instance inspects signatures, `pkgutil.resolve_name` compiles an
        # expression: milliseconds, and pages that are this process's own from then on.
        module, name = order.shell
        self.actorInst = getattr(sys.modules[module], name)(order)
        self.actorInst._myRef = self  # noqa: SLF001 - the name by which an actor knows its manager
        self.actorInst.begin()
        if not self.is_leaving:
            self.transport.serve(self.handleMessages)
        deadline = time.monotonic() + FAREWELL_SECONDS
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
    order: bytes | Standby,
    capabilities: dict[str, object],
    shipper: logs.Shipper,
) -> int:
    """Be an actor's process, from just after the fork to the exit status.

    It runs what *order* says, a pickled `SpawnOrder`, or stands by until it is told.
    """
    gc.freeze()
    processes.set_name("jido:standby")
    processes.adopt_orphans()  # its own: they end with it, and with nobody else
    transport = ThespianTransport(endpoint)
    admin = transport.adminAddress
    host = ActorHost(
        Actor, None, transport, None, None, admin, admin, None, capabilities, None, None
    )
    host.asLogger = admin
    signals.set_up(
        on_terminate=lambda _number, _frame: transport.interrupt_wait(signal_shutdown=True)
    )
    transport.send(transport.resolve(admin), EndpointConnected(endpoint.addrInst))
    if isinstance(order, Standby):
        rehearse(transport.address, supervises=order.supervises)
        with os.fdopen(order.turn, "rb") as pipe:
            order = pipe.read()
        if not order:  # nobody will ever want it
            return 0
    real = wire.unpack(order)
    assert isinstance(real, wire.SpawnOrder)  # noqa: S101 - its sender has pickled one
    shipper.process = real.kind
    if real.memory_limit is not None:
        _limit_memory(real.memory_limit)
    try:
        host.run(real)
    except Exception:
        log.error("an actor's process failed outside its handlers\n{}", traceback.format_exc())
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
