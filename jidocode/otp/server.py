"""`GenServer`: a process written as a plain class, and the machine that drives it.

A server says what to do with each message; it never meets a socket, a thread
or a timer. `ServerLoop` calls it and turns what it returns into effects, which
a host carries out. So a server can be tested by calling its methods, and the
rules of OTP's gen_server stand in this file and nowhere else:

- Messages are handled one at a time, in the order they came.
- The first exception ends the process: `terminate` runs once, the caller gets
  a `HandlerError`, the message is not handled again, the rest of the mailbox
  is lost, and the supervisor decides.
- `then=` runs before any waiting message; `timeout=` fires only if no message
  came in time.
"""

from __future__ import annotations

import traceback
from typing import Any, ClassVar, Self

from msgspec import Struct

from jidocode.errors import ActorExitedError, CallError, HandlerError, clipped, shown, told
from jidocode.otp.exits import NORMAL, Crashed, ExitReason
from jidocode.otp.refs import ActorRef
from jidocode.otp.specs import ChildSpec, ChildType, Start


class Caller(Struct, frozen=True):
    """Who waits for a reply; keep it to `GenServer.reply` later.

    Attributes:
        address: Where the reply goes; opaque.
        request_id: Which request it answers. The caller drops a late reply.
    """

    address: object
    request_id: int


# ----- what a callback returns ------------------------------------------------


class _GoOn(Struct, frozen=True, kw_only=True):
    """What happens next.

    Attributes:
        timeout: Seconds without a message after which `handle_info` gets a
            `Timeout`; None for never (OTP: timeout in a return tuple).
        then: If not None, `handle_continue` gets it before any other message.
    """

    timeout: float | None = None
    then: object = None


class Reply(_GoOn, frozen=True):
    """Answer the call with *value*, which must pickle, and go on."""

    value: object = None


class Refuse(_GoOn, frozen=True):
    """Answer the call with *error*, which the caller raises, and go on.

    For failures that are part of the contract. An exception that leaves a
    handler is a crash instead.
    """

    error: Exception


class NoReply(_GoOn, frozen=True):
    """Go on without an answer; a caller is answered later by `GenServer.reply`."""


class _Unset:
    """Tells "no reply" from a reply of None."""


_UNSET = _Unset()


class Stop(Struct, frozen=True):
    """End this process with *reason*, after `terminate`.

    With *reply* the caller gets that value, otherwise an `ActorExitedError`.
    From `init` it makes the start fail with *reason*.
    """

    reason: ExitReason = NORMAL
    reply: object = _UNSET


class Ignore(Struct, frozen=True):
    """From `init`: do not run, and that is no failure (OTP: `ignore`)."""


CallResult = Reply | Refuse | NoReply | Stop
Result = NoReply | Stop | None
InitResult = NoReply | Stop | Ignore | None


# ----- messages that a server gets from the machinery -------------------------


class Timeout(Struct, frozen=True):
    """No message came within the *timeout* that the last callback asked for."""


class Down(Struct, frozen=True):
    """A monitored process is gone.

    Attributes:
        token: What `GenServer.monitor` returned.
        ref: The process.
        reason: Why it ended; `NoProcess` if it was gone before.
    """

    token: int
    ref: ActorRef
    reason: ExitReason


class Response(Struct, frozen=True):
    """The answer to a `GenServer.send_request`.

    Exactly one of *value* and *error* is meant: *error* is None on success.
    """

    token: int
    value: object
    error: Exception | None


# ----- effects ----------------------------------------------------------------


class Initialised(Struct, frozen=True):
    """`init` is done: tell the supervisor."""


class InitIgnored(Struct, frozen=True):
    """`init` returned `Ignore`: tell the supervisor, and leave."""


class InitFailed(Struct, frozen=True):
    """`init` failed with *reason*: tell the supervisor, and leave. `terminate` does not run."""

    reason: ExitReason


class SendReply(Struct, frozen=True):
    """Send *value* to *caller*."""

    caller: Caller
    value: object


