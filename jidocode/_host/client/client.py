"""The end of an app: joins a system, calls its processes, hears their news.

What is the same for who has started the system (`owner`) and who attaches to it (`attached`).

One messenger per system. Any thread may call; one reader thread matches answers
to calls by their request ids, drops what comes late, and ends every call whose
process has died, with the reason, as soon as that is known.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jidocode._host import threads, wire
from jidocode._host.client.calls import CallLedger, NotSentError, PendingCall, PendingStream
from jidocode._host.client.directory import Directory, LateDirectory
from jidocode._host.client.messenger import AppMessenger
from jidocode._host.client.monitor import Monitor, Monitors
from jidocode._host.client.news import Listener, NewsDesk
from jidocode._host.deadline import Deadline
from jidocode._host.forks import Owner, close_in_forks
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.messenger import Envelope, Gather, Turn
from jidocode.base import log
from jidocode.base.exits import ExitReason, Killed, NoProcess
from jidocode.base.refs import ActorRef
from jidocode.base.stop import Stop
from jidocode.base.text import clip, describe
from jidocode.errors import CallError, HostError, HostExitedError


class Host(Protocol):
    """The host of a system, as a client needs it.

    Attributes:
        key: The key of the system.
        ends: Descriptors, one of which is readable when the system is ending.
        admin: Where the host's Admin listens; once it is ready.
        pid: The host's process id; likewise.
    """

    key: bytes
    ends: list[int]
    admin: LoopbackAddress
    pid: int

    def wait_until_ready(self, deadline: float) -> None:
        """Wait until it is ready, at most until *deadline* (monotonic seconds)."""

    def close(self) -> None:
        """Let go of it, and of what is this process's to end with it."""


_open: set[HostClient] = set()
"""Those that are to be closed: what one has open would close itself, in any order, and each with
a warning of its own, if it were collected together with whoever closes it."""


