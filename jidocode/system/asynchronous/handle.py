"""`AsyncSessionHandle`: one session, as coroutines hold it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from jidocode.base.refs import ActorRef, Name
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.management import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from jidocode.otp.supervision.specs import ChildSpec
from jidocode.session.commands.options import CommandOptions
from jidocode.session.conversation.changes import Change
from jidocode.session.manager.client import AsyncManagerClient
from jidocode.session.record import Session
from jidocode.session.snapshots.limits import LOOK_SECONDS, TAKE_SECONDS
from jidocode.session.state.client import AsyncStateClient
from jidocode.session.tree import with_name
from jidocode.system.asynchronous.running import AsyncRunner, AsyncWay
from jidocode.system.asynchronous.streams import AsyncCallStream, AsyncEventStream, AsyncMonitor
from jidocode.system.asynchronous.waiting import in_thread
from jidocode.system.handle import SessionHandle
from jidocode.system.health import Health
from jidocode.system.running_sessions import RunningSystem
from jidocode.system.session_router import process_name

if TYPE_CHECKING:
    import os

    from jidocode.session.commands.client import AsyncCommandsClient
    from jidocode.session.commands.result import CommandResult
    from jidocode.session.mcp.client import AsyncMcpServersClient
    from jidocode.session.snapshots.results import Changes, FileDiff, Reverted, Snapshot
    from jidocode.system.asynchronous.agent import AsyncAgentClient
    from jidocode.system.asynchronous.toolbox import AsyncToolbox


class AsyncSessionHandle:
    """One open session: what `SessionHandle` has, awaited.

    It holds names, no processes: it stays good across restarts, and may be used in any loop.
    Whatever waits raises what its twin of `SessionHandle` does.

    Attributes:
        id: The session's id.
        manager: The project's files.
        state: The conversation.
    """

    def __init__(self, runner: AsyncRunner, system: RunningSystem, session_id: str) -> None:
        self._runner = runner
        self._system = system
        self.id = session_id
        self.manager = AsyncManagerClient(self._way_to("manager"))
        self.state = AsyncStateClient(self._way_to("state"), self._changes_after)

    def __repr__(self) -> str:
        return f"<AsyncSessionHandle {self.id}>"

    async def _changes_after(self, after_seq: int) -> list[Change]:
        archive = self._system.archive
        return await in_thread(lambda: archive.changes_after(self.id, after_seq))

    @property
    def commands(self) -> AsyncCommandsClient:
        """Runs programs."""
        # Imported here because few apps run commands, and all wait for imports.
        from jidocode.session.commands.client import AsyncCommandsClient  # noqa: PLC0415 - see above

        way = AsyncWay(self._runner, self._system.way_to_commands(self.id))
        return AsyncCommandsClient(way)

    @property
    def mcp(self) -> AsyncMcpServersClient:
        """Its MCP servers, and what they offer."""
        from jidocode.session.mcp.client import AsyncMcpServersClient  # noqa: PLC0415 - few sessions have any

        way = AsyncWay(self._runner, self._system.way_to_servers(self.id))
        return AsyncMcpServersClient(way)

    async def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> CommandResult:
        """Run a program to its end; it is ended if this is cancelled. See `CommandsClient.run`."""
        return await self.commands.run(command, check=check, **options)

    async def take_snapshot(
        self, label: str | None = None, *, seconds: float = TAKE_SECONDS
    ) -> Snapshot:
        """Keep what the project is now; `manager.take_snapshot`, which says more."""
        return await self.manager.take_snapshot(label, seconds=seconds)

    async def snapshots(self) -> list[Snapshot]:
        """Return the session's snapshots, oldest first; `manager.snapshots`."""
        return await self.manager.snapshots()

    async def changes_since(
        self,
        snapshot: int | Snapshot | None = None,
        *,
        limit: int = 1000,
        after: str | None = None,
        seconds: float = LOOK_SECONDS,
    ) -> Changes:
        """Return what is not as it was, by default at the latest; `manager.changes_since`."""
        return await self.manager.changes_since(snapshot, limit=limit, after=after, seconds=seconds)

    async def diff(
        self,
        path: str | os.PathLike[str],
        since: int | Snapshot | None = None,
        *,
        seconds: float = LOOK_SECONDS,
    ) -> FileDiff:
        """Return what has changed in one file; `manager.diff`, which says more."""
        return await self.manager.diff(path, since, seconds=seconds)

    async def revert(
        self,
        paths: Sequence[str | os.PathLike[str]] | None = None,
        *,
        to: int | Snapshot | None = None,
        seconds: float = TAKE_SECONDS,
    ) -> Reverted:
        """Make files what they were at a snapshot; `manager.revert`, which says more."""
        return await self.manager.revert(paths, to=to, seconds=seconds)

    async def session(self) -> Session:
        """Return the session's record, as the registry has it now."""
        return await self._runner.carry_out(self._system.sessions.record(self.id))

    async def rename(self, name: str) -> Session:
        """Give the session another name; see `SessionSystem.update_session`."""
        return await self._update(lambda session: session.rename(name))

    async def update_config(self, changes: Mapping[str, Any]) -> Session:
        """Merge *changes* into the session's config; see `SessionSystem.update_session`."""
        return await self._update(lambda session: session.update_config(changes))

    async def update_language(self, language: str | None) -> Session:
        """Set the project's language; see `SessionSystem.update_session`."""
        return await self._update(lambda session: session.update_language(language))

    async def _update(self, change: Callable[[Session], Session]) -> Session:
        return await self._runner.carry_out(self._system.updating(self.id, change, object()))

    @property
    def tools(self) -> AsyncToolbox:
        """What a model or an editor may ask of the session: its own tools and the app's."""
        from jidocode.system.asynchronous.toolbox import AsyncToolbox  # noqa: PLC0415 - few apps have tools, and all wait for imports

        waiting = SessionHandle(self._system, self.id)
        return AsyncToolbox(self, waiting, self._system.tool_calls(self.id))

    @property
    def agent(self) -> AsyncAgentClient:
        """A language model at work in the session."""
        from jidocode.system.asynchronous.agent import AsyncAgentClient  # noqa: PLC0415 - few apps prompt, and all wait for imports

        return AsyncAgentClient(self, self._system, self.id, self._runner)

    async def health_check(self) -> Health:
        """Ask every child of the session how it is, all at once."""
        return await self._runner.carry_out(self._system.probe.session(self.id))

    async def stop(self) -> None:
        """Stop the session; returns when all its processes are dead.

        If it is cancelled, the session is being stopped all the same.
        """
        await self._runner.carry_out(self._system.sessions.stop(self.id))

    async def call(self, child_id: str, request: object, *, timeout: float | None = None) -> Any:
        """Send *request* to the `handle_call` of an own child; see `SessionHandle.call`."""
        return await self._ask(self._name(child_id), request, timeout)

    async def call_stream(
        self,
        child_id: str,
        request: object,
        *,
        timeout: float | None = None,
    ) -> AsyncCallStream:
        """Call an own child, and return the parts of its answer; as `SessionHandle.call_stream`."""
        router = self._system.router
        seconds = router.deadline(timeout).seconds
        pending = await self._runner.carry_out(router.begin_stream(self._name(child_id), request))
        return AsyncCallStream(self._system.client, pending, seconds)

    async def cast(self, child_id: str, request: object) -> None:
        """Send *request* to the `handle_cast` of an own child, and wait for nothing."""
        await self._runner.carry_out(self._system.casting(self._name(child_id), request))

    def events(self) -> AsyncEventStream:
        """Return a stream of what happens in this session from now on."""
        return AsyncEventStream(self._runner, self._system.events(self.id))

    async def monitor(self, child_id: str) -> AsyncMonitor:
        """Return a monitor of one of the session's processes."""
        router = self._system.router
        ref = await self._runner.carry_out(router.find(self._name(child_id), router.deadline()))
        return AsyncMonitor(self._system.client, self._system.client.monitor(ref))

    # Its children; see `SessionHandle`

    async def which_children(self) -> tuple[ChildInfo, ...]:
        """Return the session's children in start order."""
        children: tuple[ChildInfo, ...] = await self._manage(WhichChildren())
        return children

    async def count_children(self) -> ChildCounts:
        """Return how many children the session has, by what they are."""
        counts: ChildCounts = await self._manage(CountChildren())
        return counts

    async def get_childspec(self, child_id: str) -> ChildSpec:
        """Return the spec of a child."""
        spec: ChildSpec = await self._manage(GetChildSpec(child_id))
        return spec

    async def start_child(self, spec: ChildSpec) -> ActorRef | None:
        """Start one more child; None if its `init` ignored."""
        ref: ActorRef | None = await self._manage(StartChild(with_name(spec, self.id)), INFINITY)
        return ref

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child by its shutdown rule and keep its spec, unless it is temporary."""
        await self._manage(TerminateChild(child_id), INFINITY)

    async def restart_child(self, child_id: str) -> ActorRef | None:
        """Start a stopped child again."""
        ref: ActorRef | None = await self._manage(RestartChild(child_id), INFINITY)
        return ref

    async def delete_child(self, child_id: str) -> None:
        """Forget the spec of a stopped child."""
        await self._manage(DeleteChild(child_id), INFINITY)

    async def _manage(self, request: object, seconds: float | None = None) -> Any:
        return await self._ask(self._name("session"), request, seconds)

    async def _ask(self, name: Name, request: object, seconds: float | None) -> Any:
        return await self._runner.carry_out(self._system.router.ask(name, request, seconds))

    def _way_to(self, kind: str) -> AsyncWay:
        return AsyncWay(self._runner, self._system.way_to(kind, self.id))

    def _name(self, child_id: str) -> Name:
        return process_name(child_id, self.id)
