"""The shell of a supervisor, static or dynamic: it has children started, stopped and killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from jidocode._host import wire
from jidocode._host.actor.child_exited import ChildExited
from jidocode._host.actor.reports import write_report
from jidocode._host.actor.shell import Process, Shell
from jidocode._host.descriptors import has_ended
from jidocode._host.transport.address import Address
from jidocode._host.wire import SpawnOrder
from jidocode.base import log
from jidocode.base.exits import SHUTDOWN, Crashed, ExitReason
from jidocode.base.refs import ActorRef, Name
from jidocode.base.text import describe, quote
from jidocode.errors import AlreadyStartedError
from jidocode.otp.naming.messages import (
    ClaimName,
    NameGranted,
    NameRefused,
    NameReserved,
    RegisterName,
    ReleaseName,
    ReportComplete,
)
from jidocode.otp.naming.server import RegistryServer
from jidocode.otp.server import machine, messages
from jidocode.otp.supervision import machine as supervision
from jidocode.otp.supervision.dynamic_supervisor import DynamicSupervisor, DynamicSupervisorLoop
from jidocode.otp.supervision.events import ChildStarted, ChildStarting
from jidocode.otp.supervision.specs import Start
from jidocode.otp.supervision.supervisor import Supervisor, SupervisorLoop


class Child(Struct):
    """A child that the host was asked for.

    Attributes:
        id: Its id among the supervisor's children.
        name: What it is registered as, if anything.
        registry: The registry that it was last told of.
        is_registry: Whether it is the registry itself.
        is_announced: Whether the app was told that it is a process.
        ref: The process, once it is ready.
    """

    id: str
    name: Name | None
    registry: ActorRef | None
    is_registry: bool
    is_announced: bool = False
    ref: ActorRef | None = None


def _nothing() -> None:
    """Stop watching nothing."""


class SupervisorShell(Shell):
    """Runs one supervisor's machine: news in, effects out."""

    def __init__(self, order: SpawnOrder, process: Process) -> None:
        """Prepare to carry out *order* in *process*; `begin` starts."""
        super().__init__(order, process)
        self._children: dict[int, Child] = {}
        self._unwatch_registry: Callable[[], None] = _nothing
        news = (
            supervision.ChildReady,
            supervision.ChildIgnored,
            supervision.ChildFailed,
            supervision.ExitNoted,
            supervision.PulseHeard,
        )
        self._handlers |= dict.fromkeys(news, lambda event, _sender: self._feed(event))
        self._handlers |= {
            supervision.ChildReady: self._on_ready,
            wire.Cast: self._on_info,
            wire.Info: self._on_info,
            wire.Forked: self._on_forked,
            ChildExited: self._on_child_exited,
        }
        self._effects |= {
            machine.InitDone: self._on_initialised,
            supervision.Claim: self._claim,
            supervision.Spawn: self._spawn,
            supervision.AskToStop: self._ask_to_stop,
            supervision.Kill: self._kill,
            supervision.Probe: self._probe,
            supervision.After: self._after,
            supervision.Announce: self._announce,
            supervision.Release: self._release,
            supervision.RefuseStart: self._refuse_start,
            ReportComplete: self.tell_registry,
        }

    def start(self, start: Start) -> None:
        """Run the supervisor's `init` and start its children."""
        now = time.monotonic()
        if self.registry is not None:
            self._watch_registry(self.registry)
        dynamic = issubclass(start.target, DynamicSupervisor)
        self._loop = (DynamicSupervisorLoop if dynamic else SupervisorLoop).of(start, self.ref)
        self.perform(self._loop.start(start, now, registry_up=self.registry is not None))

    def on_stop(self, reason: ExitReason) -> None:
        """Stop the children, then leave."""
        self._feed(supervision.ShutdownRequested(reason))

    def on_registry(self, ref: ActorRef) -> None:
        """Tell the registry what is ours, and all children where it is."""
        super().on_registry(ref)
        self._watch_registry(ref)
        self._feed(supervision.RegistryUp())
        if self.is_ready:  # else there is more to come
            # As an effect, behind the claims: the root hears of a registry in the midst of its
            # effects, and a report before them would be the report of a tree without sessions.
            self.perform([ReportComplete(self.ref)])
        for child in self._children.values():
            self._tell_registry_to(child)

    def on_request(self, caller: messages.Caller, request: Any) -> None:
        """Have the machine decide; it checks what it is asked."""
        self._feed(supervision.RequestReceived(caller, request))

    def _watch_registry(self, ref: ActorRef) -> None:
        def gone(_was_there: bool) -> None:  # noqa: FBT001 - a callback's one fact
            if self.registry == ref:
                self.registry = None
                self._feed(supervision.RegistryDown())

        self._unwatch_registry()
        self._unwatch_registry = self.watch_process(ref.os_pid, gone)

    def _feed(self, event: supervision.KeeperEvent) -> None:
        self.perform(self._loop.handle(event, time.monotonic()))

    def _on_initialised(self, _effect: machine.InitDone) -> None:
        self.tell_registry(ReportComplete(self.ref))
        self.tell_ready()

    # Messages

    def _on_ready(self, event: supervision.ChildReady, _sender: Address) -> None:
        child = self._children.get(event.incarnation)
        if child is not None:
            child.ref = event.ref
            self._announce_process(child, event.ref.os_pid)
            self._tell_registry_to(child)
        self._feed(event)

    def _on_info(self, message: wire.Info | wire.Cast, _sender: Address) -> None:
        content, error = self.read(message.payload)
        match content:
            case NameGranted(incarnation=incarnation):
                self._feed(supervision.NameClaimed(incarnation))
            case NameRefused(incarnation=incarnation, holder=holder):
                self._feed(supervision.NameTaken(incarnation, holder))
            case NameReserved(incarnation=incarnation):
                self._feed(supervision.NameReserved(incarnation))
            case _ if error is not None:
                log.warning("{}", quote(str(error)))
            case _:
                self.ignore(type(content).__name__)

    def _on_forked(self, message: wire.Forked, sender: Address) -> None:
        if not self.is_host(sender):
            return
        incarnation, child = message.incarnation, self._children.get(message.incarnation)
        if child is None:
            return
        if message.os_pid is not None:
            self._announce_process(child, message.os_pid)
        else:
            del self._children[incarnation]
            self._feed_failure(incarnation, f"no process could be forked: {message.problem}")

    def _announce_process(self, child: Child, os_pid: int) -> None:
        if not child.is_announced:
            child.is_announced = True
            starting = ChildStarting(
                supervisor=self.ref, child_id=child.id, os_pid=os_pid, name=child.name
            )
            self.send(self.order.app, starting)

    def _feed_failure(self, incarnation: int, why: str) -> None:
        self._feed(supervision.ChildFailed(incarnation, Crashed(why)))
        self._feed(supervision.ChildGone(incarnation, None))

    def _on_child_exited(self, message: ChildExited, sender: Address) -> None:
        """Have the machine decide, once all that the child has said is heard."""
        if not self.is_host(sender):
            return

        def decide() -> None:
            if self._children.pop(message.incarnation, None) is not None:
                self._feed(supervision.ChildGone(message.incarnation, message.status))

        if message.address is None:
            self.after(0.0, decide)
        else:
            self.transport.after_last_words(message.address, decide)

    # Effects

    def _spawn(self, effect: supervision.Spawn) -> None:
        spec, incarnation = effect.spec, effect.incarnation
        is_supervisor = issubclass(spec.start.target, (Supervisor, DynamicSupervisor))
        try:
            start = wire.pack(spec.start)
        except Exception as error:  # noqa: BLE001 - whatever pickling a user's arguments raises
            self._feed_failure(incarnation, f"its arguments cannot be pickled: {describe(error)}")
            return
        order = SpawnOrder(
            start=start,
            shell=wire.SUPERVISOR_SHELL if is_supervisor else wire.SERVER_SHELL,
            kind=spec.start.target.kind,
            incarnation=incarnation,
            app=self.order.app,
            name=spec.name,
            parent=self.transport.address,
            registry=self.registry,
            memory_limit=spec.memory_limit,
        )
        is_registry = issubclass(spec.start.target, RegistryServer)
        self._children[incarnation] = Child(spec.id, spec.name, self.registry, is_registry)
        self.tell_host(wire.Fork(incarnation, wire.pack(order), supervises=is_supervisor))

    def _ask_to_stop(self, effect: supervision.AskToStop) -> None:
        child = self._children.get(effect.incarnation)
        if child is not None and child.ref is not None:
            self.send_to(child.ref, wire.StopOrder(SHUTDOWN))

    def _kill(self, effect: supervision.Kill) -> None:
        self.tell_host(wire.Kill(effect.incarnation))

    def _probe(self, effect: supervision.Probe) -> None:
        child = self._children.get(effect.incarnation)
        if child is not None and child.ref is not None:
            self.send_to(child.ref, wire.Heartbeat())

    def _after(self, effect: supervision.After) -> None:
        self.after(effect.delay, lambda: self._feed(effect.event))  # type: ignore[arg-type] # the machine's own event

    def _announce(self, effect: supervision.Announce) -> None:
        event = effect.event
        if isinstance(event, ChildStarted) and self._is_registry(event.ref):
            self.on_registry(event.ref)
        else:
            self.tell_registry(event)
        # The app hears last: what it asks the registry after that, the registry knows, unless
        # the machine is busy, for nothing keeps two connections in step.
        self.send(self.order.app, event)
        name = self.order.name
        supervisor = f"{name[0]} {quote(name[1])}" if name else str(self.ref)
        write_report(supervisor, event, self._loop.flags, effect.restarts)

    def _is_registry(self, ref: ActorRef) -> bool:
        child = self._children.get(ref.incarnation)  # it may have died over its first words
        return child is not None and child.is_registry

    def _claim(self, effect: supervision.Claim) -> None:
        self.tell_registry(ClaimName(effect.name, self.ref, effect.incarnation, effect.value))
        if effect.ref is not None:
            self.tell_registry(RegisterName(effect.name, self.ref, effect.ref))

    def _release(self, effect: supervision.Release) -> None:
        self.tell_registry(ReleaseName(effect.name, self.ref))

    def _refuse_start(self, effect: supervision.RefuseStart) -> None:
        # The host tells of a death once all below is dead, which takes a moment; whoever kills
        # a child, and starts it, is faster.
        holder = effect.holder
        if holder.incarnation in self._children and not has_ended(holder.os_pid):
            error = AlreadyStartedError(effect.child_id, holder)
            self._send_error(machine.SendError(effect.event.caller, error))
        else:
            self._feed(supervision.DeathSeen(holder.incarnation))
            self._feed(effect.event)

    def _tell_registry_to(self, child: Child) -> None:
        if child.ref is not None and self.registry is not None:
            if child.registry != self.registry:
                self.send_to(child.ref, wire.RegistryAt(self.registry))
            child.registry = self.registry
