"""What a server's machine is fed and what it wants: its events, effects and commands.

A host turns what arrives into events. It carries out the effects that follow from a
callback when that has returned, in order; a command at once, in the middle of it.
"""

from __future__ import annotations

from msgspec import Struct

from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef, Target
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


class TimerFired(Struct, frozen=True):
    """The time of `SendAfter` with the same *token* is over."""

    token: int
    message: object


class ContinueReceived(Struct, frozen=True):
    """The server goes on with what it left in `then=`."""

    then: object


class StopReceived(Struct, frozen=True):
    """The supervisor tells the server to stop with *reason*."""

    reason: ExitReason


Event = (
    CallReceived
    | CastReceived
    | InfoReceived
    | IdleTimerFired
    | TimerFired
    | ContinueReceived
    | StopReceived
)


# ----- effects and commands ------------------------------------------------------------


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
    """Send *request* to *target*; it gets a `handle_cast`."""

    target: Target
    request: object


class SendInfo(Struct, frozen=True):
    """Send *message* to *target*; it gets a `handle_info`."""

    target: Target
    message: object


class SendCall(Struct, frozen=True):
    """Call *target*, and wait for its answer for *timeout* seconds."""

    target: Target
    request: object
    timeout: float


class SendPart(Struct, frozen=True):
    """Send *caller* a *part* of its answer; wait at most *timeout* seconds until it may be sent."""

    caller: Caller
    part: object
    timeout: float


class SendRequest(Struct, frozen=True):
    """Call *target*; a `Response` with *token* comes back within *timeout* seconds."""

    token: int
    target: Target
    request: object
    timeout: float


class SendAfter(Struct, frozen=True):
    """Feed `TimerFired(token, message)` back after *delay* seconds."""

    token: int
    delay: float
    message: object


class CancelTimer(Struct, frozen=True):
    """Forget the timer *token*."""

    token: int


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


class StopSoon(Struct, frozen=True):
    """Feed `StopReceived(reason)` back if no callback runs, for that one ends the server itself."""

    reason: ExitReason


class Exit(Struct, frozen=True):
    """End the process with *reason*; `terminate` has run."""

    reason: ExitReason


Effect = (
    InitDone | InitIgnored | InitFailed | SendReply | SendError | SetIdleTimer | Continue | Exit
)
"""What follows from a callback."""

Command = (
    SendReply
    | SendError
    | SendCast
    | SendInfo
    | SendRequest
    | SendAfter
    | CancelTimer
    | StartMonitor
    | WatchProcess
    | StopMonitor
    | LogUnexpected
    | Publish
    | StopSoon
)
"""What a server asks for in a callback, or in a thread of its own."""
