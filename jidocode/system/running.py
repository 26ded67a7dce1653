"""`RunningTree`: what an app and its handles share of a running tree, and the waiting."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from jidocode._host import wire
from jidocode._host.client.client import HostClient
from jidocode._host.client.monitor import Monitor
from jidocode._host.client.news import Listener
from jidocode._host.client.part_reader import PendingParts
from jidocode._host.deadline import Deadline
from jidocode._host.descriptors import open_process, signal_all
from jidocode.base.exits import ExitReason, NoProcess
from jidocode.base.faults import require_sound
from jidocode.base.refs import ActorRef, Target, require_target
from jidocode.base.stepwise import carry_out
from jidocode.base.stop import Stop, Stopped
from jidocode.base.text import quote
from jidocode.errors import ActorExitedError, CallError, CallTimeoutError, NoProcessError
from jidocode.otp.server.messages import Down
from jidocode.otp.server.streams import CallStream
from jidocode.system.call_handle import CallHandle
from jidocode.system.events import EventHub
from jidocode.system.observing import Observers
from jidocode.system.probe import Probe
from jidocode.system.router import Router
from jidocode.system.settings import ApplicationSettings
from jidocode.system.steps import (
    Ask,
    AskAll,
    AwaitChange,
    AwaitName,
    Begin,
    BeginStream,
    PingAll,
    Plan,
    Step,
    await_change,
)

T = TypeVar("T")


class Connect(Protocol):
    """Starts a tree, or attaches to one, and returns the client of it."""

    def __call__(self, *, on_event: Listener, on_end: Callable[[], None]) -> HostClient:
        """Have *on_event* hear what happens, and *on_end* that it is over, in the reader thread."""
        ...


class RunningTree:
    """A running tree: its client, its services, and a thread's way to wait for them.

    An `Application` and its handles hold it; when none of them does any more, it
    ends.

    Attributes:
        client: The connection to its processes.
        hub: Hears what happens, and passes it on to streams.
        router: Finds processes by their names.
        probe: Asks the tree how it is.
        observers: Who is told of the calls that this process makes.
    """

    def __init__(
        self,
        connect: Connect,
        settings: ApplicationSettings,
        router: type[Router] = Router,
        *,
        sessions: str | None = None,
    ) -> None:
        """Have the tree that *connect* starts or finds, and find its processes by a *router*.

        *sessions* is the id of the supervisor of sessions, if there is one.
        """
        self._exit_grace = settings.exit_grace or 0.0
        self.hub = hub = EventHub(settings.event_buffer)  # the reader thread holds only this
        self.client = connect(on_event=hub.publish_news, on_end=hub.close)
        self.router = router(
            self.client.directory,
            self.client.check,
            self.client.check_missing,
            settings.call_timeout,
        )
        self.probe = Probe(self.router, sessions)
        self.observers = Observers()

    def __del__(self) -> None:
        client: HostClient | None = getattr(self, "client", None)  # none if it did not start
        if client is not None and not client.closed and client.owned:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            client.close(self._exit_grace)

    def __repr__(self) -> str:
        # A start that has failed is shown, too: by whoever prints the locals of a traceback.
        if not hasattr(self, "client"):
            return "<not started>"
        if self.client.closed:
            return "<closed>"
        return f"<host pid {self.client.host_pid}>"

    # Waiting

    def carry_out(self, plan: Plan[T], stop: Stop | None = None) -> T:
        """Carry out *plan* in this thread, waiting for what comes of each step until *stop*."""
        return carry_out(plan, lambda step: self._take(step, stop))

    def _take(self, step: Step, stop: Stop | None) -> object:
        client, deadline = self.client, step.deadline
        match step:
            case Ask():
                if self.observers.active:
                    return self._ask_observed(step, stop)
                return client.call(
                    step.ref, step.request, deadline=deadline, target=step.target, stop=stop
                )
            case BeginStream():
                return client.begin_stream(step.ref, step.request, target=step.target)
            case Begin():
                return client.begin(step.ref, step.request, target=step.target)
            case AwaitName():
                return self._await_name(step, stop)
            case AskAll():
                return client.call_all(step.refs, step.request, deadline)
            case PingAll():
                return client.ping_all(step.refs, deadline)
            case AwaitChange():
                return await_change(step)

    def _ask_observed(self, step: Ask, stop: Stop | None) -> object:
        with self.observers.observing(step) as call:
            call.answer = self.client.call(
                step.ref, step.request, deadline=step.deadline, target=step.target, stop=stop
            )
        return call.answer

    def _await_name(self, step: AwaitName, stop: Stop | None) -> ActorRef | None:
        directory = self.client.directory
        if stop is None:
            return directory.wait_for(step.name, step.deadline.at, step.give_up)
        with stop.waking(directory.wake):
            give_up: Callable[[], bool] = lambda: stop.requested or step.give_up()  # noqa: E731
            found = directory.wait_for(step.name, step.deadline.at, give_up)
        if stop.requested:
            raise Stopped
        return found

    # Processes

    def find(self, target: Target, deadline: Deadline) -> ActorRef:
        """Return the process that is meant; one that is being started is waited for."""
        return self.carry_out(self.router.find(target, deadline))

    def call(self, target: Target, request: object, *, timeout: float | None = None) -> Any:
        """Send *request* to *target*, and return its answer; raises as `Router.ask`."""
        return self.carry_out(self.router.ask(target, request, timeout))

    def begin_call(self, target: Target, request: object) -> CallHandle:
        """Send *request* to *target*; see `Application.begin_call`."""
        pending = self.carry_out(self.router.begin(target, request))
        return CallHandle(self.client, pending, self.router.deadline)

    def call_stream(
        self, target: Target, request: object, *, timeout: float | None = None
    ) -> CallStream:
        """Send *request* to *target*; see `Application.call_stream`."""
        seconds = self.router.deadline(timeout).seconds
        pending = self.carry_out(self.router.begin_stream(target, request))
        return CallStream(PendingParts(self.client, pending), seconds)

    def cast(self, target: Target, request: object) -> None:
        """Send *request* to *target*; see `Application.cast`."""
        self.carry_out(self.casting(target, request))

    def send(self, target: Target, message: object) -> None:
        """Send *message* to *target*; see `Application.send`."""
        self.carry_out(self.sending(target, message))

    def monitor(self, target: Target) -> Monitor:
        """Return a monitor of *target*; raises as `Router.find`."""
        return self.client.monitor(self.find(target, self.router.deadline()))

    def kill(self, ref: ActorRef) -> None:
        """End the process *ref* by force, and wait for nothing; nothing if it is gone."""
        process = open_process(ref.os_pid)
        if process is None:
            return
        try:
            if not self.client.directory.is_gone(ref):  # else the number may be another's
                signal_all([process], signal.SIGKILL)
        finally:
            os.close(process)

    # What is done of more than one step

    def casting(self, target: Target, request: object) -> Plan[None]:
        """Send *request* to the `handle_cast` of *target*; it is lost if nobody is there."""
        return self._sending(target, wire.Cast(wire.pack_request(request)))

    def sending(self, target: Target, message: object) -> Plan[None]:
        """Send *message* to the `handle_info` of *target*; it is lost if nobody is there."""
        return self._sending(target, wire.Info(wire.pack_request(message)))

    def _sending(self, target: Target, message: wire.Cast | wire.Info) -> Plan[None]:
        require_target(target)
        self.client.check()
        ref: ActorRef | None = None
        if isinstance(target, ActorRef):
            ref = target
        else:
            with contextlib.suppress(CallError):
                ref = yield from self.router.running(target)
        if ref is not None:
            self.client.send(ref, message)

    def stopping(self, target: Target, reason: ExitReason, timeout: float | None) -> Plan[None]:
        """Have *target* end with *reason*, and wait until it has; see `Application.stop`."""
        if not isinstance(reason, ExitReason):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
            raise TypeError(f"reason must be an ExitReason, got {quote(reason)}")
        require_sound(reason)
        deadline = self.router.deadline(timeout)
        ref = yield from self.router.find(target, deadline)
        monitor = self.client.monitor(ref)
        self.client.send(ref, wire.StopOrder(reason))
        down: Down | None = yield AwaitChange(monitor.changes, lambda: monitor.down, deadline)
        if down is None:
            monitor.cancel()
            raise CallTimeoutError(str(ref), deadline.seconds)
        if isinstance(down.reason, NoProcess):
            raise NoProcessError(str(ref))
        if down.reason != reason:
            raise ActorExitedError(str(ref), down.reason)
