"""`SessionHandle`: one session, as its app holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jidocode.base.refs import ActorRef
from jidocode.otp.supervision.management import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.session.manager.client import ManagerClient
from jidocode.session.record import Session
from jidocode.session.state.client import StateClient
from jidocode.session.tree import with_name
from jidocode.system.events import EventStream
from jidocode.system.health import Health
from jidocode.system.running import RunningSystem


class SessionHandle:
    """One open session. Holds names, no processes: it stays good across restarts.

    Every method that asks a process raises `SessionNotFoundError` if the
    session is gone, `CallTimeoutError` after the call's timeout,
    `ActorExitedError` if the process dies before it answers, and
    `HostExitedError` if the whole system is gone. While a process is being
    restarted, calls to it wait, within their timeout.

    Attributes:
        id: The session's id.
        manager: The project's files.
        state: The conversation.
    """

    def __init__(self, system: RunningSystem, session_id: str) -> None:
        self._system = system
        self.id = session_id
        self.manager = ManagerClient(system.way_to("manager", session_id))
        self.state = StateClient(system.way_to("state", session_id))

    def __repr__(self) -> str:
        return f"<SessionHandle {self.id}>"

    @property
    def session(self) -> Session:
        """The session's record, as the registry has it now."""
        return self._system.carry_out(self._system.sessions.record(self.id))

    def rename(self, name: str) -> Session:
        """Give the session another name; see `SessionSystem.update_session`."""
        return self._system.update(self.id, lambda session: session.rename(name))

    def update_config(self, changes: Mapping[str, Any]) -> Session:
        """Merge *changes* into the session's config; see `SessionSystem.update_session`."""
        return self._system.update(self.id, lambda session: session.update_config(changes))

    def update_language(self, language: str | None) -> Session:
        """Set the project's language; see `SessionSystem.update_session`."""
        return self._system.update(self.id, lambda session: session.update_language(language))

    @property
    def agent(self) -> ActorRef:
        """The process of the session's agent.

        Raises:
            NoProcessError: The session has none.
        """
        return self._system.find("agent", self.id)

    def health_check(self) -> Health:
        """Ask every child of the session how it is, all at once."""
        return self._system.carry_out(self._system.probe.session(self.id))

    def stop(self) -> None:
        """Stop the session; returns when all its processes are dead."""
        self._system.carry_out(self._system.sessions.stop(self.id))

    def call(self, child_id: str, request: object, *, timeout: float | None = None) -> Any:
        """Send *request* to the `handle_call` of one of the app's own children.

        Args:
            child_id: The id of its spec.
            request: Must pickle.
            timeout: Seconds to wait; the system's `call_timeout` by default.

        Raises:
            InvalidTimeError: *timeout* is no time.
            NoProcessError: The session has no such child running.
            CallError: *request* cannot be pickled.
            Exception: Whatever the handler refused with.
        """
        return self._system.way_to(child_id, self.id)(request, timeout=timeout)  # type: ignore[arg-type] # an own child takes what it likes

    def cast(self, child_id: str, request: object) -> None:
        """Send *request* to the `handle_cast` of an own child, and wait for nothing.

        Raises:
            InvalidTimeError: *timeout* is no time.
            NoProcessError: The session has no such child running.
            CallError: *request* cannot be pickled.
        """
        self._system.cast(child_id, self.id, request)

    def events(self) -> EventStream:
        """Return a stream of what happens in this session from now on; see `SessionSystem.events`.

        It ends with the session, after the `ChildExited` that says how that ended.
        """
        return self._system.hub.stream(self.id)

    def which_children(self) -> tuple[ChildInfo, ...]:
        """Return the session's children in start order."""
        children: tuple[ChildInfo, ...] = self._ask(WhichChildren())
        return children

    def count_children(self) -> ChildCounts:
        """Return how many children the session has, by what they are."""
        counts: ChildCounts = self._ask(CountChildren())
        return counts

    def start_child(self, spec: ChildSpec) -> ActorRef | None:
        """Start one more child; None if its `init` ignored.

        Raises:
            AlreadyStartedError: A child with that id runs.
            AlreadyPresentError: There is a stopped child with that id.
            StartFailedError: Its `init` failed; the spec is not kept.
            InvalidChildSpecError: The spec breaks a rule, or has a name of its own.
            CallError: It cannot be pickled.
        """
        ref: ActorRef | None = self._ask(StartChild(with_name(spec, self.id)))
        return ref

    def terminate_child(self, child_id: str) -> None:
        """Stop a child by its shutdown rule and keep its spec, unless it is temporary.

        Raises:
            ChildNotFoundError: No child has that id.
        """
        self._ask(TerminateChild(child_id))

    def restart_child(self, child_id: str) -> ActorRef | None:
        """Start a stopped child again.

        Raises:
            ChildNotFoundError: No child has that id.
            ChildRunningError: It runs.
            ChildRestartingError: Its supervisor is at it already.
            StartFailedError: Its `init` failed.
        """
        ref: ActorRef | None = self._ask(RestartChild(child_id))
        return ref

    def delete_child(self, child_id: str) -> None:
        """Forget the spec of a stopped child; raises as `restart_child`."""
        self._ask(DeleteChild(child_id))

    def _ask(self, request: object) -> Any:
        return self._system.way_to("session", self.id)(request)  # type: ignore[arg-type] # a supervisor's request
