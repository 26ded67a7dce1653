"""The rules of a server: `ServerLoop` calls one `GenServer`, as OTP's gen_server does.

What has arrived comes in as events, what the server returns and asks for goes out as
effects; a host is between this machine and the world. The rules stand here and
nowhere else:

- Messages are handled one at a time, in the order they came.
- The first exception ends the process: `terminate` runs once, the caller gets
  a `HandlerError`, the message is not handled again, the rest of the mailbox
  is lost, and the supervisor decides.
- `then=` runs before any waiting message; `timeout=` fires only if no message
  came in time.
- `terminate` runs after `Stop`, an exception, a bad return value and a stop by
  the supervisor, never after a failed `init`.
- What a callback asked for goes out before its answer, and also if it fails after that.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Self

from jidocode.base.exits import NORMAL, Crashed, ExitReason
from jidocode.base.refs import ActorRef
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
)
from jidocode.otp.server.messages import Caller, Timeout
from jidocode.otp.server.results import UNSET, Ignore, NoReply, Refuse, Reply, Stop
from jidocode.otp.supervision.specs import Start

OnReturn = Callable[[BaseException | None], object]


class ServerLoop:
    """Drives one `GenServer`: events in, effects out.

    The host calls `start` once and then `handle` for each event, one at a time, until
    an effect ends the process: `InitIgnored`, `InitFailed` or `Exit`.
    """

    def __init__(
        self, server: GenServer, ref: ActorRef, on_return: OnReturn = lambda _error: None
    ) -> None:
        """Call *on_return* first whenever a callback is left, with what was raised, if any."""
        self._server = server
        self._on_return = on_return
        self._server.ref = ref
        self._server._outbox = []  # noqa: SLF001 - the two halves of one thing
        # Counts the callbacks, so that an idle timer set before the last one is known as stale.
        self._generation = 0

    @classmethod
    def of(cls, start: Start, ref: ActorRef, *on_return: OnReturn) -> Self:
        """Return the loop of a fresh server of *start*'s class."""
        return cls(start.target(), ref, *on_return)

    def start(self, start: Start) -> list[Effect]:
        """Run `init` with the arguments of *start*."""
        result: Any
        try:
            result = self._server.init(*start.args, **start.kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the start failed with it
            self._on_return(error)
            return [*self._take_outbox(), InitFailed(crash_reason(error))]
        match result:
            case None | NoReply():
                return [*self._take_outbox(), InitDone(), *self._after(result)]
            case Ignore():
                return [*self._take_outbox(), InitIgnored()]
            case Stop():
                return [*self._take_outbox(), InitFailed(result.reason)]
            case _:
                return [*self._take_outbox(), InitFailed(_bad_return("init", result))]

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
            case ContinueReceived():
                return self._run(None, "handle_continue", event.then)
            case StopReceived():
                return self._stop(event.reason)

    def _run(self, caller: Caller | None, callback: str, *args: object) -> list[Effect]:
        self._generation += 1
        try:
            result = getattr(self._server, callback)(*args)
        except BaseException as error:  # noqa: BLE001 - the first exception ends the process
            self._on_return(error)
            return self._crash(caller, error)
        self._on_return(None)
        match result:
            case Reply() if caller is not None:
                return [
                    *self._take_outbox(),
                    SendReply(caller, result.value),
                    *self._after(result),
                ]
            case Refuse() if caller is not None:
                return [
                    *self._take_outbox(),
                    SendError(caller, result.error),
                    *self._after(result),
                ]
            case NoReply():
                return [*self._take_outbox(), *self._after(result)]
            case None if caller is None:
                return self._take_outbox()
            case Stop():
                return self._stop(result.reason, caller, result.reply)
            case _:
                return self._stop(_bad_return(callback, result), caller)

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
        effects = self._take_outbox()
        if caller is not None and reply is not UNSET:
            effects.append(SendReply(caller, reply))
        elif caller is not None:
            effects.append(SendError(caller, ActorExitedError(self._server.kind, reason)))
        return [*effects, Exit(reason)]

    def _crash(self, caller: Caller | None, error: BaseException) -> list[Effect]:
        reason = crash_reason(error)
        if not isinstance(reason, Crashed):
            return self._stop(reason, caller)
        exit_reason = self._terminate(reason)
        effects = self._take_outbox()
        if caller is not None:
            answer = HandlerError(self._server.kind, reason.error, reason.traceback)
            effects.append(SendError(caller, answer))
        return [*effects, Exit(exit_reason)]

    def _terminate(self, reason: ExitReason) -> ExitReason:
        """Run `terminate`; if that fails, its failure is the reason (gen_server: terminate)."""
        try:
            self._server.terminate(reason)
        except BaseException as error:  # noqa: BLE001 - reported as the reason of the exit
            self._on_return(error)
            return crash_reason(error)
        return reason

    def _take_outbox(self) -> list[Effect]:
        return self._server._take_outbox()  # noqa: SLF001 - the two halves of one thing


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
