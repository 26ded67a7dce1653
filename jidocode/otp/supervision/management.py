"""The requests that every supervisor answers, and what it answers with.

They are sent like any call. Static and dynamic supervisors share these
records; which of them each one serves stands in its own module.
"""

from __future__ import annotations

import enum

from attrs import frozen
from msgspec import Struct

from jidocode.base.exits import ExitReason
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef
from jidocode.otp.supervision.specs import ChildSpec, ChildType, Start


class StartChild(Struct, frozen=True):
    """Start *spec*; answered with its `ActorRef`, or None if its `init` ignored."""

    spec: ChildSpec


class TerminateChild(Struct, frozen=True):
    """Stop the child by its shutdown rule; answered when it and all below it are dead."""

    child_id: str


class RestartChild(Struct, frozen=True):
    """Start a stopped child again; answered like `StartChild`."""

    child_id: str


class DeleteChild(Struct, frozen=True):
    """Forget a stopped child's spec."""

    child_id: str


class WhichChildren(Struct, frozen=True):
    """Answered with a tuple of `ChildInfo`, in start order (OTP: last started first)."""


class CountChildren(Struct, frozen=True):
    """Answered with `ChildCounts`."""


class GetChildSpec(Struct, frozen=True):
    """Answered with the child's `ChildSpec`."""

    child_id: str


class UpdateChild(Struct, frozen=True):
    """Change what the child is started with from its next start on, and what is kept by its name.

    None leaves as it is. The child is not restarted for it. Answered with None.
    """

    child_id: str
    start: Start | None = None
    value: object = None


Request = (
    StartChild
    | TerminateChild
    | RestartChild
    | DeleteChild
    | WhichChildren
    | CountChildren
    | GetChildSpec
    | UpdateChild
)


class ChildStatus(enum.Enum):
    """How a child stands, seen from its supervisor."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@frozen(eq=False, repr=False)
class ChildInfo(Record):
    """One line of `WhichChildren`.

    Attributes:
        id: The child's id.
        ref: Its process; None unless it runs, or is on its way out.
        status: How it stands. Stopping is what its supervisor wants to end; a child that dies
            and comes back is restarting, and one whose first start fails is starting until it
            is dropped.
        type: Worker or supervisor.
        restarts: How often it was started again by its supervisor.
        last_exit: Why its last process ended; None if none has.
    """

    id: str
    ref: ActorRef | None
    status: ChildStatus
    type: ChildType
    restarts: int
    last_exit: ExitReason | None = None


@frozen(eq=False, repr=False)
class ChildCounts(Record):
    """Answer to `CountChildren` (OTP: count_children).

    Attributes:
        specs: Children known, with a process or without.
        active: Children with a running process.
        supervisors: Known children that are supervisors.
        workers: Known children that are workers.
    """

    specs: int
    active: int
    supervisors: int
    workers: int
