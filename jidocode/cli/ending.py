"""What ends a command before its time; its status is the one that shells have for that."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

from jidocode.base.end_signals import end_signals

SIGNALLED = 128
"""What a shell adds to the number of a signal that has ended a program."""


@contextmanager
def ended_by_signals() -> Generator[None]:
    """Have SIGINT, SIGTERM and SIGHUP end the block by SystemExit: nothing of it is left then.

    The first of them does; one that comes while it ends would leave that half done, and is not
    heeded. After the block, when only Python itself has to end, any ends this process at once.
    One that is ignored, as below nohup, stays so.
    """
    numbers = end_signals()
    for number in numbers:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def heed_no_signal() -> None:
    """Have no signal end this command any more: it ends already, and has to clean up."""
    for number in end_signals():
        signal.signal(number, _pass)


def end_unread() -> NoReturn:
    """End this command, for nobody reads what it prints, as SIGPIPE would: without a word."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # Python writes there, at last, what could not be written before
        os.dup2(nothing, descriptor)
    sys.exit(SIGNALLED + signal.SIGPIPE)


def _end(number: int, _frame: object) -> NoReturn:
    heed_no_signal()
    sys.exit(SIGNALLED + number)


def _pass(_number: int, _frame: object) -> None:
    pass
