"""The last of a system's log, kept by the app for the other processes that are let in.

It is bounded in lines and in bytes, so a child that logs without end takes no more of the app
than one that is silent after a while. What an app's own modules log is not in it, but only what
comes from the processes of its system.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from jidocode.base.log import Line

MAX_LINES = 1000
MAX_BYTES = 2**20
MAX_ENTRY = 24_576
"""Bytes of a line as it is told; two fit into a packet of the door."""
_CUTS = 8192, 2048, 512, 0
_OVERHEAD = 512
_NAME = 200


class Entry(NamedTuple):
    """A line that is kept.

    Attributes:
        number: Which of all lines of the system it is, from 1 on.
        at: When the app heard it, in seconds since 1970.
        line: The line.
        lost: How many lines of that process were lost just before it.
        size: Bytes that it had when it came.
    """

    number: int
    at: float
    line: Line
    lost: int
    size: int


class Tail:
    """The last lines of a log; filled by one thread, and read by another.

    Attributes:
        count: The number of the last line.
        listener: Is called after each line, in the thread that fills; None for nobody.
    """

    def __init__(self) -> None:
        self.count = 0
        self.listener: Callable[[], object] | None = None
        self._entries = deque[Entry]()
        self._bytes = 0
        # Taken by the two threads alone, neither of which runs signal handlers or is forked.
        self._lock = threading.Lock()

    def add(self, line: Line, lost: int, size: int) -> None:
        """Keep *line*, which came as *size* bytes; *lost* ones before it are missing."""
        with self._lock:
            self.count += 1
            self._entries.append(Entry(self.count, time.time(), line, lost, size))
            self._bytes += size + _OVERHEAD
            while len(self._entries) > MAX_LINES or self._bytes > MAX_BYTES:
                self._bytes -= self._entries.popleft().size + _OVERHEAD
        listener = self.listener
        if listener is not None:
            listener()

    def after(self, number: int, last: int) -> list[Entry]:
        """Return the *last* lines of those kept that came after line *number*."""
        with self._lock:
            if number >= self.count or not last:
                return []
            found = [entry for entry in self._entries if entry.number > number]
        return found[-last:]


def tell(entries: list[Entry], count: int, room: int) -> bytes:
    """Return as many of *entries* as fit into *room* bytes, as JSON; *count* is the last number."""
    head = b'{"count":%d,"lines":[' % count
    told: list[bytes] = []
    left = room - len(head) - len(b"]}")
    for entry in entries:
        encoded = _encode(entry)
        left -= len(encoded) + 1
        if left < 0:
            break
        told.append(encoded)
    return head + b",".join(told) + b"]}"


def _encode(entry: Entry) -> bytes:
    """Return *entry* as JSON of at most `MAX_ENTRY` bytes; long texts lose their ends."""
    encoded = b""
    for cut in _CUTS:
        encoded = json.dumps(_as_data(entry, cut)).encode("ascii")
        if len(encoded) <= MAX_ENTRY:
            break
    return encoded


def _as_data(entry: Entry, cut: int) -> dict[str, Any]:
    line, extra = entry.line, dict(entry.line.extra)
    return {
        "number": entry.number,
        "at": entry.at,
        "lost": _whole(entry.lost),
        "level": _cut(line.level, _NAME),
        "process": _cut(extra.pop("process", ""), _NAME),
        "pid": _whole(extra.pop("pid", 0)),
        "module": None if line.name is None else _cut(line.name, _NAME),
        "function": _cut(line.function, _NAME),
        "line": _whole(line.line),
        "text": _cut(line.text, cut),
        "extra": {_cut(key, _NAME)[:cut]: _plain(value, cut) for key, value in extra.items()},
    }


def _plain(value: object, cut: int) -> object:
    return value if value is None or isinstance(value, bool | int | float) else _cut(value, cut)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _cut(value: object, cut: int) -> str:
    text = value if isinstance(value, str) else str(type(value).__name__)
    return text if len(text) <= cut else f"{text[:cut]}..."
