"""Supervised, process-isolated coding sessions for Python apps.

General layout (imports go from left to right only, which CI checks):

    cli -> bridges | metrics | testing -> system -> session | _host -> otp -> errors -> base

cli       `jidocode` on the command line
bridges   protocols by which other programs work with a session
metrics   what Prometheus and OpenTelemetry are told
testing   what the tests of an app need, as a pytest plugin
system    what an app uses: `SessionSystem` and the handles it gives out
session   WHAT is supervised: the record, the boundary, Manager, State, the tree
_host     WHERE it runs: processes, sockets, signals; the only Thespian code
otp       HOW supervision works: pure machines, no process, clock or socket
errors    every error, in one tree
base      words of every layer: exit reasons, refs, records, text
"""

import sys

if not sys.platform.startswith("linux"):
    raise ImportError(f"jidocode runs on Linux so far, not on {sys.platform}")

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    """The version of this library."""

    from jidocode._host.client.monitor import Monitor as Monitor
    from jidocode.base.refs import ActorRef as ActorRef
    from jidocode.errors import (
        ActorExitedError as ActorExitedError,
        AgentBusyError as AgentBusyError,
        AgentError as AgentError,
        AlreadyPresentError as AlreadyPresentError,
        AlreadyRegisteredError as AlreadyRegisteredError,
        AlreadyStartedError as AlreadyStartedError,
        AttachError as AttachError,
        BoundaryError as BoundaryError,
        CallError as CallError,
        CallTimeoutError as CallTimeoutError,
        ChildNotFoundError as ChildNotFoundError,
        ChildRestartingError as ChildRestartingError,
        ChildRunningError as ChildRunningError,
        CommandError as CommandError,
        CommandFailedError as CommandFailedError,
        CommandLimitError as CommandLimitError,
        CommandRunningError as CommandRunningError,
        CommandStartError as CommandStartError,
        ConfinementError as ConfinementError,
        ContextOverflowError as ContextOverflowError,
        EditMismatchError as EditMismatchError,
        EventGapError as EventGapError,
        FileChangedError as FileChangedError,
        FileTooLargeError as FileTooLargeError,
        FolderTooLargeError as FolderTooLargeError,
        HandlerError as HandlerError,
        HostError as HostError,
        HostExitedError as HostExitedError,
        HostStartError as HostStartError,
        InvalidChildSpecError as InvalidChildSpecError,
        InvalidMcpServerError as InvalidMcpServerError,
        InvalidModelError as InvalidModelError,
        InvalidRequestError as InvalidRequestError,
        InvalidSessionError as InvalidSessionError,
        InvalidSessionIdError as InvalidSessionIdError,
        InvalidSettingError as InvalidSettingError,
        InvalidTimeError as InvalidTimeError,
        InvalidToolError as InvalidToolError,
        JidocodeError as JidocodeError,
        JournalDamagedError as JournalDamagedError,
        JournalError as JournalError,
        JournalLockedError as JournalLockedError,
        JournalLostError as JournalLostError,
        JournalVersionError as JournalVersionError,
        JournalWriteError as JournalWriteError,
        MaxChildrenError as MaxChildrenError,
        McpServerError as McpServerError,
        ModelAuthenticationError as ModelAuthenticationError,
        ModelError as ModelError,
        ModelInterruptedError as ModelInterruptedError,
        ModelRequestError as ModelRequestError,
        ModelUnavailableError as ModelUnavailableError,
        NoCommandError as NoCommandError,
        NoProcessError as NoProcessError,
        NoSnapshotError as NoSnapshotError,
        NotRegisteredError as NotRegisteredError,
        NotTextError as NotTextError,
        OutputCutError as OutputCutError,
        PolicyDeniedError as PolicyDeniedError,
        ProgramNotFoundError as ProgramNotFoundError,
        ProjectAlreadyOpenError as ProjectAlreadyOpenError,
        ProjectGoneError as ProjectGoneError,
        ProtectedPathError as ProtectedPathError,
        RateLimitedError as RateLimitedError,
        ReadOnlyError as ReadOnlyError,
        RegistryNotRunningError as RegistryNotRunningError,
        SessionError as SessionError,
        SessionExistsError as SessionExistsError,
        SessionLimitError as SessionLimitError,
        SessionNotFoundError as SessionNotFoundError,
        SnapshotError as SnapshotError,
        StartFailedError as StartFailedError,
        StreamStalledError as StreamStalledError,
        SupervisorError as SupervisorError,
        SystemNameTakenError as SystemNameTakenError,
        SystemNotFoundError as SystemNotFoundError,
        ToolCallRunningError as ToolCallRunningError,
    )
    from jidocode.otp.server.gen_server import GenServer as GenServer
    from jidocode.otp.server.streams import CallStream as CallStream
    from jidocode.otp.supervision.management import (
        ChildCounts as ChildCounts,
        ChildInfo as ChildInfo,
    )
    from jidocode.otp.supervision.specs import ChildSpec as ChildSpec, Flags as Flags
    from jidocode.otp.supervision.strategy import (
        Restart as Restart,
        Strategy as Strategy,
        StrategyText as StrategyText,
    )
    from jidocode.session.admission.messages import SessionRefused as SessionRefused
    from jidocode.session.agent.client import AgentClient as AgentClient
    from jidocode.session.agent.handle import TurnHandle as TurnHandle
    from jidocode.session.agent.message import CalledTool as CalledTool
    from jidocode.session.agent.messages import TurnEvent as TurnEvent, TurnResult as TurnResult
    from jidocode.session.agent.model import (
        Delta as Delta,
        Model as Model,
        ModelRequest as ModelRequest,
        ReasoningDelta as ReasoningDelta,
        Stop as Stop,
        StopReason as StopReason,
        TextDelta as TextDelta,
        TokenUsage as TokenUsage,
        ToolCallDelta as ToolCallDelta,
        ToolDescription as ToolDescription,
    )
    from jidocode.session.agent.retrying import ModelRetry as ModelRetry, RetryRules as RetryRules
    from jidocode.session.agent.spec import ModelSpec as ModelSpec
    from jidocode.session.agent.turn import TurnLimits as TurnLimits, TurnOutcome as TurnOutcome
    from jidocode.session.child import OwnSession as OwnSession, SessionChild as SessionChild
    from jidocode.session.commands.client import (
        AsyncCommandsClient as AsyncCommandsClient,
        CommandsClient as CommandsClient,
    )
    from jidocode.session.commands.handle import (
        AsyncCommandHandle as AsyncCommandHandle,
        CommandHandle as CommandHandle,
    )
    from jidocode.session.commands.limits import CommandRules as CommandRules
    from jidocode.session.commands.options import CommandOptions as CommandOptions
    from jidocode.session.commands.reading import (
        AsyncCommandOutput as AsyncCommandOutput,
        CommandOutput as CommandOutput,
    )
    from jidocode.session.commands.result import (
        CapturedOutput as CapturedOutput,
        CommandInfo as CommandInfo,
        CommandResult as CommandResult,
        OutputChunk as OutputChunk,
        StreamName as StreamName,
    )
    from jidocode.session.confinement.limits import CommandLimits as CommandLimits
    from jidocode.session.confinement.network import (
        FullNetwork as FullNetwork,
        NoNetwork as NoNetwork,
        Ports as Ports,
    )
    from jidocode.session.confinement.report import (
        ConfinementReport as ConfinementReport,
        Denial as Denial,
    )
    from jidocode.session.conversation.blocks import (
        Block as Block,
        Completion as Completion,
        FileBlock as FileBlock,
        ImageBlock as ImageBlock,
        ReasoningBlock as ReasoningBlock,
        TextBlock as TextBlock,
        ToolResultBlock as ToolResultBlock,
        ToolUseBlock as ToolUseBlock,
        Usage as Usage,
    )
    from jidocode.session.conversation.changes import (
        Approval as Approval,
        ApprovalAnswer as ApprovalAnswer,
        Change as Change,
        ChunkKind as ChunkKind,
        FileAccess as FileAccess,
        FileAccessKind as FileAccessKind,
        JournalOpened as JournalOpened,
        Message as Message,
        MessagesCleared as MessagesCleared,
        MessageStatus as MessageStatus,
        PromptAdded as PromptAdded,
        ReasoningCleared as ReasoningCleared,
        ReasoningStep as ReasoningStep,
        Role as Role,
        SessionChanged as SessionChanged,
        SettingsChanged as SettingsChanged,
        StreamBegan as StreamBegan,
        StreamBlock as StreamBlock,
        StreamChunk as StreamChunk,
        Summary as Summary,
        Todo as Todo,
        TodosReplaced as TodosReplaced,
        TodoStatus as TodoStatus,
        ToolCall as ToolCall,
        ToolContextReplaced as ToolContextReplaced,
        ToolResult as ToolResult,
        UsageCounted as UsageCounted,
    )
    from jidocode.session.conversation.history import HistoryFormat as HistoryFormat
    from jidocode.session.conversation.importing import ImportedHistory as ImportedHistory
    from jidocode.session.conversation.reports import (
        ConversationStatistics as ConversationStatistics,
        ModelAnswered as ModelAnswered,
        Repair as Repair,
    )
    from jidocode.session.journal.catalogue import Resumable as Resumable
    from jidocode.session.manager.client import (
        AsyncManagerClient as AsyncManagerClient,
        ManagerClient as ManagerClient,
    )
    from jidocode.session.mcp.client import (
        AsyncMcpServersClient as AsyncMcpServersClient,
        McpServersClient as McpServersClient,
    )
    from jidocode.session.mcp.messages import McpServerTools as McpServerTools
    from jidocode.session.mcp.spec import McpServer as McpServer
    from jidocode.session.project.boundary import Entry as Entry
    from jidocode.session.project.editing import Edit as Edit
    from jidocode.session.project.found import (
        FoundFiles as FoundFiles,
        Match as Match,
        Matches as Matches,
        ProjectTree as ProjectTree,
        Skipped as Skipped,
        TreeEntry as TreeEntry,
        Truncation as Truncation,
    )
    from jidocode.session.project.protection import (
        ProtectedChanges as ProtectedChanges,
        ProtectedPathsChanged as ProtectedPathsChanged,
        ProtectionRules as ProtectionRules,
    )
    from jidocode.session.project.results import (
        EditedFile as EditedFile,
        FileBytes as FileBytes,
        Listing as Listing,
        PathStatus as PathStatus,
        TextFile as TextFile,
        WrittenFile as WrittenFile,
    )
    from jidocode.session.project.slices import FileSlice as FileSlice
    from jidocode.session.project.text import Newline as Newline
    from jidocode.session.record import Session as Session, SessionConfig as SessionConfig
    from jidocode.session.requests import AsyncChannel as AsyncChannel, Channel as Channel
    from jidocode.session.snapshots.limits import SnapshotRules as SnapshotRules
    from jidocode.session.snapshots.results import (
        ChangeKind as ChangeKind,
        Changes as Changes,
        FileChange as FileChange,
        FileDiff as FileDiff,
        FileState as FileState,
        NotReverted as NotReverted,
        Reverted as Reverted,
        Snapshot as Snapshot,
        Unkept as Unkept,
    )
    from jidocode.session.state.change_stream import (
        AsyncChangeStream as AsyncChangeStream,
        ChangeStream as ChangeStream,
    )
    from jidocode.session.state.client import (
        AsyncStateClient as AsyncStateClient,
        StateClient as StateClient,
    )
    from jidocode.session.tools.arguments import JsonArguments as JsonArguments
    from jidocode.session.tools.policy import (
        Allow as Allow,
        AsyncPolicy as AsyncPolicy,
        Decision as Decision,
        Deny as Deny,
        Policy as Policy,
        ToolRequest as ToolRequest,
        accept_edits as accept_edits,
        allow_all as allow_all,
        ask_unless_remembered as ask_unless_remembered,
        read_only as read_only,
    )
    from jidocode.session.tools.tool import (
        Tool as Tool,
        ToolContext as ToolContext,
        ToolKind as ToolKind,
    )
    from jidocode.session.tools.toolbox import Toolbox as Toolbox
    from jidocode.session.tree import (
        SessionChildren as SessionChildren,
        session_children as session_children,
    )
    from jidocode.session.upkeep import Upkeep as Upkeep
    from jidocode.system.archive import list_resumable as list_resumable
    from jidocode.system.asynchronous.agent import (
        AsyncAgentClient as AsyncAgentClient,
        AsyncTurnHandle as AsyncTurnHandle,
    )
    from jidocode.system.asynchronous.export import AsyncExport as AsyncExport
    from jidocode.system.asynchronous.handle import AsyncSessionHandle as AsyncSessionHandle
    from jidocode.system.asynchronous.streams import (
        AsyncCallHandle as AsyncCallHandle,
        AsyncCallStream as AsyncCallStream,
        AsyncEventStream as AsyncEventStream,
        AsyncMonitor as AsyncMonitor,
    )
    from jidocode.system.asynchronous.system import AsyncSessionSystem as AsyncSessionSystem
    from jidocode.system.asynchronous.toolbox import AsyncToolbox as AsyncToolbox
    from jidocode.system.events import (
        Event as Event,
        EventStream as EventStream,
        Fact as Fact,
    )
    from jidocode.system.handle import SessionHandle as SessionHandle
    from jidocode.system.health import (
        ChildHealth as ChildHealth,
        Health as Health,
        HealthStatus as HealthStatus,
        Statistics as Statistics,
        SystemHealth as SystemHealth,
        TreeNode as TreeNode,
    )
    from jidocode.system.rules import CreationRate as CreationRate, Durability as Durability
    from jidocode.system.settings import (
        Settings as Settings,
        SettingsOverrides as SettingsOverrides,
    )
    from jidocode.system.system import SessionSystem as SessionSystem
