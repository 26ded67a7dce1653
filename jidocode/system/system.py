"""`SessionSystem`: what an app starts, and talks to its sessions through."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

from msgspec.structs import replace

from jidocode._host.client.client import HostClient
from jidocode._host.client.monitor import Monitor
from jidocode.base.refs import ActorRef, Name
from jidocode.base.text import quote
from jidocode.errors import (
    ActorExitedError,
    CallTimeoutError,
    ChildNotFoundError,
    JournalError,
    JournalLockedError,
    NoProcessError,
    RateLimitedError,
    SessionExistsError,
    SessionLimitError,
    SessionNotFoundError,
)
from jidocode.otp.naming.server import AwaitLive, LookUp
from jidocode.otp.naming.table import Live
from jidocode.otp.supervision.management import UpdateChild
from jidocode.otp.supervision.specs import ChildSpec, Flags, Start
from jidocode.otp.supervision.strategy import Strategy
from jidocode.session.admission.registry import (
    SESSIONS,
    Admission,
    FindSession,
    GetSession,
    ListSessions,
    StartSession,
    StopSession,
    UpdateRecord,
)
from jidocode.session.conversation.recovery import check_place, journal_path
from jidocode.session.journal.catalogue import (
    Resumable,
    delete_journal,
    export_journal,
    fork_journal,
    list_journals,
    load_record,
)
from jidocode.session.project.locate import locate_project
from jidocode.session.record import (
    Session,
    SessionConfig,
    is_session_id,
    new_session_id,
    validate_name,
    validate_session_id,
)
from jidocode.session.requests import Channel, request, update_session
from jidocode.session.supervisor import SessionSupervisor
from jidocode.session.tree import (
    Application,
    SessionChildren,
    Upkeep,
    build_children,
    session_children,
)
from jidocode.system.events import EventHub, EventStream, SessionRefused
from jidocode.system.handle import SessionHandle
from jidocode.system.health import Health, Statistics, SystemHealth, TreeNode
from jidocode.system.probe import Probe
from jidocode.system.router import Router, seconds_until
from jidocode.system.settings import Settings, default_state_dir

PRELOAD = ("jidocode.session.tree",)


class SessionSystem:
    """Coding sessions under supervision, in processes of their own.

    Starting one starts a host process; everything else runs below it. Use it
    as a context manager, or `close` it. All methods can be called from any
    thread.

    Starts, in this order: the host process, the root of the tree, the process
    registry, the supervisor of sessions. Returns when all of them run.

    Raises:
        InvalidSettingError: A setting breaks a rule.
        TypeError: *settings* is no `Settings`, or there is no such setting.
        HostStartError: The system could not be started; nothing is left.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        build: SessionChildren = session_children,
        **overrides: Any,
    ) -> None:
        """Start a system with *settings*, changed by *overrides* (see `Settings`).

        *build* says what every session consists of, if not Manager, State and
        the app's own children.
        """
        self._guard = threading.RLock()
        self._turns: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()
        self._build = build
        if not isinstance(settings, Settings | None):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
            raise TypeError(
                f"settings must be Settings, got {quote(settings)}; Settings.load reads a file"
            )
        self.settings = replace(settings or Settings(), **overrides)
        self._hub = EventHub(self.settings.event_buffer)
        hub = self._hub  # the reader thread holds this, and not the system
        self._client = HostClient(
            self._root(),
            preload=[*PRELOAD, *self.settings.preload],
            start_timeout=self.settings.start_timeout,
            on_event=lambda fact, names: hub.publish(fact, _session_id(names)),
            on_end=hub.close,
        )
        self._router = Router(self._client, self.settings.call_timeout)
        self._probe = Probe(self._client, self._router)

    def _root(self) -> Start:
        return Start(Application, self._admission(), self.settings.heartbeat)

    def _admission(self) -> Admission:
        settings = self.settings
        rate = settings.creation_rate
        return Admission(
            max_sessions=settings.max_sessions,
            attempts=rate.attempts if rate else None,
            seconds=rate.seconds if rate else 1.0,
            allow_nested=settings.allow_nested,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        client: HostClient | None = getattr(self, "_client", None)  # none if it did not start
        if client is not None and not client.closed and client.owned:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            client.close(0.0)

    def __repr__(self) -> str:
        if self._client.closed:
            return "<SessionSystem closed>"
        return f"<SessionSystem host pid {self._client.host_pid}>"

    @property
    def host_pid(self) -> int:
        """The process id of the host process."""
        return self._client.host_pid

    def close(self) -> None:
        """Stop all sessions and every process of the system; closing twice is fine.

        Sessions are stopped in order within `Settings.shutdown` seconds, then
        killed. No process is left when this returns.
        """
        self._client.close(self.settings.shutdown)

    # Sessions

    def create_session(  # noqa: PLR0913 - all but the first are keywords
        self,
        project_path: str | os.PathLike[str] = ".",
        *,
        name: str | None = None,
        config: SessionConfig | Mapping[str, Any] | None = None,
        session_id: str | None = None,
        strategy: Strategy | Flags | None = None,
        children: Sequence[ChildSpec] = (),
    ) -> SessionHandle:
        """Open a session for the project folder *project_path*, and return its handle.

        Args:
            project_path: An existing folder, the current one by default; `~` is expanded.
            name: For people; the folder's name by default.
            config: The language model to use; see `SessionConfig`.
            session_id: A lower-case UUID4; a fresh one by default.
            strategy: Who is restarted with a dead child, the settings' strategy by
                default; or all of the supervisor's `Flags`, such as those that let
                a significant child end the session.
            children: The app's own processes, started after Manager and State.

        Raises:
            InvalidSessionIdError, InvalidSessionError, InvalidChildSpecError:
                An argument breaks a rule. Nothing was started.
            JournalError: `Settings.state_dir` lies within the project, whose
                Manager could write there. Nothing was started.
            RateLimitedError: Too many were asked for; it says when to try again.
            SessionLimitError, SessionExistsError, ProjectAlreadyOpenError:
                There is no place for it. Nothing was started.
            StartFailedError: A child's `init` failed; what had started was
                stopped again and the place is free.
            CallTimeoutError: It did not start within `Settings.call_timeout`;
                it may still start.
            RegistryNotRunningError, NoProcessError: The process registry, or the
                supervisor of sessions, is gone for good.
            HostError: The whole system is gone, or this is a fork of its app.
        """
        session = Session.new(
            project_path=project_path, name=name, config=config, session_id=session_id
        )
        return self._start(session, strategy, children)

    def start_session(
        self,
        session: Session,
        *,
        strategy: Strategy | Flags | None = None,
        children: Sequence[ChildSpec] = (),
    ) -> SessionHandle:
        """Open the session that *session* describes; raises as `create_session`."""
        if not isinstance(session, Session):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
            raise TypeError(f"session must be a Session, got {quote(session)}")
        return self._start(Session.validate(session), strategy, children)

    def _start(
        self, session: Session, strategy: Strategy | Flags | None, children: Sequence[ChildSpec]
    ) -> SessionHandle:
        if self.settings.durability != "memory":
            check_place(journal_path(self._journal_dir(), session.id), session)
        spec = SessionSupervisor.child_spec(
            session,
            build_children(self._build, session, children, upkeep=self._upkeep()),
            flags=self.settings.session_flags(strategy),
            heartbeat=self.settings.heartbeat,
        )
        self._ask_to_start(StartSession(session, spec))
        return SessionHandle(self, session.id)

    def _ask_to_start(self, request: StartSession) -> None:
        """Ask the registry; if it dies over it, ask the next one: the id makes that safe."""
        deadline = self._router.deadline()
        while True:
            try:
                self._router.ask_registry(request, deadline)
            except (SessionLimitError, RateLimitedError) as error:
                self._hub.publish(SessionRefused(error), None)
                raise
            except SessionExistsError:
                # The first attempt's, as it turns out; it may not be through yet.
                if request.again and self._comes_up(request.session, deadline):
                    return
                raise
            except (ActorExitedError, NoProcessError):
                back = self._router.await_process(SESSIONS, deadline)
                if back is None or time.monotonic() >= deadline:
                    raise
                request = replace(request, again=True)
            else:
                return

    def _comes_up(self, session: Session, deadline: float) -> bool:
        found = self._router.ask_registry(AwaitLive(("session", session.id)), deadline)
        return isinstance(found, Live) and found.value == session

    def stop_session(self, session_id: str) -> None:
        """Stop a session; returns when all its processes are dead and its place is free.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: No such session is open.
            CallTimeoutError: It has not stopped within `shutdown` seconds, and goes on
                being stopped: a child takes its time over `terminate`.
        """
        request = StopSession(validate_session_id(session_id))
        deadline = self._router.deadline(self.settings.shutdown)
        self._router.ask_registry(request, deadline, target=f"session {session_id}")

    def get_session(self, session_id: str) -> SessionHandle:
        """Return the handle of an open session; raises as `stop_session`."""
        self.session_record(session_id)
        return SessionHandle(self, session_id)

    def session_record(self, session_id: str) -> Session:
        """Return the record of an open session; raises as `stop_session`."""
        session: Session = self._router.ask_registry(GetSession(validate_session_id(session_id)))
        return session

    def list_sessions(self) -> list[Session]:
        """Return the records of all open sessions, oldest first."""
        sessions: list[Session] = self._router.ask_registry(ListSessions())
        return sessions

    def find_session(
        self, *, path: str | os.PathLike[str] | None = None, name: str | None = None
    ) -> SessionHandle:
        """Return the oldest open session with that project folder, or that exact name.

        Raises:
            TypeError: Not exactly one of *path* and *name* was given.
            InvalidSessionError: *path* is no usable folder, or *name* no name.
            SessionNotFoundError: There is none.
        """
        if (path is None) == (name is None):
            raise TypeError("find_session() takes exactly one of path and name")
        key = None if path is None else locate_project(path)[1]
        session: Session = self._router.ask_registry(
            FindSession(key, None if name is None else validate_name(name))
        )
        return SessionHandle(self, session.id)

    def session_running(self, session_id: str) -> bool:
        """Whether a session with that id is open.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
        """
        try:
            self.session_record(session_id)
        except SessionNotFoundError:
            return False
        return True

    def update_session(self, session_id: str, change: Callable[[Session], Session]) -> Session:
        """Change an open session's record everywhere; return the record that counts now.

        State takes the change first, and keeps it across every crash. Registry
        and Manager follow, and supervisors start from the new record at every
        later restart.

        Args:
            session_id: The session.
            change: Returns the new record, `lambda session: session.rename("till")`.
                Other changes of this session wait for it, within `call_timeout`.

        Raises:
            InvalidSessionIdError, SessionNotFoundError: As `stop_session`.
            TypeError: *change* returned no `Session`. Nothing has changed.
            InvalidSessionError: The new record breaks a rule. Nothing has changed.
            InvalidRequestError: It is the record of another session or project.
                Nothing has changed.
            JournalWriteError: It cannot be written down. Nothing has changed.
            NoProcessError: The session has no State running. Nothing has changed.
            CallError: A process died or did not answer over it: State may have
                the change. To ask again is safe.
        """
        deadline = self._router.deadline()
        with self._turn_to_update(validate_session_id(session_id), deadline):
            wanted = change(self.session_record(session_id))
            if not isinstance(wanted, Session):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
                raise TypeError(f"change must return a Session, got {quote(wanted)}")
            # First the one who writes it down: if it refuses, nothing has changed.
            self._router.ask(("state", session_id), request(update_session, wanted))
            record: Session = self._router.ask_registry(UpdateRecord(session_id, wanted))
            self._router.ask(SESSIONS, UpdateChild(session_id, value=record))
            for spec in build_children(self._build, record, upkeep=self._upkeep()):
                with suppress(ChildNotFoundError):  # deleted: nobody will start from it
                    self._router.ask(
                        ("session", session_id), UpdateChild(spec.id, start=spec.start)
                    )
            with suppress(NoProcessError):  # stopped: it will start from the spec
                self._router.ask(("manager", session_id), request(update_session, record))
        return record

    @contextmanager
    def _turn_to_update(self, session_id: str, deadline: float) -> Generator[None]:
        """Let one thread at a time change the record of a session."""
        with self._guard:
            turn = self._turns.setdefault(session_id, threading.RLock())
        if not turn.acquire(timeout=seconds_until(deadline)):
            raise CallTimeoutError(f"session {session_id}", self.settings.call_timeout)
        try:
            yield
        finally:
            turn.release()

    # Journals

    def list_resumable(self) -> list[Resumable]:
        """Return the sessions that have a journal and are not open here, latest first.

        Raises:
            JournalError: The folder of journals cannot be read, or there is none.
        """
        open_ones = {session.id for session in self.list_sessions()}
        found = list_journals(self._journal_dir())
        return [each for each in found if each.session_id not in open_ones]

    def resume_session(
        self,
        session_id: str,
        *,
        strategy: Strategy | Flags | None = None,
        children: Sequence[ChildSpec] = (),
    ) -> SessionHandle:
        """Open a session again that has a journal, with everything it had acknowledged.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: It has no journal.
            JournalError: Its record cannot be read.
            StartFailedError: It is open in another system, or its journal cannot be opened.
            InvalidSessionError: Its project is gone, or another one stands there.
            Exception: Whatever else `create_session` raises.
        """
        record = load_record(self._journal(session_id))
        return self.start_session(record, strategy=strategy, children=children)

    def export_session(self, session_id: str) -> Iterator[dict[str, Any]]:
        """Yield every change of a session as a JSON object, oldest first; it may be open.

        Raises:
            InvalidSessionIdError, SessionNotFoundError, JournalError: As `resume_session`.
        """
        return export_journal(self._journal(session_id))

    def fork_session(
        self, session_id: str, *, upto_seq: int | None = None, name: str | None = None
    ) -> Session:
        """Begin a new session with a copy of another one's conversation; it may be open.

        The new one is not started: `resume_session` does that, once the project
        is free.

        Args:
            session_id: The session to copy.
            upto_seq: The last change that is copied; None for all.
            name: The new session's name; the old one's by default.

        Raises:
            InvalidSessionIdError, SessionNotFoundError, JournalError: As `resume_session`.
            InvalidRequestError: *upto_seq* is no number of the journal.
            InvalidSessionError: *name* breaks a rule.
        """
        path = self._journal(session_id)
        record = replace(load_record(path), id=new_session_id())
        copy = record if name is None else record.rename(name)
        fork_journal(path, copy, upto_seq=upto_seq)
        return copy

    def delete_session(self, session_id: str) -> None:
        """Delete the journal of a session that is not open.

        Raises:
            InvalidSessionIdError, SessionNotFoundError: As `resume_session`.
            JournalLockedError: It is open, here or in another system.
            JournalError: It cannot be deleted.
        """
        path = self._journal(session_id)
        # Its State may be between two lives, and nobody holds the lock.
        if self.session_running(session_id):
            raise JournalLockedError(f"session {session_id} is open")
        delete_journal(path)

    def _journal(self, session_id: str) -> Path:
        path = journal_path(self._journal_dir(), validate_session_id(session_id))
        if not path.exists():
            raise SessionNotFoundError(session_id)
        return path

    def _journal_dir(self) -> Path:
        if self.settings.durability == "memory":
            raise JournalError("this system keeps its sessions in memory")
        folder = self.settings.state_dir
        return default_state_dir() if folder is None else Path(folder)

    def _upkeep(self) -> Upkeep:
        durability = self.settings.durability
        if durability == "memory":
            return Upkeep(heartbeat=self.settings.heartbeat)
        return Upkeep(
            heartbeat=self.settings.heartbeat,
            journal_dir=str(self._journal_dir()),
            durability=durability,
        )

    # Processes

    def get_process(self, session_id: str, kind: str) -> ActorRef:
        """Return a session's process by its kind; waits while it is restarted.

        Args:
            session_id: The session.
            kind: `manager`, `state`, `agent`, `session` for the supervisor, or
                the id of one of the app's own children.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: No such session is open.
            NoProcessError: The session has no such process.
            CallTimeoutError: It was not back in time.
        """
        return self._router.find(_name(kind, session_id), self._router.deadline())

    def get_manager(self, session_id: str) -> ActorRef:
        """Return the session's Manager; see `get_process`."""
        return self.get_process(session_id, "manager")

    def get_state(self, session_id: str) -> ActorRef:
        """Return the session's State; see `get_process`."""
        return self.get_process(session_id, "state")

    def get_agent(self, session_id: str) -> ActorRef:
        """Return the session's agent; see `get_process`.

        Raises:
            NoProcessError: The session has no agent.
        """
        return self.get_process(session_id, "agent")

    def monitor(self, session_id: str, kind: str) -> Monitor:
        """Return a monitor of the process that `get_process` returns.

        It watches this one life: after a restart, monitor the new process.
        """
        return self._client.monitor(self.get_process(session_id, kind))

    def registered(self, kind: str, session_id: str) -> ActorRef | None:
        """Return what the process registry has under that name now, without waiting.

        None while the process is being restarted.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            RegistryNotRunningError: There is no registry to ask.
        """
        found = self._router.ask_registry(LookUp(_name(kind, session_id)))
        return found.ref if isinstance(found, Live) else None

    def caller(self, kind: str, session_id: str) -> Channel:
        """Return the way to the process of that kind in that session."""
        return self._router.way_to(_name(kind, session_id))

    def cast(self, kind: str, session_id: str, request: object) -> None:
        """Send *request* to a process, and wait for nothing."""
        self._client.cast(self.get_process(session_id, kind), request)

    # Looking

    def health_check(self, session_id: str) -> Health:
        """Ask every child of a session how it is, all at once, within `call_timeout`.

        The supervisor and its children are asked, not the registry. One that
        hangs makes this wait, and is reported as unresponsive.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: No such session is open.
        """
        return self._probe.session(validate_session_id(session_id))

    def system_health(self) -> SystemHealth:
        """Ask every process of the system how it is, within `call_timeout`.

        Works while the registry is down: the tree itself is asked. A session
        that ends meanwhile is left out.

        Raises:
            CallError: The root or the supervisor of sessions did not answer.
        """
        return self._probe.system()

    def tree(self) -> TreeNode:
        """Return the live tree, asked from the supervisors themselves; `str()` draws it.

        A supervisor that ends meanwhile is left out, with all below it.

        Raises:
            CallTimeoutError: A supervisor did not answer within `call_timeout`.
            ActorExitedError, NoProcessError: The root itself ended.
        """
        return self._probe.tree()

    def events(self, session_id: str | None = None) -> EventStream:
        """Return a stream of what happens from now on, of one session if *session_id* is given.

        Its buffer holds `Settings.event_buffer` events; a reader that is slower
        loses the oldest, and `EventStream.dropped` counts them.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
        """
        return self._hub.stream(None if session_id is None else validate_session_id(session_id))

    def statistics(self) -> Statistics:
        """Return a snapshot of counts."""
        return Statistics(
            sessions=len(self.list_sessions()),
            max_sessions=self.settings.max_sessions,
            processes=len(self._client.directory.live()),
            calls=self._client.calls,
        )


def _name(kind: str, session_id: str) -> Name:
    if not isinstance(kind, str):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise TypeError(f"kind must be a str, got {quote(kind)}")
    return kind, validate_session_id(session_id)


def _session_id(names: Sequence[Name]) -> str | None:
    """Return the session of the process that goes by *names*, its own and those above it."""
    for kind, name_id in names:
        if kind == "session":
            return name_id
    # What a starting session's children do is heard before where they hang.
    return next((name_id for _, name_id in names if is_session_id(name_id)), None)
