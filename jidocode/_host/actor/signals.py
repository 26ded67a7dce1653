"""What signals do to an actor's process.

Thespian handles nearly every signal in Python. For a real SIGSEGV that means
returning to the faulting instruction for ever, so here the kernel's own
default actions apply, with few exceptions that keep an actor in order.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

LEFT_TO_APP = (signal.SIGTERM, signal.SIGHUP)
"""What whoever stops an app often sends to all its processes; see `set_up`."""

_DEFAULTED = signal.valid_signals() - {
    signal.SIGKILL,
    signal.SIGSTOP,
    # faulthandler writes its trace on these, and then lets them kill
    signal.SIGSEGV,
    signal.SIGFPE,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGILL,
    # the host has its own use for these
    signal.SIGCHLD,
    *LEFT_TO_APP,
}


def reset() -> None:
    """Give every signal the action that it has in all actors: the kernel's own, but for two.

    For the host, which they are forked from. SIGINT is ignored (a Ctrl-C in the
    app's terminal is the app's affair), and so is SIGPIPE.
    """
    for number in _DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a lost peer is an error of send(), not a death


def set_up() -> None:
    """Leave SIGTERM and SIGHUP to the app, and give back what the host made its own.

    Whoever stops an app often sends them to all processes at once: systemd does, and so do
    terminals and container runtimes. The app may have last words to say then, to sessions
    that must be there to hear them; it closes its system when it is through, and the system
    ends with it in any case. They are not ignored, because that would be inherited: the
    programs that an actor starts end by them as always, and so do its forks: it is how
    `multiprocessing` ends those of a pool.
    """
    for number in LEFT_TO_APP:
        signal.signal(number, _leave_to_the_app)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.register_at_fork(after_in_child=_end_by_them)


def _end_by_them() -> None:
    for number in LEFT_TO_APP:
        if signal.getsignal(number) is _leave_to_the_app:  # and not what a child has set itself
            signal.signal(number, signal.SIG_DFL)


def _leave_to_the_app(_number: int, _frame: FrameType | None) -> None:
    pass