class SendError(Struct, frozen=True):
    """Send *error* to *caller*, who raises it."""

    caller: Caller
    error: Exception


class SendCast(Struct, frozen=True):
    """Send *request* to *ref*; it gets a `handle_cast`."""

    ref: ActorRef
    request: object


class SendInfo(Struct, frozen=True):
    """Send *message* to *ref*; it gets a `handle_info`."""

    ref: ActorRef
    message: object


class SendRequest(Struct, frozen=True):
    """Call *ref*; the answer comes back as a `Response` with *token*."""

    token: int
    ref: ActorRef
    request: object


class SendAfter(Struct, frozen=True):
    """Deliver *message* to the server itself after *delay* seconds."""

    delay: float
    message: object


class SetIdleTimer(Struct, frozen=True):
    """Feed `IdleTimerFired(generation)` back after *delay* seconds."""

    generation: int
    delay: float


class GoOn(Struct, frozen=True):
    """Feed `Continued(then)` back at once, before any message that waits."""

    then: object


class StartMonitor(Struct, frozen=True):
    """Watch *ref*; its end comes back as a `Down` with *token*."""

    token: int
    ref: ActorRef


class WatchProcess(Struct, frozen=True):
    """Watch the process of *ref* at the kernel; its end comes back as a `Down` with *token*."""

    token: int
    ref: ActorRef


class StopMonitor(Struct, frozen=True):
    """Forget the monitor *token*."""

    token: int


class Unexpected(Struct, frozen=True):
    """A message of type *type_name* that nobody handles: log it, once per type."""

    type_name: str


class Publish(Struct, frozen=True):
    """Tell the app *fact*."""

    fact: object


class Exit(Struct, frozen=True):
    """End the process with *reason*; `terminate` has run."""

    reason: ExitReason


Effect = (
    Initialised
    | InitIgnored
    | InitFailed
    | SendReply
    | SendError
    | SendCast
    | SendInfo
    | SendRequest
    | SendAfter
    | SetIdleTimer
    | GoOn
    | StartMonitor
    | WatchProcess
    | StopMonitor
    | Unexpected
    | Publish
    | Exit
)


# ----- events -----------------------------------------------------------------


class CallReceived(Struct, frozen=True):
    """*caller* waits for the answer to *request*."""

    caller: Caller
    request: object


class CastReceived(Struct, frozen=True):
    """*request* came, and nobody waits."""

    request: object


class InfoReceived(Struct, frozen=True):
    """Any other *message*."""

    message: object


class IdleTimerFired(Struct, frozen=True):
    """The idle timer of *generation* ran out."""

    generation: int


class Continued(Struct, frozen=True):
    """The server goes on with what it left in `then=`."""

    then: object


class StopReceived(Struct, frozen=True):
    """The supervisor tells the server to stop with *reason*."""

    reason: ExitReason


Event = CallReceived | CastReceived | InfoReceived | IdleTimerFired | Continued | StopReceived


