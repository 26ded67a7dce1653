"""Waiting for something to happen, with a deadline, and no longer than it takes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jidocode import SessionHandle, SessionSystem
from jidocode.otp import ActorRef, ExitReason

T = TypeVar("T")
PATIENCE = 20.0


def eventually(look: Callable[[], T], what: str = "it", timeout: float = PATIENCE) -> T:
    """Return the first true value that *look* returns; fail after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (value := look()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout:g} s"
        time.sleep(0.001)
    return value


def alive(pid: int) -> bool:
    """Whether a process runs under *pid*; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def kill(system: SessionSystem, session: SessionHandle, kind: str) -> tuple[ActorRef, ExitReason]:
    """Kill one process of a session with SIGKILL; return it and why the system says it ended."""
    ref = system.get_process(session.id, kind)
    monitor = system.monitor(session.id, kind)
    os.kill(ref.os_pid, signal.SIGKILL)
    down = monitor.wait(PATIENCE)
    assert down is not None, f"nobody noticed the death of {ref}"
    return ref, down.reason


def kill_and_wait(system: SessionSystem, session: SessionHandle, kind: str) -> ActorRef:
    """Kill one process of a session; return its successor once the session is healthy."""
    kill(system, session, kind)
    eventually(lambda: session.health_check().status.value == "healthy", "recovery")
    return system.get_process(session.id, kind)
