"""What a supervisor's machines are fed and what they want: their events and effects.

A host turns what happens into events, and carries out the effects. The first half is
about a single child and belongs to its `Life`; the second is a supervisor's own.
"""

from __future__ import annotations

from msgspec import Struct

from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef, Name
from jidocode.base.structs import Discreet
from jidocode.otp.server.machine import (
    Exit,
    InitDone,
    InitFailed,
    InitIgnored,
    SendError,
    SendReply,
)
from jidocode.otp.server.messages import Caller
from jidocode.otp.supervision.events import SupervisorEvent
from jidocode.otp.supervision.management import Request
from jidocode.otp.supervision.specs import ChildSpec

# ----- events: what can be heard of the child of one incarnation ------------------
#
# Each says which incarnation it is about, for news may outlive its process. The host
# makes those that tell of the process and its name, `Life` those about its own patience.


class NameClaimed(Struct, frozen=True):
    """The registry has given the child's name to its supervisor."""

    incarnation: int


class NameReserved(Struct, frozen=True):
    """No child of this supervisor may have the name."""

    incarnation: int


class NameTaken(Struct, frozen=True):
    """The name belongs to *holder*, None if that has no process."""

    incarnation: int
    holder: ActorRef | None


class ClaimTimeout(Struct, frozen=True):
    """Who has the name was not decided in the time that the spec allows for a start."""

    incarnation: int


class ChildReady(Struct, frozen=True):
    """`init` is done; *ref* is the process."""

    incarnation: int
    ref: ActorRef


class ChildIgnored(Struct, frozen=True):
    """`init` returned `Ignore`."""

    incarnation: int


class ChildFailed(Struct, frozen=True):
    """`init` failed with *reason*, or the process could not be made at all."""

    incarnation: int
    reason: ExitReason


class InitTimeout(Struct, frozen=True):
    """`init` has taken longer than the spec allows."""

    incarnation: int


class StopRequested(Struct, frozen=True):
    """The supervisor wants it to end, and gives it time."""

    incarnation: int


class KillRequested(Struct, frozen=True):
    """The supervisor wants it to end at once: its shutdown is `BRUTAL_KILL` or 0."""

    incarnation: int


class StopTimeout(Struct, frozen=True):
    """It has taken longer to stop than the spec allows."""

    incarnation: int


class ExitNoted(Struct, frozen=True):
    """The child says that it leaves with *reason*; it may not be gone yet."""

    incarnation: int
    reason: ExitReason


class ChildGone(Struct, frozen=True):
    """The process is dead; *status* as `subprocess` counts it, None if not seen."""

    incarnation: int
    status: int | None


class DeathSeen(Struct, frozen=True):
    """The process is dead, as the kernel says; the host, which tells why, has not done so yet."""

    incarnation: int


class CauseUnknown(Struct, frozen=True):
    """The process is dead, by no signal that was seen, and has not said why.

    Made of a `ChildGone`, whose *status* it keeps.
    """

    incarnation: int
    status: int | None


class NoteTimeout(Struct, frozen=True):
    """A dead child's exit note has not come in time, so there is none."""

    incarnation: int


class HeartbeatDue(Struct, frozen=True):
    """Time to look whether the child has answered, and to probe it again."""

    incarnation: int


class PulseHeard(Struct, frozen=True):
    """The child has answered a `Probe`."""

    incarnation: int


class HeartbeatLost(Struct, frozen=True):
    """Too many probes in a row were not answered."""

    incarnation: int


ChildEvent = (
    NameClaimed
    | NameReserved
    | NameTaken
    | ClaimTimeout
    | ChildReady
    | ChildIgnored
    | ChildFailed
    | InitTimeout
    | StopRequested
    | KillRequested
    | StopTimeout
    | ExitNoted
    | ChildGone
    | DeathSeen
    | CauseUnknown
    | NoteTimeout
    | HeartbeatDue
    | PulseHeard
    | HeartbeatLost
)


# ----- effects for a child: what the host shall do --------------------------------


class Claim(Discreet, frozen=True):
    """Claim *name* at the registry; the answer is `NameClaimed`, `NameTaken` or `NameReserved`.

    *ref* is the live process behind it, if there is one already.
    """

    hidden = ("value",)

    incarnation: int
    name: Name
    value: object
    ref: ActorRef | None = None


class Spawn(Struct, frozen=True):
    """Start a process for *spec*."""

    incarnation: int
    spec: ChildSpec


class AskToStop(Struct, frozen=True):
    """Tell the process to stop with reason `shutdown`, behind what waits in its mailbox."""

    incarnation: int


class Kill(Struct, frozen=True):
    """Kill the process and everything below it, at once."""

    incarnation: int


class Probe(Struct, frozen=True):
    """Ask the process for a sign of life; the answer is `PulseHeard`."""

    incarnation: int


class After(Struct, frozen=True):
    """Feed *event* back after *delay* seconds, behind what waits already."""

    delay: float
    event: object


ChildEffect = Claim | Spawn | AskToStop | Kill | Probe | After


# ----- events and effects of a supervisor, beyond those of its children -----------


class RequestReceived(Struct, frozen=True):
    """*caller* waits for the answer to *request*."""

    caller: Caller
    request: Request


class RetryRestart(Struct, frozen=True):
    """Try again to restart a child; stale unless *incarnation* was its last try."""

    child_id: str
    incarnation: int


class RegistryUp(Struct, frozen=True):
    """A registry is there, the first one or a new one that knows nothing yet."""


class RegistryDown(Struct, frozen=True):
    """The registry is gone, and what it was asked will not be answered."""


class ShutdownRequested(Struct, frozen=True):
    """Stop all children and end with *reason*."""

    reason: ExitReason


KeeperEvent = (
    ChildEvent | RequestReceived | RetryRestart | RegistryUp | RegistryDown | ShutdownRequested
)


class Announce(Struct, frozen=True):
    """Tell the registry and the app, and the log: *restarts* were made lately, before it."""

    event: SupervisorEvent
    restarts: int = 0


class Release(Struct, frozen=True):
    """Give *name* back: its child has no process, and will not come again by itself."""

    name: Name


class RefuseStart(Struct, frozen=True):
    """Refuse the start of *child_id* that *event* asks for, for *holder* runs, if that lives.

    If it is dead, nobody had told yet: feed `DeathSeen`, and *event* again, which waits then
    for what becomes of it.
    """

    event: RequestReceived
    child_id: str
    holder: ActorRef


KeeperEffect = (
    ChildEffect
    | Announce
    | Release
    | RefuseStart
    | SendReply
    | SendError
    | InitDone
    | InitIgnored
    | InitFailed
    | Exit
)
