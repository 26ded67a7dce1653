"""What a server can ask for, in its callbacks and in threads of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, Unpack

from jidocode.base.exits import NORMAL, ExitReason
from jidocode.base.faults import require_sound
from jidocode.base.refs import ActorRef, Name, Target, require_name, require_target
from jidocode.base.text import quote
from jidocode.errors import CallError
from jidocode.otp.seconds import require_seconds
from jidocode.otp.server.machine import (
    CancelTimer,
    Publish,
    SendAfter,
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
from jidocode.otp.server.runtime import Runtime
from jidocode.otp.supervision.specs import ChildSpec, ChildSpecOptions, ChildType, Start

CALL_TIMEOUT = 5.0
"""Seconds that an answer is waited for where no other time is given (OTP: 5000 ms)."""


class ServerCommands:
    """What every server can ask for; carried out at once, in callbacks and in threads.

    What cannot be pickled is a `CallError` in the line that sends it. A fork may ask for
    nothing.
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
    def child_spec(cls, *args: object, **options: Unpack[ChildSpecOptions]) -> ChildSpec:
        """Return a permanent worker spec that starts this class with *args*.

        *options* are the other fields of `ChildSpec`; `id` is the kind unless given.
        """
        options.setdefault("id", cls.kind)
        options.setdefault("type", ChildType.WORKER)
        return ChildSpec(start=Start(cls, *args), **options)

    def reply(self, caller: Caller, value: object) -> None:
        """Answer a call that a `NoReply` left open; raises TypeError if *caller* is none."""
        self._runtime.emit(SendReply(sound(caller, Caller), value))

    def refuse(self, caller: Caller, error: Exception) -> None:
        """Answer a call that a `NoReply` left open with an error to raise; raises as `reply`."""
        self._runtime.emit(SendError(sound(caller, Caller), error))

    def cast(self, target: Target, request: object) -> None:
        """Send *request* to the `handle_cast` of *target*, a process or whoever has that name.

        Lost in silence if nobody is there, or nobody has the name, or the key of a `Via`,
        now. What one thread sends to one target arrives in the order in which it was sent.

        Raises:
            TypeError: *target* is no `ActorRef`, name or `Via`, here and below.
            CallError: *request* cannot be pickled.
        """
        require_target(target)
        self._runtime.emit(SendCast(target, request))

    def send(self, target: Target, message: object) -> None:
        """Send *message* to the `handle_info` of *target*; lost, and raises, as `cast`."""
        require_target(target)
        self._runtime.emit(SendInfo(target, message))

    def sibling(self, child_id: str) -> Name:
        """Return the name of the child *child_id* of the same session.

        It is that of the process whose name has *child_id* in the place of this one's own.

        Raises:
            CallError: This server has no name itself.
        """
        if self.name is None:
            raise CallError(f"{self.kind} has no name, so it knows none of its siblings")
        name = (child_id, self.name[1])
        require_name(name)
        return name

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
        require_target(target)
        token = next(self._tokens)
        self._runtime.emit(SendRequest(token, target, request, timeout))
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
        self._runtime.emit(StartMonitor(token, sound(ref, ActorRef)))
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
        self._runtime.emit(WatchProcess(token, sound(ref, ActorRef)))
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
        reason = sound(reason, ExitReason)
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


def sound(value: Any, cls: Any) -> Any:
    """Return *value*; raise TypeError, in the line that is wrong, if it is no sound *cls*."""
    if not isinstance(value, cls):
        what = getattr(cls, "__name__", "ExitReason")
        raise TypeError(f"it must be of type {what}, not {quote(value)}")
    require_sound(value)
    return value
