"""`ProcessRegistry`: who runs under which name, and which sessions there are.

Differs from the plain `RegistryServer` in what it knows of sessions: an open
session is a name of the kind `session` whose value is an `OpenSession`.
Sessions are started and stopped through it, one decision at a time, so the
limit, the ids and the projects are exact under any number of callers. It asks
`Admission`, reserves the place, has the session started, and frees the place
if that fails.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from jidocode.base import log
from jidocode.base.faults import fault_in
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import (
    ActorExitedError,
    NoProcessError,
    RateLimitedError,
    SessionError,
    SessionLimitError,
    SessionNotFoundError,
)
from jidocode.otp.naming.messages import (
    REGISTRY,
    ClaimName,
    Live,
    NotFound,
    OneLife,
    Restarting,
)
from jidocode.otp.naming.server import LOOK_SECONDS, RegistryServer
from jidocode.otp.naming.table import Entry
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.messages import Caller, Down, Response
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply, Result
from jidocode.otp.supervision.management import StartChild, TerminateChild
from jidocode.session.admission.admission import Admission, AdmissionRules
from jidocode.session.admission.messages import (
    SESSIONS,
    FindRecord,
    GetOpenSession,
    GetRecord,
    ListRecords,
    OpenSession,
    SessionQuestion,
    SessionRefused,
    StartSession,
    StopSession,
    UpdateRecord,
)
from jidocode.session.record import Session, is_session_id
from jidocode.session.requests import later

_OWNERS = {"session": "sessions", "manager": "session", "state": "session"}
"""Of which kind the supervisor is that a session's own processes have, by their kinds."""


class _Looked(Struct, frozen=True):
    """To itself: the sessions that are in the way of *request* live, or it was told by now."""

    request: StartSession
    caller: Caller


