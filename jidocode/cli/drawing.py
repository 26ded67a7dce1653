"""What `jidocode top` draws: as much as there is room for, on a terminal of any size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from jidocode.base.text import line
from jidocode.cli.output import colour_of, duration, size, tokens
from jidocode.session.commands.result import CommandInfo
from jidocode.system.watching import Key, Line, Look

_FRAME_ROWS = 3
"""The title, the head of the table, and the line of keys."""
_MAX_CHANGES = 6
_MAX_COMMANDS = 8
_CHANGED_SECONDS = 5.0
_KEYS = "up down  Enter closer  s stop  Escape back  q quit"
_NAME = "NAME"
_EXIT = "LAST EXIT"
_COLUMNS = {
    _NAME: 0,
    "STATUS": 0,
    "PID": 0,
    "CPU": 50,
    "MEMORY": 50,
    "CALLS/S": 70,
    "CMDS": 70,
    "TOKENS": 80,
    "RESTARTS": 60,
    "UPTIME": 95,
    _EXIT: 110,
}
"""The columns, and how wide a terminal has to be to show them."""
_BUSY = 0.5


class Scene(NamedTuple):
    """What is to be seen.

    Attributes:
        name: The system's name.
        lines: All lines of the tree that can be scrolled to.
        looks: What is known of those that were looked at.
        sessions: How many sessions there are.
        processes: How many processes.
        chosen: The key of the line that the user has chosen.
        changed: Since when each process is what it is (monotonic seconds), 0 for long ago.
        commands: Those of the session that is looked at closer.
        changes: What has happened, the latest last.
        said: What is said to the user; the keys if that is nothing.
        show: Is told which of *lines* are drawn.
    """

    name: str
    lines: Sequence[Line]
    looks: Mapping[Key, Look]
    sessions: int
    processes: int
    chosen: Key | None
    changed: Mapping[Key, float]
    commands: Sequence[CommandInfo]
    changes: Sequence[str]
    said: str
    show: Callable[[slice], object]


def draw(scene: Scene, width: int, height: int) -> Group:
    """Return *scene* for a terminal of that size."""
    room = max(1, height - _FRAME_ROWS)
    commands = scene.commands[-min(_MAX_COMMANDS, room // 3) :] if room > _FRAME_ROWS else ()
    room = max(1, room - len(commands))
    changes = scene.changes[-min(_MAX_CHANGES, room // 3) :] if room > _FRAME_ROWS else ()
    room = max(1, room - len(changes))
    place = next((n for n, each in enumerate(scene.lines) if each.key == scene.chosen), 0)
    first = max(0, min(place - room // 2, len(scene.lines) - room))
    scene.show(slice(first, first + room))
    shown = scene.lines[first : first + room]

    title = f"{scene.name}: {scene.sessions} sessions, {scene.processes} processes"
    if len(scene.lines) > len(shown):
        title += f", lines {first + 1} to {first + len(shown)} of {len(scene.lines)}"
    return Group(
        _text(line(title), style="bold"),
        _table(scene, shown, width),
        *(Text("") for _ in range(room - len(shown))),
        *(_command(each) for each in commands),
        *(_text(line(each), style="dim") for each in changes),
        _text(line(scene.said) or _KEYS, style="reverse"),
    )


def _text(content: str, style: str = "") -> Text:
    return Text(content, style=style, no_wrap=True, overflow="ellipsis")


def _command(info: CommandInfo) -> Text:
    words = line(" ".join(info.argv))
    state = "runs" if info.running else "ended"
    return _text(f"{state:6} pid {info.pid}  {duration(info.seconds)}  {words}")


def _table(scene: Scene, lines: Sequence[Line], width: int) -> Table:
    table = Table(box=None, pad_edge=False, expand=True)
    heads = [head for head, least in _COLUMNS.items() if width >= least]
    for head in heads:
        table.add_column(
            head,
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if head == _NAME else None,
            justify="left" if head in (_NAME, "STATUS", _EXIT) else "right",
            max_width=30 if head == _EXIT else None,
        )
    now = time.monotonic()
    for each in lines:
        cells = _cells(each, scene.looks.get(each.key))
        is_new = now - scene.changed.get(each.key, 0.0) < _CHANGED_SECONDS
        style = "reverse" if each.key == scene.chosen else "bold yellow" if is_new else ""
        table.add_row(*(cells[head] for head in heads), style=style)
    return table


def _cells(each: Line, look: Look | None) -> dict[str, Text]:
    name = f"{each.drawn}{each.id}"
    if look is None:  # it has just come into view
        pid = str(each.ref.os_pid) if each.ref else "-"
        return {head: Text("") for head in _COLUMNS} | {_NAME: Text(line(name)), "PID": Text(pid)}
    process = look.process
    if process.session_name is not None:
        name = f"{each.drawn}{process.session_name} {each.id}"
    cpu = "-" if look.cpu is None else f"{100 * look.cpu:.0f}%"
    calls = "-" if look.call_rate is None else f"{look.call_rate:.0f}"
    return {
        _NAME: Text(line(name)),
        "STATUS": Text(process.status, style=colour_of(process.status)),
        "PID": Text(str(process.pid or "-")),
        "CPU": Text(cpu, style="red" if (look.cpu or 0.0) >= _BUSY else ""),
        "MEMORY": Text(size(process.memory)),
        "CALLS/S": Text(calls),
        "CMDS": Text("" if process.commands is None else str(process.commands)),
        "TOKENS": Text(tokens(process.usage)),
        "RESTARTS": Text(str(process.restarts), style="yellow" if process.restarts else ""),
        "UPTIME": Text(duration(process.uptime)),
        _EXIT: Text(line(str(process.last_exit or ""))),
    }
