"""The signals by which whoever has started a process tells it to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

_ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def end_signals() -> list[signal.Signals]:
    """Return those that this process does not ignore: below `nohup` it is to ignore SIGHUP."""
    return [each for each in _ALL if signal.getsignal(each) is not signal.SIG_IGN]


@contextmanager
def told_to_end() -> Generator[int]:
    """Give a descriptor that is readable once this process was told to end; more change nothing."""
    told = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def tell(_number: int, _frame: object) -> None:
        os.eventfd_write(told, 1)

    before = {number: signal.signal(number, tell) for number in end_signals()}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)
