"""Waiting for anything, for a restart, for an end: by looking again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jidocode._host.deadline import deadline_after
from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef
from jidocode.otp.supervision.management import ChildStatus
from jidocode.system.handle import SessionHandle
from jidocode.system.system import SessionSystem

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which what was waited for counts as not happening."""

_POLL = 0.001


def eventually(look: Callable[[], T | None], what: str = "it", *, timeout: float = PATIENCE) -> T:
    """Return the first true value that *look* returns; it is called again and again.

    Raises:
        AssertionError: There was none within *timeout* seconds; names *what*.
        InvalidTimeError: *timeout* is no time.
        Exception: Whatever *look* raises, at once.
    """
    deadline = deadline_after(timeout)
    while not (value := look()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not happen within {timeout:g} s")
        time.sleep(_POLL)
    return value


def wait_for_restart(
    system: SessionSystem,
    session: SessionHandle,
    kind: str,
    *,
    after: ActorRef,
    timeout: float = PATIENCE,
) -> ActorRef:
    """Return the successor of *after*, once no child of the session is being restarted.

    So all that its strategy takes along is back too, and the session answers.

    Args:
        system: The system.
        session: The session.
        kind: `manager`, `state`, or the id of one of the app's own children.
        after: The process that ended or is about to end.
        timeout: Seconds to wait.

    Raises:
        AssertionError: That did not happen in time.
        SessionNotFoundError: The session gave up, or was stopped.
    """

    def successor() -> ActorRef | None:
        ref = system.get_process(session.id, kind)
        settled = (ChildStatus.RUNNING, ChildStatus.STOPPED)
        if ref == after or any(info.status not in settled for info in session.which_children()):
            return None
        return ref

    return eventually(successor, f"the restart of {after}", timeout=timeout)


def wait_for_exit(system: SessionSystem, ref: ActorRef, *, timeout: float = PATIENCE) -> ExitReason:
    """Return why the process *ref* ended, once it has, and everything below it.

    Get *ref* before the process ends: from `get_process`, `which_children` or `kill`.

    Raises:
        AssertionError: It runs still after *timeout* seconds.
    """
    directory = system._running.client.directory  # noqa: SLF001 - deaths are told to monitors only

    return eventually(  # type: ignore[return-value] # mypy takes a union for an object
        lambda: directory.death_of(ref), f"the end of {ref}", timeout=timeout
    )
