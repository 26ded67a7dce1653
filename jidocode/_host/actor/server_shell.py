"""The shell of a `GenServer`."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

from jidocode._host import wire
from jidocode._host.actor.part_reader import PartReader
from jidocode._host.actor.part_sender import PartSender
from jidocode._host.actor.receive import SelectiveReceive
from jidocode._host.actor.requests import OnEnd, Request, Requests, result_of
from jidocode._host.actor.shell import Process, Shell
from jidocode._host.actor.timers import Timers
from jidocode._host.descriptors import has_ended
from jidocode._host.transport.address import Address
from jidocode._host.wire import SpawnOrder
from jidocode.base import log
from jidocode.base.exits import ExitReason, Killed, NoProcess
from jidocode.base.refs import ActorRef, Name, Target, Via, words_for
from jidocode.base.stop import Stopped
from jidocode.base.text import quote
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HostError,
    NoProcessError,
    RegistryNotRunningError,
)
from jidocode.otp.naming.messages import DemonitorProcess, Live, MonitorProcess, WhereIs
from jidocode.otp.server import loop, machine, messages
from jidocode.otp.server.commands import CALL_TIMEOUT
from jidocode.otp.server.runtime import Interruption
from jidocode.otp.supervision.specs import Start

_NAME_SECONDS = 1.0
"""How long somebody is looked for under a name to be told something; after that nobody is."""

_LOOK_SECONDS = 0.01
"""How often a callback that sends parts looks whether they are still wanted."""

_IDLE = "idle"
"""The key of the idle timer; those of other timers are tokens and requests."""

Outcome = wire.Answer | Exception

T = TypeVar("T")


class ServerShell(Shell):
    """Runs one `GenServer`: messages in, callbacks, effects out; it is its `Runtime`."""

    def __init__(self, order: SpawnOrder, process: Process) -> None:
        """Prepare to carry out *order* in *process*; `begin` starts."""
        super().__init__(order, process)
        self._main = threading.get_ident()
        self._timers = Timers(self.transport)
        self.requests = Requests(self, self._timers)
        self._receive = SelectiveReceive(self.transport, self.deliver, self.requests.stop_waiting)
        self._part_sender = PartSender(self)
        self._looked_at = 0.0
        self._monitors: dict[int, ActorRef] = {}
        self._watches: dict[int, Callable[[], None]] = {}
        self._handlers |= {
            wire.Cast: self._on_cast,
            wire.Info: self._on_info,
            wire.Answer: lambda message, _sender: self.requests.take(message),
            wire.Part: lambda message, _sender: self.requests.take_part(message),
            wire.Grant: self._part_sender.grant,
            wire.Hangup: lambda message, sender: self._part_sender.close(
                sender, message.request_id
            ),
        }
        self._effects |= {
            machine.InitDone: lambda _effect: self.tell_ready(),
            machine.SendCast: self._send_cast,
            machine.SendInfo: self._send_info,
            machine.SendRequest: self._send_request,
            machine.SendAfter: self._by_main(self._send_after),
            machine.CancelTimer: self._by_main(lambda command: self._timers.cancel(command.token)),
            machine.SetIdleTimer: self._set_idle_timer,
            machine.Continue: self._continue,
            machine.StartMonitor: self._by_main(self._start_monitor),
            machine.WatchProcess: self._by_main(self._watch_process),
            machine.StopMonitor: self._by_main(self._stop_monitor),
            machine.Publish: self._publish,
            machine.LogUnexpected: lambda command: self.ignore(command.type_name),
            machine.StopSoon: lambda command: self.after(
                0.0, partial(self.on_stop, command.reason)
            ),
        }

    def start(self, start: Start) -> None:
        """Run the server's `init`."""
        self._loop = loop.ServerLoop.of(start, self.ref, self, self.order.name)
        effects = self._loop.start(start)
        self._receive.release()
        self.perform(effects)

    @property
    def problem(self) -> str | None:
        """What the server says is wrong with it."""
        return self._loop.problem if self.is_ready else None

    def when_responsive(self, step: Callable[[], object]) -> None:
        """Take *step* as soon as the server can handle a message."""
        self._loop.when_responsive(step)

    def on_stop(self, reason: ExitReason) -> None:
        """Run the server's `terminate` and leave."""
        self._feed_in_turn(machine.StopReceived(reason))

    def fail(self, reason: ExitReason) -> None:
        """Crash, for an effect has failed; `terminate` runs unless it has, or `init` failed."""
        is_ending = any(isinstance(effect, machine.Exit) for effect in self._to_do)
        if is_ending or not self.is_ready:
            super().fail(reason)
        else:
            self._to_do.clear()
            self._feed(machine.StopReceived(reason))

    def on_registry(self, ref: ActorRef) -> None:
        """Tell a new registry which monitors the server has, and ask it what there is to ask."""
        super().on_registry(ref)
        for token, target in self._monitors.items():
            self.tell_registry(MonitorProcess(token, target, self.ref))
        self.requests.registry_is_there()

    def on_request(self, caller: messages.Caller, request: Any) -> None:
        """Have the server's `handle_call` answer."""
        self._feed(machine.CallReceived(caller, request))

    def answer(self, caller: messages.Caller, answer: wire.Answer) -> None:
        """Send the answer of a call, after which come no more parts of it."""
        super().answer(caller, answer)
        self._part_sender.close(caller.address, caller.request_id)

    def _on_stop_order(self, message: wire.StopOrder, sender: Address) -> None:
        self.requests.stop_waiting()
        super()._on_stop_order(message, sender)

    def _on_call(self, message: wire.Call, sender: Address) -> None:
        if message.reader:
            self._part_sender.open(sender, message)
        super()._on_call(message, sender)

    def _feed(self, event: machine.Event) -> None:
        effects = self._loop.handle(event)
        self._receive.release()
        self.perform(effects)

    def _feed_in_turn(self, event: machine.Event) -> None:
        """Feed *event*, which is no message: when no callback waits for something else."""
        self._receive.take(lambda: self._feed(event))

    # Messages

    def _on_cast(self, message: wire.Cast, _sender: Address) -> None:
        request, error = self.read(message.payload)
        if error is not None:
            log.warning("{}", quote(str(error)))
        else:
            self._feed(machine.CastReceived(request))

    def _on_info(self, message: wire.Info, _sender: Address) -> None:
        content, error = self.read(message.payload)
        if error is not None:
            log.warning("{}", quote(str(error)))
        elif isinstance(content, messages.Down):
            self._on_down(content)
        else:
            self._feed(machine.InfoReceived(content))

    def _on_down(self, down: messages.Down) -> None:
        if self._monitors.pop(down.token, None) is not None:
            self._feed(machine.InfoReceived(down))

    # The runtime of the server; all of its threads come here

    # Why only the main thread does some of it. To send is safe in any thread, for links are
    # made for that. What is kept between a question and its answer (requests, watches,
    # timers) belongs to the run loop, which is the main thread's, and has no locks. A thread
    # hands that over as a turn in the mailbox, and waits in a queue if it has to.

    def emit(self, command: machine.Command) -> None:
        """Carry out what the server asks for in the midst of a callback, or in a thread.

        Raises:
            CallError: It cannot be pickled.
            HostError: This is a fork of the server's process.
        """
        self._check_process()
        self._effects[type(command)](command)
        if self._is_main:
            self.transport.relay()

    def call(self, call: machine.SendCall, stop: Interruption | None = None) -> Any:
        """Make the *call*, and return its answer; raises as `GenServer.call`."""
        self._check_process()
        payload = wire.pack_request(call.request)
        target = words_for(call.target)
        begin = partial(self.requests.call, call.target, payload, call.timeout)
        return result_of(self._wait_for(target, call.timeout, begin, stop), target)

    def open_stream(self, call: machine.SendCall) -> PartReader:
        """Make the *call*; see `Runtime.open_stream`."""
        self._check_process()
        return PartReader(self, call)

    def send_part(self, part: machine.SendPart) -> bool:
        """Send *part*; see `Runtime.send_part`."""
        self._check_process()
        if self._is_main and time.monotonic() > self._looked_at + _LOOK_SECONDS:
            self._receive.look()  # for news that nobody reads on
            self._looked_at = time.monotonic()
        wants_more = self._part_sender.send(part)
        if self._is_main:
            self.transport.relay()
        return wants_more

    def look_up(self, target: Name | Via, seconds: float = CALL_TIMEOUT) -> ActorRef | None:
        """Return who is *target* now; raises as `GenServer.whereis`."""
        self._check_process()
        if isinstance(target, Via):
            return self._look_up_registered(target, seconds)
        return self._look_up_named(target, seconds)

    def _look_up_registered(self, via: Via, seconds: float) -> ActorRef | None:
        registry = via.registry
        if not isinstance(registry, ActorRef):
            running = self.requests.known(registry) or self._look_up_named(registry, seconds)
            if running is None:
                return None
            registry = running
        try:
            ref = self.call(machine.SendCall(registry, WhereIs(via.key), seconds))
        except (NoProcessError, ActorExitedError):  # the next registry knows nobody yet
            return None
        return ref if isinstance(ref, ActorRef) and not has_ended(ref.os_pid) else None

    def _look_up_named(self, name: Name, seconds: float) -> ActorRef | None:
        begin = partial(self.requests.look_up, name, seconds)
        found = result_of(self._wait_for("the registry", seconds, begin), "the registry")
        if not isinstance(found, Live) or has_ended(found.ref.os_pid):
            return None
        self.requests.note(name, found.ref)
        return found.ref

    def returned(self, error: BaseException | None) -> None:
        """End here if this is a fork that comes out of a callback."""
        self.leave_if_fork(error)

    @property
    def _is_main(self) -> bool:
        return threading.get_ident() == self._main

    def _check_process(self) -> None:
        if os.getpid() != self.ref.os_pid:
            raise HostError(
                f"this process is a fork of {self.ref}: only that process itself is heard"
            )

    def _take_step(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - as in a callback, it ends the process
            reason = loop.crash_reason(error)
            self._receive.take(lambda: self.fail(reason))

    def _by_main(self, step: Callable[[Any], object]) -> Callable[[Any], object]:
        """Return how a command is carried out by *step* in the main thread."""
        return lambda command: self.in_main(partial(step, command))

    def in_main(self, step: Callable[[], object]) -> None:
        """Take *step* in the main thread: now, or behind the messages that wait."""
        if self._is_main:
            step()
        else:
            self.after(0.0, lambda: self._take_step(step))

    def take_from(self, source: queue.SimpleQueue[T], seconds: float) -> T:
        """Return the next of *source*; the main thread handles messages while it waits.

        Raises:
            queue.Empty: There was none for *seconds*.
        """
        if not self._is_main:
            return source.get(timeout=_patience(seconds))
        expired: list[None] = []
        self._timers.set(expired_key := object(), seconds, lambda: expired.append(None))
        try:
            self._receive.wait_until(lambda: expired or not source.empty())
        finally:
            self._timers.cancel(expired_key)
        return source.get_nowait()

    def _wait_for(
        self,
        target: str,
        seconds: float,
        begin: Callable[[OnEnd], Request],
        stop: Interruption | None = None,
    ) -> Outcome:
        """Have a request begin, wait until it has ended, and return what came of it."""
        if not self._is_main:
            return self._wait_in_thread(target, seconds, begin, stop)
        outcomes: list[Outcome] = []
        request = begin(outcomes.append)

        def wake() -> None:
            self.after(0.0, lambda: self.requests.end(request, Stopped()))

        try:
            with stop.waking(wake) if stop else nullcontext():
                self._receive.wait_until(lambda: outcomes)
        finally:
            self.requests.forget(request)
        return outcomes[0]

    def _wait_in_thread(
        self,
        target: str,
        seconds: float,
        begin: Callable[[OnEnd], Request],
        stop: Interruption | None,
    ) -> Outcome:
        outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        gave_up = threading.Event()

        def begin_in_main() -> None:
            if not gave_up.is_set():
                begin(outcomes.put)

        self.after(0.0, lambda: self._take_step(begin_in_main))
        try:
            with stop.waking(lambda: outcomes.put(Stopped())) if stop else nullcontext():
                return outcomes.get(timeout=_patience(seconds))
        except queue.Empty:
            raise CallTimeoutError(target, seconds) from None
        finally:
            gave_up.set()

    # Commands

    def _reach(self, target: Target) -> ActorRef | None:
        """Return the process to send something to, None if nobody has that name or key."""
        if isinstance(target, ActorRef):
            return target
        known = None if isinstance(target, Via) else self.requests.known(target)
        if known is not None:
            return known
        try:
            return self.look_up(target, _NAME_SECONDS)
        except (CallError, RegistryNotRunningError) as error:
            log.debug("nobody is found under a name: {}", error)
            return None

    def _publish(self, command: machine.Publish) -> None:
        fact = wire.pack_request(command.fact, "what was announced")
        app = self.order.app
        self.send(app, wire.News(self.order.name, fact))
        if self._is_main and self.transport.reaches(app):
            self.transport.send_off_to(app)

    def _send_cast(self, command: machine.SendCast) -> None:
        self._send_message(command.target, wire.Cast(wire.pack_request(command.request)))

    def _send_info(self, command: machine.SendInfo) -> None:
        payload = wire.pack_request(command.message, "the message")
        self._send_message(command.target, wire.Info(payload))

    def _send_message(self, target: Target, message: object) -> None:
        ref = self._reach(target)
        if ref is not None:
            self.send_to(ref, message)

    def _send_request(self, command: machine.SendRequest) -> None:
        payload = wire.pack_request(command.request)
        target = command.target
        if self._is_main:  # so that it leaves now, also if the callback takes long
            ref = self._reach(target)
            if isinstance(target, Via) and ref is not None:
                target = ref
        self.in_main(partial(self._begin_request, payload, target, command))

    def _begin_request(self, payload: bytes, target: Target, command: machine.SendRequest) -> None:
        def ended(outcome: Outcome) -> None:
            self._receive.take(lambda: self._respond(command, outcome))

        self.requests.call(target, payload, command.timeout, ended)

    def _respond(self, command: machine.SendRequest, outcome: Outcome) -> None:
        try:
            value = result_of(outcome, "the other process")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the response
            response = messages.Response(command.token, None, error)
        else:
            response = messages.Response(command.token, value, None)
        self._feed(machine.InfoReceived(response))

    def _send_after(self, command: machine.SendAfter) -> None:
        fired = machine.TimerFired(command.token, command.message)
        self._timers.set(command.token, command.delay, lambda: self._feed_in_turn(fired))

    def _start_monitor(self, command: machine.StartMonitor) -> None:
        self._monitors[command.token] = command.ref
        self.tell_registry(MonitorProcess(command.token, command.ref, self.ref))

    def _watch_process(self, command: machine.WatchProcess) -> None:
        def gone(was_there: bool) -> None:  # noqa: FBT001 - a callback's one fact
            reason = Killed() if was_there else NoProcess()
            self._receive.take(
                lambda: self._on_end(messages.Down(command.token, command.ref, reason))
            )

        self._watches[command.token] = self.watch_process(command.ref.os_pid, gone)

    def _on_end(self, down: messages.Down) -> None:
        if self._watches.pop(down.token, None) is not None:
            self._feed(machine.InfoReceived(down))

    def _stop_monitor(self, command: machine.StopMonitor) -> None:
        if self._monitors.pop(command.token, None) is not None:
            self.tell_registry(DemonitorProcess(command.token, self.ref))
        stop_watching = self._watches.pop(command.token, None)
        if stop_watching is not None:
            stop_watching()

    # Effects

    def _continue(self, effect: machine.Continue) -> None:
        self.transport.send_off_soon()  # it may take long; who was answered must not wait for it
        self._feed(machine.ContinueReceived(effect.then))

    def _set_idle_timer(self, effect: machine.SetIdleTimer) -> None:
        fired = machine.IdleTimerFired(effect.generation)
        self._timers.cancel(_IDLE)
        self._timers.set(_IDLE, effect.delay, lambda: self._feed_in_turn(fired))


def _patience(seconds: float) -> float | None:
    """Return *seconds* as a thread can wait them."""
    return None if seconds == math.inf else min(seconds, threading.TIMEOUT_MAX)
