"""Waiting for descriptors, wherever they come from, and signals to those that are processes."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterable

STDERR = 2


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


def open_process(pid: int) -> int | None:
    """Return a descriptor of the process *pid*, None if there is none, nor can be.

    One that has ended, and that nobody has reaped yet, is there, and readable.

    Raises:
        OSError: No descriptor is left.
    """
    try:
        return os.pidfd_open(pid)
    except (ProcessLookupError, OverflowError):
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # no process can have that number
            return None
        raise


def has_ended(pid: int) -> bool:
    """Whether the process *pid* has ended, also if nobody has reaped it yet.

    False, too, if there is no descriptor left to look with.
    """
    try:
        descriptor = open_process(pid)
    except OSError:
        return False
    if descriptor is None:
        return True
    try:
        return wait_for_any([descriptor], 0)
    finally:
        os.close(descriptor)


def signal_all(pidfds: Iterable[int], number: signal.Signals) -> None:
    """Send signal *number* to the processes *pidfds*, as far as they live and may be sent it."""
    for pidfd in pidfds:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)
