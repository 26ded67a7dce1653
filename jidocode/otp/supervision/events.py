"""What supervisors announce: facts about their children, for the registry and the app.

Facts of one supervisor are delivered in the order in which they happened.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from jidocode.base.exits import ExitReason
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef, Name


@frozen(eq=False, repr=False, kw_only=True)
class ChildStarting(Record):
    """A child has a process, which runs its `init` now.

    Attributes:
        supervisor: Who starts it.
        child_id: Its id there.
        os_pid: The process id.
        name: The name it is registered under, if any.
    """

    supervisor: ActorRef
    child_id: str
    os_pid: int
    name: Name | None = None


@frozen(eq=False, repr=False, kw_only=True)
class ChildStarted(Record):
    """A child's `init` is done and it answers.

    Attributes:
        supervisor: Who started it.
        child_id: Its id there.
        ref: The new process.
        name: The name it is registered under, if any.
        recovered_after: Seconds since its predecessor was known to be dead;
            None at a first start.
    """

    supervisor: ActorRef
    child_id: str
    ref: ActorRef
    name: Name | None = None
    recovered_after: float | None = None


@frozen(eq=False, repr=False, kw_only=True)
class ChildRunning(Record):
    """A child runs already when a stream of events begins; who attaches hears of each one first.

    Attributes:
        supervisor: Its supervisor; the process itself if it is the root.
        child_id: Its id there.
        ref: The process.
        name: The name it is registered under, if any.
    """

    supervisor: ActorRef
    child_id: str
    ref: ActorRef
    name: Name | None = None


@frozen(eq=False, repr=False, kw_only=True)
class ChildExited(Record):
    """A child that had started is gone, and so is every process below it.

    Attributes:
        supervisor: Who has seen it.
        child_id: Its id there.
        ref: The process that is gone.
        reason: The best reason known.
        name: The name it was registered under, if any.
        on_request: Whether its supervisor had told it to stop.
        restarting: Whether it is to be started again. What happens until its
            turn comes can change that: a request, a shutdown, other deaths.
    """

    supervisor: ActorRef
    child_id: str
    ref: ActorRef
    reason: ExitReason
    name: Name | None = None
    on_request: bool = False
    restarting: bool = False


@frozen(eq=False, repr=False, kw_only=True)
class ChildStartFailed(Record):
    """A child's `init` failed, hung or was killed; *restarting* if it is to be tried again.

    With *on_request* its supervisor did not want it any more.
    """

    supervisor: ActorRef
    child_id: str
    reason: ExitReason
    name: Name | None = None
    on_request: bool = False
    restarting: bool = False


@frozen(eq=False, repr=False, kw_only=True)
class GaveUp(Record):
    """Too many restarts (OTP: reached_max_restart_intensity); the supervisor ends.

    *child_id* is the child whose death was one too many, *reason* its reason.
    """

    supervisor: ActorRef
    child_id: str
    reason: ExitReason


@frozen(eq=False, repr=False, kw_only=True)
class HeartbeatMissed(Record):
    """A child has not answered a probe; after *missed* of them in a row it may be killed."""

    supervisor: ActorRef
    child_id: str
    ref: ActorRef
    missed: int
    name: Name | None = None


@frozen(eq=False, repr=False)
class Announced(Record):
    """A child has announced something (`GenServer.announce`); what it means is between it and you.

    Attributes:
        value: What it announced.
    """

    value: Any


SupervisorEvent = ChildStarted | ChildExited | ChildStartFailed | HeartbeatMissed | GaveUp
"""What a supervisor decides or learns, and says; of a `ChildStarting` its host tells the app."""
