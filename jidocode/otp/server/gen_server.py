"""`GenServer`: a process, written as a plain class.

A server says what to do with each message; it never meets a socket, a thread or
a timer. What it asks for is carried out by whoever runs it (`runtime.py`), so it can be
tested without a process. How it is driven stands in `loop.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

from jidocode.base.exits import NORMAL, ExitReason
from jidocode.base.faults import require_sound
from jidocode.base.refs import ActorRef, Name, Target, is_name
from jidocode.base.text import quote
from jidocode.errors import CallError
from jidocode.otp.seconds import require_seconds
from jidocode.otp.server.machine import (
    CancelTimer,
    LogUnexpected,
    Publish,
    SendAfter,
    SendCall,
    SendCast,
    SendError,
    SendInfo,
    SendReply,
    SendRequest,
    StartMonitor,
    StopMonitor,
    StopSoon,
    WatchProcess,
)
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, InitResult, Refuse, Result
from jidocode.otp.server.runtime import Runtime
from jidocode.otp.supervision.specs import ChildSpec, ChildType, Start

CALL_TIMEOUT = 5.0
"""Seconds that an answer is waited for where no other time is given (OTP: 5000 ms)."""


class GenServer:
    """A process, written as a plain class (OTP: gen_server).

    Subclass it, keep the state in attributes that `init` sets, and put it
    under a supervisor through a `ChildSpec`. Every callback runs in the
    server's own process. There is no `__init__` to write: the arguments of
    the spec go to `init`, at the first start and at each restart alike.

    What a callback asks for is carried out at once, while it runs: so a handler that
    takes a minute is heard meanwhile, and what cannot be pickled is a `CallError` in
    the line that sends it. A thread that the server has started may ask for the same
    things; a fork may not.

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

    name: Name | None
    """The name that it is registered under, None if it has none. Set before `init` runs."""

    _runtime: Runtime
    _tokens: Iterator[int]
    _timers: set[int]
    _stop_reason: ExitReason | None = None

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
        self._runtime.emit(LogUnexpected(type(request).__name__))
        return None

    def handle_info(self, message: Any) -> Result:
        """Act on any other *message*: `Timeout`, `Down`, `Response`, your own."""
        self._runtime.emit(LogUnexpected(type(message).__name__))
        return None

    def handle_continue(self, then: Any) -> Result:
        """Go on with what a callback left in `then=` (called before any waiting message)."""
        raise NotImplementedError(f"{type(self).__name__} returned then={quote(then)}")

    def terminate(self, reason: ExitReason) -> None:
        """Clean up (called last: after `Stop`, an exception, or a stop by the supervisor).

        Never called after SIGKILL or a failed `init`; do not rely on it for data.
        """

    # What a server can do, in its callbacks and in threads of its own

    def reply(self, caller: Caller, value: object) -> None:
        """Answer a call that a `NoReply` left open; raises TypeError if *caller* is none."""
        self._runtime.emit(SendReply(_sound(caller, Caller), value))

    def refuse(self, caller: Caller, error: Exception) -> None:
        """Answer a call that a `NoReply` left open with an error to raise; raises as `reply`."""
        self._runtime.emit(SendError(_sound(caller, Caller), error))

    def cast(self, target: Target, request: object) -> None:
        """Send *request* to the `handle_cast` of *target*, a process or whoever has that name.

        Lost in silence if nobody is there, or nobody runs under the name now. What one
        thread sends to one target arrives in the order in which it was sent.

        Raises:
            TypeError: *target* is neither an `ActorRef` nor a name, here and below.
            CallError: *request* cannot be pickled.
        """
        self._runtime.emit(SendCast(_target(target), request))

    def send(self, target: Target, message: object) -> None:
        """Send *message* to the `handle_info` of *target*; lost, and raises, as `cast`."""
        self._runtime.emit(SendInfo(_target(target), message))

    def call(self, target: Target, request: object, *, timeout: float = CALL_TIMEOUT) -> Any:
        """Send *request* to the `handle_call` of *target*, wait, and return its answer.

        Meanwhile no other callback runs: all other messages wait, in their order, and a
        stop by the supervisor waits, too; heartbeats are answered. Two processes that call
        each other get no answer (OTP: neither do they). While the process under a name is
        restarted it is waited for. Works in `init` and `terminate`, too.

        A thread waits until the server's main thread has read its answer: never call
        in a thread that the main thread waits for.

        Args:
            target: A process, or the name that it runs under.
            request: Anything that pickles.
            timeout: Seconds to wait for all of it, `INFINITY` to wait for ever.

        Raises:
            CallTimeoutError: No answer in time; one that comes later is dropped.
            NoProcessError: Nobody is there; nothing was sent.
            ActorExitedError: It died, perhaps while it was at work on it.
            HandlerError: Its handler raised, and it ended.
            CallError: *request* cannot be pickled, or *target* is this server itself.
            RegistryNotRunningError: Nobody can say who has that name.
            Exception: Whatever *target* refuses with.
        """
        require_seconds("timeout", timeout)
        return self._runtime.call(SendCall(_target(target), request, timeout))

    def whereis(self, name: Name) -> ActorRef | None:
        """Return the process that runs under *name* now, None if none does (OTP: whereis).

        It may have died by the time it is used; `call` and its kin take the name itself.

        Raises:
            RegistryNotRunningError: Nobody can say.
            CallTimeoutError: The registry does not answer.
        """
        return self._runtime.look_up(_name(name))

    def sibling(self, child_id: str) -> Name:
        """Return the name of the child *child_id* of the same session.

        It is that of the process whose name has *child_id* in the place of this one's own.

        Raises:
            CallError: This server has no name itself.
        """
        if self.name is None:
            raise CallError(f"{self.kind} has no name, so it knows none of its siblings")
        return _name((child_id, self.name[1]))

    def send_request(
        self, target: Target, request: object, *, timeout: float = CALL_TIMEOUT
    ) -> int:
        """Call *target* without waiting; one `Response` with the returned token follows.

        It follows in any case: with the error that `call` would raise if there is no
        answer, after *timeout* seconds at the latest; `INFINITY` waits for ever.

        Raises:
            CallError: *request* cannot be pickled.
        """
        require_seconds("timeout", timeout)
        token = next(self._tokens)
        self._runtime.emit(SendRequest(token, _target(target), request, timeout))
        return token

    def send_after(self, delay: float, message: object) -> int:
        """Give *message* to this server's own `handle_info` after *delay* seconds.

        Returns:
            A token for `cancel_timer`.

        Raises:
            InvalidTimeError: *delay* is no time; `INFINITY` is one, and never over.
        """
        require_seconds("delay", delay)
        token = next(self._tokens)
        self._timers.add(token)
        self._runtime.emit(SendAfter(token, delay, message))
        return token

    def cancel_timer(self, token: int) -> bool:
        """Take back the `send_after` that returned *token* (OTP: cancel_timer).

        Returns:
            Whether its message will not come any more because of that; False if it has
            come already. What waits in the mailbox does not come, either.
        """
        if not self._take_timer(token):
            return False
        self._runtime.emit(CancelTimer(token))
        return True

    def monitor(self, ref: ActorRef) -> int:
        """Watch *ref*; exactly one `Down` with the returned token follows."""
        token = next(self._tokens)
        self._runtime.emit(StartMonitor(token, _sound(ref, ActorRef)))
        return token

    def demonitor(self, token: int) -> None:
        """Stop watching; no `Down` with *token* comes after this."""
        self._runtime.emit(StopMonitor(token))

    def watch_process(self, ref: ActorRef) -> int:
        """Watch the process of *ref* at the kernel; one `Down` with the returned token follows.

        Unlike `monitor` it needs no registry and knows no reason: `Killed()`,
        or `NoProcess()` if there was nothing to watch.
        """
        token = next(self._tokens)
        self._runtime.emit(WatchProcess(token, _sound(ref, ActorRef)))
        return token

    def announce(self, fact: object) -> None:
        """Tell the app *fact*, at once: an event of the system is `Announced(fact)`.

        Raises:
            CallError: *fact* cannot be pickled.
        """
        self._runtime.emit(Publish(fact))

    def stop(self, reason: ExitReason = NORMAL) -> None:
        """End this server as if its present callback had returned `Stop(reason)`.

        The callback goes on first, and its own answer is still given. If none runs,
        which only a thread can find, the server ends after the messages that wait.
        """
        reason = _sound(reason, ExitReason)
        if self._stop_reason is None:
            self._stop_reason = reason
        self._runtime.emit(StopSoon(reason))

    # For the loop

    def _attach(self, runtime: Runtime, ref: ActorRef, name: Name | None) -> None:
        self._runtime, self.ref, self.name = runtime, ref, name
        self._tokens, self._timers = itertools.count(1), set()

    def _take_timer(self, token: int) -> bool:
        """Forget a timer; whether it was still to come. One step, for threads may ask, too."""
        try:
            self._timers.remove(token)
        except KeyError:
            return False
        return True


def _sound(value: Any, cls: Any) -> Any:
    """Return *value*; raise TypeError, in the line that is wrong, if it is no sound *cls*."""
    if not isinstance(value, cls):
        what = getattr(cls, "__name__", "ExitReason")
        raise TypeError(f"it must be of type {what}, not {quote(value)}")
    require_sound(value)
    return value


def _target(value: Target) -> Target:
    if is_name(value):
        return value
    if not isinstance(value, ActorRef):
        raise TypeError(f"a target must be an ActorRef or a name, not {quote(value)}")
    require_sound(value)
    return value


def _name(value: Name) -> Name:
    if not is_name(value):
        raise TypeError(f"a name is a pair of str, not {quote(value)}")
    return value
