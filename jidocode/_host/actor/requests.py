"""The requests of a server to other processes, by their refs or by their names."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from jidocode._host import wire
from jidocode._host.actor.timers import Timers
from jidocode._host.descriptors import has_ended
from jidocode._host.transport.frames import Body
from jidocode._host.transport.thespian import ThespianTransport
from jidocode._host.transport.window import Outcome, Settle
from jidocode.base.exits import Killed
from jidocode.base.refs import ActorRef, Name, Target, Via, is_name, words_for
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    NoProcessError,
    RegistryNotRunningError,
)
from jidocode.otp.naming.messages import AwaitLive, Live, LookUp, WhereIs

OnEnd = Callable[[wire.Answer | Exception], object]
"""Gets what came of a request: what it was answered, or why it was not."""

OnPart = Callable[[Body], object]
"""Gets the parts of an answer, before its end."""

_FRESH_SECONDS = 1.0
"""For how long a process that runs under a name is not asked for again while it lives."""
_MAX_NAMES = 1000


class Asker(Protocol):
    """What requests need of the shell that makes them."""

    ref: ActorRef
    registry: ActorRef | None
    transport: ThespianTransport

    def after(self, delay: float, callback: Callable[[], object]) -> None:
        """Call back after *delay* seconds, behind the messages that wait."""

    def send_to(self, ref: ActorRef, message: object, on_failure: Settle | None = None) -> None:
        """Send *message* to the process *ref*."""

    def watch_process(self, os_pid: int, on_gone: Callable[[bool], None]) -> Callable[[], None]:
        """Call back when that process has ended; return how to stop watching."""
        ...


class Request(Struct, eq=False):
    """A request under way.

    Attributes:
        target: How errors call who is asked.
        seconds: How long its answer is waited for.
        on_end: Gets what came of it, once.
        on_part: Gets the parts of its answer; None if it wants none.
        asked: Who was asked last; None while that is nobody.
        number: That of what was sent last for it; 0 while nothing was.
        heard: Takes the answer to that.
        lost: Takes the news that whoever was asked is dead, and whether anything was sent.
        unwatch: Ends the watch on it.
        before: The request that asks who is to be asked, if another registry has to be.
    """

    target: str
    seconds: float
    on_end: OnEnd
    on_part: OnPart | None = None
    asked: ActorRef | None = None
    number: int = 0
    heard: Callable[[wire.Answer], object] | None = None
    lost: Callable[[bool], object] | None = None
    unwatch: Callable[[], None] | None = None
    before: Request | None = None
    is_over: bool = False


class Requests:
    """All requests under way from one server; each ends once, whatever happens first.

    That is an answer, the death of whoever was asked, or its time. For the run loop
    alone, but for `known`.
    """

    def __init__(self, shell: Asker, timers: Timers) -> None:
        """Send by *shell*, and end by *timers* what is not answered."""
        self._shell = shell
        self._timers = timers
        self._numbers = itertools.count(1)
        self._by_number: dict[int, Request] = {}
        # What goes on when there is a registry.
        self._held_up: dict[Request, Callable[[], object]] = {}
        # Those whose target is being started.
        self._awaiting: set[Request] = set()
        self._may_wait = True
        self._names: dict[Name, tuple[ActorRef, float]] = {}
        self._leaving: set[ActorRef] = set()  # each has answered for the last time

    # Making requests

    def call(
        self,
        target: Target,
        payload: bytes,
        seconds: float,
        on_end: OnEnd,
        on_part: OnPart | None = None,
    ) -> Request:
        """Send *target* the request that *payload* holds.

        Neither *on_end* nor *on_part* is called before this returns, whatever comes of it.
        """
        request = self._begin(words_for(target), seconds, on_end)
        request.on_part = on_part
        if isinstance(target, ActorRef):
            self._call(request, target, payload)
        elif isinstance(target, Via):
            self._find_registered_and_call(request, target, payload)
        elif (ref := self.known(target)) is not None:
            self._call(request, ref, payload, target)
        else:
            self._find_and_call(request, target, payload)
        return request

    def look_up(self, name: Name, seconds: float, on_end: OnEnd) -> Request:
        """Ask the registry who runs under *name*; answered with what that says of it."""
        request = self._begin("the registry", seconds, on_end)
        self._ask_registry(request, LookUp(name), lambda answer: self.end(request, answer))
        return request

    def known(self, name: Name) -> ActorRef | None:
        """Return who runs under *name* if that was asked for lately; any thread may ask."""
        ref, until = self._names.get(name, (None, 0.0))
        if ref is None or time.monotonic() > until or ref in self._leaving:
            return None
        return None if has_ended(ref.os_pid) else ref

    def note(self, name: Name, ref: ActorRef) -> None:
        """Take note of who runs under *name*."""
        if len(self._names) >= _MAX_NAMES:
            self._names.clear()
        self._names[name] = ref, time.monotonic() + _FRESH_SECONDS

    # What comes of them

    def take(self, answer: wire.Answer) -> None:
        """Take an answer; one that comes too late is dropped."""
        request = self._by_number.get(answer.request_id)
        if request is not None and request.heard is not None:
            heard = request.heard
            self._leave_target(request)
            heard(answer)

    def take_part(self, part: wire.Part) -> None:
        """Take a part of an answer; one that comes too late is dropped."""
        request = self._by_number.get(part.request_id)
        if request is not None and request.on_part is not None:
            request.on_part(part.payload)

    def registry_is_there(self) -> None:
        """Go on with what was held up because there was no registry, or its predecessor died."""
        held_up, self._held_up = self._held_up, {}
        for go_on in held_up.values():
            go_on()

    def stop_waiting(self) -> None:
        """Wait no more for processes that are being started: this one is to end.

        Its supervisor may be restarting several, that one among them, and wait for this one.
        """
        self._may_wait = False
        for request in tuple(self._awaiting):
            self.end(request, NoProcessError(request.target))

    def end(self, request: Request, outcome: wire.Answer | Exception) -> None:
        """End *request*; one that has ended is fine."""
        if not request.is_over:
            self.forget(request)
            request.on_end(outcome)

    def forget(self, request: Request) -> None:
        """Have *request* be over, and nobody be told."""
        request.is_over = True
        self._leave_target(request)
        self._held_up.pop(request, None)
        self._awaiting.discard(request)
        self._timers.cancel(request)
        if request.before is not None:
            self.forget(request.before)

    # Steps

    def _begin(self, target: str, seconds: float, on_end: OnEnd) -> Request:
        request = Request(target, seconds, on_end)
        self._timers.set(request, seconds, lambda: self._expire(request))
        return request

    def _expire(self, request: Request) -> None:
        if request.before is not None and not request.before.is_over:
            request = request.before  # which ends the other
        error: Exception = CallTimeoutError(request.target, request.seconds)
        if request in self._held_up:
            error = RegistryNotRunningError()
        self.end(request, error)

    def _call(
        self, request: Request, ref: ActorRef, payload: bytes, name: Name | None = None
    ) -> None:
        if ref == self._shell.ref:
            error = CallError(f"{ref.kind} calls itself")
            self._shell.after(0.0, lambda: self.end(request, error))
            return

        def lost(was_sent: bool) -> None:  # noqa: FBT001 - a callback's one fact
            if was_sent:
                self.end(request, ActorExitedError(request.target, Killed()))
            elif name is None:
                self.end(request, NoProcessError(request.target))
            else:  # its next life can be asked the same
                self._names.pop(name, None)
                self._find_and_call(request, name, payload, dead=ref)

        def heard(answer: wire.Answer) -> None:
            if answer.last:  # who asks again means the next one, or nobody
                if len(self._leaving) >= _MAX_NAMES:
                    self._leaving.clear()
                self._leaving.add(ref)
            self.end(request, answer)

        if ref in self._leaving:
            self._shell.after(0.0, lambda: lost(False))  # noqa: FBT003 - idem
            return
        reader = 0 if request.on_part is None else os.getpid()
        self._send(request, ref, wire.Call(0, payload, reader), heard, lost)

    def _find_and_call(
        self, request: Request, name: Name, payload: bytes, *, dead: ActorRef | None = None
    ) -> None:
        if request.is_over:
            return
        if dead is None:
            known, _ = self._names.get(name, (None, 0.0))
            dead = known if known in self._leaving else None

        def heard(answer: wire.Answer) -> None:
            self._awaiting.discard(request)
            found = _content(answer, "the registry")
            if isinstance(found, Live) and found.ref != dead:
                self.note(name, found.ref)
                self._call(request, found.ref, payload, name)
            elif isinstance(found, Exception):
                self.end(request, found)
            else:
                self.end(request, NoProcessError(request.target))

        if self._may_wait:
            self._awaiting.add(request)
        question = AwaitLive(name, dead) if self._may_wait else LookUp(name)
        self._ask_registry(request, question, heard)

    def _find_registered_and_call(self, request: Request, via: Via, payload: bytes) -> None:
        if request.is_over:
            return
        registry = words_for(via.registry)

        def found(outcome: wire.Answer | Exception) -> None:
            ref = _content(outcome, registry)
            if isinstance(outcome, ActorExitedError) and is_name(via.registry):
                # Nothing was sent to whom it is for: the next registry can be asked the same.
                self._find_registered_and_call(request, via, payload)
            elif isinstance(ref, ActorRef):
                self._call(request, ref, payload)
            else:
                self.end(
                    request, ref if isinstance(ref, Exception) else NoProcessError(request.target)
                )

        try:
            question = wire.pack_request(WhereIs(via.key), "the key")
        except CallError as error:
            unsent = error
            self._shell.after(0.0, lambda: self.end(request, unsent))
        else:
            request.before = self.call(via.registry, question, request.seconds, found)

    def _ask_registry(
        self, request: Request, question: object, heard: Callable[[wire.Answer], object]
    ) -> None:
        registry = self._shell.registry

        def again() -> None:
            self._ask_registry(request, question, heard)

        def lost(_was_sent: bool) -> None:  # noqa: FBT001 - idem
            if self._shell.registry == registry:
                self._held_up[request] = again
            else:
                again()

        if registry is None:
            self._held_up[request] = again
        else:
            self._send(request, registry, wire.Call(0, wire.pack(question)), heard, lost)

    def _send(
        self,
        request: Request,
        ref: ActorRef,
        call: wire.Call,
        heard: Callable[[wire.Answer], object],
        lost: Callable[[bool], object],
    ) -> None:
        request.heard, request.lost, request.asked = heard, lost, ref
        request.number = call.request_id = number = next(self._numbers)
        self._by_number[number] = request

        def gone(was_there: bool) -> None:  # noqa: FBT001 - idem
            # An answer that it gave before may still be on its way.
            self._shell.transport.after_last_words(
                ref.address, lambda: self._lose(number, was_sent=was_there)
            )

        def unsent(outcome: Outcome) -> None:
            if outcome is Outcome.DEAD_TARGET:  # also where another process has its number now
                self._shell.after(0.0, lambda: gone(True))  # noqa: FBT003 - idem
            else:
                error = CallError(f"the request did not reach {request.target}: {outcome}")
                self._shell.after(0.0, lambda: self._fail(number, error))

        try:
            if has_ended(ref.os_pid):
                self._shell.after(0.0, lambda: self._lose(number, was_sent=False))
                return
            request.unwatch = self._shell.watch_process(ref.os_pid, gone)
        except OSError as error:  # no descriptor is left
            unwatched = CallError(f"{request.target} cannot be watched: {error.strerror}")
            self._shell.after(0.0, lambda: self._fail(number, unwatched))
            return
        self._shell.send_to(ref, call, unsent)

    def _lose(self, number: int, *, was_sent: bool) -> None:
        request = self._by_number.get(number)
        if request is not None and request.lost is not None:
            lost = request.lost
            self._leave_target(request)
            lost(was_sent)

    def _fail(self, number: int, error: Exception) -> None:
        request = self._by_number.get(number)
        if request is not None:
            self.end(request, error)

    def _leave_target(self, request: Request) -> None:
        self._by_number.pop(request.number, None)
        request.asked = None
        unwatch, request.unwatch = request.unwatch, None
        request.heard = request.lost = None
        if unwatch is not None:
            unwatch()


def result_of(outcome: wire.Answer | Exception, target: str) -> Any:
    """Return what a request was answered.

    Raises:
        Exception: What it was refused with, or why it was not answered.
    """
    if isinstance(outcome, Exception):
        raise outcome
    return wire.content_of(outcome.payload, target, failed=outcome.failed)


def _content(outcome: wire.Answer | Exception, registry: str) -> object:
    """Return what *registry* has answered, or the error that it has refused with."""
    try:
        return result_of(outcome, registry)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is passed on
        return error
