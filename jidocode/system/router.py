"""`Router`: finds the process under a name, and asks it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from jidocode._host.client.calls import REASON_GRACE, NotSentError
from jidocode._host.client.directory import Directory
from jidocode._host.client.news import ROOT, SESSION
from jidocode._host.sharing import deadline_after
from jidocode.base.refs import ActorRef, Name
from jidocode.base.text import quote
from jidocode.errors import (
    CallError,
    CallTimeoutError,
    NoProcessError,
    RegistryNotRunningError,
    SessionNotFoundError,
)
from jidocode.otp.naming.messages import Live, LookUp, NotFound
from jidocode.session.admission.messages import REGISTRY
from jidocode.session.record import validate_session_id
from jidocode.system.steps import Ask, AwaitName, Plan


def process_name(kind: str, session_id: str) -> Name:
    """Return the name of a session's process.

    Raises:
        InvalidSessionIdError: *session_id* is no session id.
    """
    if not isinstance(kind, str):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise TypeError(f"kind must be a str, got {quote(kind)}")
    return kind, validate_session_id(session_id)


class Router:
    """Brings requests to processes by their names, and waits while one is restarted.

    Names are usually known (`Directory`), so the registry is asked only about
    those that are not.
    """

    def __init__(
        self,
        directory: Directory,
        check: Callable[[], None],
        check_missing: Callable[[], None],
        call_timeout: float,
    ) -> None:
        """Know what *directory* knows.

        *check* raises if the system is gone, *check_missing* also if it is going.
        Where no other time is given, an answer has *call_timeout* seconds.
        """
        self._directory = directory
        self._check = check
        self._check_missing = check_missing
        self.call_timeout = call_timeout

    def deadline(self, timeout: float | None = None) -> float:
        """Return when *timeout* seconds, by default the call timeout, are over (monotonic).

        Raises:
            InvalidTimeError: *timeout* is no time.
        """
        return deadline_after(self.call_timeout if timeout is None else timeout)

    def ask(self, name: Name, request: object, timeout: float | None = None) -> Plan[Any]:
        """Send *request* to the process under *name*, and return its answer.

        Raises:
            SessionNotFoundError: There is no such session.
            NoProcessError: The session has no such process.
            CallTimeoutError: No answer within *timeout* seconds, the call timeout by default.
            InvalidTimeError: *timeout* is no time.
            Exception: Whatever else `HostClient.call` raises.
        """
        deadline = self.deadline(timeout)
        target = f"{name[0]} of session {name[1]}"
        while True:
            ref = self._directory.find(name)
            if ref is None:
                ref = yield from self.find(name, deadline)
            try:
                return (yield Ask(ref, request, deadline, target))
            except NotSentError as error:
                if time.monotonic() >= deadline:
                    raise NoProcessError(error.target) from None

    def find(self, name: Name, deadline: float) -> Plan[ActorRef]:
        """Return the process under *name*; raises as `ask`."""
        self._check()
        ref = self._directory.find(name)
        if ref is not None:
            return ref
        found = yield from self.ask_registry(LookUp(name), deadline)
        if isinstance(found, Live) and self._directory.death_of(found.ref) is None:
            return found.ref
        if isinstance(found, NotFound) and not self._directory.is_expected(name):
            if self._directory.end_of(name) is not None:
                yield from self._await_end_of_session(name, deadline)
            raise self._unknown_error(name)
        back: ActorRef | None = yield AwaitName(name, deadline, lambda: not self._is_coming(name))
        if back is None:
            raise self._not_back_error(name)
        return back

    def look_up(self, name: Name) -> Plan[ActorRef | None]:
        """Return what the registry has under *name* now; None while it is restarted."""
        found = yield from self.ask_registry(LookUp(name))
        return found.ref if isinstance(found, Live) else None

    def ask_registry(
        self, request: object, deadline: float | None = None, *, target: str = "the registry"
    ) -> Plan[Any]:
        """Send *request* to the process registry, and return its answer.

        *target* is who answers in truth, for the error that tells of a time-out.

        Raises:
            RegistryNotRunningError: There is none, and none is being started.
            Exception: What the registry refuses with, and whatever `HostClient.call` raises.
        """
        deadline = self.deadline() if deadline is None else deadline
        while True:
            self._check()
            ref = yield from self.await_process(REGISTRY, deadline)
            if ref is None:
                self._check_missing()
                raise RegistryNotRunningError
            try:
                return (yield Ask(ref, request, deadline, target))
            except NotSentError as error:
                if time.monotonic() >= deadline:
                    raise RegistryNotRunningError from error
            except SessionNotFoundError as error:
                raise self._not_found(error.wanted) from None

    def root(self, deadline: float) -> Plan[ActorRef]:
        """Return the root of the tree.

        Raises:
            NoProcessError: There is none, and none is being started.
        """
        self._check()
        root = yield from self.await_process(ROOT, deadline)
        if root is None:
            raise NoProcessError("the root of the tree")
        return root

    def await_process(self, name: Name, deadline: float) -> Plan[ActorRef | None]:
        """Return the system's own process under *name*, None if it is not there by *deadline*.

        It is waited for only while it is being replaced, or the whole tree is.
        """
        known = self._directory
        ref: ActorRef | None = yield AwaitName(
            name, deadline, lambda: not (known.is_expected(name) or known.is_expected(ROOT))
        )
        return ref

    def _await_end_of_session(self, name: Name, deadline: float) -> Plan[None]:
        """Wait a moment for the session to end: its child may be the first of all to go."""
        deadline = min(deadline, self.deadline(REASON_GRACE))
        yield AwaitName(name, deadline, lambda: not self._is_coming(name))

    def _not_found(self, session_id: str) -> SessionNotFoundError:
        return SessionNotFoundError(session_id, self._directory.end_of((SESSION, session_id)))

    def _is_coming(self, name: Name) -> bool:
        return self._directory.find((SESSION, name[1])) is not None

    def _not_back_error(self, name: Name) -> CallError | SessionNotFoundError:
        if not self._is_coming(name):
            return self._not_found(name[1])
        return CallTimeoutError(f"{name[0]} of session {name[1]}", self.call_timeout)

    def _unknown_error(self, name: Name) -> CallError | SessionNotFoundError:
        kind, session_id = name
        if kind == SESSION or not self._is_coming(name):
            return self._not_found(session_id)
        return NoProcessError(f"{kind} of session {session_id}")
