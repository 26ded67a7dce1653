"""The parts of an answer that a server reads."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from jidocode._host import wire
from jidocode._host.actor.requests import Request, Requests, result_of
from jidocode._host.deadline import Deadline
from jidocode._host.parts import WINDOW, Parts
from jidocode._host.transport.frames import Body
from jidocode.base.refs import ActorRef, words_for
from jidocode.errors import CallError, CallTimeoutError
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.machine import SendCall

T = TypeVar("T")


class Receiver(Protocol):
    """What the reading of parts needs of the shell."""

    ref: ActorRef
    requests: Requests

    def send_to(self, ref: ActorRef, message: object) -> None:
        """Send *message* to the process *ref*."""

    def in_main(self, step: Callable[[], object]) -> None:
        """Take *step* in the main thread: now, or behind the messages that wait."""

    def take_from(self, source: queue.SimpleQueue[T], seconds: float) -> T:
        """Return the next of *source*, waiting; raises `queue.Empty` after *seconds*."""
        ...


class PartReader:
    """A call under way from a server, whose answer comes in parts: a `PartSource`."""

    def __init__(self, shell: Receiver, call: SendCall) -> None:
        """Make the *call* by *shell*.

        Raises:
            CallError: Its request cannot be pickled.
        """
        self._shell = shell
        self._target = words_for(call.target)
        self._parts = Parts(self._grant)
        self._outcome: wire.Answer | Exception | None = None
        self._request: Request | None = None
        payload = wire.pack_request(call.request)
        shell.in_main(partial(self._begin, call, payload))

    def next_part(self, seconds: float) -> Any:
        """Return the next part; see `PartSource`."""
        deadline = Deadline.after(seconds)
        while not self._parts.is_ready:
            try:
                self._shell.take_from(self._parts.arrivals, deadline.left)
            except queue.Empty:
                raise CallTimeoutError(self._target, seconds) from None
        if self._parts.peek() is not None:
            return self._parts.take(self._target)
        self.answer()
        raise StopIteration

    def answer(self) -> Any:
        """Return the answer, which is there."""
        assert self._outcome is not None  # noqa: S101 - the parts have ended with it
        return result_of(self._outcome, self._target)

    def cancel(self) -> None:
        """Want no more."""
        if self._outcome is None and os.getpid() == self._shell.ref.os_pid:  # and no fork of it
            self._end(CallError(f"the call to {self._target} was cancelled"))
            self._shell.in_main(self._hang_up)

    # In the main thread

    def _begin(self, call: SendCall, payload: bytes) -> None:
        if self._outcome is None:
            self._request = self._shell.requests.call(
                call.target, payload, INFINITY, self._end, self._take
            )

    def _take(self, payload: Body) -> None:
        if not self._parts.put(payload):
            why = f"{self._target} has sent more than {WINDOW} parts that nobody has read"
            self._end(CallError(why))
            self._hang_up()

    def _hang_up(self) -> None:
        request = self._request
        if request is not None and not request.is_over:
            if request.asked is not None:
                self._shell.send_to(request.asked, wire.Hangup(request.number))
            self._shell.requests.forget(request)

    # In any thread

    def _end(self, outcome: wire.Answer | Exception) -> None:
        if self._outcome is None:
            self._outcome = outcome
            self._parts.end()

    def _grant(self, limit: int) -> None:
        request = self._request
        if request is not None and not request.is_over and request.asked is not None:
            self._shell.send_to(request.asked, wire.Grant(request.number, limit))
