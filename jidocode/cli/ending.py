"""What ends a command before its time; its status is the one that shells have for that."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from jidocode.base.end_signals import end_signals

SIGNALLED = 128
"""What a shell adds to the number of a signal that has ended a program."""


def end_by_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP end this command by SystemExit: nothing of it is left then.

    One that is ignored, as below nohup, stays so.
    """
    for number in end_signals():
        signal.signal(number, _end)


def end_unread() -> NoReturn:
    """End this command, for nobody reads what it prints, as SIGPIPE would: without a word."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # Python writes there, at last, what could not be written before
        os.dup2(nothing, descriptor)
    sys.exit(SIGNALLED + signal.SIGPIPE)


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(SIGNALLED + number)
