"""What the registry of a system is asked about sessions, and by which names it is found."""

from __future__ import annotations

from attrs import frozen
from msgspec import Struct

from jidocode.base.records import Record
from jidocode.base.refs import Name
from jidocode.errors import RateLimitedError, SessionLimitError
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.session.admission.admission import Place
from jidocode.session.project.locate import ProjectKey
from jidocode.session.record import Session
from jidocode.session.upkeep import Upkeep

SESSIONS: Name = ("system", "sessions")


@frozen(eq=False, repr=False)
class SessionRefused(Record):
    """A session was not let in, for the limit or the rate, whoever has asked for it."""

    error: SessionLimitError | RateLimitedError


class OpenSession(Struct, frozen=True):
    """What is registered with the name of a session, and kept by its supervisor.

    A new registry gets it back from there, and has to look at no disk.

    Attributes:
        record: The session's record.
        enclosing: The keys of the folders around its project; see `Place`.
        upkeep: What its processes are started with.
    """

    record: Session
    enclosing: frozenset[ProjectKey]
    upkeep: Upkeep

    @property
    def place(self) -> Place:
        """What it takes up."""
        return Place(self.record.id, self.record.project_key, self.enclosing)


class StartSession(Struct, frozen=True):
    """Start *spec*, the supervisor of *session*; answered with its ref.

    Refused with `RateLimitedError`, `SessionLimitError`, `SessionExistsError` or
    `ProjectAlreadyOpenError`, checked in this order, or with why it did not start.
    If it is asked *again* because a process was gone, the rate is left alone: it
    is still one attempt.
    """

    session: OpenSession
    spec: ChildSpec
    again: bool = False


class StopSession(Struct, frozen=True):
    """Stop a session; answered when all its processes are dead.

    If it is asked *again* because a registry was gone, it may be stopped already: it is
    answered then, too.
    """

    session_id: str
    again: bool = False


class GetRecord(Struct, frozen=True):
    """Answered with the record of an open session."""

    session_id: str


class GetOpenSession(Struct, frozen=True):
    """Answered with the `OpenSession` with that id."""

    session_id: str


class ListRecords(Struct, frozen=True):
    """Answered with the records of all open sessions, oldest first."""


class FindRecord(Struct, frozen=True):
    """Answered with the record of the oldest open session with that project or exact name."""

    project_key: ProjectKey | None = None
    name: str | None = None


class UpdateRecord(Struct, frozen=True):
    """Take *record* for the record of an open session, if it is a later one.

    Answered with the `OpenSession` that counts now. Refused with
    `InvalidRequestError` if it is no record of the session *session_id*.
    """

    session_id: str
    record: Session


SessionQuestion = (
    StartSession
    | StopSession
    | GetRecord
    | GetOpenSession
    | ListRecords
    | FindRecord
    | UpdateRecord
)
