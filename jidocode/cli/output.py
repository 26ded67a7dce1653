"""How data is printed: as JSON for programs, as aligned columns for people."""

from __future__ import annotations

import enum
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from jidocode.base.records import Record
from jidocode.base.text import line, quote

if TYPE_CHECKING:
    from jidocode.session.conversation.blocks import Usage

_COLOURS = {
    "healthy": "green",
    "running": "green",
    "ok": "green",
    "note": "yellow",
    "restarting": "yellow",
    "starting": "yellow",
    "stopping": "yellow",
    "degraded": "yellow",
    "unresponsive": "red",
    "dead": "red",
    "missing": "red",
}
_BINARY = 1024
_THOUSAND = 1000


def plain(value: object) -> Any:
    """Return *value* as JSON has it: a record by its fields, what JSON does not know as text."""
    match value:
        case enum.Enum():
            return value.value
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return value.isoformat()
        case os.PathLike():
            return os.fspath(cast("Path", value))
        case Mapping():
            return {str(key): plain(each) for key, each in cast("Any", value).items()}
        case list() | tuple():
            return [plain(each) for each in cast("Sequence[object]", value)]
        case Record() if type(value).__str__ is object.__str__:
            names = [field.name for field in value.__attrs_attrs__]
            return {name: plain(getattr(value, name)) for name in names}
        case Record() | BaseException():
            return line(str(value))
        case _:
            return quote(value)


def print_json(value: object) -> None:
    """Print *value* as JSON on one line."""
    click.echo(json.dumps(plain(value)))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print *rows* below *head*, each column as wide as it has to be."""
    all_rows = [head, *([line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*all_rows, strict=True)]
    for number, row in enumerate(all_rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        text = "  ".join(map(coloured, cells) if number else cells).rstrip()
        click.echo(text if number else click.style(text, bold=True))


def coloured(status: str) -> str:
    """Return *status* in the colour that goes with it, if one does; it may be padded."""
    colour = colour_of(status.strip())
    return click.style(status, fg=colour) if colour else status


def colour_of(status: str) -> str:
    """Return the colour that goes with *status*; none has an empty one."""
    return _COLOURS.get(status, "")


def size(count: int | None) -> str:
    """Return a number of bytes for people."""
    if count is None:
        return "-"
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < _BINARY:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _BINARY
    return f"{amount:.1f} GiB"


def tokens(usage: Usage | None) -> str:
    """Return how many tokens models took, read and said, for people; nothing if none was asked."""
    if usage is None or not usage.calls:
        return ""
    count = float(usage.input_tokens + usage.output_tokens)
    for unit in ("", "k", "M"):
        if count < _THOUSAND:
            return f"{count:.0f}" if not unit else f"{count:.1f}{unit}"
        count /= _THOUSAND
    return f"{count:.1f}G"


def duration(seconds: float | None) -> str:
    """Return a time for people."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def moment(at: datetime) -> str:
    """Return *at* for people, in their time zone."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
