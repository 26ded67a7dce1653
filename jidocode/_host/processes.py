"""Processes as the kernel sees them: fork, watch, kill, reap. Nothing here knows an actor.

Whatever is killed, no process may be left behind. Two features of Linux carry that promise
where no code of ours can run any more:

- PR_SET_PDEATHSIG: every actor's process asks to be killed when the host dies. Without it,
  `kill -9` of the host would leave all of them running, with nobody who knows them.
- PR_SET_CHILD_SUBREAPER: what a dead process leaves behind, daemons that have left its
  session and its group too, becomes the child of the nearest ancestor that asked for it,
  and not of init. So the guard, the host and each actor find among their own children
  whatever was started below them (`kill_orphans`), and need not search /proc for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from jidocode._host.descriptors import STDERR

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
    # If the parent died before that, no signal will come; somebody else is the parent now.
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of whatever the children of this process leave behind."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str, title: str) -> None:
    """Set what `ps` and `top` show: the *name* (15 bytes), and *title* as the command line."""
    _prctl(PR_SET_NAME, name.encode("ascii", "replace"))
    begin, end = _argument_area()
    room = end - begin - 2
    if room > 0:
        text = title.encode("ascii", "replace")[:room]
        # Something else than NUL in the last byte tells the kernel that the first string is a
        # title (proc_pid_cmdline(5), as setproctitle(3) of BSD does it), and all there is to show.
        ctypes.memmove(begin, text.ljust(end - begin - 1, b"\0") + b" ", end - begin)


@functools.cache
def _argument_area() -> tuple[int, int]:
    """Return where in memory this process's arguments are, and those of all its forks."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return int(fields[45]), int(fields[46])
    except (OSError, LookupError, ValueError):
        return 0, 0


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
    no others. It ends by `os._exit`.

    Args:
        run: What it runs.
        keep: Descriptors of the parent's that it needs.
        dies_with_parent: Whether the kernel kills it when its parent ends.

    Raises:
        OSError: The kernel refuses.
    """
    # Why it is done like this, and not by `multiprocessing` or `subprocess`:
    #
    # - No exec: the modules that the host has imported are there, and shared. That is safe
    #   only because the host has one thread: a lock that another thread held at the fork
    #   would be held in the child for ever.
    # - Text that is buffered at the fork would be written by both. So buffers are empty then.
    # - A descriptor that a child inherits by chance stays open as long as the child: a peer of
    #   the parent's would never see the end of its connection, a pipe that tells by its end
    #   that somebody is gone would not tell. So all are closed but those that were asked for.
    # - `os._exit`: `atexit` and `finally` above this frame belong to the parent, and would tear
    #   down what it still uses (its temporary folder, its connections).
    # - A process that dies of a fatal signal cannot say why. faulthandler can, into memory that
    #   outlives it (a memfd) for the host to read.
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
    except BaseException:  # noqa: BLE001 - nobody above could say it
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


def kill_orphans(children: Iterable[int]) -> None:
    """Kill and reap every child process of ours that is not one of *children*.

    For the single-threaded process that called `adopt_orphans`: by the time a child's
    death is seen, what is left of that child's own children has become ours. Returns
    when all of it is dead.
    """
    known = set(children)
    # Again and again: each one that is reaped may leave children of its own to us.
    while strangers := [pid for pid in _child_pids() if pid not in known]:
        for pid in strangers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in strangers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _child_pids() -> list[int]:
    return [int(pid) for pid in Path("/proc/thread-self/children").read_bytes().split()]
