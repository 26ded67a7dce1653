"""The shell of a `GenServer`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from jidocode._host import wire
from jidocode._host.actor.shell import Process, Shell
from jidocode._host.transport.address import Address
from jidocode._host.transport.window import Outcome
from jidocode._host.wire import SpawnOrder
from jidocode.base import log
from jidocode.base.exits import ExitReason, Killed, NoProcess
from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import ActorExitedError, CallError, NoProcessError
from jidocode.otp.naming.messages import DemonitorProcess, MonitorProcess
from jidocode.otp.server import loop, machine, messages
from jidocode.otp.supervision.specs import Start


class ServerShell(Shell):
    """Runs one `GenServer`: messages in, callbacks, effects out."""

    def __init__(self, order: SpawnOrder, process: Process) -> None:
        """Prepare to carry out *order* in *process*; `begin` starts."""
        super().__init__(order, process)
        self._requests: dict[int, Callable[[], None]] = {}
        self._monitors: dict[int, ActorRef] = {}
        self._watches: dict[int, Callable[[], None]] = {}
        # Of the last idle timer: its generation, and when it is due.
        self._idle = 0, 0.0
        self._alarms: set[float] = set()
        self._handlers |= {
            wire.Cast: self._on_cast,
            wire.Info: self._on_info,
            wire.Answer: self._on_answer,
        }
        self._effects |= {
            machine.InitDone: lambda _effect: self.tell_ready(),
            machine.SendCast: self._send_cast,
            machine.SendInfo: self._send_info,
            machine.SendRequest: self._send_request,
            machine.SendAfter: self._send_after,
            machine.SetIdleTimer: self._set_idle_timer,
            machine.Continue: self._continue,
            machine.StartMonitor: self._start_monitor,
            machine.WatchProcess: self._watch_process,
            machine.StopMonitor: self._stop_monitor,
            machine.Publish: self._publish,
            machine.LogUnexpected: lambda effect: self.ignore(effect.type_name),
        }

    def start(self, start: Start) -> None:
        """Run the server's `init`."""
        self._loop = loop.ServerLoop.of(start, self.ref, self.leave_if_fork)
        self.perform(self._loop.start(start))

    def on_stop(self, reason: ExitReason) -> None:
        """Run the server's `terminate` and leave."""
        self._feed(machine.StopReceived(reason))

    def fail(self, reason: ExitReason) -> None:
        """Crash, for something cannot be sent; `terminate` runs unless it has, or `init` failed."""
        has_ended = any(isinstance(effect, machine.Exit) for effect in self._to_do)
        if has_ended or not self.is_ready:
            super().fail(reason)
        else:
            self._to_do.clear()
            self._feed(machine.StopReceived(reason))

    def on_registry(self, ref: ActorRef) -> None:
        """Tell a new registry which monitors the server has."""
        super().on_registry(ref)
        for token, target in self._monitors.items():
            self.tell_registry(MonitorProcess(token, target, self.ref))

    def on_request(self, caller: messages.Caller, request: Any) -> None:
        """Have the server's `handle_call` answer."""
        self._feed(machine.CallReceived(caller, request))

    def _feed(self, event: machine.Event) -> None:
        self.perform(self._loop.handle(event))

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

    def _on_answer(self, message: wire.Answer, _sender: Address) -> None:
        stop_watching = self._requests.pop(message.request_id, None)
        if stop_watching is None:
            return
        stop_watching()
        content, unreadable = self.unpack(message.payload)
        failure: Exception | None = unreadable
        if message.failed and failure is None:
            failure = wire.error_in(content)
        value = content if failure is None else None
        response = messages.Response(message.request_id, value, failure)
        self._feed(machine.InfoReceived(response))

    # Effects

    def _continue(self, effect: machine.Continue) -> None:
        self.transport.send_off_soon()  # it may take long; who was answered must not wait for it
        self._feed(machine.ContinueReceived(effect.then))

    def _publish(self, effect: machine.Publish) -> None:
        self.send(self.order.app, wire.News(self.order.name, wire.pack(effect.fact)))

    def _send_cast(self, effect: machine.SendCast) -> None:
        self.send_to(effect.ref, wire.Cast(wire.pack(effect.request)))

    def _send_info(self, effect: machine.SendInfo) -> None:
        self.send_to(effect.ref, wire.Info(wire.pack(effect.message)))

    def _send_request(self, effect: machine.SendRequest) -> None:
        token, ref = effect.token, effect.ref
        request = wire.Call(token, wire.pack(effect.request))

        def unanswered(error: CallError) -> None:
            stop_watching = self._requests.pop(token, None)
            if stop_watching is not None:
                stop_watching()
                self._feed(machine.InfoReceived(messages.Response(token, None, error)))

        def gone(was_there: bool) -> None:  # noqa: FBT001 - a callback's one fact
            error = ActorExitedError(ref.kind, Killed()) if was_there else NoProcessError(ref.kind)
            self.transport.after_last_words(ref.address, lambda: unanswered(error))

        def unsent(outcome: Outcome) -> None:
            if outcome is not Outcome.DEAD_TARGET:  # else its end is seen, see `gone`
                error = CallError(f"the request did not reach {ref.kind}: {outcome}")
                self.after(0.0, lambda: unanswered(error))

        if ref == self.ref:
            self._requests[token] = lambda: None
            self.after(0.0, lambda: unanswered(CallError(f"{ref.kind} calls itself")))
        else:
            self._requests[token] = self.watch_process(ref, gone)
            self.send_to(ref, request, unsent)

    def _send_after(self, effect: machine.SendAfter) -> None:
        self.after(effect.delay, lambda: self._feed(machine.InfoReceived(effect.message)))

    def _set_idle_timer(self, effect: machine.SetIdleTimer) -> None:
        self._idle = effect.generation, time.monotonic() + effect.delay
        self._keep_alarm()

    def _keep_alarm(self) -> None:
        # Messages set the timer anew far more often than it fires, and it cannot be
        # cancelled: so an earlier alarm stands for all later ones.
        _, due = self._idle
        if not self._alarms or min(self._alarms) > due:
            self._alarms.add(due)
            self.after(max(0.0, due - time.monotonic()), lambda: self._on_alarm(due))

    def _on_alarm(self, alarm: float) -> None:
        self._alarms.discard(alarm)
        generation, due = self._idle
        if alarm >= due:
            self._feed(machine.IdleTimerFired(generation))
        else:
            self._keep_alarm()

    def _start_monitor(self, effect: machine.StartMonitor) -> None:
        self._monitors[effect.token] = effect.ref
        self.tell_registry(MonitorProcess(effect.token, effect.ref, self.ref))

    def _watch_process(self, effect: machine.WatchProcess) -> None:
        def gone(was_there: bool) -> None:  # noqa: FBT001 - a callback's one fact
            if self._watches.pop(effect.token, None) is not None:
                reason = Killed() if was_there else NoProcess()
                down = messages.Down(effect.token, effect.ref, reason)
                self._feed(machine.InfoReceived(down))

        self._watches[effect.token] = self.watch_process(effect.ref, gone)

    def _stop_monitor(self, effect: machine.StopMonitor) -> None:
        if self._monitors.pop(effect.token, None) is not None:
            self.tell_registry(DemonitorProcess(effect.token, self.ref))
        stop_watching = self._watches.pop(effect.token, None)
        if stop_watching is not None:
            stop_watching()
