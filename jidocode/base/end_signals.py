"""The signals by which whoever has started a process tells it to end."""

from __future__ import annotations

import signal

_ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def end_signals() -> list[signal.Signals]:
    """Return those that this process does not ignore: below `nohup` it is to ignore SIGHUP."""
    return [each for each in _ALL if signal.getsignal(each) is not signal.SIG_IGN]
