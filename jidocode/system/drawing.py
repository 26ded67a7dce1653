"""How a notebook shows a tree and a health: as lines of HTML.

Text is escaped, since ids and reasons come from the app and from what has crashed. There is no
script, and no colour but that of a dot before each line, which can be seen on white and on black;
the text has the colours of the notebook.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from jidocode.system.health import ChildHealth, Health, TreeNode

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


def tree_html(node: TreeNode) -> str:
    """Return *node* and what is below it: a line for each process, as `str()` draws it."""
    statuses = [each.status.value for each in _nodes(node)]
    return _lines(_line(status, line) for status, line in zip(statuses, node.lines(), strict=True))


def _nodes(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def health_html(health: Health) -> str:
    """Return how the session is, and below it a line for each child."""
    heads = ("child", "pid", "status", "restarts", "uptime", "memory", "last exit")
    rows = [heads, *map(_cells, health.children)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_aligned(row, widths) for row in rows]
    statuses = [child.status.value for child in health.children]
    whole = health.status.value
    return _lines(
        [
            _line(whole, f"session {health.session_id}, {whole}"),
            f"  {escape(lines[0])}",
            *map(_line, statuses, lines[1:]),
        ]
    )


def _cells(child: ChildHealth) -> tuple[str, ...]:
    return (
        child.id,
        str(child.ref.os_pid) if child.ref else "none",
        child.status.value,
        str(child.restarts),
        "" if child.uptime is None else f"{child.uptime:.1f} s",
        "" if child.memory is None else f"{child.memory / 1e6:.1f} MB",
        "" if child.last_exit is None else str(child.last_exit),
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(str.ljust, row, widths)).rstrip()


def _line(status: str, text: str) -> str:
    return f'<span style="color:{_COLOURS.get(status, _BAD)}">●</span> {escape(text)}'


def _lines(lines: Iterator[str] | Sequence[str]) -> str:
    return f"<pre>{'<br>'.join(lines)}</pre>"
