"""The lines of one file that a pattern matches: of bytes, in steps of bounded time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jidocode.session.project.engine import Pattern
from jidocode.session.project.text import NUL_PROBE, detect

MAX_TEXT = 500
"""Characters of a line that are shown."""
_LEAD = 100  # characters before a match in a long line


class LineTooLongError(Exception):
    """A line is so long that this pattern might be busy with it for too long."""


class Line(NamedTuple):
    """A line that matches, as `Match`."""

    number: int
    column: int
    text: str
    is_cut: bool
    before: tuple[str, ...]
    after: tuple[str, ...]


def plain(data: bytes) -> bytes | None:
    r"""Return the text in *data* as UTF-8 with lines that end in `\n`; None if it is binary.

    What is no UTF-8 stays.
    """
    encoding = detect(data)
    data = data.removeprefix(encoding.bom)
    if encoding.codec != "utf-8":
        data = data.decode(encoding.codec, "replace").encode("utf-8", "replace")
    if data.find(b"\0", 0, NUL_PROBE) >= 0:
        return None
    return data.replace(b"\r\n", b"\n") if b"\r" in data else data


def matching_lines(
    pattern: Pattern, data: bytes, *, behind: int, context: int
) -> Iterator[Line | int]:
    """Yield the lines of *data* behind number *behind* that *pattern* matches.

    Between two steps that find none it yields the number of the last line that is done.

    Args:
        pattern: What is looked for.
        data: As `plain` returns it.
        behind: Number of a line, 0 for the first line on.
        context: How many lines to show before and behind each.

    Raises:
        LineTooLongError: See there.
    """
    position, number = 0, 1  # where line *number* starts
    while number <= behind and position < len(data):
        position, number = _end_of_line(data, position) + 1, number + 1
    regex, window, longest = pattern
    while position < len(data):
        end = _end_of_line(data, min(position + window, len(data)) - 1) + 1
        if end - position - window > longest:
            raise LineTooLongError
        end = min(end, len(data))
        found = regex.search(data, position, end)
        # Of a match that is empty, and at the end, the line is the next one, if there is one.
        if found is None or (found.start() == end and _ends_line(data, end)):
            if end == len(data):
                return
            number += data.count(b"\n", position, end)
            position = end
            yield number - 1
        else:
            start = data.rfind(b"\n", position, found.start()) + 1 or position
            number += data.count(b"\n", position, start)
            stop = _end_of_line(data, start)
            yield Line(
                number,
                *_shown(data, start, found.start(), stop),
                _before(data, start, context),
                _after(data, stop, context),
            )
            position, number = stop + 1, number + 1


def _ends_line(data: bytes, end: int) -> bool:
    return data[end - 1 : end] == b"\n"


def _end_of_line(data: bytes, position: int) -> int:
    """Return where the line that *position* is in ends, without its line end."""
    end = data.find(b"\n", position)
    return len(data) if end < 0 else end


def _shown(data: bytes, start: int, match: int, stop: int) -> tuple[int, str, bool]:
    """Return the column of a match, and the text and whether that is cut of its line."""
    lead = data[start:match].decode("utf-8", "replace")
    behind = data[match : min(stop, match + 4 * MAX_TEXT)].decode("utf-8", "replace")
    text = lead + behind
    if stop <= match + 4 * MAX_TEXT and len(text) <= MAX_TEXT:
        return len(lead) + 1, text, False
    begin = max(0, len(lead) - _LEAD)
    return len(lead) + 1, text[begin : begin + MAX_TEXT], True


def _before(data: bytes, start: int, count: int) -> tuple[str, ...]:
    lines: list[str] = []
    while len(lines) < count and start > 0:
        stop = start - 1
        start = data.rfind(b"\n", 0, stop) + 1
        lines.append(_clipped(data, start, stop))
    return tuple(reversed(lines))


def _after(data: bytes, stop: int, count: int) -> tuple[str, ...]:
    lines: list[str] = []
    while len(lines) < count and stop + 1 < len(data):
        start = stop + 1
        stop = _end_of_line(data, start)
        lines.append(_clipped(data, start, stop))
    return tuple(lines)


def _clipped(data: bytes, start: int, stop: int) -> str:
    return data[start : min(stop, start + 4 * MAX_TEXT)].decode("utf-8", "replace")[:MAX_TEXT]
