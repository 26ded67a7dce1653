"""Processes as the kernel sees them: fork, watch, kill, reap.

Nothing here knows an actor. Two kernel features carry the promise that no
process is left behind: every child asks to be killed when its parent, the host,
dies (PR_SET_PDEATHSIG), and host and guard adopt what a dead process has left
(PR_SET_CHILD_SUBREAPER) and kill it before anybody hears of that death.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

STDERR = 2
MAX_TRACE = 16_384

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int | bytes) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        # The parent died before the kernel knew what to do about it.
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of whatever the children of this process leave behind."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """Set the name that `ps` and `top` show (15 bytes)."""
    _prctl(PR_SET_NAME, name.encode("ascii", "replace"))


class ChildProcess:
    """A forked child.

    Attributes:
        pid: Its process id; nobody else's as long as *status* is None, for it is not reaped.
        status: How it ended, as `subprocess` counts it, once that is known.
    """

    def __init__(self, pid: int, trace: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self._trace = trace

    def wait(self) -> None:
        """Wait until it is dead."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        """Send SIGKILL; nothing happens if it is dead already."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)

    def trace(self) -> str:
        """Return what faulthandler wrote when a fatal signal ended it, if it did."""
        return os.pread(self._trace, MAX_TRACE, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Close the descriptor of its trace; once, after its end."""
        os.close(self._trace)


def fork(
    run: Callable[[], int], *, keep: Collection[int], dies_with_parent: bool = True
) -> ChildProcess:
    """Fork a child that runs *run* to its exit status.

    The child has standard input, output and error, the descriptors *keep* and
    no others. It ends by `os._exit`: nothing that was set up before the fork
    is torn down twice.
    """
    parent = os.getpid()
    _flush()
    trace = os.memfd_create("jidocode-trace")
    try:
        pid = os.fork()
    except OSError:
        os.close(trace)
        raise
    if pid:
        return ChildProcess(pid, trace)
    status = 1
    try:
        if dies_with_parent:
            die_with_parent(parent)
        _close_all_but({*keep, trace})
        faulthandler.enable(trace)
        status = run()
    except BaseException:  # noqa: BLE001 - the last one who could tell
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _close_all_but(keep: Collection[int]) -> None:
    """Close every inherited descriptor above standard error, except *keep*."""
    first = STDERR + 1
    for kept in sorted(keep):
        os.closerange(first, kept)
        first = kept + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def wait_for_any(descriptors: Iterable[int], timeout: float | None = None) -> bool:
    """Wait until one of *descriptors* is readable: a pipe, or a process that has ended.

    Args:
        descriptors: Of any number, unlike those that `select.select` takes.
        timeout: Seconds to wait; None for ever.

    Returns:
        False if none is after *timeout* seconds.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def bury_orphans(children: Iterable[int]) -> None:
    """Kill and reap every child process of ours that is not one of *children*.

    For the single-threaded process that called `adopt_orphans`: what is left
    of a dead child's own children has become ours by the time its death is
    seen. Returns when all of it is dead.
    """
    known = set(children)
    while strangers := [pid for pid in _child_pids() if pid not in known]:
        for pid in strangers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in strangers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _child_pids() -> list[int]:
    return [int(pid) for pid in Path("/proc/thread-self/children").read_bytes().split()]
