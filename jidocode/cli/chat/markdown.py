"""A text in Markdown that comes in pieces, cut where what came before cannot change any more.

What is finished is printed once, and scrolls away with the terminal; only the rest is drawn again
and again, and it is short, however long the answer is.
"""

from __future__ import annotations

from markdown_it import MarkdownIt

PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
"""Tags are text: a terminal has no use for them, and what is not shown would be lost."""
MAX_OPEN, MAX_LINES = 4000, 100
"""Characters and lines of a block that is not finished; a longer one is cut off where it is."""


class Flow:
    """Takes pieces of a text, and gives back blocks of it, each as soon as it is whole."""

    def __init__(self) -> None:
        self.rest = ""
        """What has come since the last block that was whole."""

        self._is_new = False

    def add(self, text: str) -> None:
        """Take *text*, which comes next."""
        self.rest += text
        self._is_new = self._is_new or "\n" in text or len(self.rest) > MAX_OPEN

    def take(self) -> str:
        """Return the blocks that are whole by now; nothing if none is."""
        if not self._is_new:
            return ""
        whole, self.rest = _split(self.rest)
        self._is_new = False
        return whole

    def finish(self) -> str:
        """Return what is left: no more comes."""
        whole, self.rest = self.rest, ""
        return whole


def _split(text: str) -> tuple[str, str]:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # what it is to be is not known yet
    blocks = [token for token in PARSER.parse("".join(lines)) if token.level == 0 and token.map]
    start = blocks[-1].map[0] if blocks and blocks[-1].map else 0
    size = sum(map(len, lines[:start]))
    whole, rest = text[:size], text[size:]
    if len(rest) <= MAX_OPEN and len(lines) - start <= MAX_LINES:
        return whole, rest
    cut = sum(map(len, lines[start:])) or MAX_OPEN
    if blocks and blocks[-1].type == "fence" and blocks[-1].map:
        opening = lines[start] if lines[start].endswith("\n") else f"{lines[start]}\n"
        return f"{whole}{rest[:cut]}{blocks[-1].markup}\n", opening + rest[cut:]
    return whole + rest[:cut], rest[cut:]
