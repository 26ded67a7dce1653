"""How a notebook shows what has a status: as lines of HTML, each with a dot in its colour.

Text is escaped, since ids and reasons come from the app and from what has crashed. There is no
script, and no colour but that of the dots, which can be seen on white and on black; the text has
the colours of the notebook.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_GOOD, _CHANGING, _BAD, _OFF = "#2e9e5b", "#c98a00", "#e0483e", "#888888"
_COLOURS = {
    "healthy": _GOOD,
    "running": _GOOD,
    "starting": _CHANGING,
    "restarting": _CHANGING,
    "stopping": _CHANGING,
    "degraded": _CHANGING,
    "stopped": _OFF,
}


def lines_html(lines: Iterable[tuple[str, str]]) -> str:
    """Return *lines*, each the status that its dot shows, none if it is "", and its text."""
    return f"<pre>{'<br>'.join(_dot(status) + escape(text) for status, text in lines)}</pre>"


def _dot(status: str) -> str:
    if not status:
        return "  "
    return f'<span style="color:{_COLOURS.get(status, _BAD)}">●</span> '


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return *rows* as lines of text, in columns that are as wide as they have to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
