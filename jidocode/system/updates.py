"""`Updates`: changes the record of an open session in every process that has it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from jidocode._host.deadline import Deadline
from jidocode.base.changes import Changes
from jidocode.base.text import quote
from jidocode.errors import CallTimeoutError, ChildNotFoundError, NoProcessError
from jidocode.otp.supervision.management import UpdateChild
from jidocode.session.admission.messages import SESSIONS, OpenSession, UpdateRecord
from jidocode.session.record import Session
from jidocode.session.requests import request, update_session
from jidocode.system.router import Router
from jidocode.system.sessions import Sessions
from jidocode.system.steps import AwaitChange, Plan


class Updates:
    """Brings a change to State, to the registry, to supervisors and to Manager.

    One change of a session at a time in one process: whoever carries out the plan sees to that.
    What another process has changed meanwhile is not lost: the change is made again, of that.
    """

    def __init__(self, router: Router, sessions: Sessions) -> None:
        self._router = router
        self._sessions = sessions
        # Of sessions whose change is being made, which may change them itself: until when it knows
        # of changes.
        self._known: dict[str, datetime] = {}

    def apply(self, session_id: str, change: Callable[[Session], Session]) -> Plan[Session]:
        """Have *change* count everywhere; see `SessionSystem.update_session`."""
        current = yield from self._sessions.record(session_id)
        is_nested = session_id in self._known
        while True:
            self._known[session_id] = current.updated_at
            try:
                wanted = change(current)
            finally:
                since = self._known.pop(session_id, current.updated_at)
            if not isinstance(wanted, Session):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
                raise TypeError(f"change must return a Session, got {quote(wanted)}")
            # First the one who writes it down: if it refuses, nothing has changed.
            kept: Session = yield from self._router.ask(
                ("state", session_id), request(update_session, wanted, since)
            )
            if kept == wanted or kept.updated_at <= since:
                break
            current = kept  # another process was faster
        if is_nested:
            self._known[session_id] = kept.updated_at
        opened: OpenSession = yield from self._router.ask_registry(UpdateRecord(session_id, wanted))
        yield from self._tell_supervisors(opened)
        with suppress(NoProcessError):  # stopped: it will start from the spec
            yield from self._router.ask(
                ("manager", session_id), request(update_session, opened.record)
            )
        return opened.record

    def _tell_supervisors(self, opened: OpenSession) -> Plan[None]:
        """Have every later restart, and every later registry, start from *opened*."""
        session_id = opened.record.id
        yield from self._router.ask(SESSIONS, UpdateChild(session_id, value=opened))
        for spec in self._sessions.children(opened):
            update = UpdateChild(spec.id, start=spec.start)
            with suppress(ChildNotFoundError):  # deleted: nobody will start from it
                yield from self._router.ask(("session", session_id), update)


class Turn(Struct, frozen=True, eq=False):
    """The turn of *owner* to change a session's record."""

    session_id: str
    owner: Hashable


class Turns:
    """Lets one owner at a time change a session's record, without a lock (see `sharing`).

    One that has the turn may have another one within it: a signal handler may update what its
    thread is updating.
    """

    def __init__(self) -> None:
        self._changes = Changes()
        self._turns: dict[str, Turn] = {}

    def await_turn(self, turn: Turn, deadline: Deadline) -> Plan[None]:
        """Wait until it is that *turn*; to be given up whatever comes of it.

        Raises:
            CallTimeoutError: It is not by *deadline*.
        """
        session_id, owner = turn.session_id, turn.owner

        def look() -> bool | None:
            return self._turns.setdefault(session_id, turn).owner == owner or None

        if (yield AwaitChange(self._changes, look, deadline)) is None:
            raise CallTimeoutError(f"session {session_id}", deadline.seconds)

    def give_up(self, turn: Turn) -> None:
        """Let the next one have its turn, unless *turn* was one within another, or never came."""
        if self._turns.get(turn.session_id) is turn:
            del self._turns[turn.session_id]
            self._changes.tell()
