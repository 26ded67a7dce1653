"""What supervision writes to the log (OTP sasl: progress, crash and supervisor reports).

The supervisor writes it, once, in its own process: so an app that has enabled the log reads
it whether or not it listens to events, and a sink that is slow holds up no call.
"""

from __future__ import annotations

from jidocode.base import log
from jidocode.base.exits import Crashed, ExitReason, is_normal
from jidocode.base.text import LINE_LENGTH, quote
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    SupervisorEvent,
)
from jidocode.otp.supervision.specs import Flags


def write_report(supervisor: str, event: SupervisorEvent, flags: Flags, restarts: int) -> None:
    """Write what is worth a line: starts at DEBUG, and at ERROR what did not end in order.

    Args:
        supervisor: What it is called, `session 3f2a...`.
        event: What has happened to one of its children.
        flags: How many restarts it may make.
        restarts: How many it has made within `flags.max_seconds`, before this event.
    """
    match event:
        case ChildStarted(child_id=child_id, ref=ref):
            log.debug("{}: child {} runs as {}", supervisor, quote(child_id), ref)
        case ChildExited() if _is_error(event):
            turn = _turn(flags, restarts, restarting=event.restarting)
            _write_error(f"{supervisor}: child {quote(event.child_id)} ended", event.reason, turn)
        case ChildStartFailed() if not (event.on_request or is_normal(event.reason)):
            turn = _turn(flags, restarts, restarting=event.restarting)
            _write_error(
                f"{supervisor}: child {quote(event.child_id)} could not start", event.reason, turn
            )
        case GaveUp():
            limit = f"more than {flags.max_restarts} restarts in {flags.max_seconds:g} s"
            last = f"child {quote(event.child_id)} ended last"
            _write_error(f"{supervisor} gave up after {limit}", event.reason, last)
        case _:
            pass


def report_root(reason: ExitReason, *, restarting: bool) -> None:
    """Write that the root of the tree, which has no supervisor, is gone."""
    if not is_normal(reason):
        turn = "it is started again" if restarting else "the system ends"
        _write_error("the root of the tree ended", reason, turn)


def _is_error(event: ChildExited) -> bool:
    """Whether it is one for OTP: of what was told to stop, only what failed at that."""
    if event.on_request:
        return isinstance(event.reason, Crashed)
    return event.restarting or not is_normal(event.reason)


def _turn(flags: Flags, restarts: int, *, restarting: bool) -> str:
    if not restarting:
        return "it is not restarted"
    return f"restart {restarts + 1} of {flags.max_restarts} in {flags.max_seconds:g} s"


def _write_error(what: str, reason: ExitReason, turn: str) -> None:
    """Write one line; a traceback goes with it as an extra, for a user's text may be in it."""
    traceback = getattr(reason, "traceback", "")
    extra = {"traceback": traceback} if traceback else {}
    log.error("{}: {}; {}", what, quote(str(reason), LINE_LENGTH), turn, **extra)
