"""What the type checkers have to understand; it is NOT meant to be executed."""

from typing import Any, assert_never, assert_type

import jidocode
from jidocode import (
    ActorRef,
    Approval,
    ApprovalAnswer,
    AsyncChangeStream,
    AsyncCommandHandle,
    AsyncEventStream,
    AsyncSessionHandle,
    AsyncSessionSystem,
    ChangeStream,
    ChildInfo,
    ChildSpec,
    CommandHandle,
    CommandResult,
    Edit,
    EditedFile,
    Event,
    EventStream,
    FileAccess,
    FileBytes,
    FileSlice,
    Flags,
    FoundFiles,
    GenServer,
    Health,
    JournalOpened,
    Matches,
    Message,
    MessagesCleared,
    ModelAnswered,
    PathStatus,
    ProjectTree,
    PromptAdded,
    ProtectedPathsChanged,
    ReasoningCleared,
    ReasoningStep,
    Repair,
    Session,
    SessionChanged,
    SessionHandle,
    SessionRefused,
    SessionSystem,
    Settings,
    SettingsChanged,
    Strategy,
    StreamBegan,
    StreamBlock,
    StreamChunk,
    Summary,
    TextFile,
    TodosReplaced,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
    Usage,
    UsageCounted,
    WrittenFile,
)
from jidocode.otp import (
    Announced,
    Caller,
    ChildExited,
    ChildRunning,
    ChildStarted,
    ChildStartFailed,
    ChildStarting,
    GaveUp,
    HeartbeatMissed,
    Reply,
    Start,
    Via,
)


class Own(GenServer):
    """A child of one's own."""

    def init(self, size: int) -> None:
        """Take an argument from the spec."""
        self.size = size

    def handle_call(self, request: str, caller: Caller) -> Reply:
        """Answer one kind of request."""
        del caller
        return Reply(len(request) + self.size)


