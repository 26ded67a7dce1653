"""What signals do to an actor's process.

Thespian handles nearly every signal in Python. For a real SIGSEGV that means
returning to the faulting instruction for ever, so here the kernel's own
default actions apply, with few exceptions that keep an actor in order.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

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
    signal.SIGTERM,
    signal.SIGHUP,
}

Handler = Callable[[int, FrameType | None], object]


def reset() -> None:
    """Give every signal the action that it has in all actors: the kernel's own, but for two.

    For the host, which they are forked from. SIGINT is ignored (a Ctrl-C in the
    app's terminal is the app's affair), and so is SIGPIPE.
    """
    for number in _DEFAULTED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a lost peer is an error of send(), not a death


def set_up(*, on_terminate: Handler) -> None:
    """Have SIGTERM ask this actor for an orderly stop, and give back what the host made its own."""
    signal.signal(signal.SIGTERM, on_terminate)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
