"""`RunningSystem`: a running tree with sessions in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve
from msgspec import Struct

from jidocode._host.client.owner import OwnerClient
from jidocode._host.threads import run_whole
from jidocode.base import log
from jidocode.base.refs import ActorRef, Name
from jidocode.base.stop import Stop
from jidocode.errors import AttachError, HostError, JidocodeError, SessionNotFoundError
from jidocode.otp.supervision.management import TerminateChild
from jidocode.otp.supervision.specs import Start
from jidocode.session.admission.admission import AdmissionRules
from jidocode.session.admission.messages import SESSIONS
from jidocode.session.agent.presence import PATIENCE, cancelling_turns
from jidocode.session.record import Session, validate_session_id
from jidocode.session.requests import Request
from jidocode.session.starting import AGENT, COMMANDS, asking_commands
from jidocode.session.tree import SessionChildren, system_root
from jidocode.system.archive import Archive
from jidocode.system.events import EventStream
from jidocode.system.health import Statistics
from jidocode.system.running import Connect, RunningTree
from jidocode.system.session_router import SessionRouter, process_name
from jidocode.system.sessions import Sessions
from jidocode.system.settings import Settings
from jidocode.system.steps import Plan
from jidocode.system.updates import Turn, Turns, Updates

if TYPE_CHECKING:
    from jidocode._host.attach.place import Claim
    from jidocode.session.agent.spec import ModelSpec
    from jidocode.session.tools.calls import ToolCalls
    from jidocode.session.tools.policy import AsyncPolicy
    from jidocode.session.tools.tool import Tool

_Result = TypeVar("_Result")


class Tooling(Struct, frozen=True):
    """What an app says of tools and models.

    Attributes:
        tools: The app's own tools.
        policy: Who allows what tools do, None for nobody.
        model: What the agents of the system's sessions speak with, None for nothing.
    """

    tools: Sequence[Tool]
    policy: AsyncPolicy | None
    model: ModelSpec | None


class About(Struct, frozen=True):
    """What a process that attaches to a system has to know of it.

    Attributes:
        settings: How it behaves; the folder of its journals is in them.
        system: Its id among those that have the same journals.
        private: The folder in which it keeps its secret; another process may look elsewhere.
        model: What the agents of its sessions speak with, None for nothing.
    """

    settings: Settings
    system: str
    private: str
    model: ModelSpec | None


class RunningSystem(RunningTree):
    """A running tree with sessions in it.

    Attributes:
        settings: How it behaves; the folder of its journals is in them.
        tooling: What the app says of tools, and of models.
        archive: The journals.
        sessions: Opens, finds and stops sessions.
        updates: Changes the records of sessions.
    """

    def __init__(
        self,
        connect: Connect,
        archive: Archive,
        settings: Settings,
        build: SessionChildren,
        tooling: Tooling,
    ) -> None:
        """Have the tree that *connect* starts or finds; *build* says what a session consists of."""
        self.settings = settings
        self.tooling = tooling
        self.archive = archive
        super().__init__(connect, settings, SessionRouter, sessions=SESSIONS[1])
        self.sessions = Sessions(self.router, self.archive, settings, build, tooling.model)
        self.updates = Updates(self.router, self.sessions)
        self._turns = Turns()

    def let_in(self, claim: Claim) -> None:
        """Have other processes of this user find the system by the name of *claim*.

        Raises:
            AttachError: They could not.
        """
        client = self.client
        assert isinstance(client, OwnerClient)  # noqa: S101 - who is let in lets nobody in
        try:
            run_whole(lambda: client.let_in(claim, self._about()))
        except OSError as error:
            raise AttachError(f"nobody could attach to it: {error.strerror}") from error

    def _about(self) -> About:
        settings = self.settings
        if settings.durability != "memory":  # where it is by default depends on who asks
            settings = evolve(settings, state_dir=self.archive.folder)
        return About(settings, self.archive.system, str(self.archive.private), self.tooling.model)

    def update(self, session_id: str, change: Callable[[Session], Session]) -> Session:
        """Change the record of a session, one thread at a time; see `Updates`."""
        return self.carry_out(self.updating(session_id, change, threading.get_ident()))

    def updating(
        self, session_id: str, change: Callable[[Session], Session], owner: Hashable
    ) -> Plan[Session]:
        """Change the record of a session, one *owner* at a time; see `Updates`."""
        self.client.check_owner()  # in a fork, a turn may be another thread's for ever
        deadline = self.router.deadline()
        turn = Turn(validate_session_id(session_id), owner)
        try:  # before it comes: Ctrl-C may come between
            yield from self._turns.await_turn(turn, deadline)
            return (yield from self.updates.apply(session_id, change))
        finally:
            self._turns.give_up(turn)

    def withdraw(self, session_id: str, outcome: Callable[[], Session], *, is_fresh: bool) -> None:
        """Have a session not be open whose start, with that *outcome*, is not wanted any more.

        Only if its id *is_fresh* is it certain whose session that is before it has started: so
        it is stopped at once then, and its journal is deleted.
        """
        if is_fresh:
            with suppress(JidocodeError):  # it is not there yet, or not any more
                self.call(SESSIONS, TerminateChild(session_id), timeout=self.settings.shutdown)
        try:
            outcome()
        except JidocodeError:
            if not is_fresh:
                return
        with suppress(SessionNotFoundError):
            self.carry_out(self.sessions.stop(session_id))
        if is_fresh:
            with suppress(JidocodeError):  # it has none
                self.archive.delete(session_id)

    def counting(self) -> Plan[Statistics]:
        """Return a snapshot of counts."""
        return Statistics(
            sessions=len((yield from self.sessions.records())),
            max_sessions=self.settings.max_sessions,
            processes=len(self.client.directory.live()),
            calls=self.client.calls,
        )

    def cancelling_turns(self, session_id: str) -> Plan[None]:
        """End all turns of a session's agent; see `AgentClient.cancel`."""
        name = process_name(AGENT, session_id)

        def end_agent() -> Plan[None]:
            agent = yield from self.router.running(name)
            if agent is not None:
                log.warning("an agent gives no sign of life for {:g} s, and is ended", PATIENCE)
                self.kill(agent)

        return cancelling_turns(self.router.ask, session_id, end_agent)

    # What needs no plan

    def tool_calls(self, session_id: str) -> ToolCalls:
        """Return the calls of a session's tools, those that every session has and the app's."""
        from jidocode.session.tools.builtin import TOOLS  # noqa: PLC0415 - few apps have tools, and all wait for imports
        from jidocode.session.tools.calls import ToolCalls  # noqa: PLC0415 - idem
        from jidocode.session.tools.policy import read_only  # noqa: PLC0415 - idem

        return ToolCalls(
            session_id,
            [*TOOLS, *self.tooling.tools],
            self.tooling.policy or read_only,
            patience=self.settings.policy_timeout,
        )

    def events(self, session_id: str | None) -> EventStream:
        """Return a stream of what happens from now on; see `SessionSystem.events`."""
        wanted = None if session_id is None else validate_session_id(session_id)
        client, hub = self.client, self.hub
        if client.closed and client.came_later:
            client.check_missing()
        if not client.came_later:
            return hub.stream(wanted)
        stream = hub.late_stream(wanted)
        with suppress(HostError):  # the system has ended, and so has the stream
            client.hand_over(lambda: hub.begin(stream, client.directory))
        return stream

    def find_child(self, kind: str, session_id: str) -> ActorRef:
        """Return a session's process; see `SessionSystem.get_process`."""
        return self.find(process_name(kind, session_id), self.router.deadline())

    def way_to(self, kind: str, session_id: str) -> Way:
        """Return the way to a session's process, for its client."""
        return Way(self, process_name(kind, session_id))

    def way_to_commands(self, session_id: str) -> Way:
        """Return the way to the process that runs a session's commands, which it starts."""
        return _WayToCommands(self, process_name(COMMANDS, session_id))

    def way_to_servers(self, session_id: str) -> Way:
        """Return the way to the processes that keep a session's MCP servers."""
        return _WayToServers(self, process_name("session", session_id))


