"""The parts of answers that a server sends, and how many more it may send to whom."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Protocol, TypeVar

from jidocode._host import wire
from jidocode._host.parts import WINDOW
from jidocode._host.transport.address import Address
from jidocode._host.transport.frames import MAX_BODY
from jidocode._host.transport.window import Outcome, Settle
from jidocode.base import log
from jidocode.errors import CallError, StreamStalledError
from jidocode.otp.server.machine import SendPart
from jidocode.otp.server.messages import Caller

T = TypeVar("T")

MAX_PART = MAX_BODY // WINDOW
"""Bytes of a part: all that nobody has read yet are no more than one answer may be."""


class Sender(Protocol):
    """What the sending of parts needs of the shell."""

    def send(self, target: Address, message: object, on_failure: Settle | None = None) -> None:
        """Send *message* to *target*."""

    def answer(self, caller: Caller, answer: wire.Answer) -> None:
        """Send the answer of a call."""

    def after(self, delay: float, callback: Callable[[], object]) -> None:
        """Call back in the run loop after *delay* seconds."""

    def watch_process(self, os_pid: int, on_gone: Callable[[bool], None]) -> Callable[[], None]:
        """Call back when that process has ended; return how to stop watching."""
        ...

    def take_from(self, source: queue.SimpleQueue[T], seconds: float) -> T:
        """Return the next of *source*, waiting; raises `queue.Empty` after *seconds*."""
        ...


class _Stream:
    """A caller who reads parts.

    Attributes:
        reader: Its process.
        permits: One for each part that it may be sent now; one at least when it is over.
        is_over: Whether it wants no more, or has its answer.
        unwatch: Ends the watch on its process, once there is one.
    """

    __slots__ = ("_limit", "is_over", "permits", "reader", "unwatch")

    def __init__(self, reader: int) -> None:
        self.reader = reader
        self.permits: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.is_over = False
        self.unwatch: Callable[[], None] | None = None
        self._limit = 0
        self.grant(WINDOW)

    def grant(self, limit: int) -> None:
        """Let parts be sent up to that number of them; only in the main thread."""
        for _ in range(min(limit - self._limit, WINDOW)):
            self.permits.put(None)
        self._limit = max(limit, self._limit)


class PartSender:
    """Sends parts to those who read them, at most as many as they are ready for."""

    # A thread of the server, its main one too, may wait here for a reader that is slow. What
    # it waits for comes through the run loop: more permits, or news that nobody reads any
    # more. A reader that is killed can say nothing, so its process is watched while somebody
    # waits for it, and only then: few streams ever come to that, and each watch costs a
    # descriptor. Whoever is woken for the last time wakes the next one that waits.

    def __init__(self, shell: Sender) -> None:
        """Send by *shell*."""
        self._shell = shell
        self._streams: dict[tuple[object, int], _Stream] = {}

    def open(self, caller: Address, call: wire.Call) -> None:
        """Take note of a *call* whose *caller* reads parts."""
        self._streams[caller, call.request_id] = _Stream(call.reader)

    def grant(self, message: wire.Grant, reader: Address) -> None:
        """Let more parts be sent to *reader*."""
        stream = self._streams.get((reader, message.request_id))
        if stream is not None:
            stream.grant(message.limit)

    def close(self, reader: object, request_id: int) -> None:
        """Send no more parts of that answer; again is fine. Any thread may."""
        stream = self._streams.pop((reader, request_id), None)
        if stream is not None:
            stream.is_over = True
            stream.permits.put(None)
            if stream.unwatch is not None:
                self._shell.after(0.0, stream.unwatch)

    def send(self, command: SendPart) -> bool:
        """Send a part, waiting until that may be; whether its caller wants more. Any thread may."""
        caller, address = command.caller, command.caller.address
        if not caller.reads_parts:
            return True
        payload = wire.pack_request(command.part, "the part")
        if len(payload) > MAX_PART:
            raise CallError(f"the part has {len(payload)} bytes, and may have {MAX_PART}")
        stream = self._streams.get((address, caller.request_id))
        if stream is None or not self._take_permit(stream, caller, command.timeout):
            return False

        def settled(outcome: Outcome) -> None:
            log.debug("a part of an answer was not delivered: {}", outcome)
            self.close(address, caller.request_id)

        self._shell.send(address, wire.Part(caller.request_id, payload), settled)  # type: ignore[arg-type] # it is where a call came from
        return True

    def _take_permit(self, stream: _Stream, caller: Caller, seconds: float) -> bool:
        try:
            stream.permits.get_nowait()
        except queue.Empty:
            self._shell.after(0.0, lambda: self._watch(stream, caller))
            try:
                self._shell.take_from(stream.permits, seconds)
            except queue.Empty:
                error = StreamStalledError(seconds)
                self._shell.answer(caller, wire.refusal(caller.request_id, error))
                return False
        if stream.is_over:
            stream.permits.put(None)
        return not stream.is_over

    def _watch(self, stream: _Stream, caller: Caller) -> None:
        if stream.unwatch is not None or stream.is_over:
            return
        address, number = caller.address, caller.request_id
        try:
            unwatch = self._shell.watch_process(
                stream.reader, lambda _was_there: self.close(address, number)
            )
        except OSError as error:  # no descriptor is left: it is noticed when its time is over
            log.warning("a reader of parts cannot be watched: {}", error.strerror)
            return
        stream.unwatch = unwatch
        if self._streams.get((address, number)) is not stream:
            unwatch()  # another thread has closed it since, and found nothing to end