class GenServer:
    """A process, written as a plain class (OTP: gen_server).

    Subclass it, keep the state in attributes that `init` sets, and put it
    under a supervisor through a `ChildSpec`. Every callback runs in the
    server's own process. There is no `__init__` to write: the arguments of
    the spec go to `init`, at the first start and at each restart alike.

    Which exit reason should I choose?

    - `Normal`: the work is done. Not logged; a transient child stays down.
    - `Shutdown`: ended in order, at somebody's request. Treated like `Normal`.
    - anything else, an exception above all: logged, and a transient child is
      started again.
    """

    kind: ClassVar[str] = "server"
    """What this process is, in one word, for refs, trees and logs."""

    ref: ActorRef
    """This very process. Set before `init` runs."""

    _outbox: list[Effect]
    _tokens: int = 0

    @classmethod
    def child_spec(cls, *args: object, **options: Any) -> ChildSpec:
        """Return a permanent worker spec that starts this class with *args*.

        *options* are the other fields of `ChildSpec`; `id` is the kind unless given.
        """
        options.setdefault("id", cls.kind)
        options.setdefault("type", ChildType.WORKER)
        return ChildSpec(start=Start(cls, *args), **options)

    # Callbacks

    def init(self, *args: Any, **kwargs: Any) -> InitResult:
        """Set up the state; the supervisor waits for it (called by the host, first).

        Raise, or return `Stop`, to make the start fail; return `Ignore` not to run.
        """

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request* (called once per call)."""
        del caller
        return Refuse(CallError(f"{self.kind} does not know {shown(request)} as a call"))

    def handle_cast(self, request: Any) -> Result:
        """Act on *request*; nobody waits (called once per cast)."""
        self._outbox.append(Unexpected(type(request).__name__))
        return None

    def handle_info(self, message: Any) -> Result:
        """Act on any other *message*: `Timeout`, `Down`, `Response`, your own."""
        self._outbox.append(Unexpected(type(message).__name__))
        return None

    def handle_continue(self, then: Any) -> Result:
        """Go on with what a callback left in `then=` (called before any waiting message)."""
        raise NotImplementedError(f"{type(self).__name__} returned then={shown(then)}")

    def terminate(self, reason: ExitReason) -> None:
        """Clean up (called last: after `Stop`, an exception, or a stop by the supervisor).

        Never called after SIGKILL or a failed `init`; do not rely on it for data.
        """

    # What a server can do; each is carried out when the callback returns.

    def reply(self, caller: Caller, value: object) -> None:
        """Answer a call that a `NoReply` left open."""
        self._outbox.append(SendReply(caller, value))

    def refuse(self, caller: Caller, error: Exception) -> None:
        """Answer a call that a `NoReply` left open with an error to raise."""
        self._outbox.append(SendError(caller, error))

    def cast(self, ref: ActorRef, request: object) -> None:
        """Send *request* to the `handle_cast` of *ref*; lost in silence if it is gone."""
        self._outbox.append(SendCast(ref, request))

    def send(self, ref: ActorRef, message: object) -> None:
        """Send *message* to the `handle_info` of *ref*; lost in silence if it is gone."""
        self._outbox.append(SendInfo(ref, message))

    def send_after(self, delay: float, message: object) -> None:
        """Give *message* to this server's own `handle_info` after *delay* seconds."""
        self._outbox.append(SendAfter(delay, message))

    def send_request(self, ref: ActorRef, request: object) -> int:
        """Call *ref* without waiting; a `Response` with the returned token follows.

        It follows in any case: with an `ActorExitedError` if *ref* dies first,
        with a `NoProcessError` if it was dead already.
        """
        token = self._next_token()
        self._outbox.append(SendRequest(token, ref, request))
        return token

    def monitor(self, ref: ActorRef) -> int:
        """Watch *ref*; exactly one `Down` with the returned token follows."""
        token = self._next_token()
        self._outbox.append(StartMonitor(token, ref))
        return token

    def watch_process(self, ref: ActorRef) -> int:
        """Watch the process of *ref* at the kernel; one `Down` with the returned token follows.

        Unlike `monitor` it needs no registry and knows no reason: `Killed()`,
        or `NoProcess()` if there was nothing to watch.
        """
        token = self._next_token()
        self._outbox.append(WatchProcess(token, ref))
        return token

    def announce(self, fact: object) -> None:
        """Tell the app *fact*, which must pickle; it shows up among the system's events."""
        self._outbox.append(Publish(fact))

    def demonitor(self, token: int) -> None:
        """Stop watching; no `Down` with *token* comes after this."""
        self._outbox.append(StopMonitor(token))

    def _next_token(self) -> int:
        self._tokens += 1
        return self._tokens

    def _take_outbox(self) -> list[Effect]:
        effects, self._outbox = self._outbox, []
        return effects


