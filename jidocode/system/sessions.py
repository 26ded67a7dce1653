"""`Sessions`: opens and stops sessions, and says which there are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from msgspec.structs import replace

from jidocode._host.deadline import Deadline
from jidocode.base.changes import Changes
from jidocode.base.text import quote
from jidocode.errors import (
    ActorExitedError,
    CallTimeoutError,
    InvalidSessionError,
    JournalLockedError,
    NoProcessError,
    ProjectAlreadyOpenError,
    RateLimitedError,
    SessionExistsError,
    SessionLimitError,
    SessionNotFoundError,
    StartFailedError,
)
from jidocode.otp.naming.messages import AwaitLive, Live
from jidocode.otp.supervision.specs import ChildSpec, Flags
from jidocode.otp.supervision.strategy import Strategy, StrategyText
from jidocode.session.admission.admission import Place
from jidocode.session.admission.messages import (
    SESSIONS,
    FindRecord,
    GetRecord,
    ListRecords,
    OpenSession,
    StartSession,
    StopSession,
)
from jidocode.session.agent.spec import ModelSpec
from jidocode.session.commands.limits import CommandRules
from jidocode.session.journal.catalogue import Resumable
from jidocode.session.journal.ownership import refusal
from jidocode.session.manager.server import confinement_refusal
from jidocode.session.mcp.spec import McpServer, check_servers
from jidocode.session.project.locate import ProjectKey, enclosing_keys, locate_project
from jidocode.session.project.protection import ProtectionRules
from jidocode.session.record import Session, SessionConfig, validate_name, validate_session_id
from jidocode.session.snapshots.limits import SnapshotRules
from jidocode.session.supervisor import SessionSupervisor
from jidocode.session.tree import SessionChildren, build_children
from jidocode.session.upkeep import Upkeep
from jidocode.system.archive import Archive
from jidocode.system.router import Router
from jidocode.system.settings import Settings
from jidocode.system.steps import AwaitChange, Plan

_PAUSE = 0.05
"""Seconds until somebody who was forestalled looks again."""

_SHOWN = 10
"""Open sessions that are named to somebody who has found none."""


class Sessions:
    """The sessions of one system, as the registry knows them."""

    def __init__(
        self,
        router: Router,
        archive: Archive,
        settings: Settings,
        build: SessionChildren,
        model: ModelSpec | None,
    ) -> None:
        """Ask by *router*; *build* says what a session consists of, and agents have a *model*."""
        self._router = router
        self._archive = archive
        self._settings = settings
        self._build = build
        self._model = model

    # Opening and stopping

    def start(
        self,
        session: Session,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        servers: Sequence[McpServer] = (),
    ) -> Plan[Session]:
        """Return the plan to open *session*; see `SessionSystem.start_session`."""
        if not isinstance(session, Session):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
            raise TypeError(f"session must be a Session, got {quote(session)}")
        return self._open(session, strategy, children, servers, resumes=False)

    def _open(
        self,
        session: Session,
        strategy: Strategy | StrategyText | Flags | None,
        children: Sequence[ChildSpec],
        servers: Sequence[McpServer],
        *,
        resumes: bool,
    ) -> Plan[Session]:
        """Open *session*; if it *resumes*, it has a journal, and is not opened without."""
        record = Session.validate(session)
        self._archive.check_place(record)
        # Looked at here and not by the registry: a disk that hangs must not stop that.
        home = self._archive.home
        enclosing = frozenset(enclosing_keys(record.project_path))
        upkeep = evolve(self._upkeep(), mcp_servers=check_servers(servers))
        opened = OpenSession(record, enclosing, upkeep)
        spec = SessionSupervisor.child_spec(
            opened,
            self.children(opened, children),
            flags=self._settings.session_flags(strategy),
            heartbeat=self._settings.heartbeat,
            home=home,
            resumes=resumes,
        )
        self._archive.check_free(opened.place)
        extra = home.opening_time(record.id) if home else 0.0
        deadline = self._router.deadline(self._settings.call_timeout + extra)
        try:
            yield from self._ask_to_start(StartSession(opened, spec), deadline)
        except StartFailedError as error:
            # A start that failed says what it was, and not by whom. So it is looked again for
            # what may have been in its way; it may be gone by now.
            self._archive.check_free(opened.place)
            if resumes:
                self._archive.path(record.id)
            refused = refusal(error.cause, record.id) or confinement_refusal(error.cause)
            if refused is not None:
                raise refused from error
            raise
        return record

    def resume(
        self,
        session_id: str,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        servers: Sequence[McpServer] = (),
        *,
        project_path: str | os.PathLike[str] | None = None,
    ) -> Plan[Session]:
        """Open a session again that has a journal; see `SessionSystem.resume_session`."""
        if project_path is None:
            record = self._archive.record(session_id)
            try:
                return (yield from self._open(record, strategy, children, servers, resumes=True))
            except InvalidSessionError as error:
                raise _perhaps_moved(error) from None
        if (yield from self.is_open(session_id)):
            raise SessionExistsError(session_id)
        record = self._archive.move(session_id, project_path)
        return (yield from self._open(record, strategy, children, servers, resumes=True))

    def open_project(  # noqa: PLR0913 - some are keywords
        self,
        project_path: str | os.PathLike[str],
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        servers: Sequence[McpServer] = (),
        *,
        name: str | None = None,
        config: SessionConfig | Mapping[str, Any] | None = None,
    ) -> Plan[Session]:
        """Find, resume or begin the session of a project; see `SessionSystem.open_session`."""
        deadline = self._router.deadline()
        while True:
            new = Session.new(project_path=project_path, name=name, config=config)
            try:
                return (yield from self._open_or_find(new, strategy, children, servers, deadline))
            except ProjectAlreadyOpenError as error:
                if error.nested or error.pid is not None or not deadline.left:
                    raise
            except (JournalLockedError, SessionExistsError, SessionNotFoundError):
                if not deadline.left:
                    raise
            except (RateLimitedError, SessionLimitError):
                # The place may be that of the session itself, which somebody else opens.
                if (yield from self._find_open(new.project_key, deadline)) is None:
                    raise
                continue
            # Somebody else opens it, or stops or deletes what was found. Nothing tells of the
            # end of that: it may be another process, and what it starts has no name yet.
            pause = Deadline.after(min(_PAUSE, deadline.left))
            yield AwaitChange(Changes(), lambda: None, pause)

    def _open_or_find(
        self,
        new: Session,
        strategy: Strategy | StrategyText | Flags | None,
        children: Sequence[ChildSpec],
        servers: Sequence[McpServer],
        deadline: Deadline,
    ) -> Plan[Session]:
        key = new.project_key
        record = yield from self._find_open(key, deadline)
        if record is not None:
            found = yield from self._await_open(record.id, deadline)
            if found is None:  # it has ended
                raise SessionNotFoundError(record.id)
            return found
        # Before its journal is found to be locked, which does not say that this will last.
        around = frozenset(enclosing_keys(new.project_path))
        self._archive.check_free(Place(new.id, key, around))
        for last in (yield from self.resumable(new.project_path)) if self._archive.home else ():
            # One that was begun in another folder, which stood there once, is another project's.
            if last.session is not None and last.session.project_key == key:
                moved = None if _leads_to(last.session.project_path, key) else new.project_path
                return (
                    yield from self.resume(
                        last.session_id, strategy, children, servers, project_path=moved
                    )
                )
        return (yield from self.start(new, strategy, children, servers))

    def _find_open(self, key: ProjectKey, deadline: Deadline) -> Plan[Session | None]:
        try:
            record: Session = yield from self._ask_for(FindRecord(key), deadline)
        except SessionNotFoundError:
            return None
        return record

    def children(self, opened: OpenSession, own: Sequence[ChildSpec] = ()) -> tuple[ChildSpec, ...]:
        """Return the specs of what a session consists of, *own* children last."""
        return build_children(self._build, opened.record, own, upkeep=opened.upkeep)

    def stop(self, session_id: str) -> Plan[None]:
        """Stop a session; see `SessionSystem.stop_session`."""
        request = StopSession(validate_session_id(session_id))
        deadline = self._router.deadline(self._settings.shutdown)
        # One that was not open before may not be taken for one that was stopped by the first try.
        running = yield from self._router.running(("session", session_id), deadline)
        again = replace(request, again=running is not None)
        while True:
            try:
                yield from self._router.ask_registry(
                    request, deadline, target=f"session {session_id}", again=again
                )
            except (ActorExitedError, NoProcessError) as error:  # the supervisor of sessions
                yield from self._await_next(error, deadline)
                request = again
            else:
                return

    def _ask_to_start(self, request: StartSession, deadline: Deadline) -> Plan[None]:
        """Ask the registry; if it dies over it, ask the next one: the id makes that safe."""
        while True:
            try:
                yield from self._router.ask_registry(request, deadline, repeats=False)
            except SessionExistsError:
                if not request.again:
                    raise
                # The first attempt's, as it turns out; it may not be through yet, or fail.
                first = yield from self._await_open(request.session.record.id, deadline)
                if first == request.session.record:
                    return
                if first is not None or not deadline.left:
                    raise
            except (ActorExitedError, NoProcessError) as error:
                yield from self._await_next(error, deadline)
                request = replace(request, again=True)
            else:
                return

    def _await_next(
        self, error: ActorExitedError | NoProcessError, deadline: Deadline
    ) -> Plan[None]:
        """Wait until what was asked in vain, which *error* names, can be asked again."""
        back = yield from self._router.await_process(SESSIONS, deadline)
        if not deadline.left:
            raise CallTimeoutError(error.target, deadline.seconds) from error
        if back is None:
            raise error

    def _await_open(self, session_id: str, deadline: Deadline) -> Plan[Session | None]:
        """Return the record of a session once it runs; None if it does not come up."""
        request = AwaitLive(("session", session_id))
        found = yield from self._router.ask_registry(request, deadline)
        opened = found.value if isinstance(found, Live) else None
        return opened.record if isinstance(opened, OpenSession) else None

    def _upkeep(self) -> Upkeep:
        settings, home = self._settings, self._archive.home
        upkeep = Upkeep(
            heartbeat=settings.heartbeat,
            hard_links=settings.hard_links,
            idle_timeout=settings.idle_timeout,
            closed=(str(self._archive.private),),
            commands=CommandRules(
                max_commands=settings.max_commands,
                timeout=settings.command_timeout,
                output_limit=settings.command_output_limit,
                sandbox=settings.sandbox,
                read=settings.command_read,
                write=settings.command_write,
                limits=settings.command_limits,
            ),
            protection=ProtectionRules(
                paths=settings.protected_paths, changes=settings.protected_changes
            ),
            snapshots=SnapshotRules(
                kept=settings.snapshots_kept,
                size=settings.snapshot_size,
                file_size=settings.snapshot_file_size,
                files=settings.snapshot_files,
            ),
            model=self._model,
            context_tokens=settings.context_tokens,
        )
        if home is None:
            return upkeep
        return evolve(
            upkeep, journal_dir=home.folder, durability=home.durability, system=home.system
        )

    # Looking

    def record(self, session_id: str) -> Plan[Session]:
        """Return the record of an open session; see `SessionSystem.session_record`."""
        request = GetRecord(validate_session_id(session_id))
        record: Session = yield from self._ask_for(request)
        return record

    def _ask_for(
        self, request: GetRecord | FindRecord, deadline: Deadline | None = None
    ) -> Plan[Session]:
        """Ask for the record of one session; if that is being started, the answer waits for it."""
        record: Session = yield from self._router.ask_registry(
            request, deadline, target="the registry, or the start of the session,"
        )
        return record

    def records(self) -> Plan[list[Session]]:
        """Return the records of all open sessions, oldest first."""
        records: list[Session] = yield from self._router.ask_registry(ListRecords())
        return records

    def find(self, path: str | os.PathLike[str] | None, name: str | None) -> Plan[Session]:
        """Return the record of the oldest with *path* or *name*; see `find_session`."""
        if (path is None) == (name is None):
            raise TypeError("find_session() takes exactly one of path and name")
        key = None if path is None else locate_project(path)[1]
        request = FindRecord(key, None if name is None else validate_name(name))
        try:
            record: Session = yield from self._ask_for(request)
        except SessionNotFoundError:
            others = yield from self.records()
            if name is None:
                wanted = f"of project {quote(str(path))}"
                there = [quote(other.project_path) for other in others]
            else:
                wanted = f"called {quote(name)}"
                there = [quote(other.name) for other in others]
            raise SessionNotFoundError(f"{wanted}; {_listed(there)}") from None
        return record

    def is_open(self, session_id: str) -> Plan[bool]:
        """Whether a session with that id is open; see `SessionSystem.session_running`."""
        name = ("session", validate_session_id(session_id))
        return (yield from self._router.look_up(name)) is not None

    # Sessions that are not open

    def resumable(self, project: str | os.PathLike[str] | None = None) -> Plan[list[Resumable]]:
        """Return what is in the archive and not open; see `SessionSystem.list_resumable`."""
        records = yield from self.records()
        open_ids = {record.id for record in records}
        return [each for each in self._archive.find_all(project) if each.session_id not in open_ids]


def _listed(there: Sequence[str]) -> str:
    if not there:
        return "none is open"
    more = f", and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return f"open are {', '.join(there[:_SHOWN])}{more}"


def _leads_to(path: str, key: ProjectKey) -> bool:
    try:
        return locate_project(path)[1] == key
    except InvalidSessionError:
        return False


def _perhaps_moved(error: InvalidSessionError) -> InvalidSessionError:
    """Return *error*, of a session that has a journal, with what to do if its folder is moved."""
    *others, last = error.reasons
    if "path" not in error.codes[-1]:
        return error
    hint = "if it was moved, say where to when the session is resumed"
    return InvalidSessionError(error.codes, (*others, f"{last}; {hint}"))
