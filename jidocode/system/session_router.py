"""`SessionRouter`: a router that knows what a session is."""

from __future__ import annotations

from typing import Any

from jidocode._host.client.calls import REASON_GRACE
from jidocode._host.client.news import SESSION
from jidocode._host.deadline import Deadline
from jidocode.base.refs import Name, Target
from jidocode.base.text import quote, word
from jidocode.errors import NoProcessError, SessionNotFoundError
from jidocode.session.record import is_session_id, validate_session_id
from jidocode.system.router import Router
from jidocode.system.steps import AwaitName, Plan


def process_name(kind: str, session_id: str) -> Name:
    """Return the name of a session's process.

    Raises:
        InvalidSessionIdError: *session_id* is no session id.
    """
    if not isinstance(kind, str):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise TypeError(f"kind must be a str, got {quote(kind)}")
    return kind, validate_session_id(session_id)


class SessionRouter(Router):
    """Tells a session that is gone from one that has no such process."""

    # Who refuses a session as unknown does not know how it ended; the directory may.

    def ask(self, target: Target, request: object, timeout: float | None = None) -> Plan[Any]:
        """Ask as `Router.ask`; a session that is refused as unknown says how it ended."""
        return (yield from self._saying_how(super().ask(target, request, timeout)))

    def ask_registry(
        self, request: object, deadline: Deadline | None = None, **options: Any
    ) -> Plan[Any]:
        """Ask as `Router.ask_registry`; a session that is refused as unknown says how it ended."""
        return (yield from self._saying_how(super().ask_registry(request, deadline, **options)))

    def _saying_how(self, plan: Plan[Any]) -> Plan[Any]:
        try:
            return (yield from plan)
        except SessionNotFoundError as error:
            if error.ended is not None:
                raise
            raise (yield from self._not_found(error.wanted)) from None

    def words(self, name: Name) -> str:
        """Return what errors call the process under *name*."""
        kind, name_id = name
        return (
            f"{word(kind)} of session {name_id}" if is_session_id(name_id) else super().words(name)
        )

    def missing_error(self, name: Name, deadline: Deadline) -> Plan[Exception]:
        """Return the error for a *name* under which nobody runs, or will."""
        kind, session_id = name
        if not is_session_id(session_id):
            return (yield from super().missing_error(name, deadline))
        if self._directory.end_of(name) is not None or self._directory.leaving(name) is not None:
            # The session may be about to end: its child may be the first of all to go.
            moment = min(deadline, self.deadline(REASON_GRACE), key=lambda each: each.at)
            yield AwaitName(name, moment, lambda: not self._is_open(session_id))
        if kind == SESSION or (yield from self.running((SESSION, session_id), deadline)) is None:
            return (yield from self._not_found(session_id))
        return NoProcessError(self.words(name))

    def _not_found(self, session_id: str) -> Plan[SessionNotFoundError]:
        directory, name = self._directory, (SESSION, session_id)
        if not self._is_open(session_id) and directory.leaving(name) is not None:
            # It is gone, and how it ended is about to be heard.
            grace = self.deadline(REASON_GRACE)
            yield AwaitName(name, grace, lambda: directory.leaving(name) is None)
        return SessionNotFoundError(session_id, directory.end_of(name))

    def _is_open(self, session_id: str) -> bool:
        return self._directory.find_living((SESSION, session_id)) is not None
