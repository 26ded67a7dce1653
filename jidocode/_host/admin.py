"""The host: Thespian's Admin, which holds the root of the tree.

Differs from Thespian's Admin in three things. It has no logger process to die
of. It ends when the guard does, which ends with the app. And it starts the
root again when the root dies, within a budget of restarts, for a globally
named actor has no supervisor.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace
from thespian.actors import WatchMessage
from thespian.system.messages.admin import PendingActor
from thespian.system.multiprocCommon import MultiProcAdmin
from thespian.system.transport import ReceiveEnvelope

from jidocode._host import logs, processes, signals
from jidocode._host.manager import Replicator
from jidocode._host.transport import LoopbackTransport
from jidocode._host.wire import RootExited, SpawnOrder
from jidocode.otp.exits import best_reason
from jidocode.otp.intensity import RestartIntensity

CAPABILITIES = {
    "Thespian ActorSystem Name": "multiprocTCPBase",
    "Thespian ActorSystem Version": 2,
    "Thespian Watch Supported": True,
}
ROOT_MAX_RESTARTS = 3
ROOT_MAX_SECONDS = 5.0


class HostAdmin(Replicator, MultiProcAdmin):
    """The Admin of one system, in its own process."""

    def __init__(self, transport: LoopbackTransport, guard: int, log: int, run_dir: str) -> None:
        """Take over *transport*, log to *log*; end, and remove *run_dir*, when *guard* is gone."""
        self._child_procs = []
        self.shipper = logs.Shipper(log, "host")
        self._run_dir = run_dir
        self._root: ReceiveEnvelope | None = None
        self._process: processes.ChildProcess | None = None
        self._farewell: RootExited | None = None
        self._restarts = RestartIntensity(ROOT_MAX_RESTARTS, ROOT_MAX_SECONDS)
        super().__init__(transport, transport.myAddress, dict(CAPABILITIES), None, None)
        self.asLogger = transport.myAddress
        self._activate()
        transport.set_watch([guard])

    def handleIncoming(self, envelope: ReceiveEnvelope) -> bool:  # noqa: N802 - Thespian's name
        """Handle one message; the end of the guard is the end of everything."""
        match envelope.message:
            case WatchMessage():
                processes.bury_orphans(())
                shutil.rmtree(self._run_dir, ignore_errors=True)
                os._exit(0)
            case RootExited() as farewell:
                self._farewell = farewell
                return True
            case _:
                return bool(super().handleIncoming(envelope))

    def h_LogRecord(self, envelope: ReceiveEnvelope) -> bool:  # noqa: N802 - Thespian's name
        """Drop it: logs do not travel through the Admin."""
        del envelope
        return True

    def h_PendingActor(self, envelope: ReceiveEnvelope) -> object:  # noqa: N802 - Thespian's name
        """Start an actor; the app asks for one, the root."""
        self._root = envelope
        return super().h_PendingActor(envelope)

    def _startChildActor(self, *args: Any, **options: Any) -> None:  # noqa: N802 - Thespian's name
        super()._startChildActor(*args, **options)
        self._process = self._child_procs[-1].childProc

    def h_ChildActorExited(self, envelope: ReceiveEnvelope) -> object:  # noqa: N802 - Thespian's name
        """Bury what the root has left; start it again, unless it left by itself."""
        self.log_trace(self._process)
        processes.bury_orphans(())
        result = super().h_ChildActorExited(envelope)
        if self._root is not None and not self.isShuttingDown():
            self._replace(self._root)
        return result

    def _replace(self, root: ReceiveEnvelope) -> None:
        request, farewell, process = root.message, self._farewell, self._process
        assert isinstance(request, PendingActor)  # noqa: S101 - its handler kept it
        assert isinstance(request.targetActorReq, SpawnOrder)  # noqa: S101 - the app sends no other
        order = request.targetActorReq
        self._farewell = None
        reason = best_reason(
            farewell.reason if farewell else None, process.poll() if process else None
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
        """Finish: there is no logger to wait for."""
        finish_cleanup()


def prepare_host(admin: HostAdmin, preload: Sequence[str]) -> None:
    """Make this process fit to run *admin* and to be forked from, again and again.

    What is imported here is shared by all actors; what the collector does not
    touch stays shared.
    """
    processes.adopt_orphans()
    processes.set_name("jido-host")
    admin.shipper.install()
    signal.signal(signal.SIGCHLD, admin.signalChildDied)
    for module in preload:
        importlib.import_module(module)
    signals.reset()  # whatever these modules did
    gc.freeze()
    gc.enable()
