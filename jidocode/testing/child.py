"""One `GenServer` in the test's own process: for tests that start nothing."""

from __future__ import annotations

import itertools
import os
import pickle
from collections import deque
from typing import Any, TypeVar

from jidocode._host import wire
from jidocode.base.exits import NORMAL, SHUTDOWN, ExitReason
from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stop
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    NoProcessError,
    StartFailedError,
)
from jidocode.otp.seconds import MAX_SECONDS, require_seconds
from jidocode.otp.server.loop import ServerLoop, crash_reason
from jidocode.otp.server.machine import (
    CallReceived,
    CastReceived,
    Continue,
    ContinueReceived,
    Effect,
    Event,
    Exit,
    IdleTimerFired,
    InfoReceived,
    InitDone,
    InitFailed,
    InitIgnored,
    SendAfter,
    SendCast,
    SendError,
    SendInfo,
    SendReply,
    SendRequest,
    SetIdleTimer,
    StopReceived,
)
from jidocode.otp.server.messages import Caller, Response
from jidocode.otp.supervision.specs import Start
from jidocode.testing.clock import FakeClock

T = TypeVar("T")


class FakeCall:
    """A call to a `FakeChild` that is under way."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._outcome: tuple[object, Exception | None] | None = None

    @property
    def done(self) -> bool:
        """Whether there is an answer."""
        return self._outcome is not None

    def result(self) -> Any:
        """Return the answer, or raise the error, that the caller gets.

        Raises:
            AssertionError: There is none yet.
        """
        if self._outcome is None:
            raise AssertionError(f"{self._target} has not answered yet")
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def settle(self, value: object, error: Exception | None = None) -> None:
        """Take in the answer, if it is the first."""
        self._outcome = self._outcome or (value, error)


class FakeChild:
    """One `GenServer` in the test's own process: its callbacks run, and nothing else does.

    The rules are those of a real process, for the same `ServerLoop` drives it:
    the first exception ends it, `then=` goes before any message, timers fire
    in order. What is sent is pickled and unpickled. Its time is a `FakeClock`.
    There is no supervisor: a child that ended stays down.

    Attributes:
        ref: The child's own ref.
        clock: Its time.
        effects: What it wants from other processes, in order: `SendCast`,
            `SendInfo`, `SendRequest`, `StartMonitor` and so on from
            `jidocode.otp.server.gen_server`. Answer with `info(Response(...))` or
            `info(Down(...))`, with the token of the effect.
        exit_reason: Why it ended; None while it runs. `Normal` if `init`
            returned `Ignore`.

    Raises:
        StartFailedError: `init` failed.
    """

    def __init__(self, start: Start, *, clock: FakeClock | None = None) -> None:
        """Run `init` with the arguments of *start*; children may share a *clock*."""
        self.clock = FakeClock() if clock is None else clock
        self.ref = ActorRef(start.target.kind, 1, os.getpid(), next(_addresses))
        self.effects: list[Effect] = []
        self.exit_reason: ExitReason | None = None
        self._started = False
        self._calls: dict[int, FakeCall] = {}
        self._numbers = itertools.count(1)
        self._mailbox: deque[Event] = deque()
        start = Start(start.target, *_copy(start.args), **_copy(dict(start.kwargs)))
        self._loop = ServerLoop.of(start, self.ref)
        self._begin(start)
        self._work()

    def _begin(self, start: Start) -> None:
        self._perform(self._loop.start(start))
        if self.exit_reason is not None and not self._started:
            raise StartFailedError(self.ref.kind, self.exit_reason)

    def __repr__(self) -> str:
        return f"<FakeChild {self.ref.kind}, {self.exit_reason or 'running'}>"

    # What others do to it

    def call(
        self, request: object, /, *, timeout: float | None = None, stop: Stop | None = None
    ) -> Any:
        """Send *request* to `handle_call` and return the answer.

        This is a `Channel`, as `ManagerClient` and `StateClient` take one. If
        there is no answer at once, time passes on the clock, and with it what
        the child has put off, for at most *timeout* seconds (5 by default).

        Raises:
            InvalidTimeError: *timeout* is no time.
            CallTimeoutError: There was none in time.
            NoProcessError: The child has ended before.
            ActorExitedError: It ended over the call.
            HandlerError: The handler raised; the child has ended.
            Exception: Whatever the handler refused with.
        """
        del stop  # nobody else is there to request it
        seconds = 5.0 if timeout is None else timeout
        require_seconds("timeout", seconds)
        call = self.begin_call(request)
        self.clock.advance(min(seconds, MAX_SECONDS), until=lambda: call.done)
        if not call.done:
            raise CallTimeoutError(self.ref.kind, seconds)
        return call.result()

    def begin_call(self, request: object) -> FakeCall:
        """Send *request* to `handle_call` and let no time pass: for answers that come later."""
        call = FakeCall(self.ref.kind)
        if self.exit_reason is not None:
            call.settle(None, NoProcessError(self.ref.kind))
        number = next(self._numbers)
        self._calls[number] = call
        self._receive(CallReceived(Caller(self.ref.address, number), _copy_request(request)))
        return call

    def cast(self, request: object) -> None:
        """Send *request* to `handle_cast`; lost if the child has ended."""
        self._receive(CastReceived(_copy_request(request)))

    def info(self, message: object) -> None:
        """Send *message* to `handle_info`; lost if the child has ended."""
        self._receive(InfoReceived(_copy(message)))

    def stop(self, reason: ExitReason = SHUTDOWN) -> None:
        """Stop it as its supervisor would: `terminate` runs."""
        self._receive(StopReceived(reason))

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass on its clock: `send_after` and `timeout=` come true."""
        self.clock.advance(seconds)

    # What it does

    def _receive(self, event: Event) -> None:
        self._mailbox.append(event)
        self._work()

    def _work(self) -> None:
        while self._mailbox and self.exit_reason is None:
            self._perform(self._loop.handle(self._mailbox.popleft()))

    def _perform(self, effects: list[Effect]) -> None:
        to_do = deque(effects)
        while to_do:
            try:
                to_do.extend(self._carry_out(to_do.popleft()))
            except Exception as error:  # noqa: BLE001 - what it sends cannot be pickled: a crash
                to_do = deque(self._effects_of_failure(crash_reason(error), to_do))

    def _effects_of_failure(self, reason: ExitReason, to_do: deque[Effect]) -> list[Effect]:
        has_ended = any(isinstance(effect, Exit) for effect in to_do)
        if has_ended or not self._started:
            return [Exit(reason)]
        return self._loop.handle(StopReceived(reason))

    def _carry_out(self, effect: Effect) -> list[Effect]:
        """Carry out *effect*; return what has to be done before the next message."""
        match effect:
            case Continue(then):
                return self._loop.handle(ContinueReceived(then))
            case SendReply(caller, value):
                self._answer(caller, value, None)
            case SendError(caller, error):
                self._answer(caller, None, error)
            case SendCast(ref, request) if ref == self.ref:
                self._mailbox.append(CastReceived(_copy(request)))
            case SendInfo(ref, message) if ref == self.ref:
                self._mailbox.append(InfoReceived(_copy(message)))
            case SendRequest(token, ref, _) if ref == self.ref:
                refusal = CallError(f"{ref.kind} calls itself")
                self._mailbox.append(InfoReceived(Response(token, None, refusal)))
            case SendAfter(delay, message):
                self.clock.call_after(delay, lambda: self._receive(InfoReceived(message)))
            case SetIdleTimer(generation, delay):
                self.clock.call_after(delay, lambda: self._receive(IdleTimerFired(generation)))
            case InitDone():
                self._started = True
            case InitIgnored():
                self._started = True
                self._leave(NORMAL)
            case InitFailed(reason) | Exit(reason):
                self._leave(reason)
            case _:
                self.effects.append(_copy(effect))
        return []

    def _answer(self, caller: Caller, value: object, error: Exception | None) -> None:
        call = self._calls.pop(caller.request_id, None)
        if call is None:
            return  # it has its answer
        number = caller.request_id
        answer = wire.answer(number, value) if error is None else wire.refusal(number, error)
        content = wire.unpack(answer.payload)
        if answer.failed:
            call.settle(None, wire.error_in(content))
        else:
            call.settle(content, None)

    def _leave(self, reason: ExitReason) -> None:
        self.exit_reason = reason
        self._mailbox.clear()
        for call in self._calls.values():
            call.settle(None, ActorExitedError(self.ref.kind, reason))
        self._calls.clear()


_addresses = itertools.count(1)


def _copy_request(request: object) -> object:
    return wire.unpack(wire.pack_request(request))


def _copy(value: T) -> T:
    """Return *value* as another process would get it."""
    copy: T = pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    return copy