class ProcessRegistry(RegistryServer):
    """The registry of one system."""

    system_names: ClassVar[frozenset[Name]] = frozenset([REGISTRY, SESSIONS])

    def init(self, rules: AdmissionRules) -> None:  # type: ignore[override] # arguments come from the spec
        """Start with nothing; whatever runs already is reported by the supervisors."""
        super().init()
        self._admission = Admission(rules)
        self._reservations: dict[str, OpenSession] = {}
        self._waiting: list[tuple[SessionQuestion, Caller]] = []
        self._starts: dict[int, tuple[Caller, str, ActorRef]] = {}
        self._stops: dict[int, tuple[Caller, StopSession]] = {}
        # Supervisors of sessions that are watched, by token, and those that were seen to be dead.
        self._watched: dict[int, ActorRef] = {}
        self._seen_dead: set[ActorRef] = set()

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*; what is about sessions waits until it is known which there are."""
        if not isinstance(request, SessionQuestion):
            return super().handle_call(request, caller)
        if isinstance(request, StartSession) and not request.again:
            try:
                self._admission.count_attempt(time.monotonic())
            except RateLimitedError as error:
                self.announce(SessionRefused(error))
                return Refuse(error)
        if self._is_rebuilding():
            self._waiting.append((request, caller))
        else:  # it alone: for those that wait there is no news, and they may be many
            self._answer_or_keep(request, caller)
        return NoReply()

    def _answer_question(self, request: SessionQuestion, caller: Caller) -> Reply | NoReply:
        match request:
            case StartSession():
                self._start(request, caller)
                return NoReply()
            case StopSession():
                return self._stop(request, caller)
            case GetRecord():
                return Reply(self._open_session(request.session_id).record)
            case GetOpenSession():
                return Reply(self._open_session(request.session_id))
            case ListRecords():
                return Reply(self._records_by_age())
            case FindRecord():
                return Reply(self._find(request))
            case UpdateRecord():
                return Reply(self._update(request))

    def handle_cast(self, request: Any) -> Result:
        """Take in what supervisors say; questions that came early are answered now."""
        match request:
            case ClaimName(
                name=("session", _),
                value=OneLife(OpenSession() as opened) | (OpenSession() as opened),
            ) if _is_bad(opened):
                log.warning("a session was claimed with a record that breaks a rule")
                return None
            case _:
                pass
        result = super().handle_cast(request)
        self._answer_waiting()
        return result

    def may_hold(self, name: Name, owner: ActorRef) -> bool:
        """Whether *name* may be that of a child of *owner*: a session's own is for the session."""
        kind, session_id = name
        above = _OWNERS.get(kind)
        if above is None or not is_session_id(session_id):
            return super().may_hold(name, owner)
        found = self.table.lookup(SESSIONS if kind == "session" else ("session", session_id))
        return owner == found.ref if isinstance(found, Live) else owner.kind == above

    def _answer_waiting(self) -> None:
        if not self._waiting or self._is_rebuilding():
            return
        waiting, self._waiting = self._waiting, []
        for request, caller in waiting:
            self._answer_or_keep(request, caller)

    def _answer_or_keep(self, request: SessionQuestion, caller: Caller) -> None:
        try:
            result = self._answer_question(request, caller)
        except (SessionError, NoProcessError) as error:
            if self._is_about_a_start(request):
                self._waiting.append((request, caller))
            else:
                self.refuse(caller, error)
        else:
            if isinstance(result, Reply):
                self.reply(caller, result.value)

    def handle_info(self, message: Any) -> Result:
        """Take in how the start or stop of a session went."""
        match message:
            case Response(token=token) if token in self._starts:
                self._on_start_response(message)
                self._answer_waiting()
            case Response(token=token) if token in self._stops:
                self._on_stop_response(message)
            case Down(token=token) if token in self._watched:
                self._seen_dead.add(self._watched.pop(token))
            case _Looked(request, caller):
                self._decide(request, caller)
                self._answer_waiting()
            case _:
                result = super().handle_info(message)
                self._answer_waiting()  # somebody may have ended
                return result
        return None

    # Starting and stopping

    def _start(self, request: StartSession, caller: Caller) -> None:
        supervisor = self._supervisor()
        try:
            self._check_place(request)
        except SessionError:
            if self._has_dying_sessions():
                self._waiting.append((request, caller))  # one of them may have that place
            else:  # as far as is known
                self._look_at_sessions()
                self.send_after(LOOK_SECONDS, _Looked(request, caller))
            return
        token = self.send_request(supervisor, StartChild(request.spec), timeout=INFINITY)
        session_id = request.session.record.id
        self._reservations[session_id] = request.session
        self._starts[token] = caller, session_id, supervisor

    def _check_place(self, request: StartSession) -> None:
        taken = [other.place for other in self._known_sessions().values()]
        self._admission.check_place(request.session.place, taken)

    def _look_at_sessions(self) -> None:
        watched = {*self._watched.values(), *self._seen_dead}
        for entry in self._entries_of_sessions():
            if entry.ref is not None and entry.ref not in watched:
                self._watched[self.watch_process(entry.ref)] = entry.ref

    def _decide(self, request: StartSession, caller: Caller) -> None:
        """Refuse *request* if its place is still taken, and none of the sessions is dead."""
        try:
            self._check_place(request)
        except SessionError as error:
            if not self._has_dying_sessions():
                if isinstance(error, SessionLimitError):
                    self.announce(SessionRefused(error))
                self.refuse(caller, error)
                return
        self._waiting.append((request, caller))

    def _update(self, request: UpdateRecord) -> OpenSession:
        current = self._open_session(request.session_id)
        updated = replace(current, record=later(request.record, current.record))
        name = ("session", request.session_id)
        found = self.table.lookup(name)
        if isinstance(found, Live):
            self.table.update_value(name, found.ref, updated)
        return updated

    def _on_start_response(self, response: Response) -> None:
        caller, session_id, supervisor = self._starts.pop(response.token)
        del self._reservations[session_id]
        if isinstance(response.error, ActorExitedError | NoProcessError):
            # What it had begun may be here still, and what the next one has is not known yet.
            self.reporters.discard(supervisor)
        if response.error is not None:
            self.refuse(caller, response.error)
        else:
            self.reply(caller, response.value)

    def _stop(self, request: StopSession, caller: Caller) -> Reply | NoReply:
        session_id = request.session_id
        if request.again and not isinstance(self.table.lookup(("session", session_id)), Live):
            return Reply(None)
        self._open_session(session_id)
        question = TerminateChild(session_id)
        token = self.send_request(self._supervisor(), question, timeout=INFINITY)
        self._stops[token] = caller, request
        return NoReply()

    def _on_stop_response(self, response: Response) -> None:
        caller, request = self._stops.pop(response.token)
        is_unknown = isinstance(response.error, LookupError)
        if response.error is None or (is_unknown and request.again):  # the first one has been done
            self.reply(caller, None)
        elif is_unknown:
            self.refuse(caller, SessionNotFoundError(request.session_id))
        else:
            self.refuse(caller, response.error)

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
        return not isinstance(found, NotFound) or self.root not in self.reporters

    def _has_dying_sessions(self) -> bool:
        """Whether there are dead sessions, or some whose supervisor is: they go in a moment."""
        entries = self._entries_of_sessions()
        self._seen_dead &= {entry.ref for entry in entries if entry.ref is not None}
        return any(entry.is_orphaned or entry.ref in self._seen_dead for entry in entries)

    def _entries_of_sessions(self) -> list[Entry]:
        return self.table.select(lambda entry: entry.name[0] == "session")

    # Look-ups

    def _known_sessions(self) -> dict[str, OpenSession]:
        """Return every session that is open or being started, by id."""
        return self._reservations | {
            entry.name[1]: entry.value
            for entry in self._entries_of_sessions()
            if isinstance(entry.value, OpenSession)
        }

    def _open_session(self, session_id: str) -> OpenSession:
        found = self.table.lookup(("session", session_id))
        if not isinstance(found, Live) or not isinstance(found.value, OpenSession):
            raise SessionNotFoundError(session_id)
        return found.value

    def _is_about_a_start(self, question: SessionQuestion) -> bool:
        """Whether *question* looks for a session that is being started: it is answered after that.

        Whoever was forestalled looks for it, and is not told that there is none. The one who has
        it started may have asked a registry before this one, or be its supervisor, again.
        """
        match question:
            case GetRecord():
                session_id = question.session_id
                found = self.table.lookup(("session", session_id))
                return isinstance(found, Restarting) or session_id in self._reservations
            case FindRecord():
                started = self._reservations.values()
                return any(_is_wanted(opened.record, question) for opened in started)
            case _:
                return False

    def _records_by_age(self) -> list[Session]:
        records = [
            session.record
            for session_id, session in self._known_sessions().items()
            if session_id not in self._reservations
        ]
        return sorted(records, key=lambda record: (record.created_at, record.id))

    def _find(self, wanted: FindRecord) -> Session:
        for record in self._records_by_age():
            if _is_wanted(record, wanted):
                return record
        raise SessionNotFoundError("with that project" if wanted.name is None else "with that name")


def _is_wanted(record: Session, wanted: FindRecord) -> bool:
    return wanted.project_key == record.project_key or wanted.name == record.name


def _is_bad(opened: OpenSession) -> bool:
    """Whether *opened*, which any process may have kept beside a name, is none in truth."""
    if fault_in(opened) is not None:
        return True
    try:
        opened.record.validate_values()
    except SessionError:
        return True
    return False
