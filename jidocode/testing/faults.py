"""Faults: what may happen to a process, done to it on purpose."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress

from jidocode.base.refs import ActorRef, Name
from jidocode.otp.server.messages import Down
from jidocode.system.application import Application
from jidocode.system.handle import SessionHandle
from jidocode.testing.leftovers import process_state
from jidocode.testing.waiting import PATIENCE, eventually, name_of


def kill(
    app: Application,
    whom: SessionHandle | Name,
    kind: str | None = None,
    *,
    timeout: float = PATIENCE,
) -> Down:
    """Kill one process with SIGKILL; return what the system says of its end.

    Args:
        app: The system or tree.
        whom: The name of the process, or a session.
        kind: Of a session, `manager`, `state`, `session` for the supervisor, or the id of
            one of the app's own children.
        timeout: Seconds within which the system has to notice.

    Raises:
        AssertionError: It did not notice.
    """
    monitor = app.monitor(name_of(whom, kind))
    os.kill(monitor.ref.os_pid, signal.SIGKILL)
    down = monitor.wait(timeout)
    if down is None:
        raise AssertionError(f"nobody noticed the end of {monitor.ref} within {timeout:g} s")
    return down


@contextmanager
def pause(
    app: Application,
    whom: SessionHandle | Name,
    kind: str | None = None,
    *,
    timeout: float = PATIENCE,
) -> Generator[ActorRef, None, None]:
    """Stop one process with SIGSTOP for as long as the block runs.

    It hangs and does not die: calls to it time out, and its heartbeat, if it
    has one, gets it killed. It is resumed however the block ends, unless it
    is dead by then. Arguments as for `kill`.
    """
    monitor = app.monitor(name_of(whom, kind))
    monitor.cancel()
    ref = monitor.ref
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
