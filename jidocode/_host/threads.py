"""Beginnings and ends of threads, in an app that may have no more, or be ending itself."""

from __future__ import annotations

import errno
import sys
import threading


def start(thread: threading.Thread) -> None:
    """Start *thread*.

    Raises:
        OSError: The kernel refuses one more, which `Thread.start` does not tell from misuse.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait until *thread* has ended, if it can: at most *timeout* seconds, None for any time.

    It cannot while it is the one that asks (a finalizer runs in any thread),
    nor while the interpreter ends, when no other thread goes on.
    """
    if thread is not threading.current_thread() and not sys.is_finalizing():
        thread.join(timeout)
