"""How calls of tools are shown: what they are about, what they change, what came of them."""

from __future__ import annotations

import difflib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.text import Text

from jidocode.base.text import line, printable
from jidocode.cli.chat.text import fit
from jidocode.errors import JidocodeError
from jidocode.session.tools.arguments import shown_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jidocode.session.agent.message import CalledTool
    from jidocode.session.conversation.changes import ToolResult
    from jidocode.session.manager.client import ManagerClient
    from jidocode.session.tools.policy import ToolRequest

_MAX_OUTPUT = 12
"""Lines of a result that are shown."""
_MAX_DIFF = 80
"""Lines of a diff."""
_MAX_FILE = 2000
"""Lines of a file that is compared with what is to stand there."""
_COUNTED = ("read_file", "list_directory", "glob", "grep")
"""Whose results are for the model: only how much it is counts."""
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_MARKS = {"pending": "[ ]", "in_progress": "[.]", "completed": "[x]"}


def heading(tool: str, subject: str, *, failed: bool = False) -> Text:
    """Return the line of a call."""
    text = Text("● ", style="red" if failed else "green")
    text.append(line(tool), style="bold default")
    text.append(f" {fit(printable(subject))}", style="default")
    return text


def outcome(call: CalledTool, result: ToolResult) -> Text:
    """Return what came of *call*."""
    if result.is_error:
        return _indented(_clipped(result.content), "red")
    if call.name == "edit_file":
        said, _, diff = result.content.partition("\n")
        return Text("\n").join([_indented([said], "dim"), coloured(diff)])
    if call.name == "todo_write":
        return _indented(_todos(call) or [result.content], "")
    if call.name in _COUNTED:
        count = result.content.count("\n") + 1
        return _indented(["1 line" if count == 1 else f"{count} lines"], "dim")
    return _indented(_clipped(result.content), "dim")


def coloured(diff: str) -> Text:
    """Return *diff* as it is shown."""
    lines = diff.splitlines()
    shown = [
        Text(f"  {fit(line(each))}", style=_COLOURS.get(each[:1], "dim"))
        for each in lines[:_MAX_DIFF]
    ]
    if len(lines) > _MAX_DIFF:
        shown.append(Text(f"  ... {len(lines) - _MAX_DIFF} more lines", style="dim"))
    return Text("\n").join(shown)


def planned(request: ToolRequest, manager: ManagerClient) -> str:
    """Return what *request* would change, as a diff; nothing if its subject says all."""
    if request.tool == "run_command":
        return ""
    if request.tool in {"write_file", "edit_file"}:
        with suppress(KeyError, TypeError, AttributeError):  # it is a tool of the app's own
            return _changed(_read(manager, request.subject), request.arguments)
    return json.dumps(request.arguments, indent=1, default=str)


def _changed(before: str, arguments: Mapping[str, Any]) -> str:
    """Return the diff of a file that is written, or edited, with *arguments*."""
    if "content" in arguments:
        return _diff(before, arguments["content"])
    after = before
    for edit in arguments["edits"]:
        after = after.replace(edit["old"], edit["new"])
    if after != before:
        return _diff(before, after)
    return "\n".join(_diff(edit["old"], edit["new"]) for edit in arguments["edits"])


def _read(manager: ManagerClient, path: str) -> str:
    """Return the beginning of a file; nothing if it cannot be read, which the call will say."""
    try:
        return manager.read_file(path, limit=_MAX_FILE).text
    except (OSError, JidocodeError):
        return ""


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines()[: 2 * _MAX_FILE], lineterm="", n=2
    )
    return "\n".join([*lines][2:])


def _todos(call: CalledTool) -> list[str]:
    with suppress(KeyError, TypeError, AttributeError):  # a model says anything
        return [
            f"{_MARKS.get(each.get('status', 'pending'), '[ ]')} {each['content']}"
            for each in shown_object(call.arguments)["todos"]
        ]
    return []


def _clipped(content: str) -> list[str]:
    lines = content.splitlines()
    if len(lines) <= _MAX_OUTPUT:
        return lines
    half = _MAX_OUTPUT // 2
    left_out = len(lines) - 2 * half
    return [*lines[:half], f"... {left_out} more lines ...", *lines[-half:]]


def _indented(lines: list[str], style: str) -> Text:
    return Text("\n".join(f"  {fit(line(each))}" for each in lines), style=style)
