"""`RunningSystem`: what a system and the handles it gives out share, and the waiting."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct

from jidocode._host.client.client import HostClient
from jidocode._host.daemon.launcher import HostProcess
from jidocode.base.deadline import Deadline
from jidocode.base.refs import ActorRef, Name
from jidocode.base.stop import Stop, Stopped
from jidocode.errors import CallTimeoutError
from jidocode.otp.supervision.specs import Start
from jidocode.session.admission.admission import AdmissionRules
from jidocode.session.record import Session, is_session_id, validate_session_id
from jidocode.session.requests import Channel, Request
from jidocode.session.tree import Application, SessionChildren, session_children
from jidocode.system.archive import Archive
from jidocode.system.events import EventHub, EventStream, SessionRefused
from jidocode.system.health import Statistics
from jidocode.system.probe import Probe
from jidocode.system.router import Router, process_name
from jidocode.system.sessions import Sessions
from jidocode.system.settings import Settings
from jidocode.system.steps import Ask, AskAll, AwaitName, PingAll, Plan, Step
from jidocode.system.updates import Updates

T = TypeVar("T")
_Result = TypeVar("_Result")


class RunningSystem:
    """A running system: its client, its services, and a thread's way to wait for them.

    A `SessionSystem` and its handles hold it; when none of them does any more, it
    ends.

    Attributes:
        settings: How it behaves.
        client: The connection to its processes.
        hub: Hears what happens, and passes it on to streams.
        router: Finds processes by their names.
        archive: The journals.
        sessions: Opens, finds and stops sessions.
        updates: Changes the records of sessions.
        probe: Asks the tree how it is.
    """

    def __init__(
        self,
        host: HostProcess,
        root: Start,
        settings: Settings,
        build: SessionChildren = session_children,
    ) -> None:
        """Start the tree below *root* in *host*; *build* says what a session consists of."""
        self.settings = settings
        self.archive = Archive(settings)
        self.archive.prepare()
        self.hub = hub = EventHub(settings.event_buffer)  # the reader thread holds only this
        self.client = client = HostClient(
            host,
            root,
            start_timeout=settings.start_timeout,
            on_event=lambda fact, names: hub.publish(fact, _session_id(names)),
            on_end=hub.close,
        )
        self.router = Router(
            self.client.directory,
            self.client.check,
            self.client.check_missing,
            settings.call_timeout,
        )
        self.sessions = Sessions(
            self.router,
            self.archive,
            settings,
            build,
            lambda error: client.hand_over(lambda: hub.publish(SessionRefused(error), None)),
        )
        self.updates = Updates(self.router, self.sessions)
        self.probe = Probe(self.router)
        self._guard = threading.RLock()  # a signal handler may update what is being updated
        self._turns: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()

    def __del__(self) -> None:
        client: HostClient | None = getattr(self, "client", None)  # none if it did not start
        if client is not None and not client.closed and client.owned:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            client.close(0.0)

    def __repr__(self) -> str:
        # A start that has failed is shown, too: by whoever prints the locals of a traceback.
        if not hasattr(self, "client"):
            return "<SessionSystem not started>"
        if self.client.closed:
            return "<SessionSystem closed>"
        return f"<SessionSystem host pid {self.client.host_pid}>"

    # Waiting

    def carry_out(self, plan: Plan[T], stop: Stop | None = None) -> T:
        """Carry out *plan* in this thread, waiting for what comes of each step until *stop*."""
        try:
            step = next(plan)
            while True:
                try:
                    outcome = self._take(step, stop)
                except BaseException as error:  # noqa: BLE001 - the plan decides what follows from it
                    step = plan.throw(error)
                else:
                    step = plan.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _take(self, step: Step, stop: Stop | None) -> object:
        client, deadline = self.client, step.deadline
        match step:
            case Ask():
                return client.call(
                    step.ref, step.request, deadline=deadline, target=step.target, stop=stop
                )
            case AwaitName():
                return self._await_name(step, stop)
            case AskAll():
                return client.call_all(step.refs, step.request, deadline)
            case PingAll():
                return client.ping_all(step.refs, deadline)

    def _await_name(self, step: AwaitName, stop: Stop | None) -> ActorRef | None:
        directory = self.client.directory
        if stop is None:
            return directory.wait_for(step.name, step.deadline.at, step.give_up)
        with stop.waking(directory.wake):
            give_up: Callable[[], bool] = lambda: stop.requested or step.give_up()  # noqa: E731
            found = directory.wait_for(step.name, step.deadline.at, give_up)
        if stop.requested:
            raise Stopped
        return found

    def update(self, session_id: str, change: Callable[[Session], Session]) -> Session:
        """Change the record of a session, one thread at a time; see `Updates`."""
        deadline = self.router.deadline()
        with self._turn_to_update(validate_session_id(session_id), deadline):
            return self.carry_out(self.updates.apply(session_id, change))

    @contextmanager
    def _turn_to_update(self, session_id: str, deadline: Deadline) -> Generator[None]:
        with self._guard:
            turn = self._turns.setdefault(session_id, threading.RLock())
        if not turn.acquire(timeout=deadline.left):
            raise CallTimeoutError(f"session {session_id}", deadline.seconds)
        try:
            yield
        finally:
            turn.release()

    # What needs no plan

    def events(self, session_id: str | None) -> EventStream:
        """Return a stream of what happens from now on; see `SessionSystem.events`."""
        return self.hub.stream(None if session_id is None else validate_session_id(session_id))

    def statistics(self) -> Statistics:
        """Return a snapshot of counts."""
        return Statistics(
            sessions=len(self.carry_out(self.sessions.records())),
            max_sessions=self.settings.max_sessions,
            processes=len(self.client.directory.live()),
            calls=self.client.calls,
        )

    # Processes by their names

    def find(self, kind: str, session_id: str) -> ActorRef:
        """Return a session's process; see `SessionSystem.get_process`."""
        name = process_name(kind, session_id)
        return self.carry_out(self.router.find(name, self.router.deadline()))

    def look_up(self, kind: str, session_id: str) -> ActorRef | None:
        """Return what the registry has under that name; see `SessionSystem.registered`."""
        return self.carry_out(self.router.look_up(process_name(kind, session_id)))

    def way_to(self, kind: str, session_id: str) -> Channel:
        """Return the way to a session's process; see `SessionSystem.caller`."""
        return _Way(self, process_name(kind, session_id))

    def cast(self, kind: str, session_id: str, request: object) -> None:
        """Send *request* to a session's process, and wait for nothing."""
        self.client.cast(self.find(kind, session_id), request)


class _Way(Struct, frozen=True):
    """The way to the process under one name."""

    system: RunningSystem
    name: Name

    def __call__(
        self,
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> _Result:
        plan = self.system.router.ask(self.name, request, timeout)
        answer: _Result = self.system.carry_out(plan, stop)
        return answer


def application(settings: Settings) -> Start:
    """Return the root of the tree of a system with *settings*."""
    rate = settings.creation_rate
    rules = AdmissionRules(
        max_sessions=settings.max_sessions,
        attempts=rate.attempts if rate else None,
        seconds=rate.seconds if rate else 1.0,
        allow_nested=settings.allow_nested,
    )
    return Start(Application, rules, settings.heartbeat)


def _session_id(names: Sequence[Name]) -> str | None:
    """Return the session of the process that goes by *names*, its own and those above it."""
    for kind, name_id in names:
        if kind == "session":
            return name_id
    # What a starting session's children do is heard before where they hang.
    return next((name_id for _, name_id in names if is_session_id(name_id)), None)
