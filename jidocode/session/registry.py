"""`ProcessRegistry`: who runs under which name, and which sessions there are.

Differs from the plain `RegistryServer` in what it knows of sessions: an open
session is a name of the kind `session` whose value is the session's record.
Sessions are started and stopped through it, one decision at a time, so the
limit, the ids and the projects are exact under any number of callers. It
reserves a place, has the session started, and frees the place if that fails.
"""

from __future__ import annotations

from typing import Any

import attrs

from jidocode.errors import (
    NoProcessError,
    ProjectAlreadyOpenError,
    SessionExistsError,
    SessionLimitError,
    SessionNotFoundError,
    SupervisorError,
)
from jidocode.otp.management import StartChild, TerminateChild
from jidocode.otp.refs import ActorRef, Name
from jidocode.otp.registry import Live
from jidocode.otp.registry_server import RegistryServer
from jidocode.otp.server import Caller, CallResult, NoReply, Refuse, Reply, Response, Result
from jidocode.otp.specs import ChildSpec
from jidocode.session.record import ProjectKey, Session

REGISTRY: Name = ("system", "registry")
SESSIONS: Name = ("system", "sessions")


@attrs.frozen
class StartSession:
    """Start *spec*, the supervisor of *session*; answered with its ref.

    Refused with `SessionLimitError`, `SessionExistsError` or
    `ProjectAlreadyOpenError`, checked in this order, or with why it did not start.
    """

    session: Session
    spec: ChildSpec


@attrs.frozen
class StopSession:
    """Stop a session; answered when all its processes are dead."""

    session_id: str


@attrs.frozen
class GetSession:
    """Answered with the record of an open session."""

    session_id: str


@attrs.frozen
class ListSessions:
    """Answered with the records of all open sessions, oldest first."""


@attrs.frozen
class FindSession:
    """Answered with the oldest open session with that project or that exact name."""

    project_key: ProjectKey | None = None
    name: str | None = None


class ProcessRegistry(RegistryServer):
    """The registry of one system."""

    def init(self, max_sessions: int) -> None:  # type: ignore[override] # arguments come from the spec
        """Start with nothing; whatever runs already is told by the supervisors."""
        super().init()
        self._max_sessions = max_sessions
        self._reserved: dict[str, Session] = {}
        self._starts: dict[int, tuple[Caller, str]] = {}
        self._stops: dict[int, tuple[Caller, str]] = {}

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*."""
        try:
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
                case _:
                    return super().handle_call(request, caller)
        except (SupervisorError, SessionLimitError, SessionExistsError) as error:
            return Refuse(error)
        except (ProjectAlreadyOpenError, SessionNotFoundError, NoProcessError) as error:
            return Refuse(error)

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

    def _start(self, request: StartSession, caller: Caller) -> None:
        session = request.session
        sessions = self._sessions()
        if len(sessions) >= self._max_sessions:
            raise SessionLimitError(len(sessions), self._max_sessions)
        if session.id in sessions:
            raise SessionExistsError(session.id)
        for other in sessions.values():
            if other.project_key == session.project_key:
                raise ProjectAlreadyOpenError(other.id)
        token = self.send_request(self._supervisor(), StartChild(request.spec))
        self._reserved[session.id] = session
        self._starts[token] = caller, session.id

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

    # Look-ups

    def _sessions(self) -> dict[str, Session]:
        """Return every session that is open or being started, by id."""
        entries = self.table.select(lambda entry: entry.name[0] == "session")
        open_ones = {entry.name[1]: entry.value for entry in entries}
        return self._reserved | {
            session_id: session
            for session_id, session in open_ones.items()
            if isinstance(session, Session)
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
