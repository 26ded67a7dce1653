"""Requests: what may be asked of a session's processes, each a small record.

A request knows who can answer it and what the answer is, so the type checker
sees through the process boundary: `call(ReadFile(...))` is a `FileSlice`. The
servers hold the data and refuse what they do not know; how a request reaches
them is the business of whoever provides the `Call`.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from jidocode.base.records import Discreet
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError, JournalError, SessionError
from jidocode.otp.server.results import Refuse, Reply
from jidocode.session.record import Session

Holder = TypeVar("Holder", contravariant=True)  # noqa: PLC0105 - the names read better in requests
Answer = TypeVar("Answer", covariant=True)  # noqa: PLC0105 - idem


class Request(Discreet, Generic[Holder, Answer], frozen=True):
    """Something that a *Holder* can be asked, answered with an *Answer*. Must pickle."""

    def answer(self, holder: Holder) -> Answer:
        """Return the answer (called in the server's process, once per call)."""
        raise NotImplementedError


class Call(Protocol):
    """The way to a process: sends a request and returns its answer, or raises.

    Without *timeout* (seconds) the default of the system counts.
    """

    def __call__(  # noqa: D102 - the class says it
        self, request: Request[Any, Answer], /, *, timeout: float | None = None
    ) -> Answer: ...


def answer_or_refuse(request: Request[Holder, object], holder: Holder) -> Reply | Refuse:
    """Return what a server does about *request*: reply, or refuse and go on.

    Failures that are part of the contract are refusals (`SessionError`,
    `JournalError`, OSError and with it `BoundaryError`). Any other exception is a crash.
    """
    try:
        return Reply(request.answer(holder))
    except (SessionError, JournalError, OSError) as error:
        return Refuse(error)


def require_int(what: str, value: object, *, least: int) -> None:
    """Raise InvalidRequestError unless *value* is an int of *least* or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidRequestError(f"{what} must be an int of {least} or more, not {quote(value)}")


class SessionHolder(Protocol):
    """Whatever keeps the record of its session."""

    session: Session


class SessionRequest(Request[SessionHolder, Answer], frozen=True):
    """A request that each process of a session answers."""


class GetSession(SessionRequest[Session], frozen=True):
    """The session's record, as this process has it."""

    def answer(self, holder: SessionHolder) -> Session:
        """Return the record."""
        return holder.session


class UpdateSession(SessionRequest[Session], frozen=True):
    """Take *session* for the record, unless the process has a later one.

    Answered with the record that counts now. Its id and project cannot change.
    """

    session: Session

    def answer(self, holder: SessionHolder) -> Session:
        """Keep the later record and return it.

        Raises:
            InvalidRequestError: It is no record of this session and project.
            InvalidSessionError: Its name or another value breaks a rule.
        """
        holder.session = later(self.session, holder.session)
        return holder.session


def later(given: object, current: Session) -> Session:
    """Return the later of two records of the same session.

    Raises:
        InvalidRequestError: *given* is no record, or of another session or project.
        InvalidSessionError: It breaks a rule.
    """
    if not isinstance(given, Session):
        raise InvalidRequestError(f"a session's record must be a Session, not {quote(given)}")
    if _identity(given) != _identity(current):
        raise InvalidRequestError("the record is of another session or project")
    return max(current, given.validate_values(), key=lambda session: session.updated_at)


def _identity(session: Session) -> tuple[object, ...]:
    return (session.id, session.project_path, session.project_key)