else:
    from jidocode.base.lazy import lazy_names

    names = """
        jidocode._host.client.monitor
            Monitor
        jidocode.base.refs
            ActorRef
        jidocode.errors
            ActorExitedError AgentBusyError AgentError AlreadyPresentError AlreadyRegisteredError
            AlreadyStartedError AttachError BoundaryError CallError CallTimeoutError
            ChildNotFoundError ChildRestartingError ChildRunningError CommandError
            CommandFailedError CommandLimitError CommandRunningError CommandStartError
            ConfinementError ContextOverflowError EditMismatchError EventGapError FileChangedError
            FileTooLargeError FolderTooLargeError HandlerError HostError HostExitedError
            HostStartError InvalidChildSpecError InvalidMcpServerError InvalidModelError
            InvalidRequestError
            InvalidSessionError InvalidSessionIdError InvalidSettingError InvalidTimeError
            InvalidToolError JidocodeError JournalDamagedError JournalError JournalLockedError
            JournalLostError JournalVersionError JournalWriteError MaxChildrenError McpServerError
            ModelAuthenticationError ModelError ModelInterruptedError ModelRequestError
            ModelUnavailableError NoCommandError NoProcessError NoSnapshotError NotRegisteredError
            NotTextError OutputCutError PolicyDeniedError ProgramNotFoundError
            ProjectAlreadyOpenError ProjectGoneError ProtectedPathError RateLimitedError
            ReadOnlyError RegistryNotRunningError SessionError SessionExistsError
            SessionLimitError
            SessionNotFoundError SnapshotError StartFailedError StreamStalledError SupervisorError
            SystemNameTakenError SystemNotFoundError ToolCallRunningError
        jidocode.otp.server.gen_server
            GenServer
        jidocode.otp.server.streams
            CallStream
        jidocode.otp.supervision.management
            ChildCounts ChildInfo
        jidocode.otp.supervision.specs
            ChildSpec Flags
        jidocode.otp.supervision.strategy
            Restart Strategy StrategyText
        jidocode.session.admission.messages
            SessionRefused
        jidocode.session.agent.client
            AgentClient
        jidocode.session.agent.handle
            TurnHandle
        jidocode.session.agent.message
            CalledTool
        jidocode.session.agent.messages
            TurnEvent TurnResult
        jidocode.session.agent.model
            Delta Model ModelRequest ReasoningDelta Stop StopReason TextDelta TokenUsage
            ToolCallDelta ToolDescription
        jidocode.session.agent.retrying
            ModelRetry RetryRules
        jidocode.session.agent.spec
            ModelSpec
        jidocode.session.agent.turn
            TurnLimits TurnOutcome
        jidocode.session.child
            OwnSession SessionChild
        jidocode.session.confinement.limits
            CommandLimits
        jidocode.session.confinement.network
            FullNetwork NoNetwork Ports
        jidocode.session.confinement.report
            ConfinementReport Denial
        jidocode.session.commands.client
            AsyncCommandsClient CommandsClient
        jidocode.session.commands.handle
            AsyncCommandHandle CommandHandle
        jidocode.session.commands.limits
            CommandRules
        jidocode.session.commands.options
            CommandOptions
        jidocode.session.commands.reading
            AsyncCommandOutput CommandOutput
        jidocode.session.commands.result
            CapturedOutput CommandInfo CommandResult OutputChunk StreamName
        jidocode.session.conversation.blocks
            Block Completion FileBlock ImageBlock ReasoningBlock TextBlock ToolResultBlock
            ToolUseBlock Usage
        jidocode.session.conversation.changes
            Approval ApprovalAnswer Change ChunkKind FileAccess FileAccessKind JournalOpened Message
            MessageStatus MessagesCleared PromptAdded ReasoningCleared ReasoningStep Role
            SessionChanged SettingsChanged StreamBegan StreamBlock StreamChunk Summary Todo
            TodoStatus TodosReplaced ToolCall ToolContextReplaced ToolResult UsageCounted
        jidocode.session.conversation.history
            HistoryFormat
        jidocode.session.conversation.importing
            ImportedHistory
        jidocode.session.conversation.reports
            ConversationStatistics ModelAnswered Repair
        jidocode.session.journal.catalogue
            Resumable
        jidocode.session.manager.client
            AsyncManagerClient ManagerClient
        jidocode.session.mcp.client
            AsyncMcpServersClient McpServersClient
        jidocode.session.mcp.messages
            McpServerTools
        jidocode.session.mcp.spec
            McpServer
        jidocode.session.project.boundary
            Entry
        jidocode.session.project.editing
            Edit
        jidocode.session.project.protection
            ProtectedChanges ProtectedPathsChanged ProtectionRules
        jidocode.session.project.results
            EditedFile FileBytes Listing PathStatus TextFile WrittenFile
        jidocode.session.project.found
            FoundFiles Match Matches ProjectTree Skipped TreeEntry Truncation
        jidocode.session.project.slices
            FileSlice
        jidocode.session.project.text
            Newline
        jidocode.session.record
            Session SessionConfig
        jidocode.session.requests
            AsyncChannel Channel
        jidocode.session.snapshots.limits
            SnapshotRules
        jidocode.session.snapshots.results
            ChangeKind Changes FileChange FileDiff FileState NotReverted Reverted Snapshot Unkept
        jidocode.session.state.change_stream
            AsyncChangeStream ChangeStream
        jidocode.session.state.client
            AsyncStateClient StateClient
        jidocode.session.tools.arguments
            JsonArguments
        jidocode.session.tools.policy
            Allow AsyncPolicy Decision Deny Policy ToolRequest
            accept_edits allow_all ask_unless_remembered read_only
        jidocode.session.tools.tool
            Tool ToolContext ToolKind
        jidocode.session.tools.toolbox
            Toolbox
        jidocode.session.tree
            SessionChildren session_children
        jidocode.session.upkeep
            Upkeep
        jidocode.system.archive
            list_resumable
        jidocode.system.asynchronous.export
            AsyncExport
        jidocode.system.asynchronous.agent
            AsyncAgentClient AsyncTurnHandle
        jidocode.system.asynchronous.handle
            AsyncSessionHandle
        jidocode.system.asynchronous.streams
            AsyncCallHandle AsyncCallStream AsyncEventStream AsyncMonitor
        jidocode.system.asynchronous.system
            AsyncSessionSystem
        jidocode.system.asynchronous.toolbox
            AsyncToolbox
        jidocode.system.events
            Event EventStream Fact
        jidocode.system.handle
            SessionHandle
        jidocode.system.health
            ChildHealth Health HealthStatus Statistics SystemHealth TreeNode
        jidocode.system.rules
            CreationRate Durability
        jidocode.system.settings
            Settings SettingsOverrides
        jidocode.system.system
            SessionSystem
    """
    _get, __dir__, __all__ = lazy_names(__name__, names, modules="errors otp testing")

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 - imports much, rarely needed

            return version("jidocode")
        return _get(name)
