"""Waiting for anything, for a restart, for an end: by looking again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from jidocode._host.deadline import deadline_after
from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef, Name
from jidocode.otp.supervision.management import ChildStatus
from jidocode.system.application import Application
from jidocode.system.handle import SessionHandle

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which what was waited for counts as not happening."""

_POLL = 0.001
_SETTLED = (ChildStatus.RUNNING, ChildStatus.STOPPED)


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
    app: Application,
    whom: SessionHandle | Name,
    kind: str | None = None,
    *,
    after: ActorRef,
    timeout: float = PATIENCE,
) -> ActorRef:
    """Return the successor of *after*.

    In a session it is waited for until no child of the session is being restarted: so all that
    its strategy takes along is back too, and the session answers.

    Args:
        app: The system or tree.
        whom: The name of the process, or a session.
        kind: Of a session, `manager`, `state`, or the id of one of the app's own children.
        after: The process that ended or is about to end.
        timeout: Seconds to wait.

    Raises:
        AssertionError: That did not happen in time.
        SessionNotFoundError: The session gave up, or was stopped.
    """
    name = name_of(whom, kind)

    def successor() -> ActorRef | None:
        if isinstance(whom, SessionHandle) and any(
            info.status not in _SETTLED for info in whom.which_children()
        ):
            return None
        ref = app.whereis(name)
        return None if ref == after else ref

    return eventually(successor, f"the restart of {after}", timeout=timeout)


def name_of(whom: SessionHandle | Name, kind: str | None) -> Name:
    """Return the name that is meant: *whom*, or that of the process *kind* of a session."""
    if not isinstance(whom, SessionHandle):
        return whom
    if kind is None:
        raise TypeError("which process of the session? kind is missing")
    return kind, whom.id


def wait_for_exit(app: Application, ref: ActorRef, *, timeout: float = PATIENCE) -> ExitReason:
    """Return why the process *ref* ended, once it has, and everything below it.

    Get *ref* before the process ends: from `whereis`, `which_children` or `kill`.

    Raises:
        AssertionError: It runs still after *timeout* seconds.
    """
    directory = app._running.client.directory  # noqa: SLF001 - deaths are told to monitors only

    return eventually(  # type: ignore[return-value] # mypy takes a union for an object
        lambda: directory.death_of(ref), f"the end of {ref}", timeout=timeout
    )
