"""One `GenServer` in the test's own process: for tests that start nothing."""

from __future__ import annotations

import itertools
import os
import pickle
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from jidocode._host import wire
from jidocode.base.exits import NORMAL, SHUTDOWN, ExitReason
from jidocode.base.refs import ActorRef, Name, Target, Via, words_for
from jidocode.base.stop import Stop
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    NoProcessError,
    StartFailedError,
)
from jidocode.otp.seconds import INFINITY, MAX_SECONDS, require_seconds
from jidocode.otp.server.loop import ServerLoop, crash_reason
from jidocode.otp.server.machine import (
    CallReceived,
    CancelTimer,
    CastReceived,
    Command,
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
    SendCall,
    SendCast,
    SendError,
    SendInfo,
    SendPart,
    SendReply,
    SendRequest,
    SetIdleTimer,
    StopReceived,
    StopSoon,
    TimerFired,
)
from jidocode.otp.server.messages import Caller, Response
from jidocode.otp.server.runtime import Interruption
from jidocode.otp.server.streams import CallStream, PartSource
from jidocode.otp.supervision.specs import Start
from jidocode.testing.clock import FakeClock
from jidocode.testing.parts import FakeParts

T = TypeVar("T")


class FakeCall:
    """A call to a `FakeChild` that is under way.

    Attributes:
        parts: What `GenServer.send_part` has sent of its answer.
    """

    def __init__(self, target: str) -> None:
        self.parts: list[Any] = []
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


class _Runtime:
    """What a `FakeChild` is for its server."""

    def __init__(
        self,
        emit: Callable[[Command], None],
        call: Callable[[SendCall], Any],
        look_up: Callable[[Name | Via], ActorRef | None],
        open_stream: Callable[[SendCall], PartSource],
        send_part: Callable[[SendPart], bool],
    ) -> None:
        self._emit, self._call, self._look_up = emit, call, look_up
        self._open_stream, self._send_part = open_stream, send_part

    def emit(self, command: Command) -> None:
        self._emit(command)

    def call(self, call: SendCall, stop: Interruption | None = None) -> Any:
        del stop  # nobody else is there to request it
        return self._call(call)

    def open_stream(self, call: SendCall) -> PartSource:
        return self._open_stream(call)

    def send_part(self, part: SendPart) -> bool:
        return self._send_part(part)

    def look_up(self, target: Name | Via) -> ActorRef | None:
        return self._look_up(target)

    def returned(self, error: BaseException | None) -> None:
        """Do nothing: no fork comes here."""


