"""`AsyncSessionSystem`: what an app on asyncio or trio starts, and talks to its sessions through.

It is a `SessionSystem` whose waiting is done by coroutines: what is asked of whom is in the
same services, as plans, and `AsyncRunner` awaits their steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Unpack, cast

from jidocode.session.record import Session, SessionConfig, new_session_id
from jidocode.session.tools.tool import check_tools
from jidocode.system.asynchronous.application import AsyncApplication
from jidocode.system.asynchronous.export import AsyncExport
from jidocode.system.asynchronous.handle import AsyncSessionHandle
from jidocode.system.asynchronous.streams import AsyncEventStream
from jidocode.system.asynchronous.waiting import in_thread
from jidocode.system.running_sessions import RunningSystem, Tooling
from jidocode.system.session_router import process_name
from jidocode.system.settings import Settings, SettingsOverrides
from jidocode.system.steps import Plan
from jidocode.system.system import SessionSystem

if TYPE_CHECKING:
    from typing import Self

    from jidocode.base.refs import ActorRef
    from jidocode.otp.supervision.specs import Child, ChildSpec, Flags
    from jidocode.otp.supervision.strategy import Strategy, StrategyText
    from jidocode.session.agent.spec import ModelSpec
    from jidocode.session.journal.catalogue import Resumable
    from jidocode.session.mcp.spec import McpServer
    from jidocode.session.tools.policy import AsyncPolicy
    from jidocode.session.tools.tool import Tool
    from jidocode.session.tree import SessionChildren
    from jidocode.system.application import Application
    from jidocode.system.health import Health, Statistics


class AsyncSessionSystem(AsyncApplication):
    """Coding sessions under supervision, for coroutines: what `SessionSystem` has, awaited.

        async with AsyncSessionSystem() as system:
            session = await system.create_session("~/work/shop")

    It starts at the beginning of the block, and is closed at its end. Nothing holds up the
    loop meanwhile, and no task is added to it, but for a tool or a policy that is a coroutine
    function and is called by an agent. Any task may use it, of any loop and thread.

    Whatever waits raises what its twin of `SessionSystem` does, and may be cancelled: then
    nobody waits for the answer any more. What was asked for may be done all the same, but a
    session that was being created or resumed is not opened, and a command is ended.
    """

    def __init__(  # noqa: PLR0913 - all but the first are keywords
        self,
        settings: Settings | None = None,
        *,
        name: str | None = None,
        build: SessionChildren | None = None,
        children: Sequence[Child] = (),
        tools: Sequence[Tool] = (),
        policy: AsyncPolicy | None = None,
        model: ModelSpec | None = None,
        **overrides: Unpack[SettingsOverrides],
    ) -> None:
        """Be ready to start a system; takes what `SessionSystem` takes.

        What a tool does, and the *policy*, may be coroutine functions here.

        Raises:
            InvalidToolError: One of the tools is none, or two have one name.
        """
        self._tooling = check_tools(tools), policy
        self._be_ready(
            partial(
                SessionSystem,
                settings,
                name=name,
                build=build,
                children=children,
                model=model,
                **overrides,
            )
        )

    @classmethod
    def attach(  # noqa: PLR0913 - all but the first are keywords
        cls,
        name: str,
        *,
        read_only: bool = False,
        build: SessionChildren | None = None,
        tools: Sequence[Tool] = (),
        policy: AsyncPolicy | None = None,
        timeout: float = 10.0,
    ) -> Self:
        """Be ready to attach to the system called *name*; takes what `SessionSystem.attach` takes.

            async with AsyncSessionSystem.attach("shop") as system:
                session = await system.get_session(session_id)

        It attaches at the beginning of the block, which raises what that does, and detaches at
        its end; the sessions go on.
        """
        self = cls(tools=tools, policy=policy)
        self._be_ready(
            partial(SessionSystem.attach, name, read_only=read_only, build=build, timeout=timeout)
        )
        return self

    def _start(self) -> Application:
        # What a handle would import when it is used: that would hold up the loop.
        import_module("jidocode.session.commands.client")
        import_module("jidocode.session.commands.server")
        import_module("jidocode.session.tools.builtin")
        import_module("jidocode.session.tools.calls")
        import_module("jidocode.system.asynchronous.agent")
        import_module("jidocode.system.asynchronous.toolbox")
        return super()._start()

    def _prepare(self, opened: Application) -> None:
        super()._prepare(opened)
        running = cast("RunningSystem", opened._running)  # noqa: SLF001 - it is of the same room
        tools, policy = self._tooling  # which only what is awaited can use
        running.tooling = Tooling(tools, policy, running.tooling.model)

    @property
    def _system(self) -> RunningSystem:
        return cast("RunningSystem", self._tree)

    @property
    def settings(self) -> Settings:
        """How it behaves."""
        return self._system.settings

    def _handle(self, session: Session) -> AsyncSessionHandle:
        return AsyncSessionHandle(self._runner, self._system, session.id)

    # Sessions

    async def create_session(  # noqa: PLR0913 - all but the first are keywords
        self,
        project_path: str | os.PathLike[str] = ".",
        *,
        name: str | None = None,
        config: SessionConfig | Mapping[str, Any] | None = None,
        session_id: str | None = None,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> AsyncSessionHandle:
        """Open a session for the project folder *project_path*; see `SessionSystem.create_session`.

        If it is cancelled, the session is not opened, nor is it found any more; if its id is a
        fresh one, its journal is deleted.
        """
        system, is_fresh = self._system, session_id is None
        session_id = new_session_id() if session_id is None else session_id

        def start() -> Session:
            session = Session.new(
                project_path=project_path, name=name, config=config, session_id=session_id
            )
            return system.carry_out(system.sessions.start(session, strategy, children, mcp_servers))

        undo = partial(system.withdraw, session_id, is_fresh=is_fresh)
        return self._handle(await in_thread(start, undo=undo))

    async def start_session(
        self,
        session: Session,
        *,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> AsyncSessionHandle:
        """Open the session that *session* describes; as `create_session`."""
        plan = self._system.sessions.start(session, strategy, children, mcp_servers)
        return await self._started(session.id, plan)

    async def resume_session(
        self,
        session_id: str,
        *,
        project_path: str | os.PathLike[str] | None = None,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> AsyncSessionHandle:
        """Open a session again that has a journal; see `SessionSystem.resume_session`."""
        plan = self._system.sessions.resume(
            session_id, strategy, children, mcp_servers, project_path=project_path
        )
        return await self._started(session_id, plan)

    async def open_session(  # noqa: PLR0913 - all but the first are keywords
        self,
        project_path: str | os.PathLike[str] = ".",
        *,
        name: str | None = None,
        config: SessionConfig | Mapping[str, Any] | None = None,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> AsyncSessionHandle:
        """Return the session of a project; see `SessionSystem.open_session`.

        If it is cancelled, the session may be open all the same: others may have found it.
        """
        system = self._system
        plan = system.sessions.open_project(
            project_path, strategy, children, mcp_servers, name=name, config=config
        )
        return self._handle(await in_thread(lambda: system.carry_out(plan)))

    async def _started(self, session_id: str, plan: Plan[Session]) -> AsyncSessionHandle:
        system = self._system
        undo = partial(system.withdraw, session_id, is_fresh=False)
        return self._handle(await in_thread(lambda: system.carry_out(plan), undo=undo))

    async def stop_session(self, session_id: str) -> None:
        """Stop a session; see `SessionSystem.stop_session`."""
        await self._carry_out(self._system.sessions.stop(session_id))

    async def get_session(self, session_id: str) -> AsyncSessionHandle:
        """Return the handle of an open session, once it has started; raises as `stop_session`."""
        return self._handle(await self.session_record(session_id))

    async def session_record(self, session_id: str) -> Session:
        """Return the record of an open session; raises as `stop_session`."""
        return await self._carry_out(self._system.sessions.record(session_id))

    async def list_sessions(self) -> list[Session]:
        """Return the records of all open sessions, oldest first."""
        return await self._carry_out(self._system.sessions.records())

    async def find_session(
        self, *, path: str | os.PathLike[str] | None = None, name: str | None = None
    ) -> AsyncSessionHandle:
        """Return the oldest open session with that project folder, or that exact name."""
        system = self._system
        plan = system.sessions.find(path, name)
        if path is None:
            return self._handle(await self._carry_out(plan))
        # The folder is looked at, on a disk that may be slow.
        return self._handle(await in_thread(lambda: system.carry_out(plan)))

    async def session_running(self, session_id: str) -> bool:
        """Whether a session with that id is open."""
        return await self._carry_out(self._system.sessions.is_open(session_id))

    async def update_session(
        self, session_id: str, change: Callable[[Session], Session]
    ) -> Session:
        """Change an open session's record everywhere; see `SessionSystem.update_session`."""
        return await self._carry_out(self._system.updating(session_id, change, object()))

    # Journals: files, that a thread reads

    async def list_resumable(
        self, *, project: str | os.PathLike[str] | None = None
    ) -> list[Resumable]:
        """Return the sessions that have a journal and are not open here, latest first."""
        system = self._system
        return await in_thread(lambda: system.carry_out(system.sessions.resumable(project)))

    def export_session(self, session_id: str) -> AsyncExport:
        """Return every change of a session as a JSON object, oldest first: read by `async for`."""
        return AsyncExport(partial(self._system.archive.export, session_id))

    async def fork_session(
        self, session_id: str, *, upto_seq: int | None = None, name: str | None = None
    ) -> Session:
        """Begin a new session with a copy of another one's conversation."""
        archive = self._system.archive
        return await in_thread(lambda: archive.fork(session_id, upto_seq=upto_seq, name=name))

    async def delete_session(self, session_id: str) -> None:
        """Delete the journal of a session that is not open."""
        archive = self._system.archive
        await in_thread(lambda: archive.delete(session_id))

    # Processes

    async def get_process(self, session_id: str, kind: str) -> ActorRef:
        """Return a session's process by its kind; see `SessionSystem.get_process`."""
        return await self._find(process_name(kind, session_id))

    async def get_manager(self, session_id: str) -> ActorRef:
        """Return the session's Manager; see `get_process`."""
        return await self.get_process(session_id, "manager")

    async def get_state(self, session_id: str) -> ActorRef:
        """Return the session's State; see `get_process`."""
        return await self.get_process(session_id, "state")

    async def get_agent(self, session_id: str) -> ActorRef:
        """Return the session's agent; see `get_process`."""
        return await self.get_process(session_id, "agent")

    # Looking

    async def health_check(self, session_id: str) -> Health:
        """Ask every child of a session how it is, all at once."""
        return await self._carry_out(self._system.probe.session(session_id))

    def events(self, session_id: str | None = None) -> AsyncEventStream:
        """Return a stream of what happens from now on; see `SessionSystem.events`."""
        return AsyncEventStream(self._runner, self._system.events(session_id))

    async def statistics(self) -> Statistics:
        """Return a snapshot of counts."""
        return await self._carry_out(self._system.counting())
