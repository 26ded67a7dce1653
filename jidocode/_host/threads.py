"""Beginnings and ends of threads, in an app that may have no more, or be ending itself."""

from __future__ import annotations

import _thread
import contextlib
import errno
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from jidocode.base import waiting

T = TypeVar("T")


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


def run_whole(action: Callable[[], T]) -> T:
    """Return what *action* does, wholly or not at all, whatever a signal handler raises.

    It does it in a thread of its own. A handler runs in the main thread, between any two steps
    of Python, and may raise there (Ctrl-C). If that is between a fork and the line that notes
    its pid, nobody knows the child any more; nobody closes a descriptor, or gives up the lock on
    it, that was opened a step before. In another thread no handler runs; and if this is one, none
    is needed.

    Raises:
        NoThreadError: There is none for it; *action* is not done.
        BaseException: What a handler has raised, once *action* is done; else what *action* has.
    """
    if threading.get_ident() != threading.main_thread().ident or sys.is_finalizing():
        return action()
    # Locks and a bare thread, each step of which is one of C: `Event` and `Thread.start` take
    # locks in Python, and one whose taker was interrupted there is never given up.
    may_begin, end = _taken_lock(), _taken_lock()
    is_wanted, has_ended = [True], list[bool]()
    results, failures = list[T](), list[BaseException]()

    def run() -> None:
        may_begin.acquire()
        try:
            if is_wanted[0]:
                results.append(action())
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that asked
            failures.append(error)
        has_ended.append(True)
        end.release()

    begun = False
    try:
        _start_bare(run)
        begun = True
        may_begin.release()
        waiting.acquire(end)
    except BaseException:
        is_wanted[0] = begun
        with contextlib.suppress(RuntimeError):  # it is released already
            may_begin.release()
        while begun and not has_ended:
            with contextlib.suppress(BaseException):  # one more Ctrl-C; the first is raised below
                waiting.acquire(end)
        raise
    if failures:
        raise failures[0]
    return results[0]


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def _start_bare(run: Callable[[], None]) -> None:
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as error:
        raise NoThreadError(errno.EAGAIN, str(error)) from error


def prefer_whole(action: Callable[[], T]) -> T:
    """Return what *action* does, as `run_whole`; if there is no thread for it, do it here.

    For what has to be done also then: what ends something, and what needs no other thread.
    """
    try:
        return run_whole(action)
    except NoThreadError:
        return action()


def join(thread: threading.Thread, timeout: float | None = None) -> None:
    """Wait until *thread* has ended, if it can: at most *timeout* seconds, None for any time.

    It cannot while it is the one that asks (a finalizer runs in any thread),
    nor while the interpreter ends, when no other thread goes on.
    """
    if thread is not threading.current_thread() and not sys.is_finalizing():
        thread.join(timeout)
