"""Who makes a call of a tool: a text that another process can tell something of.

A call that is written down and has no result is being made, or was being made by somebody who is
gone. The two must not be confused: the first is left alone, the second gets a result that says so,
and neither is made again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_STATE, _START_TIME = 0, 19  # fields behind the name, see proc_pid_stat(5)
_here: set[str] = set()


@contextmanager
def making() -> Generator[str]:
    """Return who makes a call in the block: this process, and this one call."""
    pid = os.getpid()
    maker = f"{pid} {_start_of(pid)} {uuid.uuid4()}"
    _here.add(maker)
    try:
        yield maker
    finally:
        _here.discard(maker)


def is_making(maker: str) -> bool:
    """Whether *maker* still makes its call, as far as can be told from here."""
    pid, start, _ = maker.split(" ")
    if int(pid) == os.getpid():
        return maker in _here
    # Another process that lives may have given up, if it could not write the result down. It is
    # taken to make the call all the same, until the State is restarted and ends it: better no
    # answer than two.
    return _start_of(int(pid)) == start


def _start_of(pid: int) -> str:
    """Return what tells a process from others that have had the same *pid*; nothing if none has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "gone"
    fields = stat.rpartition(")")[2].split()
    return "gone" if fields[_STATE] in "ZX" else fields[_START_TIME]
