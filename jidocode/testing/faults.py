"""Faults: what may happen to a process of a session, done to it on purpose."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress

from jidocode.base.refs import ActorRef
from jidocode.otp.server.messages import Down
from jidocode.system.handle import SessionHandle
from jidocode.system.system import SessionSystem
from jidocode.testing.leftovers import process_state
from jidocode.testing.waiting import PATIENCE, eventually


def kill(
    system: SessionSystem, session: SessionHandle, kind: str, *, timeout: float = PATIENCE
) -> Down:
    """Kill one process of a session with SIGKILL; return what the system says of its end.

    Args:
        system: The system.
        session: The session.
        kind: `manager`, `state`, `session` for the supervisor, or the id of
            one of the app's own children.
        timeout: Seconds within which the system has to notice.

    Raises:
        AssertionError: It did not notice.
    """
    monitor = system.monitor((kind, session.id))
    os.kill(monitor.ref.os_pid, signal.SIGKILL)
    down = monitor.wait(timeout)
    if down is None:
        raise AssertionError(f"nobody noticed the end of {monitor.ref} within {timeout:g} s")
    return down


@contextmanager
def pause(
    system: SessionSystem, session: SessionHandle, kind: str, *, timeout: float = PATIENCE
) -> Generator[ActorRef, None, None]:
    """Stop one process of a session with SIGSTOP for as long as the block runs.

    It hangs and does not die: calls to it time out, and its heartbeat, if it
    has one, gets it killed. It is resumed however the block ends, unless it
    is dead by then. Arguments as for `kill`.
    """
    ref = system.get_process(session.id, kind)
    process = os.pidfd_open(ref.os_pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        eventually(
            lambda: process_state(ref.os_pid) in "tTZX", f"the stop of {ref}", timeout=timeout
        )
        yield ref
    finally:
        with suppress(ProcessLookupError):  # it was killed meanwhile, as a hung process is
            signal.pidfd_send_signal(process, signal.SIGCONT)
        os.close(process)
