"""Processes as the kernel sees them: fork, watch, kill, reap. Nothing here knows an actor.

Whatever is killed, no process may be left behind. Two features of Linux carry that promise
where no code of ours can run any more:

- PR_SET_PDEATHSIG: every actor's process asks to be killed when the host dies. Without it,
  `kill -9` of the host would leave all of them running, with nobody who knows them.
- PR_SET_CHILD_SUBREAPER: what a dead process leaves behind, daemons that have left its
  session and its group too, becomes the child of the nearest ancestor that asked for it,
  and not of init. So the guards, the host and each actor find among their own children
  whatever was started below them (`orphans`), and need not search /proc for it.

And nobody is waited for. A process that is killed need not be gone soon: it may sleep in the
kernel, or be traced (ptrace), and then stays a zombie until its tracer lets go. So whoever kills
looks again later, instead.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import faulthandler
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Collection

from jidocode._host.descriptors import STDERR
from jidocode.base.orphans import attempt, prctl

MAX_TRACE = 16_384
LAST_WORDS_SECONDS = 0.2
"""How long a process that ends may try to print what is left to print."""

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # If the parent died before that, no signal will come; somebody else is the parent now.
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def set_name(name: str, title: str) -> None:
    """Set what `ps` and `top` show: the *name* (15 bytes), and *title* as the command line."""
    prctl(PR_SET_NAME, name.encode("ascii", "replace"))
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
        fields = _stat("self")
        return int(fields[45]), int(fields[46])
    except (LookupError, ValueError):
        return 0, 0


class ChildProcess:
    """A forked child, at the head of a process group of its own.

    Attributes:
        pid: Its process id; nobody else's as long as *status* is None, for it is not reaped.
        status: How it ended, as `subprocess` counts it, once that is known.
        descriptor: Its pidfd, readable when it is dead.
    """

    def __init__(self, pid: int, trace: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self._trace = trace
        self.descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        """Send SIGKILL to it and to its group; nothing happens if it is known to be dead."""
        # The group is killed in one step, in which none of it can fork: so whatever has not
        # left it, chains of processes that fork and exit too, is gone at once.
        if self.status is None:
            attempt(os.kill, self.pid, signal.SIGKILL)
            attempt(os.killpg, self.pid, signal.SIGKILL)

    def is_stopped(self) -> bool:
        """Whether a signal or a tracer holds it."""
        return _stat(self.pid)[:1] in (["T"], ["t"])

    def unreaped_status(self) -> int:
        """Return how it ended, as *status* has it, while it is dead and not reaped."""
        try:
            return os.waitstatus_to_exitcode(int(_stat(self.pid)[49]))
        except (LookupError, ValueError):
            return -signal.SIGKILL

    def trace(self) -> str:
        """Return what faulthandler wrote when a fatal signal ended it, if it did."""
        return os.pread(self._trace, MAX_TRACE, 0).decode("utf-8", "replace")

    def close(self) -> None:
        """Close its descriptors; once, after its end."""
        os.close(self._trace)
        os.close(self.descriptor)


def fork(
    run: Callable[[], int], *, keep: Collection[int], dies_with_parent: bool = True
) -> ChildProcess:
    """Fork a child that runs *run* to its exit status.

    The child has standard input, output and error, the descriptors *keep* and
    no others, and a process group of its own. It ends by `os._exit`.

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
    # - A group of its own: `kill 0`, common in shell scripts, is sent to the whole group.
    # - A process that dies of a fatal signal cannot say why. faulthandler can, into memory that
    #   outlives it (a memfd) for the host to read.
    parent = os.getpid()
    _flush()
    trace = os.memfd_create("jidocode-trace")
    pid = -1
    try:
        pid = os.fork()
        if pid:
            # Here as well as in the child, for neither may go on without it.
            attempt(os.setpgid, pid, pid)
            return ChildProcess(pid, trace)
    except OSError:
        os.close(trace)
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
        raise
    status = 1
    try:
        os.setpgid(0, 0)
        if dies_with_parent:
            die_with_parent(parent)
        _close_all_but({*keep, trace})
        faulthandler.enable(trace)
        status = run()
    except BaseException:  # noqa: BLE001 - nobody above could say it
        _exit_soon(status)
        import traceback  # noqa: PLC0415 - a guard has no use for it before

        traceback.print_exc()
    else:
        _exit_soon(status)
    finally:
        _flush()
        os._exit(status)


def _exit_soon(status: int) -> None:
    """Exit with *status* in a moment, whatever this thread does.

    What is left to print may wait for ever: for a reader of a full pipe, for a thread that
    holds the stream's lock and waits for that reader, for a user's `__str__`.
    """

    def exit_then() -> None:
        time.sleep(LAST_WORDS_SECONDS)
        os._exit(status)

    try:
        _thread.start_new_thread(exit_then, ())
    except RuntimeError:  # there may be no more threads
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
        first = max(first, kept + 1)
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _stat(pid: int | str) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on, the state; none if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as in `orphans`
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []
