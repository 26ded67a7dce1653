"""Supervised, process-isolated coding sessions for Python apps.

General layout (imports go from left to right only, which CI checks):

    testing -> system -> session | _host -> otp -> errors

testing   what the tests of an app need, as a pytest plugin
system    what an app uses: `SessionSystem` and the handles it gives out
session   WHAT is supervised: the record, the boundary, Manager, State, the tree
_host     WHERE it runs: processes, sockets, signals; the only Thespian code
otp       HOW supervision works: pure machines, no process, clock or socket
errors    every error, in one tree
"""

import sys

if not sys.platform.startswith("linux"):
    raise ImportError(f"jidocode runs on Linux so far, not on {sys.platform}")

from loguru import logger

from jidocode.errors import (
    ActorExitedError,
    AlreadyPresentError,
    AlreadyStartedError,
    BoundaryError,
    CallError,
    CallTimeoutError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    EventGapError,
    HandlerError,
    HostError,
    HostExitedError,
    HostStartError,
    InvalidChildSpecError,
    InvalidRequestError,
    InvalidSessionError,
    InvalidSessionIdError,
    InvalidSettingError,
    JidocodeError,
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalVersionError,
    JournalWriteError,
    MaxChildrenError,
    NoProcessError,
    ProjectAlreadyOpenError,
    RateLimitedError,
    RegistryNotRunningError,
    SessionError,
    SessionExistsError,
    SessionLimitError,
    SessionNotFoundError,
    StartFailedError,
    SupervisorError,
)
from jidocode.otp import (
    ActorRef,
    ChildCounts,
    ChildInfo,
    ChildSpec,
    Flags,
    GenServer,
    Restart,
    Strategy,
)
from jidocode.session.conversation.changes import (
    Change,
    FileAccess,
    FileAccessKind,
    Message,
    MessagesCleared,
    MessageStatus,
    Opened,
    PromptAdded,
    ReasoningCleared,
    ReasoningStep,
    Role,
    SessionChanged,
    SettingsChanged,
    StreamBegan,
    StreamChunk,
    Todo,
    TodosReplaced,
    TodoStatus,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
)
from jidocode.session.conversation.conversation import ConversationStatistics
from jidocode.session.journal.catalogue import Resumable
from jidocode.session.journal.file import Repair
from jidocode.session.manager.client import ManagerClient
from jidocode.session.project.boundary import Entry
from jidocode.session.project.files import FileSlice, Listing
from jidocode.session.record import Session, SessionConfig
from jidocode.session.requests import Call
from jidocode.session.state.client import StateClient
from jidocode.session.tree import SessionChildren, Upkeep, session_children
from jidocode.system import (
    ChildHealth,
    CreationRate,
    Durability,
    Event,
    EventStream,
    Health,
    HealthStatus,
    Monitor,
    SessionHandle,
    SessionRefused,
    SessionSystem,
    Settings,
    Statistics,
    SystemHealth,
    TreeNode,
)

__all__ = [
    "ActorExitedError",
    "ActorRef",
    "AlreadyPresentError",
    "AlreadyStartedError",
    "BoundaryError",
    "Call",
    "CallError",
    "CallTimeoutError",
    "Change",
    "ChildCounts",
    "ChildHealth",
    "ChildInfo",
    "ChildNotFoundError",
    "ChildRestartingError",
    "ChildRunningError",
    "ChildSpec",
    "ConversationStatistics",
    "CreationRate",
    "Durability",
    "Entry",
    "Event",
    "EventGapError",
    "EventStream",
    "FileAccess",
    "FileAccessKind",
    "FileSlice",
    "Flags",
    "GenServer",
    "HandlerError",
    "Health",
    "HealthStatus",
    "HostError",
    "HostExitedError",
    "HostStartError",
    "InvalidChildSpecError",
    "InvalidRequestError",
    "InvalidSessionError",
    "InvalidSessionIdError",
    "InvalidSettingError",
    "JidocodeError",
    "JournalDamagedError",
    "JournalError",
    "JournalLockedError",
    "JournalVersionError",
    "JournalWriteError",
    "Listing",
    "ManagerClient",
    "MaxChildrenError",
    "Message",
    "MessageStatus",
    "MessagesCleared",
    "Monitor",
    "NoProcessError",
    "Opened",
    "ProjectAlreadyOpenError",
    "PromptAdded",
    "RateLimitedError",
    "ReasoningCleared",
    "ReasoningStep",
    "RegistryNotRunningError",
    "Repair",
    "Restart",
    "Resumable",
    "Role",
    "Session",
    "SessionChanged",
    "SessionChildren",
    "SessionConfig",
    "SessionError",
    "SessionExistsError",
    "SessionHandle",
    "SessionLimitError",
    "SessionNotFoundError",
    "SessionRefused",
    "SessionSystem",
    "Settings",
    "SettingsChanged",
    "StartFailedError",
    "StateClient",
    "Statistics",
    "Strategy",
    "StreamBegan",
    "StreamChunk",
    "SupervisorError",
    "SystemHealth",
    "Todo",
    "TodoStatus",
    "TodosReplaced",
    "ToolCall",
    "ToolContextReplaced",
    "ToolResult",
    "TreeNode",
    "Upkeep",
    "session_children",
]

logger.disable("jidocode")  # a library is quiet until its app says `logger.enable("jidocode")`