class ServerLoop:
    """Drives one `GenServer`: events in, effects out."""

    def __init__(self, server: GenServer, ref: ActorRef) -> None:
        self._server = server
        self._server.ref = ref
        self._server._outbox = []  # noqa: SLF001 - the two halves of one thing
        self._generation = 0

    @classmethod
    def of(cls, start: Start, ref: ActorRef) -> Self:
        """Return the loop of a fresh server of *start*'s class."""
        return cls(start.target(), ref)

    def start(self, start: Start) -> list[Effect]:
        """Run `init` with the arguments of *start*."""
        result: Any
        try:
            result = self._server.init(*start.args, **start.kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the start failed with it
            return [*self._sent(), InitFailed(crash_reason(error))]
        match result:
            case None | NoReply():
                return [*self._sent(), Initialised(), *self._after(result)]
            case Ignore():
                return [*self._sent(), InitIgnored()]
            case Stop():
                return [*self._sent(), InitFailed(result.reason)]
            case _:
                return [*self._sent(), InitFailed(_bad_return("init", result))]

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
            case Continued():
                return self._run(None, "handle_continue", event.then)
            case StopReceived():
                return self._stop(event.reason)

    def _run(self, caller: Caller | None, callback: str, *args: object) -> list[Effect]:
        self._generation += 1
        try:
            result = getattr(self._server, callback)(*args)
        except BaseException as error:  # noqa: BLE001 - the first exception ends the process
            return self._crash(caller, error)
        match result:
            case Reply() if caller is not None:
                return [*self._sent(), SendReply(caller, result.value), *self._after(result)]
            case Refuse() if caller is not None:
                return [*self._sent(), SendError(caller, result.error), *self._after(result)]
            case NoReply():
                return [*self._sent(), *self._after(result)]
            case None if caller is None:
                return self._sent()
            case Stop():
                return self._stop(result.reason, caller, result.reply)
            case _:
                return self._stop(_bad_return(callback, result), caller)

    def _after(self, result: Reply | Refuse | NoReply | None) -> list[Effect]:
        """Return what the callback left to do before the next message."""
        if result is None:
            return []
        if result.then is not None:
            return [GoOn(result.then)]
        if result.timeout is not None:
            return [SetIdleTimer(self._generation, result.timeout)]
        return []

    def _stop(
        self, reason: ExitReason, caller: Caller | None = None, reply: object = _UNSET
    ) -> list[Effect]:
        reason = self._terminate(reason)
        effects = self._sent()
        if caller is not None and reply is not _UNSET:
            effects.append(SendReply(caller, reply))
        elif caller is not None:
            effects.append(SendError(caller, ActorExitedError(self._server.kind, reason)))
        return [*effects, Exit(reason)]

    def _crash(self, caller: Caller | None, error: BaseException) -> list[Effect]:
        reason = crash_reason(error)
        if not isinstance(reason, Crashed):
            return self._stop(reason, caller)
        exit_reason = self._terminate(reason)
        effects = self._sent()
        if caller is not None:
            answer = HandlerError(self._server.kind, reason.error, reason.traceback)
            effects.append(SendError(caller, answer))
        return [*effects, Exit(exit_reason)]

    def _terminate(self, reason: ExitReason) -> ExitReason:
        """Run `terminate`; if that fails, its failure is the reason (gen_server: terminate)."""
        try:
            self._server.terminate(reason)
        except BaseException as error:  # noqa: BLE001 - reported as the reason of the exit
            return crash_reason(error)
        return reason

    def _sent(self) -> list[Effect]:
        return self._server._take_outbox()  # noqa: SLF001 - the two halves of one thing


def crash_reason(error: BaseException) -> ExitReason:
    """Return the exit reason of a process that *error* ends.

    `sys.exit()` in a handler is a normal end (OTP: `exit(normal)`), with a
    status it is a crash. Its texts are bounded: they are kept and passed on.
    """
    if isinstance(error, SystemExit) and not error.code:
        return NORMAL
    return Crashed(told(error), clipped("".join(traceback.format_exception(error))))


def _bad_return(callback: str, result: object) -> Crashed:
    return Crashed(f"bad return value: {callback} returned {shown(result)}")