class FakeChild:
    """One `GenServer` in the test's own process: its callbacks run, and nothing else does.

    The rules are those of a real process, for the same `ServerLoop` drives it:
    the first exception ends it, `then=` goes before any message, timers fire
    in order. What is sent is pickled and unpickled. Its time is a `FakeClock`.
    There is no supervisor: a child that ended stays down. While a callback waits in
    `GenServer.call`, what comes meanwhile waits for it, as in a process.

    Attributes:
        ref: The child's own ref.
        clock: Its time.
        effects: What it has asked of other processes, in order: `SendCall`, `SendCast`,
            `SendInfo`, `SendRequest`, `StartMonitor` and so on from
            `jidocode.otp.server.machine`. Answer with `info(Response(...))` or
            `info(Down(...))`, with the token of the effect; a `SendCall` is answered by
            *on_call*.
        exit_reason: Why it ended; None while it runs. `Normal` if `init`
            returned `Ignore`.

    Raises:
        StartFailedError: `init` failed.
        TypeError: It is an `AsyncGenServer`, which needs a process.
    """

    def __init__(
        self,
        start: Start,
        *,
        clock: FakeClock | None = None,
        name: Name | None = None,
        on_call: Callable[[Target, Any], object] | None = None,
        names: Mapping[Name, ActorRef] | Mapping[Name | Via, ActorRef] | None = None,
    ) -> None:
        """Run `init` with the arguments of *start*.

        Args:
            start: What to run.
            clock: Its time, which children may share; a new one by default.
            name: What it is registered under.
            on_call: Gets the target, a ref or a name, and the request of each
                `GenServer.call` that it makes; what it returns is the answer, what it
                raises is raised there. A generator answers a `GenServer.call_stream` in
                parts. Without it nobody is there to be called.
            names: Who has which name or key, for `GenServer.whereis`.
        """
        if hasattr(start.target, "as_gen_server"):
            raise TypeError(
                f"{start.target.__name__} is a server of coroutines, which needs a process: "
                "start it by otp.start"
            )
        self.clock = FakeClock() if clock is None else clock
        self.ref = ActorRef(start.target.kind, 1, os.getpid(), next(_addresses))
        self.effects: list[Command | SendCall] = []
        self.exit_reason: ExitReason | None = None
        self._name = name
        self._on_call = on_call
        self._names = cast("Mapping[Name | Via, ActorRef]", {} if names is None else names)
        self._started = False
        self._calls: dict[int, FakeCall] = {}
        self._numbers = itertools.count(1)
        self._mailbox: deque[Event] = deque()
        self._open_requests: set[int] = set()
        self._busy = True
        start = Start(start.target, *_copy(start.args), **_copy(dict(start.kwargs)))
        runtime = _Runtime(
            self._emit, self._make_call, self._look_up, self._open_stream, self._send_part
        )
        self._loop = ServerLoop.of(start, self.ref, runtime, name)
        self._begin(start)
        self._busy = False
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
        if isinstance(message, Response):
            self._open_requests.discard(message.token)
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
        if self._busy:
            return  # a callback runs, and what comes meanwhile waits
        self._busy = True
        try:
            while self._mailbox and self.exit_reason is None:
                self._perform(self._loop.handle(self._mailbox.popleft()))
        finally:
            self._busy = False

    def _perform(self, effects: list[Effect]) -> None:
        to_do = deque(effects)
        while to_do:
            try:
                to_do.extend(self._carry_out(to_do.popleft()))
            except Exception as error:  # noqa: BLE001 - as in a process: a crash
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
            case SetIdleTimer(generation, delay):
                self.clock.call_after(delay, lambda: self._receive(IdleTimerFired(generation)))
            case InitDone():
                self._started = True
            case InitIgnored():
                self._started = True
                self._leave(NORMAL)
            case InitFailed(reason) | Exit(reason):
                self._leave(reason)
        return []

    # What it asks for

    def _emit(self, command: Command) -> None:
        match command:
            case SendReply(caller, value):
                self._answer(caller, value, None)
            case SendError(caller, error):
                self._answer(caller, None, error)
            case SendCast(target, request) if self._is_me(target):
                self._receive(CastReceived(_copy_request(request)))
            case SendInfo(target, message) if self._is_me(target):
                self._receive(InfoReceived(_copy_request(message, "the message")))
            case SendRequest(token, target, _, _) if self._is_me(target):
                refusal = CallError(f"{self.ref.kind} calls itself")
                self._receive(InfoReceived(Response(token, None, refusal)))
            case SendRequest(token, target, _, seconds):
                self.effects.append(_copy_request(command))
                self._await_response(token, words_for(target), seconds)
            case SendAfter(token, delay, message):
                self.clock.call_after(delay, lambda: self._receive(TimerFired(token, message)))
            case StopSoon(reason):
                self._receive(StopReceived(reason))
            case CancelTimer():
                pass  # the loop drops what comes of it
            case _:
                self.effects.append(_copy_request(command, "what was sent"))

    def _look_up(self, target: Name | Via) -> ActorRef | None:
        return self.ref if target == self._name else self._names.get(target)

    def _make_call(self, call: SendCall) -> Any:
        return CallStream(self._open_stream(call), call.timeout).result()

    def _open_stream(self, call: SendCall) -> PartSource:
        call = _copy_request(call)
        self.effects.append(call)
        return FakeParts(words_for(call.target), lambda: self._answer_to(call))

    def _answer_to(self, call: SendCall) -> object:
        if self._is_me(call.target):
            raise CallError(f"{self.ref.kind} calls itself")
        if self._on_call is None:
            raise NoProcessError(words_for(call.target))
        return self._on_call(call.target, call.request)

    def _send_part(self, command: SendPart) -> bool:
        command = _copy_request(command, "the part")
        call = self._calls.get(command.caller.request_id)
        if call is not None:
            call.parts.append(command.part)
        return call is not None

    def _is_me(self, target: Target) -> bool:
        return target in (self.ref, self._name)

    def _await_response(self, token: int, target: str, seconds: float) -> None:
        def expire() -> None:
            if token in self._open_requests:
                self.info(Response(token, None, CallTimeoutError(target, seconds)))

        if seconds != INFINITY:
            self._open_requests.add(token)
            self.clock.call_after(seconds, expire)

    # What comes of calls to it

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


def _copy_request(request: Any, what: str = "the request") -> Any:
    return wire.unpack(wire.pack_request(request, what))


def _copy(value: T) -> T:
    """Return *value* as another process would get it."""
    copy: T = pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    return copy
