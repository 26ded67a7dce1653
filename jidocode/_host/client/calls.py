"""The calls under way: each of them ends once, whatever happens first.

That is an answer, the death of whoever was asked, the end of the system, or the
patience of the caller. Many threads call; the reader thread ends their calls.
"""

from __future__ import annotations

import copy
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

from jidocode._host import wire
from jidocode._host.client.directory import Directory
from jidocode._host.client.messenger import AppMessenger
from jidocode._host.deadline import Deadline
from jidocode._host.parts import WINDOW, Parts
from jidocode._host.transport.frames import Body
from jidocode._host.transport.messenger import Gather
from jidocode._host.transport.window import Outcome
from jidocode.base import waiting
from jidocode.base.exits import ExitReason, Killed
from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stop, Stopped
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HostError,
    NoProcessError,
)

REASON_GRACE = 0.25
"""Seconds to wait for the reason of a death that only the transport has noticed."""


class NotSentError(NoProcessError):
    """The process was dead before anything was sent: its successor can be asked the same.

    A `NoProcessError` of another class may be the answer that a handler gave.
    """


class PendingCall:
    """A call under way.

    Attributes:
        number: Tells its answer from all others.
        ref: Who is asked.
        target: How errors call who is asked.
        payload: Once it has ended, the pickled answer, or the error to raise.
        failed: Whether the answer is an error.
        ended: Whether it has ended.
        on_end: Called when it ends, in whatever thread: for who sets it, and looks then whether
            it has ended, and waits in another way than by `wait`.
        deadline: When it ends with `CallTimeoutError`; None if who waits sees to that.
    """

    __slots__ = (
        "_done",
        "deadline",
        "ended",
        "failed",
        "number",
        "on_end",
        "payload",
        "ref",
        "target",
    )

    def __init__(self, number: int, ref: ActorRef, target: str) -> None:
        self.number = number
        self.ref = ref
        self.target = target
        self.failed = False
        self.payload: Body | Exception = b""
        self.ended = False
        self.on_end: Callable[[], object] | None = None
        self.deadline: Deadline | None = None
        self._done = threading.Lock()  # cheaper than an Event, and there is one for each call
        self._done.acquire()

    def settle(self, payload: Body | Exception, *, failed: bool) -> None:
        """End it."""
        self.payload, self.failed = payload, failed
        self.ended = True
        self._done.release()
        if self.on_end is not None:
            self.on_end()

    def wait(self, timeout: float) -> bool:
        """Wait until it has ended; False if it has not after *timeout* seconds."""
        if self.ended:
            return True
        taken = [False]
        try:
            waiting.acquire(self._done, timeout, taken)
        finally:
            if taken[-1]:  # no call, in which a handler might raise
                self._done.release()  # for whoever else waits
        return self.ended

    def result(self) -> Any:
        """Return what it was answered.

        Raises:
            CallError: The answer cannot be read here.
            Exception: What it was refused with, or why it cannot be answered.
            BaseException: What a signal handler has raised meanwhile.
        """
        payload = self.payload
        if isinstance(payload, Exception):
            raise payload
        return wire.content_of(payload, self.target, failed=self.failed)


P = TypeVar("P", bound=PendingCall)


class PendingStream(PendingCall):
    """A call under way whose answer comes in parts.

    Attributes:
        parts: Those that have come.
    """

    __slots__ = ("parts",)

    def __init__(self, number: int, ref: ActorRef, target: str, parts: Parts) -> None:
        super().__init__(number, ref, target)
        self.parts = parts

    def settle(self, payload: Body | Exception, *, failed: bool) -> None:
        """End it, and the parts."""
        super().settle(payload, failed=failed)
        self.parts.end()