def sessions() -> None:
    """Calls have a precise type."""
    with SessionSystem(max_sessions=3) as system:
        assert_type(system, SessionSystem)
        session = system.create_session(".", children=[ChildSpec(id="own", start=Start(Own, 1))])
        assert_type(session, SessionHandle)
        assert_type(session.manager.read_file("a", limit=1), FileSlice)
        assert_type(session.manager.read_text("a", encoding="latin-1"), TextFile)
        assert_type(session.manager.read_bytes("a", offset=1), FileBytes)
        assert_type(session.manager.write_file("a", "b", if_sha256="absent"), WrittenFile)
        assert_type(session.manager.stat("a"), PathStatus)
        assert_type(session.manager.mkdir("a"), str)
        assert_type(session.manager.remove("a", recursive=True, limit=3), int)
        assert_type(session.manager.move("a", "b", overwrite=True), str)
        assert_type(session.manager.copy("a", "b", recursive=True), str)
        assert_type(session.manager.append_file("a", "b"), WrittenFile)
        assert_type(session.manager.edit_file("a", Edit("b", "c"), Edit("d", "e")), EditedFile)
        session.manager.edit_file("a", ("b", "c"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # no edit
        session.manager.write_file("a", "b", newline="\n\r")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # no line end
        assert_type(session.manager.glob("**", limit=1), FoundFiles)
        assert_type(session.manager.grep("a", context=1), Matches)
        assert_type(session.manager.tree("a", depth=1), ProjectTree)
        session.manager.grep("a", "b")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # path has to be named
        assert_type(session.manager.project_root(), str)
        assert_type(session.manager.session(), Session)
        assert_type(ChildSpec(id="own", start=Own).start, Start)
        assert_type(session.state.append_message("user", "a"), Message)
        assert_type(session.state.messages(limit=1), list[Message])
        assert_type(session.state.append_chunk("a", "b", offset=0), int)
        session.manager.read_file("a", 1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # offset has to be named
        session.state.messages(limit="x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose
        assert_type(session.run("true", tty=(24, 80), check=True), CommandResult)
        assert_type(session.commands.start(["true"]), CommandHandle)
        assert_type(session.commands.start("cat", stdin="").wait(1), CommandResult)
        session.run(b"true", timeout="1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose
        assert_type(session.which_children(), tuple[ChildInfo, ...])
        assert_type(session.health_check(), Health)
        assert_type(system.get_manager(session.id), ActorRef)
        assert_type(system.list_sessions(), list[Session])
        assert_type(system.session_running(session.id), bool)


async def awaited() -> None:
    """What is awaited has the type of its twin."""
    async with AsyncSessionSystem(max_sessions=3) as system:
        assert_type(system, AsyncSessionSystem)
        session = await system.create_session(".")
        assert_type(session, AsyncSessionHandle)
        assert_type(await session.manager.read_file("a", limit=1), FileSlice)
        assert_type(await session.manager.project_root(), str)
        assert_type(await session.manager.edit_file("a", Edit("b", "c")), EditedFile)
        await session.manager.write_file("a", "b", newline="\n\r")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # no line end
        await session.manager.grep("a", "b")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # path has to be named
        assert_type(await session.state.append_message("user", "a"), Message)
        await session.state.append_message("nobody", "a")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose
        assert_type(await session.state.messages(limit=1), list[Message])
        assert_type(await session.run("true", tty=(24, 80), check=True), CommandResult)
        await session.run(b"true", timeout="1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose
        command = await session.commands.start(["true"])
        assert_type(command, AsyncCommandHandle)
        assert_type(await command.wait(1), CommandResult)
        assert_type([chunk async for chunk in command.output()], list[bytes])
        assert_type(await session.which_children(), tuple[ChildInfo, ...])
        assert_type(await session.health_check(), Health)
        assert_type(await system.get_manager(session.id), ActorRef)
        assert_type(await system.list_sessions(), list[Session])
        assert_type(system.events(), AsyncEventStream)
        async for event in system.events():
            assert_type(event, Event)
        changes = session.state.subscribe(from_seq=1)
        assert_type(changes, AsyncChangeStream)
        async for change in changes:
            assert_type(change.seq, int)


def endings(events: EventStream, changes: ChangeStream) -> None:
    """A match over facts, or over changes, can be complete."""
    for event in events:
        assert_type(event, Event)
        match event.fact:
            case ChildRunning() | ChildStarting() | ChildStarted() | ChildExited():
                assert_type(event.fact.child_id, str)
            case ChildStartFailed():
                pass
            case (
                HeartbeatMissed() | GaveUp() | SessionRefused() | Repair() | ProtectedPathsChanged()
            ):
                pass
            case ModelAnswered():
                assert_type(event.fact.total, Usage)
            case Announced(value=value):
                assert_type(value, Any)
            case nothing:  # pyright: ignore[reportUnnecessaryComparison] # that it is, is the point
                assert_never(nothing)
    for change in changes:
        assert_type(change.seq, int)
        match change:
            case Message() | MessagesCleared() | StreamBegan() | StreamChunk():
                pass
            case ReasoningStep() | ReasoningCleared() | ToolCall() | ToolResult():
                pass
            case TodosReplaced() | ToolContextReplaced() | SettingsChanged() | SessionChanged():
                pass
            case PromptAdded() | FileAccess() | JournalOpened():
                pass
            case StreamBlock() | Summary() | UsageCounted() | Approval() | ApprovalAnswer():
                pass
            case none:  # pyright: ignore[reportUnnecessaryComparison] # idem
                assert_never(none)


def targets(system: SessionSystem) -> None:
    """Who has a key of a registry is a target as any other."""
    whoever = Via(("registry", "jobs"), 17)
    assert_type(system.whereis(whoever), ActorRef | None)
    system.cast(whoever, "hello")
    system.call(17, "hello")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose


def settings() -> None:
    """A setting's name and type are checked; an enum may be given as text."""
    Settings.load(max_sessions=3, strategy="one_for_one")
    Settings.load(max_sesions=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # on purpose
    SessionSystem(max_sesions=3)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # on purpose
    SessionSystem(max_sessions="3")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose
    assert_type(Settings(strategy="one_for_one").strategy, Strategy)
    Settings(strategy="one for one")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose
    Flags(strategy="rest_for_one", auto_shutdown="never")
    ChildSpec(id="own", start=Own, restart="transient", type="worker")
    Own.child_spec(1, name=("own", "1"), restart="temporary")
    Own.child_spec(1, nmae=("own", "1"))  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # on purpose
    assert_type(jidocode.__version__, str)
