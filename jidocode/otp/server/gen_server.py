"""`GenServer`: a process, written as a plain class.

A server says what to do with each message; it never meets a socket, a thread or
a timer. What it asks for is carried out by others when its callback returns, so
it can be tested by calling its methods. How it is driven stands in `loop.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from jidocode.base.exits import ExitReason
from jidocode.base.faults import require_sound
from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import CallError
from jidocode.otp.seconds import require_seconds
from jidocode.otp.server.machine import (
    Effect,
    LogUnexpected,
    Publish,
    SendAfter,
    SendCast,
    SendError,
    SendInfo,
    SendReply,
    SendRequest,
    StartMonitor,
    StopMonitor,
    WatchProcess,
)
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, InitResult, Refuse, Result
from jidocode.otp.supervision.specs import ChildSpec, ChildType, Start

T = TypeVar("T")


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
        return Refuse(CallError(f"{self.kind} does not know {quote(request)} as a call"))

    def handle_cast(self, request: Any) -> Result:
        """Act on *request*; nobody waits (called once per cast)."""
        self._outbox.append(LogUnexpected(type(request).__name__))
        return None

    def handle_info(self, message: Any) -> Result:
        """Act on any other *message*: `Timeout`, `Down`, `Response`, your own."""
        self._outbox.append(LogUnexpected(type(message).__name__))
        return None

    def handle_continue(self, then: Any) -> Result:
        """Go on with what a callback left in `then=` (called before any waiting message)."""
        raise NotImplementedError(f"{type(self).__name__} returned then={quote(then)}")

    def terminate(self, reason: ExitReason) -> None:
        """Clean up (called last: after `Stop`, an exception, or a stop by the supervisor).

        Never called after SIGKILL or a failed `init`; do not rely on it for data.
        """

    # What a server can do; each is carried out when the callback returns.

    def reply(self, caller: Caller, value: object) -> None:
        """Answer a call that a `NoReply` left open; raises TypeError if *caller* is none."""
        self._outbox.append(SendReply(_sound(caller, Caller), value))

    def refuse(self, caller: Caller, error: Exception) -> None:
        """Answer a call that a `NoReply` left open with an error to raise; raises as `reply`."""
        self._outbox.append(SendError(_sound(caller, Caller), error))

    def cast(self, ref: ActorRef, request: object) -> None:
        """Send *request* to the `handle_cast` of *ref*; lost in silence if it is gone.

        Raises:
            TypeError: *ref* is no `ActorRef`, here and below.
        """
        self._outbox.append(SendCast(_sound(ref, ActorRef), request))

    def send(self, ref: ActorRef, message: object) -> None:
        """Send *message* to the `handle_info` of *ref*; lost in silence if it is gone."""
        self._outbox.append(SendInfo(_sound(ref, ActorRef), message))

    def send_after(self, delay: float, message: object) -> None:
        """Give *message* to this server's own `handle_info` after *delay* seconds.

        Raises:
            InvalidTimeError: *delay* is no time; `INFINITY` is one, and never over.
        """
        require_seconds("delay", delay)
        self._outbox.append(SendAfter(delay, message))

    def send_request(self, ref: ActorRef, request: object) -> int:
        """Call *ref* without waiting; a `Response` with the returned token follows.

        It follows in any case: with an `ActorExitedError` if *ref* dies first,
        with a `NoProcessError` if it was dead already.
        """
        token = self._next_token()
        self._outbox.append(SendRequest(token, _sound(ref, ActorRef), request))
        return token

    def monitor(self, ref: ActorRef) -> int:
        """Watch *ref*; exactly one `Down` with the returned token follows."""
        token = self._next_token()
        self._outbox.append(StartMonitor(token, _sound(ref, ActorRef)))
        return token

    def demonitor(self, token: int) -> None:
        """Stop watching; no `Down` with *token* comes after this."""
        self._outbox.append(StopMonitor(token))

    def watch_process(self, ref: ActorRef) -> int:
        """Watch the process of *ref* at the kernel; one `Down` with the returned token follows.

        Unlike `monitor` it needs no registry and knows no reason: `Killed()`,
        or `NoProcess()` if there was nothing to watch.
        """
        token = self._next_token()
        self._outbox.append(WatchProcess(token, _sound(ref, ActorRef)))
        return token

    def announce(self, fact: object) -> None:
        """Tell the app *fact*, which must pickle: an event of the system is `Announced(fact)`."""
        self._outbox.append(Publish(fact))

    def _next_token(self) -> int:
        self._tokens += 1
        return self._tokens

    def _take_outbox(self) -> list[Effect]:
        effects, self._outbox = self._outbox, []
        return effects


def _sound(value: T, cls: type[T]) -> T:
    """Return *value*; raise TypeError, in the line that is wrong, if it is no sound *cls*."""
    if not isinstance(value, cls):
        raise TypeError(f"it must be of type {cls.__name__}, not {quote(value)}")
    require_sound(value)
    return value
