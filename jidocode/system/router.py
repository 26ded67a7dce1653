"""Finding the process under a name, and asking it."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct

from jidocode._host.client.calls import NotSentError
from jidocode._host.client.client import HostClient
from jidocode._host.client.news import ROOT
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import (
    CallError,
    CallTimeoutError,
    NoProcessError,
    RegistryNotRunningError,
    SessionNotFoundError,
)
from jidocode.otp.naming.server import LookUp
from jidocode.otp.naming.table import Live, NotFound
from jidocode.session.admission.registry import REGISTRY
from jidocode.session.requests import Answer, Call, Request


class Router:
    """Brings requests to processes by their names, and waits while one is restarted.

    Names are usually known (`Directory`), so the registry is asked only about
    those that are not.
    """

    def __init__(self, client: HostClient, call_timeout: float) -> None:
        """Ask by *client*, and wait *call_timeout* seconds unless told otherwise."""
        self._client = client
        self._directory = client.directory
        self._call_timeout = call_timeout

    def deadline(self, timeout: float | None = None) -> float:
        """Return when *timeout* seconds, by default the call timeout, are over (monotonic)."""
        return time.monotonic() + (self._call_timeout if timeout is None else timeout)

    def way_to(self, name: Name) -> Call:
        """Return the way to the process under *name*."""
        return _Way(self, name)

    def ask(self, name: Name, request: object, timeout: float | None = None) -> Any:
        """Send *request* to the process under *name*, and return its answer.

        Raises:
            SessionNotFoundError: There is no such session.
            NoProcessError: The session has no such process.
            CallTimeoutError: No answer within *timeout* seconds, the call timeout by default.
            Exception: Whatever else `HostClient.call` raises.
        """
        deadline = self.deadline(timeout)
        target = f"{name[0]} of session {name[1]}"
        while True:
            ref = self._directory.find(name) or self.find(name, deadline)
            try:
                return self._client.call(
                    ref, request, timeout=seconds_until(deadline), target=target
                )
            except NotSentError as error:
                if time.monotonic() >= deadline:
                    raise NoProcessError(error.target) from None

    def find(self, name: Name, deadline: float) -> ActorRef:
        """Return the process under *name*; raises as `ask`."""
        self._client.check()
        ref = self._directory.find(name)
        if ref is not None:
            return ref
        found = self.ask_registry(LookUp(name), deadline)
        if isinstance(found, Live) and self._directory.death_of(found.ref) is None:
            return found.ref
        if isinstance(found, NotFound) and not self._directory.is_expected(name):
            raise self._missing(name)
        ref = self._directory.wait_for(name, deadline, lambda: not self._is_coming(name))
        if ref is None:
            raise self._why_not(name)
        return ref

    def ask_registry(
        self, request: object, deadline: float | None = None, *, target: str = "the registry"
    ) -> Any:
        """Send *request* to the process registry, and return its answer.

        *target* is who answers in truth, for the error that tells of a time-out.

        Raises:
            RegistryNotRunningError: There is none, and none is being started.
            Exception: What the registry refuses with, and whatever `HostClient.call` raises.
        """
        deadline = self.deadline() if deadline is None else deadline
        while True:
            self._client.check()
            ref = self.await_process(REGISTRY, deadline)
            if ref is None:
                self._client.check()
                raise RegistryNotRunningError
            try:
                return self._client.call(
                    ref, request, timeout=seconds_until(deadline), target=target
                )
            except NotSentError as error:
                if time.monotonic() >= deadline:
                    raise RegistryNotRunningError from error

    def await_process(self, name: Name, deadline: float) -> ActorRef | None:
        """Return the system's own process under *name*, None if it is not there by *deadline*.

        It is waited for only while it is being replaced, or the whole tree is.
        """
        known = self._directory
        return known.wait_for(
            name, deadline, lambda: not (known.is_expected(name) or known.is_expected(ROOT))
        )

    def _is_coming(self, name: Name) -> bool:
        return self._directory.find(("session", name[1])) is not None

    def _why_not(self, name: Name) -> CallError | SessionNotFoundError:
        if not self._is_coming(name):
            return SessionNotFoundError(name[1])
        return CallTimeoutError(f"{name[0]} of session {name[1]}", self._call_timeout)

    def _missing(self, name: Name) -> CallError | SessionNotFoundError:
        kind, session_id = name
        if kind == "session" or not self._is_coming(name):
            return SessionNotFoundError(session_id)
        return NoProcessError(f"{kind} of session {session_id}")


class _Way(Struct, frozen=True):
    """The way to the process under one name."""

    router: Router
    name: Name

    def __call__(self, request: Request[Any, Answer], /, *, timeout: float | None = None) -> Answer:
        answer: Answer = self.router.ask(self.name, request, timeout)
        return answer


def seconds_until(deadline: float) -> float:
    """Return how many seconds are left until *deadline* (monotonic), at least 0."""
    return max(0.0, deadline - time.monotonic())
