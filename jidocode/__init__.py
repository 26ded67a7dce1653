"""Supervised, process-isolated coding sessions for Python apps.

General layout (imports go from left to right only, which CI checks):

    system -> session | _host -> otp -> errors

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
    AuthenticationError,
    BoundaryError,
    CallError,
    CallTimeoutError,
    HandlerError,
    HostError,
    HostExitedError,
    HostStartError,
    InvalidRequestError,
    InvalidSessionError,
    InvalidSessionIdError,
    InvalidSettingError,
    JidocodeError,
    JournalError,
    NoProcessError,
    ProjectAlreadyOpenError,
    RateLimitedError,
    RegistryNotRunningError,
    SessionError,
    SessionExistsError,
    SessionLimitError,
    SessionNotFoundError,
)
from jidocode.otp import ChildSpec, GenServer, Restart, Strategy
from jidocode.session.journal import Repair
from jidocode.session.record import Session, SessionConfig
from jidocode.system import (
    ChildHealth,
    CreationRate,
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
    "AuthenticationError",
    "BoundaryError",
    "CallError",
    "CallTimeoutError",
    "ChildHealth",
    "ChildSpec",
    "CreationRate",
    "Event",
    "EventStream",
    "GenServer",
    "HandlerError",
    "Health",
    "HealthStatus",
    "HostError",
    "HostExitedError",
    "HostStartError",
    "InvalidRequestError",
    "InvalidSessionError",
    "InvalidSessionIdError",
    "InvalidSettingError",
    "JidocodeError",
    "JournalError",
    "Monitor",
    "NoProcessError",
    "ProjectAlreadyOpenError",
    "RateLimitedError",
    "RegistryNotRunningError",
    "Repair",
    "Restart",
    "Session",
    "SessionConfig",
    "SessionError",
    "SessionExistsError",
    "SessionHandle",
    "SessionLimitError",
    "SessionNotFoundError",
    "SessionRefused",
    "SessionSystem",
    "Settings",
    "Statistics",
    "Strategy",
    "SystemHealth",
    "TreeNode",
]

logger.disable("jidocode")  # a library is quiet until its app says `logger.enable("jidocode")`
