"""`SessionSystem`: what an app starts, and talks to its sessions through.

A facade, whose methods are waited for in `RunningSystem`; why hardly anything is imported at
the top of this file says `system/application.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from jidocode._host.daemon.launcher import HostProcess
from jidocode._host.limits import explains_memory
from jidocode._host.threads import run_whole
from jidocode.errors import InvalidToolError
from jidocode.system.application import Application, with_overrides
from jidocode.system.settings import Settings, SettingsOverrides

if TYPE_CHECKING:
    from jidocode._host.attach.place import Claim
    from jidocode.base.refs import ActorRef
    from jidocode.otp.supervision.specs import Child, ChildSpec, Flags, Start
    from jidocode.otp.supervision.strategy import Strategy, StrategyText
    from jidocode.session.agent.spec import ModelSpec
    from jidocode.session.journal.catalogue import Resumable
    from jidocode.session.mcp.spec import McpServer
    from jidocode.session.record import Session, SessionConfig
    from jidocode.session.tools.policy import Policy
    from jidocode.session.tools.tool import Tool
    from jidocode.session.tree import SessionChildren
    from jidocode.system.events import EventStream
    from jidocode.system.handle import SessionHandle
    from jidocode.system.health import Health, Statistics
    from jidocode.system.running_sessions import RunningSystem


class SessionSystem(Application):
    """Coding sessions under supervision, in processes of their own.

    Starting one starts a host process; everything else runs below it. Use it
    as a context manager, or `close` it. All methods can be called from any
    thread.

    Starts, in this order: the host process, the root of the tree, the process
    registry, the supervisor of sessions. Returns when all of them run.

    Raises:
        InvalidSettingError: A setting, or *name*, breaks a rule.
        SystemNameTakenError: A live system of this user has that name.
        AttachError: Other processes could not find it safely; it says why.
        InvalidToolError: One of the tools is none, or two have one name; or it is awaited.
        TypeError: *settings* is no `Settings`, or there is no such setting; *policy* is awaited.
        HostStartError: The system could not be started; nothing is left.
    """

    @property
    def settings(self) -> Settings:
        """How it behaves."""
        return cast("Settings", self._settings)

    _running: RunningSystem

    @explains_memory
    def __init__(  # noqa: PLR0913 - all but the first are keywords
        self,
        settings: Settings | None = None,
        *,
        name: str | None = None,
        build: SessionChildren | None = None,
        children: Sequence[Child] = (),
        tools: Sequence[Tool] = (),
        policy: Policy | None = None,
        model: ModelSpec | None = None,
        **overrides: Unpack[SettingsOverrides],
    ) -> None:
        """Start a system with *settings*, changed by *overrides* (see `Settings`).

        Args:
            settings: The defaults if not given.
            name: By which other processes of the same user find it, see `attach`. None for
                nobody but this one.
            build: Says what every session consists of, if not Manager, State and
                the app's own children.
            children: The app's own trees beside the sessions, as `otp.start` takes them.
            tools: The app's own tools, beside those that every session has.
            policy: Decides about each call of a tool that edits or executes, in the app;
                by default all are denied.
            model: What the agents of all sessions speak with; without one they do not. The host
                imports what they need once, for all of them.
            overrides: Single settings, which count more than *settings*.
        """
        self._build = build
        self._tools = _checked(tools, policy)
        self._policy = policy
        self._model = model
        if model is not None:
            self._preload = (*self._preload, model.preload)
        chosen = with_overrides(settings, Settings, overrides)
        claim = _claim(name)
        try:
            super().__init__(children, chosen)
            if claim is not None:
                self._system.let_in(claim)
        except BaseException:
            if hasattr(self, "_running"):
                self._running.client.close(0.0)
            if claim is not None:
                claim.release()
            raise

    @classmethod
    def attach(  # noqa: PLR0913 - all but the first are keywords
        cls,
        name: str,
        *,
        read_only: bool = False,
        build: SessionChildren | None = None,
        tools: Sequence[Tool] = (),
        policy: Policy | None = None,
        timeout: float = 10.0,
    ) -> Self:
        """Attach to the system called *name*, which another process of this user has started.

        What it returns is that system: the same sessions, limits and settings. `close` only
        detaches; the sessions that this process has opened go on. When the system ends, all
        calls end with `HostExitedError`, and streams of events end. What is logged in the system
        goes to the sinks of the process that has started it; `jidocode logs` shows the last of it.

        Args:
            name: As it was given to `SessionSystem`, or to `jidocode serve`.
            read_only: To look only: what may change something raises `ReadOnlyError`.
            build: As for `SessionSystem`, for the sessions that this process opens.
            tools: The same; they are called in this process.
            policy: The same; it decides in this process.
            timeout: Seconds in which it has to let this process in, or `INFINITY`; one that is
                being started is waited for, and a turn where many attach at once.

        Raises:
            SystemNotFoundError: No live system of this user is called so; it says which there are.
            AttachError: It does not let this process in: its version of jidocode or Python is
                another one, it does not know its secret, or does not answer. Or this process
                may open too few files.
            InvalidSettingError: No system can be called so.
            InvalidTimeError: *timeout* is no time.
        """
        from jidocode.system.attaching import attach  # noqa: PLC0415 - see above

        self = cls.__new__(cls)
        self._build, self._tools, self._policy = build, _checked(tools, policy), policy
        tooling = self._tools, policy
        self._running = attach(name, build, tooling, read_only=read_only, timeout=timeout)
        self._settings = self._running.settings
        return self

    _preload: Sequence[str] = ("jidocode.session.preload",)

    def _root(self, children: Sequence[ChildSpec]) -> Start:
        from jidocode.system.running_sessions import root  # noqa: PLC0415 - see above

        return root(self.settings, children)

    def _run(self, host: HostProcess, root: Start) -> RunningSystem:
        from jidocode.session.tree import session_children  # noqa: PLC0415 - see above
        from jidocode.system.archive import Archive  # noqa: PLC0415 - idem
        from jidocode.system.running_sessions import RunningSystem, Tooling  # noqa: PLC0415 - idem

        import_module("jidocode.system.handle")  # for the first session, while the host starts
        archive = Archive(self.settings)
        archive.prepare()
        return RunningSystem(
            self._starting(host, root),
            archive,
            self.settings,
            self._build or session_children,
            Tooling(self._tools, self._policy, self._model),
        )

    @property
    def _system(self) -> RunningSystem:
        """The running system; in a fork a `HostError`, also for what needs no process of it."""
        self._running.client.check_owner()
        return self._running

    # Sessions

    def create_session(  # noqa: PLR0913 - all but the first are keywords
        self,
        project_path: str | os.PathLike[str] = ".",
        *,
        name: str | None = None,
        config: SessionConfig | Mapping[str, Any] | None = None,
        session_id: str | None = None,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> SessionHandle:
        """Open a session for the project folder *project_path*, and return its handle.

        Args:
            project_path: An existing folder, the current one by default; `~` is expanded.
            name: For people; the folder's name by default.
            config: The language model to use; see `SessionConfig`.
            session_id: A lower-case UUID4; a fresh one by default. That of a session
                that has a journal opens it again, as `resume_session` does.
            strategy: Who is restarted with a dead child, the settings' strategy by
                default; or all of the supervisor's `Flags`, such as those that let
                a significant child end the session. They replace the strategy and
                the budget of the settings: what they leave out has the default of `Flags`.
            children: The app's own processes, started after Manager and State.
            mcp_servers: Servers of the Model Context Protocol, whose tools the session has
                beside its own as long as it is open: nothing of them is written down. Each is
                started when its tools are wanted first.

        Raises:
            InvalidSessionIdError, InvalidSessionError, InvalidChildSpecError,
            InvalidMcpServerError: An argument breaks a rule. Nothing was started.
            ImportError: There are *mcp_servers*, and not the extra `jidocode[mcp]`.
            JournalError: `Settings.state_dir` lies within the project, whose
                Manager could write there. Nothing was started.
            JournalLockedError: A session with that id is open in another system, or was
                when it was started here.
            RateLimitedError: Too many were asked for; it says when to try again.
            SessionLimitError, SessionExistsError, ProjectAlreadyOpenError:
                There is no place for it. Nothing was started.
            ConfinementError: The Manager cannot be confined as `Settings.sandbox` requires.
            StartFailedError: A child's `init` failed; what had started was
                stopped again and the place is free.
            CallTimeoutError: It did not start within `Settings.call_timeout`, and
                a second more for each 16 MiB of its journal; it may still start.
            RegistryNotRunningError, NoProcessError: The process registry, or the
                supervisor of sessions, is gone for good.
            HostError: The whole system is gone, or this is a fork of its app.
        """
        from jidocode.session.record import Session  # noqa: PLC0415 - see above

        session = Session.new(
            project_path=project_path, name=name, config=config, session_id=session_id
        )
        return self.start_session(
            session, strategy=strategy, children=children, mcp_servers=mcp_servers
        )

    def start_session(
        self,
        session: Session,
        *,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> SessionHandle:
        """Open the session that *session* describes; raises as `create_session`."""
        plan = self._system.sessions.start(session, strategy, children, mcp_servers)
        return self._handle(self._system.carry_out(plan))

    def open_session(  # noqa: PLR0913 - all but the first are keywords
        self,
        project_path: str | os.PathLike[str] = ".",
        *,
        name: str | None = None,
        config: SessionConfig | Mapping[str, Any] | None = None,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> SessionHandle:
        """Return the session of a project: the open one, the last one resumed, or a new one.

        Threads and processes may do that for one project at once: all get the same session. It
        is the folder that counts: the session of one that was moved or renamed goes on in it,
        and another folder at the same path is another project.

        Args:
            project_path: As for `create_session`.
            name: For a new one, as `create_session` takes it; an older one keeps its own.
            config: The same.
            strategy: As for `create_session`; one that is open keeps its own.
            children: The same.
            mcp_servers: The same.

        Raises:
            ProjectAlreadyOpenError: Another system that has the same `Settings.state_dir` has it
                open; or a folder inside it, or around it, is open.
            JournalError: The last session cannot be read. It is not passed over: name another one
                to `resume_session`, or begin one by `create_session`.
            Exception: Whatever else `create_session` and `resume_session` raise.
        """
        plan = self._system.sessions.open_project(
            project_path, strategy, children, mcp_servers, name=name, config=config
        )
        return self._handle(self._system.carry_out(plan))

    def _handle(self, session: Session) -> SessionHandle:
        from jidocode.system.handle import SessionHandle  # noqa: PLC0415 - see above

        return SessionHandle(self._system, session.id)

    def stop_session(self, session_id: str) -> None:
        """Stop a session; returns when all its processes are dead and its place is free.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: No such session is open; `ended` says how it has ended. Any
                number of threads may stop a session at once: all that ask while it is being
                stopped return when it has, and only who comes later finds none.
            CallTimeoutError: It has not stopped within `shutdown` seconds, and goes on
                being stopped: a child takes its time over `terminate`.
        """
        self._system.carry_out(self._system.sessions.stop(session_id))

    def get_session(self, session_id: str) -> SessionHandle:
        """Return the handle of an open session, once it has started; raises as `stop_session`."""
        return self._handle(self.session_record(session_id))

    def session_record(self, session_id: str) -> Session:
        """Return the record of an open session; raises as `stop_session`."""
        return self._system.carry_out(self._system.sessions.record(session_id))

    def list_sessions(self) -> list[Session]:
        """Return the records of all open sessions, oldest first."""
        return self._system.carry_out(self._system.sessions.records())

    def find_session(
        self, *, path: str | os.PathLike[str] | None = None, name: str | None = None
    ) -> SessionHandle:
        """Return the oldest open session with that project folder, or that exact name.

        Raises:
            TypeError: Not exactly one of *path* and *name* was given.
            InvalidSessionError: *path* is no usable folder, or *name* no name.
            SessionNotFoundError: There is none.
        """
        return self._handle(self._system.carry_out(self._system.sessions.find(path, name)))

    def session_running(self, session_id: str) -> bool:
        """Whether a session with that id is open.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
        """
        return self._system.carry_out(self._system.sessions.is_open(session_id))

    def update_session(self, session_id: str, change: Callable[[Session], Session]) -> Session:
        """Change an open session's record everywhere; return the record that counts now.

        State takes the change first, and keeps it across every crash. Registry
        and Manager follow, and supervisors start from the new record at every
        later restart.

        Args:
            session_id: The session.
            change: Returns the new record, `lambda session: session.rename("till")`.
                Other changes of this session wait for it, within `call_timeout`. It is called
                again if another process has changed the record meanwhile.

        Raises:
            InvalidSessionIdError, SessionNotFoundError: As `stop_session`.
            TypeError: *change* returned no `Session`. Nothing has changed.
            InvalidSessionError: The new record breaks a rule. Nothing has changed.
            InvalidRequestError: It is the record of another session or project.
                Nothing has changed.
            JournalWriteError: It cannot be written down. Nothing has changed.
            NoProcessError: The session has no State running. Nothing has changed.
            CallError: A process died or did not answer over it: State may have
                the change. To ask again is safe.
        """
        return self._system.update(session_id, change)

    # Journals

    def list_resumable(self, *, project: str | os.PathLike[str] | None = None) -> list[Resumable]:
        """Return the sessions that have a journal and are not open here, latest first.

        One that is open in another system has a `Resumable.locked_by`. With *project*, only
        those of that folder; it need not exist any more. `jidocode.list_resumable` lists
        without a system.

        Raises:
            JournalError: The folder of journals cannot be read, or there is none.
        """
        return self._system.carry_out(self._system.sessions.resumable(project))

    def resume_session(
        self,
        session_id: str,
        *,
        project_path: str | os.PathLike[str] | None = None,
        strategy: Strategy | StrategyText | Flags | None = None,
        children: Sequence[ChildSpec] = (),
        mcp_servers: Sequence[McpServer] = (),
    ) -> SessionHandle:
        """Open a session again that has a journal, with everything it had acknowledged.

        Args:
            session_id: The session.
            project_path: Where its project is now, if the folder was moved or renamed, or
                is a copy. That is written into the journal first, and stays even if
                the session cannot be opened then. A journal whose record is damaged
                opens only so, or by `create_session` with its id: with all else that
                is in it, the damage reported, and a new record.
            strategy: As for `create_session`.
            children: As for `create_session`.
            mcp_servers: As for `create_session`.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: It has no journal, or none any more: it is deleted meanwhile.
            JournalDamagedError: Its record cannot be read: name its project.
            JournalError: It cannot be read at all.
            JournalLockedError: It is open in another system, or was when it was started here; it
                says in which process, if it still is.
            StartFailedError: Its journal cannot be opened.
            InvalidSessionError: Its project is gone, or another one stands there; or
                *project_path* is no usable folder.
            Exception: Whatever else `create_session` raises.
        """
        plan = self._system.sessions.resume(
            session_id, strategy, children, mcp_servers, project_path=project_path
        )
        return self._handle(self._system.carry_out(plan))

    def export_session(self, session_id: str) -> Iterator[dict[str, Any]]:
        """Yield every change of a session as a JSON object, oldest first; it may be open.

        Raises:
            InvalidSessionIdError, SessionNotFoundError, JournalError: As `resume_session`.
            HostError: This is a fork of the app.
        """
        return self._system.archive.export(session_id)

    def fork_session(
        self, session_id: str, *, upto_seq: int | None = None, name: str | None = None
    ) -> Session:
        """Begin a new session with a copy of another one's conversation; it may be open.

        The new one is not started: `resume_session` does that, once the project
        is free.

        Args:
            session_id: The session to copy.
            upto_seq: The last change that is copied; None for all.
            name: The new session's name; the old one's by default.

        Raises:
            InvalidSessionIdError, SessionNotFoundError, JournalError: As `resume_session`.
            InvalidRequestError: *upto_seq* is no number of the journal.
            InvalidSessionError: *name* breaks a rule.
            HostError: This is a fork of the app.
        """
        return self._system.archive.fork(session_id, upto_seq=upto_seq, name=name)

    def delete_session(self, session_id: str) -> None:
        """Delete the journal of a session that is not open, and its snapshots.

        Raises:
            InvalidSessionIdError, SessionNotFoundError: As `resume_session`.
            JournalLockedError: It is open, here or in another system.
            JournalError: It cannot be deleted.
            HostError: This is a fork of the app.
        """
        self._system.archive.delete(session_id)

    # Processes

    def get_process(self, session_id: str, kind: str) -> ActorRef:
        """Return a session's process by its kind; waits while it is restarted.

        Args:
            session_id: The session.
            kind: `manager`, `state`, `commands`, `agent`, `session` for the supervisor, or
                the id of one of the app's own children.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: No such session is open.
            NoProcessError: The session has no such process, or has not yet needed it: what runs
                its commands and its agent are started by their first use.
            CallTimeoutError: It was not back in time.
        """
        return self._system.find_child(kind, session_id)

    def get_manager(self, session_id: str) -> ActorRef:
        """Return the session's Manager; see `get_process`."""
        return self.get_process(session_id, "manager")

    def get_state(self, session_id: str) -> ActorRef:
        """Return the session's State; see `get_process`."""
        return self.get_process(session_id, "state")

    def get_agent(self, session_id: str) -> ActorRef:
        """Return the session's agent, there from its first prompt on; see `get_process`."""
        return self.get_process(session_id, "agent")

    # Looking

    def health_check(self, session_id: str) -> Health:
        """Ask every child of a session how it is, all at once, within `call_timeout`.

        The supervisor and its children are asked, not the registry. One that
        hangs makes this wait, and is reported as unresponsive.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: No such session is open.
        """
        plan = self._system.probe.session(session_id)
        return self._system.carry_out(plan)

    def events(self, session_id: str | None = None) -> EventStream:
        """Return a stream of what happens from now on, of one session if *session_id* is given.

        In a process that is attached it begins with what runs: a `ChildRunning` for each process,
        the root first. After that, and for whoever has started the system, every change comes in
        order, without a gap and none twice.

        That of one session ends when the session does; otherwise it goes on until the system,
        or the stream, is closed.

        Its buffer holds `Settings.event_buffer` events; a reader that is slower
        loses the oldest, and `EventStream.dropped` counts them.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
        """
        return self._system.events(session_id)

    def statistics(self) -> Statistics:
        """Return a snapshot of counts."""
        return self._system.carry_out(self._system.counting())


def _claim(name: str | None) -> Claim | None:
    if name is None:
        return None
    from jidocode._host.attach.place import Claim, require_name  # noqa: PLC0415 - few systems have one

    found = require_name(name)
    return run_whole(lambda: Claim(found))


def _checked(tools: Sequence[Tool], policy: Policy | None) -> Sequence[Tool]:
    if not tools and policy is None:
        return ()
    from jidocode.session.tools.tool import check_tools, is_awaited  # noqa: PLC0415 - see above

    checked = check_tools(tools)
    for tool in checked:
        if is_awaited(tool.run):
            raise InvalidToolError(f"tool {tool.name} is awaited, which takes AsyncSessionSystem")
    if policy is not None and is_awaited(policy):
        raise TypeError("a policy that is awaited takes AsyncSessionSystem")
    return checked
