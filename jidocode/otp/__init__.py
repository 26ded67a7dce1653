"""Supervision as OTP means it: the classes to write, and the machines that drive them.

Pure logic: no process, clock, socket or actor library. A host feeds the
machines events and carries out the effects that they return.

server.py              `GenServer`, and the loop that drives one
specs.py               what a supervisor is told: child specs and flags
strategy.py            the two tables: who is restarted, and whether
intensity.py           how many restarts are too many
children.py            one life of one child, from its name to its grave
keeper.py              what both kinds of supervisor share
supervisor.py          `Supervisor`: an ordered list of children
dynamic_supervisor.py  `DynamicSupervisor`: children on demand
management.py          the requests that supervisors answer
registry.py            the table of names
registry_server.py     `RegistryServer`: the process that owns it
monitors.py            the table of monitors
events.py              what supervisors announce
exits.py, refs.py      why a process ended, and which one is meant
"""

from jidocode.base.exits import Crashed, ExitReason, Killed, NoProcess, Normal, Shutdown
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import (
    AlreadyPresentError,
    AlreadyStartedError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    InvalidChildSpecError,
    MaxChildrenError,
    StartFailedError,
    SupervisorError,
)
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller, Down, Response, Timeout
from jidocode.otp.server.results import Ignore, NoReply, Refuse, Reply, Stop
from jidocode.otp.supervision.dynamic_supervisor import DynamicFlags, DynamicSupervisor
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    ChildStarting,
    GaveUp,
    HeartbeatMissed,
)
from jidocode.otp.supervision.management import ChildCounts, ChildInfo, ChildStatus
from jidocode.otp.supervision.specs import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    ChildSpec,
    ChildType,
    Flags,
    Start,
)
from jidocode.otp.supervision.strategy import Restart, Strategy
from jidocode.otp.supervision.supervisor import Supervisor

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "ActorRef",
    "AlreadyPresentError",
    "AlreadyStartedError",
    "AutoShutdown",
    "Caller",
    "ChildCounts",
    "ChildExited",
    "ChildInfo",
    "ChildNotFoundError",
    "ChildRestartingError",
    "ChildRunningError",
    "ChildSpec",
    "ChildStartFailed",
    "ChildStarted",
    "ChildStarting",
    "ChildStatus",
    "ChildType",
    "Crashed",
    "Down",
    "DynamicFlags",
    "DynamicSupervisor",
    "ExitReason",
    "Flags",
    "GaveUp",
    "GenServer",
    "HeartbeatMissed",
    "Ignore",
    "InvalidChildSpecError",
    "Killed",
    "MaxChildrenError",
    "Name",
    "NoProcess",
    "NoReply",
    "Normal",
    "Refuse",
    "Reply",
    "Response",
    "Restart",
    "Shutdown",
    "Start",
    "StartFailedError",
    "Stop",
    "Strategy",
    "Supervisor",
    "SupervisorError",
    "Timeout",
]
