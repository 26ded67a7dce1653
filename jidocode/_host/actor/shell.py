"""The shell: the one kind of actor there is here, and what both of its kinds share.

A shell runs a machine from `otp` (a server or a supervisor). It turns what
arrives into events, and carries out the effects; it decides nothing. This is
the only place where a Thespian actor meets our own classes.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from thespian.actors import Actor, ActorAddress, ActorExitRequest

from jidocode._host import forks, processes, wire
from jidocode._host.descriptors import open_process
from jidocode._host.transport.address import Address
from jidocode._host.transport.frames import Body
from jidocode._host.transport.messenger import Turn
from jidocode._host.transport.thespian import ThespianTransport
from jidocode._host.transport.window import Settle
from jidocode._host.wire import SpawnOrder
from jidocode.base import log
from jidocode.base.exits import SHUTDOWN, ExitReason, is_normal
from jidocode.base.faults import require_sound
from jidocode.base.refs import ActorRef
from jidocode.base.text import clip
from jidocode.errors import CallError
from jidocode.otp.server import loop, machine, messages
from jidocode.otp.supervision.machine import (
    ChildFailed,
    ChildIgnored,
    ChildReady,
    ExitNoted,
    PulseHeard,
)
from jidocode.otp.supervision.specs import Start

Handler = Callable[[Any, Address], object]

SEND_OFF_SECONDS = 5.0
"""Seconds that a process which is ready waits for whoever has to hear it, before it goes on."""


class Process(Protocol):
    """What a shell needs of the process that it runs in (see `process`, which implements it)."""

    transport: ThespianTransport
    """How messages leave the process."""

    @property
    def is_leaving(self) -> bool:
        """Whether the process ends after the present message."""
        ...

    def leave(self, exit_status: int) -> None:
        """End the process with *exit_status* after the present message."""
        ...


class Shell(Actor):
    """Runs one server or supervisor; its subclasses know which.

    Attributes:
        order: What it was started with.
        ref: The process, as others know it.
        registry: The process registry, if there is one now.
        transport: How messages leave this process.
    """

    def __init__(self, order: SpawnOrder, process: Process) -> None:
        """Prepare to carry out *order* in *process*; `begin` starts."""
        super().__init__()
        self.order = order
        self.transport = process.transport
        self.ref = ActorRef(order.kind, order.incarnation, os.getpid(), process.transport.address)
        self.registry = order.registry
        self._process = process
        self._started_at = 0.0
        self._calls = 0
        self._to_do: deque[Any] = deque()
        self._unexpected: set[str] = set()
        self._effects: dict[type, Callable[[Any], object]] = {
            machine.InitIgnored: lambda _effect: self.tell_ignored(),
            machine.InitFailed: lambda effect: self.tell_failed(effect.reason),
            machine.SendReply: self._send_reply,
            machine.SendError: self._send_error,
            machine.Exit: lambda effect: self.leave(effect.reason),
        }
        self._handlers: dict[type, Handler] = {
            wire.Call: self._on_call,
            wire.Ping: self._on_ping,
            wire.Heartbeat: self._on_heartbeat,
            wire.StopOrder: self._on_stop_order,
            wire.RegistryAt: lambda message, _sender: self.on_registry(message.ref),
            Turn: lambda message, _sender: message.call(),
        }

    @property
    def problem(self) -> str | None:
        """Why it cannot do all that it is for, None if it can."""
        return None

    # Called by the process

    def begin(self) -> None:
        """Start the machine; the process calls this once, before any message."""
        kind, _, about = self.order.kind, *(self.order.name or ("", ""))
        processes.set_name(f"jido:{kind}", f"jidocode {kind} {about}".rstrip())
        try:
            self.start(self._read_start())
        except BaseException as error:  # noqa: BLE001 - whatever a class and its arguments raise
            self.leave_if_fork(error)
            self.tell_failed(loop.crash_reason(error))

    def _read_start(self) -> Start:
        start = wire.unpack(self.order.start)
        assert isinstance(start, Start)  # noqa: S101 - the supervisor has pickled one
        return start

    def deliver(self, message: object, sender: Address) -> bool:
        """Handle a message; False if it is one of Thespian's, from the host or from here."""
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message, sender)
        elif sender == self.transport.address or self.is_host(sender):
            return False
        else:
            self.ignore(type(message).__name__)
        return True

    def receiveMessage(self, msg: object, sender: ActorAddress) -> None:  # noqa: N802 - Thespian's name
        """Handle one of Thespian's own messages; the process calls this."""
        del sender
        if isinstance(msg, ActorExitRequest):
            self.on_stop(SHUTDOWN)

    # For the subclasses to fill in

    def start(self, start: Start) -> None:
        """Start the machine that *start* says."""
        raise NotImplementedError

    def on_stop(self, reason: ExitReason) -> None:
        """The supervisor wants this process to stop."""
        raise NotImplementedError

    def on_request(self, caller: messages.Caller, request: Any) -> None:
        """*caller* asks *request*."""
        raise NotImplementedError

    def when_responsive(self, step: Callable[[], object]) -> None:
        """Take *step*, which says that this process is well, as soon as that is so."""
        step()

    def on_registry(self, ref: ActorRef) -> None:
        """The registry is *ref* now."""
        self.registry = ref

    def fail(self, reason: ExitReason) -> None:
        """End, because the first of the effects to do could not be carried out."""
        self._to_do.clear()
        self.leave(reason)

    def leave_if_fork(self, error: BaseException | None = None) -> None:
        """End here if this is a fork of the process that a callback has made, left by *error*.

        What comes out of a callback is answered, and acted on, by the process itself.
        """
        if os.getpid() != self.ref.os_pid:
            forks.end_fork(f"{self.order.kind} (pid {self.ref.os_pid})", error)

    # What the machines want

    def perform(self, effects: list[Any]) -> None:
        """Carry out what a machine wants, in order.

        Effects that an effect brings about come after those that wait already.
        """
        self.leave_if_fork()
        idle = not self._to_do
        self._to_do.extend(effects)
        if idle:
            try:
                self._carry_out()
            except BaseException as error:  # noqa: BLE001 - what a server sends may raise anything
                self.fail(loop.crash_reason(error))

    def _carry_out(self) -> None:
        while self._to_do:
            effect = self._to_do[0]
            self._effects[type(effect)](effect)
            self._to_do.popleft()

    def _send_reply(self, effect: machine.SendReply) -> None:
        self.answer(effect.caller, wire.answer(effect.caller.request_id, effect.value))

    def _send_error(self, effect: machine.SendError) -> None:
        self.answer(effect.caller, wire.refusal(effect.caller.request_id, effect.error))

    def ignore(self, type_name: str) -> None:
        """Log once that nobody here handles messages of that type."""
        if type_name not in self._unexpected:
            self._unexpected.add(type_name)
            log.warning("{} ignores messages of type {}", self.order.kind, clip(type_name))

    # What the machines' effects need

    @property
    def is_ready(self) -> bool:
        """Whether `init` is done, and the supervisor was told so."""
        return self._started_at > 0.0

    def send(
        self,
        target: Address,
        message: object,
        on_failure: Settle | None = None,
    ) -> None:
        """Send *message* to *target*."""
        self.transport.send(target, message, on_failure)

    def send_to(self, ref: ActorRef, message: object, on_failure: Settle | None = None) -> None:
        """Send *message* to the process *ref*."""
        if self.transport.reaches(ref.address):
            self.send(ref.address, message, on_failure)

    def answer(self, caller: messages.Caller, answer: wire.Answer) -> None:
        """Send the answer of a call to whoever waits for it."""
        answer.last = len(self._to_do) > 1 and isinstance(self._to_do[-1], machine.Exit)
        if self.transport.reaches(caller.address):
            self.transport.send(caller.address, answer)

    def unpack(self, payload: Body) -> tuple[object, CallError | None]:
        """Return what *payload* holds, or why it cannot be read here."""
        return self._unpack(payload)

    def read(self, payload: Body) -> tuple[object, CallError | None]:
        """Return as `unpack`; what is one of our own messages is what its class says."""
        return self._unpack(payload, require_sound)

    def _unpack(
        self, payload: Body, *check: Callable[[object], object]
    ) -> tuple[object, CallError | None]:
        try:
            return wire.unpack(payload, *check), None
        except Exception as error:  # noqa: BLE001 - unpickling runs foreign code: anything may come
            why = wire.why_unreadable(error)
            return None, CallError(f"{self.order.kind} cannot read the request: {why}")

    def tell_host(self, message: object) -> None:
        """Send *message* to the host."""
        self.send(self.transport.resolve(self.transport.adminAddress), message)

    def is_host(self, sender: Address) -> bool:
        """Whether *sender* is the host."""
        return sender == self.transport.adminAddress.addressDetails

    def tell_registry(self, message: object) -> None:
        """Cast *message* to the registry; one that is down loses nothing (see `on_registry`)."""
        if self.registry is not None:
            self.send_to(self.registry, wire.Cast(wire.pack(message)))

    def after(self, delay: float, callback: Callable[[], object]) -> None:
        """Call *callback* after *delay* seconds, behind the messages that wait already."""
        self.transport.after(delay, callback)

    def watch_process(self, os_pid: int, on_gone: Callable[[bool], None]) -> Callable[[], None]:
        """Call *on_gone* once when that process has ended; return how to stop watching.

        It is told whether there was anything to watch.
        """
        descriptor = open_process(os_pid)
        if descriptor is None:
            self.after(0.0, lambda: on_gone(False))  # noqa: FBT003 - one fact, told to a callback
            return lambda: None

        watched = [descriptor]

        def stop() -> None:
            while watched:  # once: the number may be another's afterwards
                self.transport.unwatch(descriptor)
                os.close(watched.pop())

        def gone() -> None:
            if not self._process.is_leaving:  # another death, told just before, may have ended this
                stop()
                on_gone(True)  # noqa: FBT003 - idem

        self.transport.watch(descriptor, gone)
        return stop

    # Beginnings and ends

    def tell_ready(self) -> None:
        """Tell the supervisor, or the app, that `init` is done."""
        self._started_at = time.monotonic()
        if self.order.parent is not None:
            self.send(self.order.parent, ChildReady(self.order.incarnation, self.ref))
        else:
            self.send(self.order.app, wire.RootReady(self.ref))
        # What the server does next may take long, and its supervisor must not wait for that.
        self.transport.send_off(time.monotonic() + SEND_OFF_SECONDS)

    def tell_ignored(self) -> None:
        """Tell the supervisor that there is nothing to run, and leave."""
        if self.order.parent is not None:
            self.send(self.order.parent, ChildIgnored(self.order.incarnation))
        self._process.leave(0)

    def tell_failed(self, reason: ExitReason) -> None:
        """Tell the supervisor that `init` has failed, and leave."""
        if self.order.parent is not None:
            self.send(self.order.parent, ChildFailed(self.order.incarnation, reason))
        else:
            self._tell_end_to_host(reason)
        self._process.leave(1)

    def leave(self, reason: ExitReason) -> None:
        """Tell the supervisor why, and leave."""
        if self.order.parent is not None:
            self.send(self.order.parent, ExitNoted(self.order.incarnation, reason))
        else:
            self._tell_end_to_host(reason)
        self._process.leave(0 if is_normal(reason) else 1)

    def _tell_end_to_host(self, reason: ExitReason) -> None:
        self.tell_host(wire.RootExited(self.order.incarnation, reason, restarting=False))

    # Messages that every process handles

    def _on_call(self, message: wire.Call, sender: Address) -> None:
        self._calls += 1
        request, error = self.read(message.payload)
        caller = messages.Caller(sender, message.request_id, bool(message.reader))
        if error is not None:
            self.answer(caller, wire.refusal(message.request_id, error))
        else:
            self.on_request(caller, request)

    def _on_heartbeat(self, _message: wire.Heartbeat, sender: Address) -> None:
        self.when_responsive(lambda: self.send(sender, PulseHeard(self.order.incarnation)))

    def _on_ping(self, message: wire.Ping, sender: Address) -> None:
        uptime = time.monotonic() - self._started_at if self.is_ready else 0.0
        pulse = wire.Pulse(self.ref, uptime, private_memory(), self._calls, self.problem)
        answer = wire.answer(message.request_id, pulse)
        self.when_responsive(lambda: self.send(sender, answer))

    def _on_stop_order(self, message: wire.StopOrder, _sender: Address) -> None:
        # What others have sent before it comes by other ways, and is handled first.
        self.after(0.0, lambda: self.on_stop(message.reason))


def private_memory() -> int | None:
    """Return the bytes of memory that this process shares with no other; None if it cannot tell."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_bytes()
    except OSError:  # no descriptor is left
        return None
    kilobytes = (line.split()[1] for line in rollup.splitlines() if line.startswith(b"Private_"))
    return 1024 * sum(map(int, kilobytes))
