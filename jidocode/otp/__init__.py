"""Supervision as OTP means it: the classes to write, and the machines that drive them.

`start` runs a tree of them in processes, from an app. All else here is
pure logic: no process, clock, socket or actor library. A host feeds the
machines events and carries out the effects that they return; so each rule can
be read, and tested, without a process.

server/                a single process
    gen_server.py          `GenServer`, the class to write
    commands.py            what every server can ask for
    results.py             what its callbacks return
    messages.py            what comes to its handlers from the machinery
    machine.py             events, effects and commands of the loop
    runtime.py             `Runtime`: what a server asks of whoever runs it
    streams.py             `CallStream`: an answer that comes in parts
    loop.py                `ServerLoop`: the rules of gen_server
supervision/           children: started, watched, restarted, stopped
    specs.py               what a supervisor is told: child specs and flags
    strategy.py            the two tables: who is restarted, and whether
    intensity.py           how many restarts are too many
    supervisor.py          `Supervisor`: an ordered list of children, and its loop
    dynamic_supervisor.py  `DynamicSupervisor`: children on demand, and its loop
    keeper.py              what the two loops share
    children.py            the children that one keeps
    life.py                one life of one child, from its name to its grave
    machine.py             events and effects of all these
    management.py          the requests that supervisors answer
    root.py                the top of every tree
    events.py              what supervisors announce
management.py          what may be asked of any supervisor, as functions
asking.py              who asks, in functions like these
tasks.py               functions that run once, each in a supervised process
partitions.py          one kind of process several times
registry/              registries of one's own: keys, and who registered under them
seconds.py             what a time is
naming/                how processes are found and watched
    server.py              `RegistryServer`: the process that owns the tables
    messages.py            what is said to it, and what it says
    table.py               names, at most one process each
    monitors.py            who wants to know when a process dies
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jidocode._host.actor.async_server import AsyncGenServer as AsyncGenServer
    from jidocode.base.exits import (
        Crashed as Crashed,
        ExitReason as ExitReason,
        FailedChild as FailedChild,
        Killed as Killed,
        NoProcess as NoProcess,
        Normal as Normal,
        Shutdown as Shutdown,
    )
    from jidocode.base.refs import (
        ActorRef as ActorRef,
        Name as Name,
        Target as Target,
        Via as Via,
    )
    from jidocode.errors import (
        AlreadyPresentError as AlreadyPresentError,
        AlreadyStartedError as AlreadyStartedError,
        ChildNotFoundError as ChildNotFoundError,
        ChildRestartingError as ChildRestartingError,
        ChildRunningError as ChildRunningError,
        InvalidChildSpecError as InvalidChildSpecError,
        MaxChildrenError as MaxChildrenError,
        StartFailedError as StartFailedError,
        SupervisorError as SupervisorError,
    )
    from jidocode.otp.naming.messages import ROOT as ROOT
    from jidocode.otp.partitions import Partitions as Partitions
    from jidocode.otp.registry import Registry as Registry
    from jidocode.otp.seconds import INFINITY as INFINITY
    from jidocode.otp.server.gen_server import GenServer as GenServer
    from jidocode.otp.server.messages import (
        Caller as Caller,
        Down as Down,
        Response as Response,
        Timeout as Timeout,
    )
    from jidocode.otp.server.results import (
        CallResult as CallResult,
        Ignore as Ignore,
        InitResult as InitResult,
        NoReply as NoReply,
        Refuse as Refuse,
        Reply as Reply,
        Result as Result,
        Stop as Stop,
    )
    from jidocode.otp.server.streams import CallStream as CallStream
    from jidocode.otp.supervision.dynamic_supervisor import (
        DynamicFlags as DynamicFlags,
        DynamicSupervisor as DynamicSupervisor,
    )
    from jidocode.otp.supervision.events import (
        Announced as Announced,
        ChildExited as ChildExited,
        ChildRunning as ChildRunning,
        ChildStarted as ChildStarted,
        ChildStartFailed as ChildStartFailed,
        ChildStarting as ChildStarting,
        GaveUp as GaveUp,
        HeartbeatMissed as HeartbeatMissed,
    )
    from jidocode.otp.supervision.management import (
        ChildCounts as ChildCounts,
        ChildInfo as ChildInfo,
        ChildStatus as ChildStatus,
    )
    from jidocode.otp.supervision.specs import (
        BRUTAL_KILL as BRUTAL_KILL,
        AutoShutdown as AutoShutdown,
        Child as Child,
        ChildSpec as ChildSpec,
        ChildSpecOptions as ChildSpecOptions,
        ChildType as ChildType,
        Flags as Flags,
        Start as Start,
        Startable as Startable,
    )
    from jidocode.otp.supervision.strategy import Restart as Restart, Strategy as Strategy
    from jidocode.otp.supervision.supervisor import Supervisor as Supervisor
    from jidocode.otp.tasks import TaskSupervisor as TaskSupervisor
    from jidocode.system.application import Application as Application, start as start
    from jidocode.system.asynchronous.application import AsyncApplication as AsyncApplication
    from jidocode.system.call_handle import CallHandle as CallHandle
    from jidocode.system.settings import (
        ApplicationOverrides as ApplicationOverrides,
        ApplicationSettings as ApplicationSettings,
    )
else:
    from jidocode.base.lazy import lazy_names

    __getattr__, __dir__, __all__ = lazy_names(
        __name__,
        """
        jidocode._host.actor.async_server
            AsyncGenServer
        jidocode.base.exits
            Crashed ExitReason FailedChild Killed NoProcess Normal Shutdown
        jidocode.base.refs
            ActorRef Name Target Via
        jidocode.errors
            AlreadyPresentError AlreadyStartedError ChildNotFoundError ChildRestartingError
            ChildRunningError InvalidChildSpecError MaxChildrenError StartFailedError
            SupervisorError
        jidocode.otp.naming.messages
            ROOT
        jidocode.otp.seconds
            INFINITY
        jidocode.otp.partitions
            Partitions
        jidocode.otp.registry
            Registry
        jidocode.otp.server.gen_server
            GenServer
        jidocode.otp.server.messages
            Caller Down Response Timeout
        jidocode.otp.server.results
            CallResult Ignore InitResult NoReply Refuse Reply Result Stop
        jidocode.otp.server.streams
            CallStream
        jidocode.otp.supervision.dynamic_supervisor
            DynamicFlags DynamicSupervisor
        jidocode.otp.supervision.events
            Announced ChildExited ChildRunning ChildStartFailed ChildStarted ChildStarting GaveUp
            HeartbeatMissed
        jidocode.otp.supervision.management
            ChildCounts ChildInfo ChildStatus
        jidocode.otp.supervision.specs
            AutoShutdown BRUTAL_KILL Child ChildSpec ChildSpecOptions ChildType Flags Start
            Startable
        jidocode.otp.supervision.strategy
            Restart Strategy
        jidocode.otp.supervision.supervisor
            Supervisor
        jidocode.otp.tasks
            TaskSupervisor
        jidocode.system.application
            Application start
        jidocode.system.asynchronous.application
            AsyncApplication
        jidocode.system.call_handle
            CallHandle
        jidocode.system.settings
            ApplicationOverrides ApplicationSettings
    """,
        modules="management registry tasks",
    )
