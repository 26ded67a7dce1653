"""`ProcessRegistry`: who runs under which name, and which sessions there are.

Differs from the plain `RegistryServer` in what it knows of sessions: an open
session is a name of the kind `session` whose value is the session's record.
Sessions are started and stopped through it, one decision at a time, so the
limit, the ids and the projects are exact under any number of callers. It
reserves a place, has the session started, and frees the place if that fails.
"""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from jidocode.base.refs import ActorRef, Name
from jidocode.errors import (
    NoProcessError,
    ProjectAlreadyOpenError,
    RateLimitedError,
    SessionError,
    SessionExistsError,
    SessionLimitError,
    SessionNotFoundError,
)
from jidocode.otp.naming.messages import ClaimName, Live, NotFound, ReleaseName
from jidocode.otp.naming.server import RegistryServer
from jidocode.otp.server.messages import Caller, Response
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply, Result
from jidocode.otp.supervision.events import ChildExited
from jidocode.otp.supervision.management import StartChild, TerminateChild
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.session.admission.bucket import TokenBucket
from jidocode.session.project.locate import ProjectKey, enclosing_keys
from jidocode.session.record import Session
from jidocode.session.requests import later

REGISTRY: Name = ("system", "registry")
SESSIONS: Name = ("system", "sessions")


class StartSession(Struct, frozen=True):
    """Start *spec*, the supervisor of *session*; answered with its ref.

    Refused with `RateLimitedError`, `SessionLimitError`, `SessionExistsError` or
    `ProjectAlreadyOpenError`, checked in this order, or with why it did not start.
    If it is asked *again* because a process was gone, the rate is left alone: it
    is still one attempt.
    """

    session: Session
    spec: ChildSpec
    again: bool = False


class StopSession(Struct, frozen=True):
    """Stop a session; answered when all its processes are dead."""

    session_id: str


class GetSession(Struct, frozen=True):
    """Answered with the record of an open session."""

    session_id: str


class ListSessions(Struct, frozen=True):
    """Answered with the records of all open sessions, oldest first."""


class FindSession(Struct, frozen=True):
    """Answered with the oldest open session with that project or that exact name."""

    project_key: ProjectKey | None = None
    name: str | None = None


class UpdateRecord(Struct, frozen=True):
    """Take *session* for the record of an open session, if it is a later one.

    Answered with the record that counts now. Refused with `InvalidRequestError`
    if it is no record of the session *session_id*.
    """

    session_id: str
    session: Session


_SessionQuestion = (
    StartSession | StopSession | GetSession | ListSessions | FindSession | UpdateRecord
)


class Admission(Struct, frozen=True, kw_only=True):
    """Who is let in.

    Attributes:
        max_sessions: Sessions that may be open at once.
        attempts: Attempts to start one that may be made at once; None for no limit.
        seconds: How long it takes until as many may be made again.
        allow_nested: Whether a project may lie inside another open project.
    """

    max_sessions: int
    attempts: int | None = None
    seconds: float = 1.0
    allow_nested: bool = False