class Way(Struct, frozen=True):
    """The way of threads to the process under one name: a `Channel`."""

    system: RunningSystem
    name: Name

    def __call__(
        self,
        request: Request[_Result],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
    ) -> _Result:
        """Ask, and return the answer."""
        return self.system.carry_out(self.asking(request, timeout), stop)

    def asking(self, request: Request[_Result], timeout: float | None) -> Plan[_Result]:
        """Return the plan to ask, whose outcome is the answer."""
        return self.system.router.ask(self.name, request, timeout)


class _WayToCommands(Way, frozen=True):
    """The way to the process that runs a session's commands, which is started by who asks first."""

    def asking(self, request: Request[_Result], timeout: float | None) -> Plan[_Result]:
        """Return the plan to ask, whose outcome is the answer."""
        return asking_commands(self.system.router.ask, self.name[1], request, timeout)


class _WayToServers(Way, frozen=True):
    """The way to the processes that keep a session's MCP servers, which whoever asks starts."""

    def asking(self, request: Request[_Result], timeout: float | None) -> Plan[_Result]:
        """Return the plan to ask, whose outcome is the answer."""
        from jidocode.session.mcp.asking import asking_servers  # noqa: PLC0415 - few sessions have any

        return asking_servers(self.system.router.ask, self.name[1], request, timeout)


def root(settings: Settings, children: Iterable[object]) -> Start:
    """Return the root of the tree of a system with *settings*, *children* beside the sessions."""
    rate = settings.creation_rate
    rules = AdmissionRules(
        max_sessions=settings.max_sessions,
        attempts=rate.attempts if rate else None,
        seconds=rate.seconds if rate else 1.0,
        allow_nested=settings.allow_nested,
    )
    return system_root(rules, settings.heartbeat, children)