class HostClient:
    """A running system, seen from an app; thread-safe.

    Attributes:
        directory: What is known of the tree.
        closed: Whether `close` is done.
        came_later: Whether the tree ran already when this process began to hear of it.
    """

    came_later = False
    _why_closed = "the system was closed"

    def __init__(
        self,
        host: Host,
        *,
        timeout: float,
        on_event: Listener | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Take over *host*, and join its system within *timeout* seconds.

        *on_event* hears what happens and *on_end* that it is over, both in the
        reader thread.

        Raises:
            HostError: It cannot be joined. Nothing is left of what this process has started.
        """
        deadline = time.monotonic() + timeout
        self._owner = Owner()
        self._on_end = on_end
        self._monitors = Monitors(self._owner)
        self._host = host
        self._finishing = threading.Lock()  # never taken where a signal handler may run
        self._close_requested = False
        self.closed = False
        self.directory = (LateDirectory if self.came_later else Directory)(self._on_death)
        self._news = NewsDesk(self.directory, on_event)
        self._reader = threading.Thread(target=self._read, name="jidocode", daemon=True)
        try:
            host.wait_until_ready(deadline)
            self._messenger = AppMessenger(self._host.key)
            close_in_forks(self._messenger, AppMessenger.sockets)
            self._ledger = CallLedger(self._messenger, self.directory)
            for end in self._host.ends:
                self._messenger.watch(end, self._on_host_gone)
            _open.add(self)
            threads.start(self._reader)
            self._join(deadline)
        except BaseException:
            self.close(0.0)
            raise

    # What differs

    def _join(self, deadline: float) -> None:
        """Return when the tree is there, and known."""
        raise NotImplementedError

    def _begin_to_end(self, timeout: float) -> None:
        """Do what is to be done before nothing is heard any more, within *timeout* seconds."""

    def _take_news(self, envelope: Envelope) -> None:
        """Take a message that is none of a call's (the reader thread)."""
        self._news.take(envelope.message)

    # What there is to know

    @property
    def host_pid(self) -> int:
        """The process id of the host."""
        return self._host.pid

    @property
    def owned(self) -> bool:
        """Whether this process started the system, and is no fork of the one that did."""
        return self._owner.is_here

    @property
    def calls(self) -> int:
        """How many calls are under way."""
        return len(self._ledger)

    @property
    def is_closing(self) -> bool:
        """Whether the system was told to end: what has ended since then has not died."""
        return self._close_requested

    def check_owner(self) -> None:
        """Raise `HostError` in a fork of the app."""
        self._owner.check()

    def check(self) -> None:
        """Raise `HostError` in a fork of the app, `HostExitedError` if the system is gone."""
        self._owner.check()
        self._ledger.check()

    def check_missing(self) -> None:
        """Raise as `check`, for something is not there that a running system has.

        While a system is being closed it is still there, and less and less of it.
        """
        self.check()
        if self._close_requested:
            raise HostExitedError(self._why_closed)

    # What an app asks of processes

    def call(
        self,
        ref: ActorRef,
        request: object,
        *,
        deadline: Deadline,
        target: str,
        stop: Stop | None = None,
    ) -> Any:
        """Send *request* to *ref* and return its answer.

        Raises:
            Stopped: *stop* was requested; the answer will be dropped.
            CallError: *request* cannot be pickled.
            CallTimeoutError: No answer by *deadline*.
            NotSentError: It was dead already.
            ActorExitedError: It died before it answered.
            HostExitedError: The host is gone.
            HostError: This process is a fork of the one that started the system.
            Exception: Whatever the handler refused with.
        """
        return self._ledger.finish(self.begin(ref, request, target=target), deadline, stop)

    def begin(
        self, ref: ActorRef, request: object, *, target: str, gather: Gather | None = None
    ) -> PendingCall:
        """Send *request* to *ref* and return the call under way.

        See `Messenger.send` about *gather*; not for who waits in the same thread.

        Raises:
            CallError: *request* cannot be pickled.
            NotSentError: It was dead already.
            HostError: The host is gone, or this is a fork of the app.
        """
        payload = wire.pack_request(request)
        self.check()
        pending = self._ledger.begin(ref, lambda number: wire.Call(number, payload), target, gather)
        if isinstance(pending, NotSentError):
            raise pending
        return pending

    def begin_stream(self, ref: ActorRef, request: object, *, target: str) -> PendingStream:
        """Do as `begin`, for a call whose answer comes in parts."""
        payload, reader = wire.pack_request(request), os.getpid()
        self.check()
        pending = self._ledger.begin_stream(
            ref, lambda number: wire.Call(number, payload, reader), target
        )
        if isinstance(pending, NotSentError):
            raise pending
        return pending

    def next_part(self, stream: PendingStream, deadline: Deadline) -> Any:
        """Return the next part as soon as it is there; raises as `PartSource.next_part`."""
        self._owner.check()
        if self._ledger.await_part(stream, deadline):
            return stream.parts.take(stream.target)
        stream.result()
        raise StopIteration

    def result_of(self, pending: PendingCall, deadline: Deadline) -> Any:
        """Return the answer of a call under way; raises as `call`, and may be asked again."""
        self._owner.check()
        return self._ledger.result_of(pending, deadline)

    def cancel(self, pending: PendingCall) -> bool:
        """Want no answer of a call under way any more; False if it has ended already."""
        return self.owned and self._ledger.cancel(pending)

    def call_all(
        self, refs: Sequence[ActorRef], request: object, deadline: Deadline
    ) -> list[Any | CallError]:
        """Send *request* to all of *refs* at once; return answers, or why there is none."""
        return self._ledger.finish_all(self.begin_all(refs, request), deadline)

    def begin_all(
        self, refs: Sequence[ActorRef], request: object
    ) -> list[PendingCall | NotSentError]:
        """Send *request* to all of *refs* at once; return the calls, or why there is none."""
        payload = wire.pack_request(request)
        return self._begin_all(refs, lambda number: wire.Call(number, payload))

    def ping_all(
        self, refs: Sequence[ActorRef], deadline: Deadline
    ) -> list[wire.Pulse | CallError]:
        """Ask all of *refs* at once how they are; return pulses, or why there is none."""
        return self._ledger.finish_all(self.begin_pings(refs), deadline)

    def begin_pings(self, refs: Sequence[ActorRef]) -> list[PendingCall | NotSentError]:
        """Ask all of *refs* at once how they are; return the calls, or why there is none."""
        return self._begin_all(refs, wire.Ping)

    def _begin_all(
        self, refs: Sequence[ActorRef], request: Callable[[int], object]
    ) -> list[PendingCall | NotSentError]:
        self.check()
        return [self._ledger.begin(ref, request, str(ref)) for ref in refs]

    def forget(self, pending: PendingCall) -> None:
        """Have nobody hear of *pending* any more; to be done when it has ended, too."""
        self._ledger.forget(pending)

    def limit(self, pending: PendingCall, deadline: Deadline) -> None:
        """Have *pending* end with `CallTimeoutError` at *deadline*; any thread may."""
        self._ledger.limit(pending, deadline)

    def stop(self, pending: PendingCall) -> None:
        """Have *pending* end with `Stopped`; any thread may."""
        self._ledger.stop(pending)

    def send(self, ref: ActorRef, message: object) -> None:
        """Send *ref* one of our own messages and wait for nothing; lost if it is gone."""
        self.check()
        # Whoever listens on the port of the dead would be sent it, for no answer is waited for.
        if self._messenger.reaches(ref.address) and self.directory.death_of(ref) is None:
            self._messenger.send(ref.address, message)

    def monitor(self, ref: ActorRef) -> Monitor:
        """Return a monitor of *ref*; it tells of `NoProcess` if *ref* is gone already."""
        self.check()
        monitor = self._monitors.add(ref)
        if self.directory.death_of(ref) is not None:
            monitor.cancel()
            monitor.report(NoProcess())
        return monitor

    def hand_over(self, action: Callable[[], object]) -> None:
        """Have the reader thread do *action*, behind all that has come already."""
        self._messenger.after(0.0, action)

    # The reader thread

    def _read(self) -> None:
        try:
            self._messenger.serve(self._receive)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is told to all who wait
            # Nobody hears the system any more: say so, rather than let every call time out.
            self._end(HostError(f"the reader thread failed: {describe(error)}"))
            log.error("the reader thread failed\n{}", clip(traceback.format_exc()))

    def _receive(self, envelope: Envelope) -> bool:
        try:
            match envelope.message:
                case wire.Answer() as answer:
                    self._ledger.take(answer)
                case wire.Part() as part:
                    self._ledger.take_part(part)
                case Turn(call=call):
                    call()
                case _:
                    self._take_news(envelope)
        except BaseException:  # noqa: BLE001 - one message, or who listens to it; others wait
            log.error("a message could not be taken in\n{}", clip(traceback.format_exc()))
        return self._ledger.ended is None

    def _on_death(self, ref: ActorRef, reason: ExitReason) -> None:
        self._monitors.report(ref, reason)
        self._ledger.process_ended(ref, reason)

    def _on_host_gone(self) -> None:
        # Why it is gone, it has said in its last words.
        self._messenger.after_last_words(self._host.admin, self._on_last_words)

    def _on_last_words(self) -> None:
        if self._ledger.ended is not None:  # the guard's end and the host's may be seen at once
            return
        if self._close_requested:
            how = self._why_closed
        elif self._news.root_failure is not None:
            how = f"the tree has ended: {self._news.why_root_failed}"
        else:
            how = "the host process is gone"
        self._end(HostExitedError(how))

    def _end(self, error: HostError) -> None:
        with contextlib.ExitStack() as last:  # all of it, whatever fails
            if self._on_end is not None:
                last.callback(self._on_end)
            last.callback(self.directory.close, Killed())
            self._ledger.end(error)

    # The end

    def close(self, timeout: float) -> None:
        """End what this process has started, in order within *timeout* seconds; twice is fine.

        Then by force: none of it is left when this returns.
        """
        if not self.owned:
            return  # a fork of the app does not end what it has not started
        if self.closed:
            return
        # A signal handler may close what its thread is closing, and many threads may at once:
        # each asks and waits, and who comes first to the end of that does the rest, alone.
        self._close_requested = True
        if timeout > 0:
            self._begin_to_end(timeout)
        threads.prefer_whole(self._finish)

    def _finish(self) -> None:
        with self._finishing:
            if self.closed:
                return
            if hasattr(self, "_ledger"):
                self._stop_reading()
            if hasattr(self, "_messenger"):
                self._messenger.close()
            self._host.close()
            self.closed = True
            _open.discard(self)

    def _stop_reading(self) -> None:
        if self._reader.is_alive():
            self._messenger.abort_run()
            threads.join(self._reader)
        for end in self._host.ends:
            self._messenger.unwatch(end)
        if self._ledger.ended is None:
            self._end(HostExitedError(self._why_closed))
