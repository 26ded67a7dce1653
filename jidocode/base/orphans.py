"""What dead processes leave behind: whoever is above adopts, kills and reaps it.

For any single-threaded process that must leave none: guards and host, and the processes
that run a session's commands.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import time
from collections.abc import Callable, Container

ROUND_SECONDS = 0.005
"""How long a round of `kill_orphans` may take."""
PAUSE_SECONDS = 0.001
"""Between two such rounds: those who were killed need time to die."""
_NOTHING_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""How the kernel says that it cannot show them now, though they may be there."""

PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int | bytes) -> None:
    """Tell the kernel something about this process (`man 2 prctl`).

    Raises:
        OSError: The kernel refuses.
    """
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def adopt_orphans() -> None:
    """Become the parent of whatever the children of this process leave behind."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def next_dead() -> int | None:
    """Return the pid of a child process that can be reaped, ours or adopted, if there is any."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def has_children() -> bool:
    """Whether this process has any child, alive or dead: the kernel knows at once."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def end_all() -> None:
    """Kill and reap every child process of ours, and whatever those leave; return when all is."""
    # Twice, for the kernel's list of children may leave one out while others die.
    while has_children() and not (kill_orphans(()) and kill_orphans(())):
        time.sleep(PAUSE_SECONDS)


def kill_orphans(children: Container[int]) -> bool:
    """Kill and reap child processes of ours that are not *children*, for a moment.

    For the single-threaded process that called `adopt_orphans`: by the time a child's
    death is seen, what is left of that child's own children has become ours.

    Returns:
        Whether none is left that lives; else, as if no descriptor is left to look with, it is to
        be called again.
    """
    # Some fork and exit as fast as they can, so that each is gone when its turn comes, and
    # its child is there. A signal that is pending lets no fork go through, so what counts is to
    # be faster: look and kill, again and again, and wait for no death in between.
    #
    # Their dead may be ten thousand; so the youngest come first. And a group is killed only
    # once in a round, with all of its members, unless somebody else may be in it: one of
    # *children*, a guard or the host, whose group any process of the session can join.
    deadline = time.monotonic() + ROUND_SECONDS
    groups = {os.getpgrp(), os.getsid(0)}
    with contextlib.suppress(ProcessLookupError):  # the parent may have died just now
        groups.add(os.getpgid(os.getppid()))
    zombies: list[int] = []
    while True:
        try:
            pids = _child_pids()
        except OSError as error:
            if error.errno not in _NOTHING_LEFT:
                raise
            return False
        strangers = [pid for pid in reversed(pids) if pid not in children]
        alive = [pid for pid in strangers if not _reap(pid)]
        for pid in alive:
            attempt(os.kill, pid, signal.SIGKILL)
        for group in {os.getpgid(pid) for pid in alive} - groups:
            if group not in children:
                attempt(os.killpg, group, signal.SIGKILL)
            groups.add(group)
        # Whoever has died since it was looked at has left its own children to us only now.
        before, zombies = zombies, [pid for pid in alive if not _lives(pid)]
        if strangers == zombies == before:
            return True
        if time.monotonic() >= deadline:
            return False
        os.sched_yield()


def _reap(pid: int) -> bool:
    """Reap a child process of ours, if it is dead and nobody traces it; return whether it was."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _lives(pid: int) -> bool:
    """Whether a child process that was killed, and cannot be reaped, is still to die."""
    try:
        os.kill(pid, 0)
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, PermissionError):  # another user's is given up
        return False
    except OSError:  # no descriptor is left to look with
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)  # a zombie, if it is: its tracer reaps it first
    finally:
        os.close(descriptor)


def attempt(call: Callable[[int, int], None], pid: int, number: int) -> None:
    """Do what can be done to another process, if it is there and ours."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        call(pid, number)


def _child_pids() -> list[int]:
    # No pathlib: a guard has no other use for it, and would keep it in memory for good.
    with open("/proc/thread-self/children", "rb") as file:  # noqa: PTH123 - as it says above
        return [int(pid) for pid in file.read().split()]
