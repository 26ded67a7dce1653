"""Takes the picture of a chat in the README, of a real run in a real terminal.

`python docs/chat_picture.py` starts a system whose model follows a script, types in `jidocode chat`
what a person would, and writes what tmux shows in the end to `chat.svg` beside this file.
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from jidocode import (
    Delta,
    ModelRequest,
    ModelSpec,
    ReasoningDelta,
    SessionSystem,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)
from jidocode.testing import eventually

WIDTH, HEIGHT = 92, 42
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_CODE = """\
def total(prices):
    for price in prices:
        result = sum(prices)
    return result
"""
_TESTS = """\
import unittest

from checkout import total


class Totals(unittest.TestCase):
    def test_a_cart(self):
        self.assertEqual(total([2, 3]), 5)

    def test_an_empty_cart(self):
        self.assertEqual(total([]), 0)
"""
_EDIT = {
    "old": "    for price in prices:\n        result = sum(prices)\n    return result\n",
    "new": "    return sum(prices)\n",
}
_ANSWERS: list[list[Delta]] = [
    [
        ReasoningDelta("An empty cart: the loop may never run."),
        TextDelta("I look at `checkout.py` first."),
        ToolCallDelta(0, name="read_file", arguments='{"path": "checkout.py"}'),
    ],
    [
        TextDelta("`result` has no value if there are no prices; `sum` needs no loop."),
        ToolCallDelta(
            0, name="edit_file", arguments=json.dumps({"path": "checkout.py", "edits": [_EDIT]})
        ),
    ],
    [ToolCallDelta(0, name="run_command", arguments='{"command": "/usr/bin/python3 -m unittest"}')],
    [
        TextDelta("An **empty cart** costs 0 now:\n\n"),
        TextDelta("- `total` adds up all prices in one line, also if there are none;\n"),
        TextDelta("- both tests pass."),
    ],
]


class Scripted:
    """A model that has answers for one question."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        """Say what comes next, by how much was said before."""
        said = sum(each["role"] == "assistant" for each in request.messages)
        for delta in _ANSWERS[said]:
            yield delta
            await asyncio.sleep(0.05)
        yield TokenUsage(input_tokens=900 + 150 * said, output_tokens=40, cached_tokens=800)
        yield Stop(StopReason.END)

    async def aclose(self) -> None:
        """Nothing is open."""


def main(folder: Path) -> None:
    """Write the picture to *folder*."""
    sys.path.insert(0, str(Path(__file__).parent))  # the process of the model imports it from here
    name = f"picture-{os.getpid()}"
    model = ModelSpec("chat_picture:Scripted")
    with (
        tempfile.TemporaryDirectory() as place,
        SessionSystem(name=name, model=model, durability="memory") as system,
    ):
        project = Path(place, "shop")
        project.mkdir()
        (project / "checkout.py").write_text(_CODE)
        (project / "test_checkout.py").write_text(_TESTS)
        system.create_session(project)
        shown = _chat(Path(place), [sys.executable, "-m", "jidocode", "chat", "--system", name])
    (folder / "chat.svg").write_text(_picture(shown), "utf-8")


def _chat(place: Path, command: list[str]) -> str:
    """Return what is to be seen when all was said, with its colours."""

    def tmux(*words: str) -> str:
        argv = ["tmux", "-S", str(place / "tmux"), *words]
        environment: dict[str, Any] = {**os.environ, "TERM": "xterm-256color"}
        return subprocess.run(  # noqa: S603 - our own words
            argv, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def wait_for(text: str) -> None:
        eventually(lambda: text in tmux("capture-pane", "-p"), timeout=60.0)

    size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
    inside = ["env", "-u", "COLUMNS", "-u", "LINES", "-u", "NO_COLOR", *command]
    tmux("-f", "/dev/null", "new-session", "-d", "-c", str(place / "shop"), *size, *inside)
    try:
        wait_for("\n>")
        tmux("send-keys", "why does checkout fail for an empty cart?", "Enter")
        wait_for("allow?")
        tmux("send-keys", "y", "Enter")
        wait_for("run_command /usr/bin/python3 -m unittest\n  allow?")
        tmux("send-keys", "a", "Enter")
        wait_for("4 answers")
        return tmux("capture-pane", "-p", "-e").rstrip()
    finally:
        tmux("kill-server")


def _picture(shown: str) -> str:
    """Return it as SVG, which asks nobody for a font."""
    from rich.console import Console  # noqa: PLC0415 - the process of the model needs none
    from rich.text import Text  # noqa: PLC0415 - idem

    lines = shown.count("\n") + 1
    console = Console(record=True, width=WIDTH, height=lines, file=io.StringIO(), highlight=False)
    console.print(Text.from_ansi(shown))
    return _FONTS.sub("", console.export_svg(title="jidocode chat", unique_id="chat"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)
