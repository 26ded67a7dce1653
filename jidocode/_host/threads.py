"""Beginnings and ends of threads, in an app that may have no more, or be ending itself."""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
from collections.abc import Callable


class NoThreadError(OSError):
    """The kernel refuses one thread more."""


def start(thread: threading.Thread) -> None:
    """Start *thread*.

    Raises:
        NoThreadError: The kernel refuses, which `Thread.start` does not tell from misuse.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreadError(errno.EAGAIN, str(error)) from error


def run_whole(action: Callable[[], object]) -> None:
    """Do *action* in a thread of its own, wholly or not at all, whatever a signal handler raises.

    A handler runs in the main thread, between any two steps of Python, and may raise there
    (Ctrl-C). If that is between a fork and the line that notes its pid, nobody knows the
    child any more. In another thread no handler runs; and if this is one, none is needed.

    Raises:
        NoThreadError: There is none for it; *action* is not done.
        BaseException: What a handler has raised, once *action* is done; else what *action* has.
    """
    if threading.get_ident() != threading.main_thread().ident or sys.is_finalizing():
        action()
        return
    may_begin, is_wanted, failures = threading.Event(), [True], list[BaseException]()
    # Not `Thread.join`: that of Python 3.11, interrupted, takes a thread for ended that goes on.
    end, has_ended = threading.Lock(), list[bool]()
    end.acquire()

    def run() -> None:
        may_begin.wait()
        try:
            if is_wanted[0]:
                action()
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            failures.append(error)
        has_ended.append(True)
        end.release()

    thread = threading.Thread(target=run, name="jidocode-launch", daemon=True)
    begun = False
    try:
        start(thread)
        begun = True
        may_begin.set()
        end.acquire()
    except BaseException:
        is_wanted[0] = begun
        may_begin.set()
        while begun and not has_ended:
            with contextlib.suppress(BaseException):  # one more Ctrl-C; the first is raised below
                end.acquire()
        raise
    if failures:
        raise failures[0]


def end_whole(action: Callable[[], object]) -> None:
    """Do *action* as `run_whole`, for it ends something; if there is no thread for it, here."""
    try:
        run_whole(action)
    except NoThreadError:
        action()


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait until *thread* has ended, if it can: at most *timeout* seconds, None for any time.

    It cannot while it is the one that asks (a finalizer runs in any thread),
    nor while the interpreter ends, when no other thread goes on.
    """
    if thread is not threading.current_thread() and not sys.is_finalizing():
        thread.join(timeout)