class CallLedger:
    """All calls under way from one app to the processes of one system.

    Attributes:
        ended: Why no call can be answered any more, once that is so.
    """

    def __init__(self, messenger: AppMessenger, directory: Directory) -> None:
        """Ask by *messenger*; *directory* knows who is dead."""
        self.ended: HostError | None = None
        self._messenger = messenger
        self._directory = directory
        self._pending: dict[int, PendingCall] = {}
        self._numbers = itertools.count(1)
        # When `_end_late` will be called. Of moments that are over nothing is certain: the timer of
        # one may have gone off before it was put down here.
        self._looks: list[float] = []

    def __len__(self) -> int:
        """Return how many calls are under way."""
        return len(self._pending)

    # Any thread

    def begin(
        self,
        ref: ActorRef,
        request: Callable[[int], object],
        target: str,
        gather: Gather | None = None,
    ) -> PendingCall | NotSentError:
        """Send *ref* the *request* with a number of its own; return the call, or why there is none.

        See `Messenger.send` about *gather*.

        Raises:
            HostError: No call can be answered any more.
            Exception: Whatever pickling the request raises.
        """
        return self._send(PendingCall(next(self._numbers), ref, target), request, gather)

    def begin_stream(
        self, ref: ActorRef, request: Callable[[int], object], target: str
    ) -> PendingStream | NotSentError:
        """Do as `begin`, for a call whose answer comes in parts."""
        number = next(self._numbers)

        def grant(limit: int) -> None:
            self._tell(ref, wire.Grant(number, limit))

        return self._send(PendingStream(number, ref, target, Parts(grant)), request)

    def _send(
        self, pending: P, request: Callable[[int], object], gather: Gather | None = None
    ) -> P | NotSentError:
        number, ref = pending.number, pending.ref
        # From here on the news of a death, or of the end, settles the call; what came before is
        # asked for.
        self._pending[number] = pending
        sent = False
        try:
            self.check()
            address = ref.address
            if self._messenger.reaches(address) and not self._directory.is_gone(ref):
                undelivered = partial(self._undelivered, number)
                self._messenger.send(address, request(number), undelivered, gather)
                sent = True
        finally:
            if not sent:
                self._pending.pop(number, None)
        return pending if sent else NotSentError(pending.target)

    def finish(self, pending: PendingCall, deadline: Deadline, stop: Stop | None = None) -> Any:
        """Return the answer as soon as it is there.

        Raises:
            Exception: As `HostClient.call`.
        """
        try:
            with stop.waking(partial(self._stop, pending.number)) if stop else nullcontext():
                return self.result_of(pending, deadline)
        finally:
            self._pending.pop(pending.number, None)

    def forget(self, pending: PendingCall) -> None:
        """Have nobody hear of the answer of *pending* any more."""
        self._pending.pop(pending.number, None)

    def limit(self, pending: PendingCall, deadline: Deadline) -> None:
        """Have *pending* end with `CallTimeoutError` at *deadline*; any thread may.

        Calls share timers: hardly one of them ever comes so far.
        """
        pending.deadline = deadline
        self._look_by(deadline.at)

    def _look_by(self, when: float) -> None:
        """Have `_end_late` be called by *when*, if it would not be."""
        now = time.monotonic()
        if when < math.inf and not any(now < look <= when for look in self._looks):
            self._messenger.call_at(when, self._end_late)
            self._looks.append(when)  # last: whoever is interrupted before has set a timer too many

    def stop(self, pending: PendingCall) -> None:
        """Have *pending* end with `Stopped`; any thread may."""
        self._stop(pending.number)

    def result_of(self, pending: PendingCall, deadline: Deadline) -> Any:
        """Return the answer as soon as it is there; it may be waited for again.

        Raises:
            Exception: As `HostClient.call`.
        """
        if not pending.ended:
            self.check()  # its end settles the calls it knows of; is this one of them?
            self._messenger.check_waiting()
            if not pending.wait(deadline.left):
                raise CallTimeoutError(pending.target, deadline.seconds)
        return pending.result()

    def await_part(self, stream: PendingStream, deadline: Deadline) -> bool:
        """Wait for a part to read, or for the answer; return whether there is a part.

        Raises:
            CallTimeoutError: Neither was there by *deadline*.
            HostError: No call can be answered any more.
        """
        parts = stream.parts
        while not parts.is_ready:
            self.check()  # as in `result_of`
            self._messenger.check_waiting()
            try:
                waiting.take(parts.arrivals, deadline.left)
            except queue.Empty:
                raise CallTimeoutError(stream.target, deadline.seconds) from None
        return parts.peek() is not None

    def cancel(self, pending: PendingCall) -> bool:
        """Want no answer any more; False if *pending* has ended already."""
        if self._pending.pop(pending.number, None) is None:
            return False
        if isinstance(pending, PendingStream):
            # By the reader thread, for a finalizer may come here while its thread sends.
            hangup = wire.Hangup(pending.number)
            self._messenger.call_at(0.0, lambda: self._tell(pending.ref, hangup))
        pending.settle(CallError(f"the call to {pending.target} was cancelled"), failed=True)
        return True

    def _tell(self, ref: ActorRef, message: wire.Grant | wire.Hangup) -> None:
        address = ref.address
        if self._messenger.reaches(address) and not self._directory.is_gone(ref):
            with suppress(HostError):  # closed meanwhile
                self._messenger.send(address, message)

    def finish_all(
        self, calls: list[PendingCall | NotSentError], deadline: Deadline
    ) -> list[Any | CallError]:
        """Return the answers that come by *deadline*, or why there is none."""
        return [self._answer_or_error(call, deadline) for call in calls]

    def _answer_or_error(self, call: PendingCall | NotSentError, deadline: Deadline) -> Any:
        if isinstance(call, NotSentError):
            return call
        try:
            return self.finish(call, deadline)
        except CallError as error:
            return error

    def check(self) -> None:
        """Raise why no call can be answered any more, if that is so."""
        if self.ended is not None:
            raise copy.copy(self.ended)  # each thread its own: it gets a traceback and a context

    # The reader thread

    def take(self, answer: wire.Answer) -> None:
        """Take an answer; one that comes too late is dropped."""
        if answer.last and (pending := self._pending.get(answer.request_id)) is not None:
            self._directory.has_answered_last(pending.ref)
        self._settle(answer.request_id, answer.payload, failed=answer.failed)

    def take_part(self, part: wire.Part) -> None:
        """Take a part of an answer; one that comes too late is dropped."""
        stream = self._pending.get(part.request_id)
        if isinstance(stream, PendingStream) and not stream.parts.put(part.payload):
            why = f"{stream.target} has sent more than {WINDOW} parts that nobody has read"
            self._settle(stream.number, CallError(why), failed=True)

    def process_ended(self, ref: ActorRef, reason: ExitReason) -> None:
        """Have the calls to *ref* end, for it is dead; some of them may have been answered."""
        calls = [pending for pending in list(self._pending.values()) if pending.ref == ref]

        def fail() -> None:
            for call in calls:
                self._settle(call.number, ActorExitedError(call.target, reason), failed=True)

        if calls:
            self._messenger.after_last_words(ref.address, fail)

    def end(self, error: HostError) -> None:
        """Have all calls end, those to come too."""
        self.ended = error
        for number in list(self._pending):
            self._settle(number, copy.copy(error), failed=True)

    def _end_late(self) -> None:
        # First: for who limits a call after the look below, what is over is no look to come.
        now, earliest = time.monotonic(), math.inf
        for look in [look for look in self._looks if look <= now]:
            self._looks.remove(look)
        for pending in list(self._pending.values()):
            deadline = pending.deadline
            if deadline is None:
                continue
            if deadline.at <= now:
                error = CallTimeoutError(pending.target, deadline.seconds)
                self._settle(pending.number, error, failed=True)
            else:
                earliest = min(earliest, deadline.at)
        self._look_by(earliest)

    def _undelivered(self, number: int, outcome: Outcome) -> None:
        """Give the news of a death a moment to come, for it knows the reason."""
        pending = self._pending.get(number)
        if pending is None:
            return
        if outcome is not Outcome.DEAD_TARGET:
            why = f"the request did not reach {pending.target}: {outcome}"
            self._settle(number, CallError(why), failed=True)
        else:
            error = ActorExitedError(pending.target, Killed())
            self._messenger.call_at(
                time.monotonic() + REASON_GRACE, lambda: self._settle(number, error, failed=True)
            )

    def _stop(self, number: int) -> None:
        self._settle(number, Stopped(), failed=True)

    def _settle(self, number: int, payload: Body | Exception, *, failed: bool) -> None:
        pending = self._pending.pop(number, None)
        if pending is not None:
            pending.settle(payload, failed=failed)
