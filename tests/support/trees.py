"""A bare tree below a host of its own: its processes by the ids of their specs, and its events."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from servers import Group

from jidocode._host import wire
from jidocode._host.client.client import HostClient
from jidocode._host.client.owner import OwnerClient
from jidocode._host.daemon.launcher import HostProcess
from jidocode._host.deadline import Deadline
from jidocode.errors import ActorExitedError, NoProcessError
from jidocode.otp import (
    ActorRef,
    ChildExited,
    ChildSpec,
    ChildStarted,
    Flags,
    Name,
    Start,
)
from jidocode.otp.naming.messages import ROOT, Live, LookUp, NotFound, Restarting
from jidocode.otp.naming.server import RegistryServer
from jidocode.otp.supervision.events import ChildStarting, SupervisorEvent
from jidocode.otp.supervision.management import ChildInfo, StartChild, TerminateChild, WhichChildren
from jidocode.testing import PATIENCE

T = TypeVar("T")
E = TypeVar("E")
REGISTRY_ID = "registry"
PRELOAD = ("jidocode.session.tree",)
LONG = 60.0
"""A call's timeout that no test could wait for."""


def cast_to(client: HostClient, ref: ActorRef, request: object) -> None:
    """Send *request* to the `handle_cast` of *ref*; lost in silence if it is gone."""
    client.send(ref, wire.Cast(wire.pack_request(request)))


class Tree:
    """A running tree; the ids of its children are unique in all of it."""

    def __init__(self, flags: Flags, *specs: ChildSpec, registry: bool = False) -> None:
        self._news = threading.Condition()
        self._events: list[SupervisorEvent | ChildStarting] = []
        self._running: dict[str, ActorRef] = {}
        self._ends: dict[ActorRef, ChildExited] = {}
        self.facts: list[object] = []
        """What children have announced."""
        first = [RegistryServer.child_spec(id=REGISTRY_ID)] if registry else []
        root = Start(Group, flags, [*first, *specs])
        host = HostProcess(preload=PRELOAD)
        self.client = OwnerClient(host, root, start_timeout=PATIENCE, on_event=self._on_event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.client.close(PATIENCE)

    def _on_event(self, event: object, _names: Sequence[Name]) -> None:
        assert isinstance(event, SupervisorEvent | ChildStarting | wire.News)
        with self._news:
            if isinstance(event, wire.News):
                self.facts.append(wire.unpack(event.payload))
            else:
                self._events.append(event)
            if isinstance(event, ChildStarted):
                self._running[event.child_id] = event.ref
            if isinstance(event, ChildExited):
                self._ends[event.ref] = event
            self._news.notify_all()

    def until(self, look: Callable[[], T], what: str = "it") -> T:
        """Return the first true value of *look*, asked after each event; fail in the end."""
        with self._news:
            value = self._news.wait_for(look, PATIENCE)
        assert value, f"{what} did not happen within {PATIENCE:g} s: {self._events[-5:]}"
        return value

    def events(self, kind: type[E], child_id: str | None = None) -> list[E]:
        """Return the events of one *kind*, those of one child if given."""
        with self._news:
            return [
                event
                for event in self._events
                if isinstance(event, kind) and child_id in (None, event.child_id)
            ]

    # Processes

    @property
    def root(self) -> ActorRef:
        """The supervisor at the top."""
        root = self.client.directory.find(ROOT)
        assert root is not None
        return root

    def ref(self, child_id: str) -> ActorRef:
        """Return the live process of a child; wait for it if it is being replaced."""

        def live() -> ActorRef | None:
            ref = self._running.get(child_id)
            return None if ref is None or self.client.directory.death_of(ref) else ref

        return self.until(live, f"a process for {child_id}")  # type: ignore[return-value] # until() returns true values

    def successor(self, ref: ActorRef, child_id: str) -> ActorRef:
        """Return the process of a child that was started after *ref*."""
        self.until(lambda: self._running.get(child_id) != ref, f"restart of {child_id}")
        return self.ref(child_id)

    def end_of(self, ref: ActorRef) -> ChildExited:
        """Return what was announced about the end of *ref*."""
        return self.until(lambda: self._ends.get(ref), f"the end of {ref}")  # type: ignore[return-value] # idem

    def kill(self, child_id: str, number: int = signal.SIGKILL) -> ActorRef:
        """Send a signal to a child's process; return it once its end was announced."""
        ref = self.ref(child_id)
        os.kill(ref.os_pid, number)
        self.end_of(ref)
        return ref

    def look_up(self, name: Name) -> Live | Restarting | NotFound:
        """Ask the registry for *name*; again if it dies meanwhile."""
        found: Live | Restarting | NotFound
        while True:
            try:
                found = self.call(REGISTRY_ID, LookUp(name))
            except (ActorExitedError, NoProcessError):
                continue
            return found

    # Requests

    def call(self, child_id: str, request: object, timeout: float = LONG) -> Any:
        """Call a child."""
        return self.client.call(
            self.ref(child_id), request, deadline=Deadline.after(timeout), target=child_id
        )

    def begin(self, child_id: str, request: object) -> Future[Any]:
        """Call a child in a thread of its own."""
        threads = ThreadPoolExecutor(1)
        future = threads.submit(self.call, child_id, request)
        threads.shutdown(wait=False)
        return future

    def cast(self, child_id: str, request: object) -> None:
        """Cast to a child."""
        cast_to(self.client, self.ref(child_id), request)

    def ask(self, request: object, supervisor: str | None = None) -> Any:
        """Ask a supervisor, the root by default."""
        ref = self.root if supervisor is None else self.ref(supervisor)
        return self.client.call(ref, request, deadline=Deadline.after(LONG), target=str(ref))

    def start(self, spec: ChildSpec, supervisor: str | None = None) -> ActorRef | None:
        """Start a child."""
        ref: ActorRef | None = self.ask(StartChild(spec), supervisor)
        return ref

    def stop(self, child_id: str, supervisor: str | None = None) -> None:
        """Terminate a child."""
        self.ask(TerminateChild(child_id), supervisor)

    def kill_together(self, *child_ids: str) -> list[ActorRef]:
        """Kill children at the same instant; return what they were."""
        refs = [self.ref(child_id) for child_id in child_ids]
        for ref in refs:
            os.kill(ref.os_pid, signal.SIGKILL)
        return refs

    def children(self, supervisor: str | None = None) -> dict[str, ChildInfo]:
        """Return what a supervisor says of its children."""
        infos: tuple[ChildInfo, ...] = self.ask(WhichChildren(), supervisor)
        return {info.id: info for info in infos}


MakeTree = Callable[..., Tree]
"""Makes a tree from flags and specs, `registry=True` puts a registry first."""