class ProcessRegistry(RegistryServer):
    """The registry of one system."""

    def init(self, admission: Admission) -> None:  # type: ignore[override] # arguments come from the spec
        """Start with nothing; whatever runs already is told by the supervisors."""
        super().init()
        self._admission = admission
        attempts = admission.attempts
        self._bucket = None if attempts is None else TokenBucket(attempts, admission.seconds)
        self._root: ActorRef | None = None
        self._reserved: dict[str, Session] = {}
        self._around: dict[str, frozenset[ProjectKey]] = {}
        # Ended sessions whose names are still to be released: a session has one life.
        self._ended_sessions: set[str] = set()
        self._waiting: list[tuple[_SessionQuestion, Caller]] = []
        self._starts: dict[int, tuple[Caller, str]] = {}
        self._stops: dict[int, tuple[Caller, str]] = {}

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*; what is about sessions waits until it is known which there are."""
        if not isinstance(request, _SessionQuestion):
            return super().handle_call(request, caller)
        if isinstance(request, StartSession) and not request.again:
            try:
                self._check_rate()
            except RateLimitedError as error:
                return Refuse(error)
        self._waiting.append((request, caller))
        self._answer_waiting()
        return NoReply()

    def _decide(self, request: _SessionQuestion, caller: Caller) -> Reply | NoReply:
        match request:
            case StartSession():
                self._start(request, caller)
                return NoReply()
            case StopSession():
                self._stop(request.session_id, caller)
                return NoReply()
            case GetSession():
                return Reply(self._session(request.session_id))
            case ListSessions():
                return Reply(self._by_age())
            case FindSession():
                return Reply(self._find(request))
            case UpdateRecord():
                return Reply(self._update(request))

    def handle_cast(self, request: Any) -> Result:
        """Take in what supervisors say; questions that came early are answered now."""
        result = super().handle_cast(request)
        match request:
            case ChildExited(name=("session", session_id)):
                self._ended_sessions.add(session_id)
            case (
                ClaimName(name=("session", session_id)) | ReleaseName(name=("session", session_id))
            ):
                self._ended_sessions.discard(session_id)
            case ClaimName(name=name, owner=owner) if name == REGISTRY:
                self._root = owner
            case _:
                pass
        self._answer_waiting()
        return result

    def _answer_waiting(self) -> None:
        if not self._waiting or self._is_rebuilding():
            return
        waiting, self._waiting = self._waiting, []
        for request, caller in waiting:
            try:
                result = self._decide(request, caller)
            except (SessionError, NoProcessError) as error:
                self.refuse(caller, error)
            else:
                if isinstance(result, Reply):
                    self.reply(caller, result.value)

    def handle_info(self, message: Any) -> Result:
        """Take in how the start or stop of a session went."""
        match message:
            case Response(token=token) if token in self._starts:
                self._started(message)
            case Response(token=token) if token in self._stops:
                self._stopped(message)
            case _:
                return super().handle_info(message)
        return None

    # Starting and stopping

    def _check_rate(self) -> None:
        retry_after = self._bucket.take(time.monotonic()) if self._bucket else 0.0
        if retry_after:
            raise RateLimitedError(retry_after)

    def _start(self, request: StartSession, caller: Caller) -> None:
        supervisor = self._supervisor()
        self._admit(request.session)
        token = self.send_request(supervisor, StartChild(request.spec))
        self._reserved[request.session.id] = request.session
        self._starts[token] = caller, request.session.id

    def _admit(self, session: Session) -> None:
        sessions = self._sessions()
        if len(sessions) >= self._admission.max_sessions:
            raise SessionLimitError(len(sessions), self._admission.max_sessions)
        if session.id in sessions:
            raise SessionExistsError(session.id)
        for other in sessions.values():
            if other.project_key == session.project_key:
                raise ProjectAlreadyOpenError(other.id)
        if not self._admission.allow_nested:
            self._check_nesting(session, sessions)

    def _check_nesting(self, session: Session, sessions: dict[str, Session]) -> None:
        above = frozenset(enclosing_keys(session.project_path))
        # What is around the open ones is looked at once, not at every start of another.
        known, self._around = self._around, {session.project_path: above}
        for other in sessions.values():
            path = other.project_path
            around_other = known.get(path) or frozenset(enclosing_keys(path))
            self._around.setdefault(path, around_other)
            if other.project_key in above or session.project_key in around_other:
                raise ProjectAlreadyOpenError(other.id, nested=True)

    def _update(self, request: UpdateRecord) -> Session:
        record = later(request.session, self._session(request.session_id))
        name = ("session", request.session_id)
        found = self.table.lookup(name)
        if isinstance(found, Live):
            self.table.update_value(name, found.ref, record)
        return record

    def _started(self, response: Response) -> None:
        caller, session_id = self._starts.pop(response.token)
        del self._reserved[session_id]
        if response.error is not None:
            self.refuse(caller, response.error)
        else:
            self.reply(caller, response.value)

    def _stop(self, session_id: str, caller: Caller) -> None:
        self._session(session_id)
        token = self.send_request(self._supervisor(), TerminateChild(session_id))
        self._stops[token] = caller, session_id

    def _stopped(self, response: Response) -> None:
        caller, session_id = self._stops.pop(response.token)
        if isinstance(response.error, LookupError):
            self.refuse(caller, SessionNotFoundError(session_id))
        elif response.error is not None:
            self.refuse(caller, response.error)
        else:
            self.reply(caller, None)

    def _supervisor(self) -> ActorRef:
        found = self.table.lookup(SESSIONS)
        if not isinstance(found, Live):
            raise NoProcessError("the supervisor of sessions")
        return found.ref

    def _is_rebuilding(self) -> bool:
        """Whether there may be sessions that this registry has not been told of.

        A new registry knows of none until their supervisor has reported, and of
        no supervisor until the root has.
        """
        found = self.table.lookup(SESSIONS)
        if isinstance(found, Live):
            return found.ref not in self.reporters
        return not isinstance(found, NotFound) or self._root not in self.reporters

    # Look-ups

    def _sessions(self) -> dict[str, Session]:
        """Return every session that is open or being started, by id."""
        entries = self.table.select(lambda entry: entry.name[0] == "session")
        return self._reserved | {
            entry.name[1]: entry.value
            for entry in entries
            if isinstance(entry.value, Session) and entry.name[1] not in self._ended_sessions
        }

    def _session(self, session_id: str) -> Session:
        found = self.table.lookup(("session", session_id))
        if not isinstance(found, Live) or not isinstance(found.value, Session):
            raise SessionNotFoundError(session_id)
        return found.value

    def _by_age(self) -> list[Session]:
        live = [
            session for session in self._sessions().values() if session.id not in self._reserved
        ]
        return sorted(live, key=lambda session: (session.created_at, session.id))

    def _find(self, wanted: FindSession) -> Session:
        for session in self._by_age():
            if wanted.project_key == session.project_key or wanted.name == session.name:
                return session
        raise SessionNotFoundError("with that project" if wanted.name is None else "with that name")
