"""By which signals a process is told to end by whoever started it."""

from __future__ import annotations

import signal

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def heeded() -> list[signal.Signals]:
    """Return those of them that this process does not ignore, as below `nohup` it does."""
    return [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
