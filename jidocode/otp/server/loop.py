"""The rules of a server: `ServerLoop` calls one `GenServer`, as OTP's gen_server does.

What has arrived comes in as events, what follows from a callback goes out as effects; what
the server asks for meanwhile goes to its `Runtime` at once. The rules stand here and
nowhere else:

- Messages are handled one at a time, in the order they came.
- The first exception ends the process: `terminate` runs once, the caller gets
  a `HandlerError`, the message is not handled again, the rest of the mailbox
  is lost, and the supervisor decides.
- `then=` runs before any waiting message; `timeout=` fires only if no message
  came in time.
- `terminate` runs after `Stop`, an exception, a bad return value and a stop by
  the supervisor, never after a failed `init`.
- What a callback asks for goes out before its answer, and also if it fails after that.
- `stop()` in a callback, or beside it, ends the process when that callback returns.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Self

from jidocode.base.exits import NORMAL, Crashed, ExitReason
from jidocode.base.refs import ActorRef, Name
from jidocode.base.text import clip, describe, quote
from jidocode.errors import ActorExitedError, HandlerError
from jidocode.otp.server.gen_server import GenServer
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
    SendError,
    SendReply,
    SetIdleTimer,
    StopReceived,
    TimerFired,
)
from jidocode.otp.server.messages import Caller, Timeout
from jidocode.otp.server.results import UNSET, Ignore, NoReply, Refuse, Reply, Stop
from jidocode.otp.server.runtime import Runtime
from jidocode.otp.supervision.specs import Start


class ServerLoop:
    """Drives one `GenServer`: events in, effects out.

    The host calls `start` once and then `handle` for each event, one at a time, until
    an effect ends the process: `InitIgnored`, `InitFailed` or `Exit`.
    """

    def __init__(
        self, server: GenServer, ref: ActorRef, runtime: Runtime, name: Name | None = None
    ) -> None:
        """Drive *server*, which is the process *ref*; *runtime* is what it asks things of."""
        self._server = server
        self._runtime = runtime
        self._server._attach(runtime, ref, name)  # noqa: SLF001 - the two halves of one thing
        # Counts the callbacks, so that an idle timer set before the last one is known as stale.
        self._generation = 0

    @classmethod
    def of(cls, start: Start, ref: ActorRef, runtime: Runtime, name: Name | None = None) -> Self:
        """Return the loop of a fresh server of *start*'s class."""
        server = start.target()
        carry = getattr(server, "as_gen_server", None)  # it is one of another kind
        return cls(carry() if carry else server, ref, runtime, name)

    def start(self, start: Start) -> list[Effect]:
        """Run `init` with the arguments of *start*."""
        result: Any
        try:
            result = self._server.init(*start.args, **start.kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the start failed with it
            self._runtime.returned(error)
            return [InitFailed(crash_reason(error))]
        self._runtime.returned(None)
        match result:
            case None | NoReply() if self._stop_reason is not None:
                return [InitFailed(self._stop_reason)]
            case None | NoReply():
                return [InitDone(), *self._after(result)]
            case Ignore():
                return [InitIgnored()]
            case Stop():
                return [InitFailed(result.reason)]
            case _:
                return [InitFailed(_bad_return("init", result))]

    def handle(self, event: Event) -> list[Effect]:
        """Let the server handle *event*."""
        match event:
            case CallReceived():
                return self._run(event.caller, "handle_call", event.request, event.caller)
            case CastReceived():
                return self._run(None, "handle_cast", event.request)
            case InfoReceived():
                return self._run(None, "handle_info", event.message)
            case IdleTimerFired():
                if event.generation != self._generation:
                    return []
                return self._run(None, "handle_info", Timeout())
            case TimerFired():
                if not self._server._take_timer(event.token):  # noqa: SLF001 - idem
                    return []
                return self._run(None, "handle_info", event.message)
            case ContinueReceived():
                return self._run(None, "handle_continue", event.then)
            case StopReceived():
                return self._stop(event.reason)

    def _run(self, caller: Caller | None, callback: str, *args: object) -> list[Effect]:
        self._generation += 1
        try:
            result = getattr(self._server, callback)(*args)
        except BaseException as error:  # noqa: BLE001 - the first exception ends the process
            self._runtime.returned(error)
            return self._crash(caller, error)
        self._runtime.returned(None)
        answer: list[Effect] = []
        match result:
            case Reply() if caller is not None:
                answer = [SendReply(caller, result.value)]
            case Refuse() if caller is not None:
                answer = [SendError(caller, result.error)]
            case NoReply():
                pass
            case None if caller is None:
                pass
            case Stop():
                return self._stop(result.reason, caller, result.reply)
            case _:
                return self._stop(_bad_return(callback, result), caller)
        if self._stop_reason is not None:
            exit_reason = self._terminate(self._stop_reason)
            return [*answer, Exit(exit_reason)]
        return [*answer, *self._after(result)]

    @property
    def problem(self) -> str | None:
        """What the server says is wrong with it, None if nothing is."""
        return self._server._problem()  # noqa: SLF001 - idem

    def when_responsive(self, step: Callable[[], object]) -> None:
        """Take *step* as soon as the server can handle a message."""
        self._server._when_responsive(step)  # noqa: SLF001 - idem

    @property
    def _stop_reason(self) -> ExitReason | None:
        """What `GenServer.stop` was called with."""
        return self._server._stop_reason  # noqa: SLF001 - idem

    def _after(self, result: Reply | Refuse | NoReply | None) -> list[Effect]:
        """Return what the callback left to do before the next message."""
        if result is None:
            return []
        if result.then is not None:
            return [Continue(result.then)]
        if result.timeout is not None:
            return [SetIdleTimer(self._generation, result.timeout)]
        return []

    def _stop(
        self, reason: ExitReason, caller: Caller | None = None, reply: object = UNSET
    ) -> list[Effect]:
        reason = self._terminate(reason)
        if caller is None:
            return [Exit(reason)]
        if reply is not UNSET:
            return [SendReply(caller, reply), Exit(reason)]
        return [SendError(caller, ActorExitedError(self._server.kind, reason)), Exit(reason)]

    def _crash(self, caller: Caller | None, error: BaseException) -> list[Effect]:
        reason = crash_reason(error)
        if not isinstance(reason, Crashed):
            return self._stop(reason, caller)
        exit_reason = self._terminate(reason)
        if caller is None:
            return [Exit(exit_reason)]
        answer = HandlerError(self._server.kind, reason.error, reason.traceback)
        return [SendError(caller, answer), Exit(exit_reason)]

    def _terminate(self, reason: ExitReason) -> ExitReason:
        """Run `terminate`; if that fails, its failure is the reason (gen_server: terminate)."""
        try:
            self._server.terminate(reason)
        except BaseException as error:  # noqa: BLE001 - reported as the reason of the exit
            self._runtime.returned(error)
            return crash_reason(error)
        return reason


def crash_reason(error: BaseException) -> ExitReason:
    """Return the exit reason of a process that *error* ends.

    `sys.exit()` in a handler is a normal end (OTP: `exit(normal)`), with a
    status it is a crash. Its texts are bounded: they are kept and passed on.
    """
    if isinstance(error, SystemExit) and not error.code:
        return NORMAL
    return Crashed(describe(error), clip("".join(traceback.format_exception(error))))


def _bad_return(callback: str, result: object) -> Crashed:
    return Crashed(f"bad return value: {callback} returned {quote(result)}")
