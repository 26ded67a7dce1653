"""What a server's machine is fed and what it wants: its events and effects.

A host turns what arrives into events, and carries out the effects, in order.
"""

from __future__ import annotations

from msgspec import Struct

from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef
from jidocode.otp.server.messages import Caller

# ----- events --------------------------------------------------------------------------


class CallReceived(Struct, frozen=True):
    """*caller* waits for the answer to *request*."""

    caller: Caller
    request: object


class CastReceived(Struct, frozen=True):
    """*request* came, and nobody waits."""

    request: object


class InfoReceived(Struct, frozen=True):
    """Any other *message*."""

    message: object


class IdleTimerFired(Struct, frozen=True):
    """The idle timer of *generation* ran out."""

    generation: int


class ContinueReceived(Struct, frozen=True):
    """The server goes on with what it left in `then=`."""

    then: object


class StopReceived(Struct, frozen=True):
    """The supervisor tells the server to stop with *reason*."""

    reason: ExitReason


Event = (
    CallReceived | CastReceived | InfoReceived | IdleTimerFired | ContinueReceived | StopReceived
)


# ----- effects -------------------------------------------------------------------------


class InitDone(Struct, frozen=True):
    """`init` is done: tell the supervisor."""


class InitIgnored(Struct, frozen=True):
    """`init` returned `Ignore`: tell the supervisor, and leave."""


class InitFailed(Struct, frozen=True):
    """`init` failed with *reason*: tell the supervisor, and leave. `terminate` does not run."""

    reason: ExitReason


class SendReply(Struct, frozen=True):
    """Send *value* to *caller*."""

    caller: Caller
    value: object


class SendError(Struct, frozen=True):
    """Send *error* to *caller*, who raises it."""

    caller: Caller
    error: Exception


class SendCast(Struct, frozen=True):
    """Send *request* to *ref*; it gets a `handle_cast`."""

    ref: ActorRef
    request: object


class SendInfo(Struct, frozen=True):
    """Send *message* to *ref*; it gets a `handle_info`."""

    ref: ActorRef
    message: object


class SendRequest(Struct, frozen=True):
    """Call *ref*; the answer comes back as a `Response` with *token*."""

    token: int
    ref: ActorRef
    request: object


class SendAfter(Struct, frozen=True):
    """Deliver *message* to the server itself after *delay* seconds."""

    delay: float
    message: object


class SetIdleTimer(Struct, frozen=True):
    """Feed `IdleTimerFired(generation)` back after *delay* seconds."""

    generation: int
    delay: float


class Continue(Struct, frozen=True):
    """Feed `ContinueReceived(then)` back at once, before any message that waits."""

    then: object


class StartMonitor(Struct, frozen=True):
    """Watch *ref*; its end comes back as a `Down` with *token*."""

    token: int
    ref: ActorRef


class WatchProcess(Struct, frozen=True):
    """Watch the process of *ref* at the kernel; its end comes back as a `Down` with *token*."""

    token: int
    ref: ActorRef


class StopMonitor(Struct, frozen=True):
    """Forget the monitor *token*."""

    token: int


class LogUnexpected(Struct, frozen=True):
    """Log that nobody handles messages of type *type_name*, once per type."""

    type_name: str


class Publish(Struct, frozen=True):
    """Tell the app *fact*."""

    fact: object


class Exit(Struct, frozen=True):
    """End the process with *reason*; `terminate` has run."""

    reason: ExitReason


Effect = (
    InitDone
    | InitIgnored
    | InitFailed
    | SendReply
    | SendError
    | SendCast
    | SendInfo
    | SendRequest
    | SendAfter
    | SetIdleTimer
    | Continue
    | StartMonitor
    | WatchProcess
    | StopMonitor
    | LogUnexpected
    | Publish
    | Exit
)
