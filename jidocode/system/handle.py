"""`SessionHandle`: one session, as its app holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from jidocode._host.client.monitor import Monitor
from jidocode.base.refs import ActorRef, Name
from jidocode.base.stop import Stop
from jidocode.otp import management
from jidocode.otp.server.streams import CallStream
from jidocode.otp.supervision.management import ChildCounts, ChildInfo
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.session.commands.options import CommandOptions
from jidocode.session.manager.client import ManagerClient
from jidocode.session.record import Session
from jidocode.session.requests import Channel
from jidocode.session.snapshots.limits import LOOK_SECONDS, TAKE_SECONDS
from jidocode.session.state.client import StateClient
from jidocode.session.tree import with_name
from jidocode.system.events import EventStream
from jidocode.system.health import Health
from jidocode.system.running_sessions import RunningSystem
from jidocode.system.session_router import process_name

if TYPE_CHECKING:
    import os

    from jidocode.session.agent.client import AgentClient
    from jidocode.session.commands.client import CommandsClient
    from jidocode.session.commands.result import CommandResult
    from jidocode.session.mcp.client import McpServersClient
    from jidocode.session.snapshots.results import Changes, FileDiff, Reverted, Snapshot
    from jidocode.session.tools.toolbox import Toolbox


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

    def __init__(self, system: RunningSystem, session_id: str, stop: Stop | None = None) -> None:
        """Hold a session; a *stop* ends commands and calls that are waited for."""
        self._system = system
        self.id = session_id
        self.manager = ManagerClient(system.way_to("manager", session_id))
        self.state = StateClient(
            system.way_to("state", session_id), partial(system.archive.changes_after, session_id)
        )
        self._stop = stop

    def __repr__(self) -> str:
        return f"<SessionHandle {self.id}>"

    @property
    def commands(self) -> CommandsClient:
        """Runs programs."""
        # Imported here because few apps run commands, and all wait for imports.
        from jidocode.session.commands.client import CommandsClient  # noqa: PLC0415 - see above

        return CommandsClient(self._until_stop(self._system.way_to_commands(self.id)))

    @property
    def mcp(self) -> McpServersClient:
        """Its MCP servers, and what they offer."""
        from jidocode.session.mcp.client import McpServersClient  # noqa: PLC0415 - few sessions have any

        return McpServersClient(self._until_stop(self._system.way_to_servers(self.id)))

    def _until_stop(self, channel: Channel) -> Channel:
        """Return *channel*, on which nothing is waited for once the handle's stop is requested."""
        if self._stop is None:
            return channel
        from jidocode.system.prompting import until  # noqa: PLC0415 - only agents stop

        return until(self._stop, channel)

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> CommandResult:
        """Run a program to its end; `commands.run`, which says what it takes and raises."""
        return self.commands.run(command, check=check, **options)

    def take_snapshot(self, label: str | None = None, *, seconds: float = TAKE_SECONDS) -> Snapshot:
        """Keep what the project is now; `manager.take_snapshot`, which says more."""
        return self.manager.take_snapshot(label, seconds=seconds)

    def snapshots(self) -> list[Snapshot]:
        """Return the session's snapshots, oldest first; `manager.snapshots`."""
        return self.manager.snapshots()

    def changes_since(
        self,
        snapshot: int | Snapshot | None = None,
        *,
        limit: int = 1000,
        after: str | None = None,
        seconds: float = LOOK_SECONDS,
    ) -> Changes:
        """Return what is not as it was, by default at the latest; `manager.changes_since`."""
        return self.manager.changes_since(snapshot, limit=limit, after=after, seconds=seconds)

    def diff(
        self,
        path: str | os.PathLike[str],
        since: int | Snapshot | None = None,
        *,
        seconds: float = LOOK_SECONDS,
    ) -> FileDiff:
        """Return what has changed in one file; `manager.diff`, which says more."""
        return self.manager.diff(path, since, seconds=seconds)

    def revert(
        self,
        paths: Sequence[str | os.PathLike[str]] | None = None,
        *,
        to: int | Snapshot | None = None,
        seconds: float = TAKE_SECONDS,
    ) -> Reverted:
        """Make files what they were at a snapshot; `manager.revert`, which says more."""
        return self.manager.revert(paths, to=to, seconds=seconds)

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
    def tools(self) -> Toolbox:
        """What a model or an editor may ask of the session: its own tools and the app's."""
        from jidocode.session.tools.toolbox import Toolbox  # noqa: PLC0415 - few apps have tools, and all wait for imports

        return Toolbox(self, self._system.tool_calls(self.id))

    @property
    def agent(self) -> AgentClient:
        """A language model at work in the session."""
        from jidocode.session.agent.client import AgentClient  # noqa: PLC0415 - few apps prompt, and all wait for imports
        from jidocode.session.tools.policy import read_only  # noqa: PLC0415 - idem
        from jidocode.system.prompting import AgentWay, in_its_thread  # noqa: PLC0415 - idem

        system = self._system
        way = AgentWay(system, self.id, self._tools_until, in_its_thread)
        return AgentClient(way, system.tooling.policy or read_only)

    def _tools_until(self, stop: Stop | None) -> Toolbox:
        """Return the tools; the commands that they run are ended once *stop* is requested."""
        return SessionHandle(self._system, self.id, stop).tools

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
        return self._system.call(self._name(child_id), request, timeout=timeout)

    def call_stream(
        self, child_id: str, request: object, *, timeout: float | None = None
    ) -> CallStream:
        """Call an own child, and return an iterator of the parts of its answer.

        See `SessionSystem.call_stream`; takes, and raises, what `call` does.
        """
        return self._system.call_stream(self._name(child_id), request, timeout=timeout)

    def cast(self, child_id: str, request: object) -> None:
        """Send *request* to the `handle_cast` of an own child, and wait for nothing.

        It is lost in silence if there is no such child, or it is being restarted.

        Raises:
            CallError: *request* cannot be pickled.
        """
        self._system.cast(self._name(child_id), request)

    def events(self) -> EventStream:
        """Return a stream of what happens in this session from now on; see `SessionSystem.events`.

        It ends with the session, after the `ChildExited` that says how that ended.
        """
        return self._system.events(self.id)

    def monitor(self, child_id: str) -> Monitor:
        """Return a monitor of one of the session's processes; see `SessionSystem.monitor`."""
        return self._system.monitor(self._name(child_id))

    def which_children(self) -> tuple[ChildInfo, ...]:
        """Return the session's children in start order."""
        return management.which_children(self._system, self._supervisor)

    def count_children(self) -> ChildCounts:
        """Return how many children the session has, by what they are."""
        return management.count_children(self._system, self._supervisor)

    def get_childspec(self, child_id: str) -> ChildSpec:
        """Return the spec of a child.

        Raises:
            ChildNotFoundError: No child has that id.
        """
        return management.get_childspec(self._system, self._supervisor, child_id)

    def start_child(self, spec: ChildSpec) -> ActorRef | None:
        """Start one more child; None if its `init` ignored.

        Raises:
            AlreadyStartedError: A child with that id runs; `ref` is its process.
            AlreadyPresentError: There is a stopped child with that id.
            StartFailedError: Its `init` failed; the spec is not kept.
            InvalidChildSpecError: The spec breaks a rule, or has a name of its own.
            CallError: It cannot be pickled.
        """
        named = with_name(spec, self.id)
        return management.start_child(self._system, self._supervisor, named)

    def terminate_child(self, child_id: str) -> None:
        """Stop a child by its shutdown rule and keep its spec, unless it is temporary.

        Raises:
            ChildNotFoundError: No child has that id.
        """
        management.terminate_child(self._system, self._supervisor, child_id)

    def restart_child(self, child_id: str) -> ActorRef | None:
        """Start a stopped child again.

        Raises:
            ChildNotFoundError: No child has that id.
            ChildRunningError: It runs.
            ChildRestartingError: Its supervisor is at it already.
            StartFailedError: Its `init` failed.
        """
        return management.restart_child(self._system, self._supervisor, child_id)

    def delete_child(self, child_id: str) -> None:
        """Forget the spec of a stopped child; raises as `restart_child`."""
        management.delete_child(self._system, self._supervisor, child_id)

    @property
    def _supervisor(self) -> Name:
        return self._name("session")

    def _name(self, child_id: str) -> Name:
        return process_name(child_id, self.id)
