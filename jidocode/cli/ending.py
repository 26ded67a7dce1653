"""What signals do to a command: it ends in order, with the status that shells have for that."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from jidocode.base.end_signals import end_signals

SIGNALLED = 128
"""What a shell adds to the number of a signal that has ended a program."""


def end_by_signals() -> None:
    """Have SIGTERM and SIGHUP end this command by SystemExit, so that nothing of it is left.

    One that is ignored, as below nohup, stays so.
    """
    for number in end_signals():
        if number != signal.SIGINT:  # is a KeyboardInterrupt
            signal.signal(number, _end)


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(SIGNALLED + number)
