"""The app's end: starts a system, calls its processes, hears their news.

One endpoint per system. Any thread may call; one reader thread matches answers
to calls by their request ids, drops what comes late, and ends every call whose
process has died, with the reason, as soon as that is known.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

from thespian.actors import WakeupMessage, WatchMessage
from thespian.system.messages.admin import PendingActor, SystemShutdown
from thespian.system.transport import ReceiveEnvelope, SendStatus

from jidocode._host import threads, wire
from jidocode._host.client.directory import Directory
from jidocode._host.client.monitor import Monitor
from jidocode._host.daemon.launcher import HostProcess
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.frames import Body
from jidocode._host.transport.transport import LoopbackTransport
from jidocode.base import log
from jidocode.base.exits import ExitReason, Killed, NoProcess
from jidocode.base.refs import ActorRef, Name
from jidocode.base.text import describe, quote
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HostError,
    HostExitedError,
    HostStartError,
    NoProcessError,
)
from jidocode.otp.supervision.events import ChildStarting, GaveUp, SupervisorEvent
from jidocode.otp.supervision.specs import Start

ROOT_NAME = "jidocode"
ROOT: Name = ("root", ROOT_NAME)
REASON_GRACE = 0.25
"""Seconds to wait for the reason of a death that only the transport has noticed."""


class NotSentError(NoProcessError):
    """The process was dead before anything was sent: its successor can be asked the same.

    A `NoProcessError` of another class may be the answer that a handler gave.
    """


Listener = Callable[[object, Sequence[Name]], None]
"""Hears a fact, and the names of the process that it is about and of those above it."""


class _Pending:
    """A call under way."""

    __slots__ = ("_done", "failed", "number", "payload", "ref", "target")

    def __init__(self, number: int, ref: ActorRef, target: str) -> None:
        self.number = number
        self.ref = ref
        self.target = target
        self.failed = False
        self.payload: Body | Exception = b""
        self._done = threading.Lock()
        self._done.acquire()

    def settle(self, payload: Body | Exception, *, failed: bool) -> None:
        self.payload, self.failed = payload, failed
        self._done.release()

    def wait(self, timeout: float) -> bool:
        return self._done.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))


class HostClient:
    """A running system, seen from the app; thread-safe.

    Attributes:
        directory: What is known of the tree.
        closed: Whether `close` is done.
    """

    def __init__(
        self,
        root: Start,
        *,
        preload: Sequence[str] = (),
        start_timeout: float,
        on_event: Listener | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Start a host and, in it, the tree below *root*.

        *on_event* hears what happens and *on_end* that it is over, both in the
        reader thread.

        Raises:
            HostStartError: The host or the tree did not start. Nothing is left.
        """
        deadline = time.monotonic() + start_timeout
        self._owner = os.getpid()
        self._on_event = on_event
        self._on_end = on_end
        self._pending: dict[int, _Pending] = {}
        self._monitors: WeakSet[Monitor] = WeakSet()
        self._request_ids = itertools.count(1)
        self._closing = threading.RLock()  # a signal handler may close what is being closed
        self._close_requested = False
        self.closed = False
        self._ended: HostError | None = None
        self._root_failure: ExitReason | None = None
        self.directory = Directory(self._on_death)
        self._reader = threading.Thread(target=self._read, name="jidocode", daemon=True)
        self._to_end = contextlib.ExitStack()
        try:
            self._host = HostProcess(preload=preload, timeout=start_timeout)
            self._to_end.callback(self._host.close, 0.0)
            self._transport = LoopbackTransport.for_client(self._host.key, self._host.admin)
            self._to_end.callback(self._transport.close)
            self._to_end.callback(self._stop_reading)
            self._transport.set_watch(self._host.ends)
            self._reader.start()
            self._start_root(root, deadline)
        except OSError as error:
            self.close(0.0)
            raise HostStartError(f"the host process cannot be started: {error}") from error
        except BaseException:
            self.close(0.0)
            raise

    def _start_root(self, root: Start, deadline: float) -> None:
        shell, app = wire.SUPERVISOR_SHELL, self._transport.address
        order = wire.SpawnOrder(wire.pack(root), shell, root.target.kind, 1, app)
        request = PendingActor(":".join(shell), None, 1, order, globalName=ROOT_NAME)
        self._transport.send(self._host.admin, request)
        give_up = lambda: self._ended is not None or self._root_failure is not None  # noqa: E731
        if self.directory.wait_for(ROOT, deadline, give_up) is None:
            why = self._root_failure or self._ended or "it was not ready in time"
            raise HostStartError(f"the tree could not be started: {why}")

    @property
    def host_pid(self) -> int:
        """The process id of the host."""
        return self._host.pid

    # Calls

    def call(self, ref: ActorRef, request: object, *, timeout: float, target: str) -> Any:
        """Send *request* to *ref* and return its answer.

        Raises:
            CallError: *request* cannot be pickled.
            CallTimeoutError: No answer within *timeout* seconds.
            NotSentError: It was dead already.
            ActorExitedError: It died before it answered.
            HostExitedError: The host is gone.
            HostError: This process is a fork of the one that started the system.
            Exception: Whatever the handler refused with.
        """
        payload = wire.pack_request(request)
        call = self._begin(ref, lambda number: wire.Call(number, payload), target)
        if isinstance(call, CallError):
            raise call
        return self._finish(call, timeout)

    def ping_all(self, refs: Sequence[ActorRef], *, timeout: float) -> list[wire.Pulse | CallError]:
        """Ask all of *refs* at once how they are; return pulses, or why there is none."""
        deadline = time.monotonic() + timeout
        asked = [self._begin(ref, wire.Ping, str(ref)) for ref in refs]
        return [self._outcome(call, deadline) for call in asked]

    def call_all(
        self, refs: Sequence[ActorRef], request: object, *, timeout: float
    ) -> list[Any | CallError]:
        """Send *request* to all of *refs* at once; return answers, or why there is none."""
        deadline = time.monotonic() + timeout
        payload = wire.pack_request(request)
        asked = [
            self._begin(ref, lambda number: wire.Call(number, payload), str(ref)) for ref in refs
        ]
        return [self._outcome(call, deadline) for call in asked]

    def _outcome(self, call: _Pending | CallError, deadline: float) -> Any | CallError:
        if isinstance(call, CallError):
            return call
        try:
            return self._finish(call, deadline - time.monotonic())
        except CallError as error:
            return error

    def cast(self, ref: ActorRef, request: object) -> None:
        """Send *request* to *ref* and wait for nothing; lost in silence if it is gone."""
        self.check()
        message = wire.Cast(wire.pack_request(request))
        # Whoever listens on the port of the dead would be sent it, for no answer is waited for.
        if isinstance(ref.address, LoopbackAddress) and self.directory.death_of(ref) is None:
            self._transport.send(ref.address, message)

    def monitor(self, ref: ActorRef) -> Monitor:
        """Return a monitor of *ref*; it tells of `NoProcess` if *ref* is gone already."""
        self.check()
        monitor = Monitor(next(self._request_ids), ref, self._monitors.discard)
        self._monitors.add(monitor)
        if self.directory.death_of(ref) is not None:
            self._monitors.discard(monitor)
            monitor.tell(NoProcess())
        return monitor

    @property
    def owned(self) -> bool:
        """Whether this process started the system, and is no fork of the one that did."""
        return os.getpid() == self._owner

    @property
    def calls(self) -> int:
        """How many calls are under way."""
        return len(self._pending)

    def _begin(
        self, ref: ActorRef, message: Callable[[int], object], target: str
    ) -> _Pending | CallError:
        self.check()
        address = ref.address
        number = next(self._request_ids)
        # From here on the news of a death settles the call; what came before is asked for.
        pending = self._pending[number] = _Pending(number, ref, target)
        sent = False
        try:
            if isinstance(address, LoopbackAddress) and self.directory.death_of(ref) is None:
                undelivered = partial(self._undelivered, number)
                self._transport.send(address, message(number), undelivered)
                sent = True
        finally:
            if not sent:
                self._pending.pop(number, None)
        return pending if sent else NotSentError(target)

    def _finish(self, pending: _Pending, timeout: float) -> Any:
        try:
            self._check_running()  # its end settles the calls it knows of; is this one of them?
            if not pending.wait(timeout):
                raise CallTimeoutError(pending.target, max(0.0, timeout))
        finally:
            self._pending.pop(pending.number, None)
        if isinstance(pending.payload, Exception):
            raise pending.payload
        try:
            content = wire.unpack(pending.payload)
        except Exception as error:
            why = f"cannot read the reply of {pending.target}: {describe(error)}"
            raise CallError(why) from error
        if not pending.failed:
            return content
        raise wire.error_in(content, f"the error of {pending.target}")

    def check(self) -> None:
        """Raise `HostError` in a fork of the app, `HostExitedError` if the system is gone."""
        if not self.owned:
            raise HostError(
                "this process is a fork of the one that started the system: "
                "start a SessionSystem of its own here"
            )
        self._check_running()

    def _check_running(self) -> None:
        if self._ended is not None:
            raise copy.copy(self._ended)  # each thread its own: it gets a traceback and a context

    def _settle(self, number: int, payload: Body | Exception, *, failed: bool) -> None:
        pending = self._pending.pop(number, None)
        if pending is not None:
            pending.settle(payload, failed=failed)

    # The reader thread

    def _read(self) -> None:
        try:
            self._transport.run(self._receive)
        except BaseException as error:
            # Nobody hears the system any more: say so, rather than let every call time out.
            self._end(HostError(f"the reader thread failed: {error!r}"))
            raise

    def _receive(self, envelope: ReceiveEnvelope) -> bool:
        message = envelope.message
        match message:
            case wire.Answer():
                self._settle(message.request_id, message.payload, failed=message.failed)
            case ChildStarting():
                self._tell(message, self._names_in(message))
            case _ if isinstance(message, SupervisorEvent):
                names = self._names_in(message)  # while they are known
                self.directory.take(message)
                self._tell(message, names)
            case wire.News():
                self._on_news(message)
            case wire.RootReady():
                self.directory.root_started(message.ref, ROOT)
            case wire.RootExited():
                self._on_root_exited(message)
            case WakeupMessage(payload=payload) if callable(payload):
                payload()
            case WatchMessage():
                self._on_host_gone()
                return False
            case _:
                pass
        return True

    def _names_in(self, event: SupervisorEvent | ChildStarting) -> Sequence[Name]:
        above = self.directory.names_above(event.supervisor)
        if isinstance(event, GaveUp) or event.name is None:
            return above
        return [event.name, *above]

    def _on_news(self, message: wire.News) -> None:
        try:
            fact = wire.unpack(message.payload)
        except BaseException as error:  # noqa: BLE001 - importing what it names may raise anything
            log.warning("news cannot be read here: {}", quote(describe(error)))
        else:
            self._tell(fact, self._names_of(message.name))

    def _names_of(self, name: Name | None) -> Sequence[Name]:
        ref = self.directory.find(name) if name else None
        return self.directory.names_above(ref) if ref else [name] if name else []

    def _tell(self, fact: object, names: Sequence[Name]) -> None:
        if self._on_event is not None:
            try:
                self._on_event(fact, names)
            except Exception:  # noqa: BLE001 - a listener's failure is not the reader's
                log.error("a listener to supervisor events failed\n{}", traceback.format_exc())

    def _on_root_exited(self, message: wire.RootExited) -> None:
        if not message.restarting:
            self._root_failure = message.reason
        self.directory.root_ended(
            ROOT, message.incarnation, message.reason, restarting=message.restarting
        )

    def _on_host_gone(self) -> None:
        self._transport.set_watch([])
        how = "the system was closed" if self._close_requested else "the host process is gone"
        self._end(HostExitedError(how))

    def _end(self, error: HostError) -> None:
        self._ended = error
        for number in list(self._pending):
            self._settle(number, copy.copy(error), failed=True)
        self.directory.close(Killed())
        if self._on_end is not None:
            self._on_end()

    def _on_death(self, ref: ActorRef, reason: ExitReason) -> None:
        for monitor in [monitor for monitor in list(self._monitors) if monitor.ref == ref]:
            self._monitors.discard(monitor)
            monitor.tell(reason)
        calls = [pending for pending in list(self._pending.values()) if pending.ref == ref]

        def fail() -> None:
            for call in calls:
                self._settle(call.number, ActorExitedError(call.target, reason), failed=True)

        if calls:  # some may have been answered
            self._transport.after_last_words(ref.address, fail)

    def _undelivered(self, number: int, status: SendStatus.BASE) -> None:
        """Give the news of a death a moment to come, for it knows the reason."""
        pending = self._pending.get(number)
        if pending is None:
            return
        if status is not SendStatus.DeadTarget:
            why = f"the request did not reach {pending.target}: {status}"
            self._settle(number, CallError(why), failed=True)
        else:
            self._transport.call_at(
                time.monotonic() + REASON_GRACE,
                lambda: self._settle(
                    number, ActorExitedError(pending.target, Killed()), failed=True
                ),
            )

    # The end

    def close(self, timeout: float) -> None:
        """Stop the tree in order, within *timeout* seconds, then by force; twice is fine.

        Returns when no process of the system is left.
        """
        if not self.owned:
            return  # a fork of the app does not end what it has not started
        with self._closing:
            if self.closed:
                return
            self._close_requested = True
            if timeout > 0 and self._ended is None:
                self._transport.send(self._host.admin, SystemShutdown())
            if timeout > 0:
                self._host.wait(timeout)
            self._to_end.close()
            self.closed = True

    def _stop_reading(self) -> None:
        if self._reader.is_alive():
            self._transport.abort_run()
            threads.join(self._reader)
        if self._ended is None:
            self._end(HostExitedError("the system was closed"))
