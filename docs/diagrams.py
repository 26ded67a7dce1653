"""Draws the diagrams in the docs from the tables that the code uses.

`python docs/diagrams.py` rewrites the diagram in `semantics.md`, between its
two markers; a test fails when it is not the current one.
"""  # noqa: INP001 - a script, not a package

from __future__ import annotations

import re
from pathlib import Path

from jidocode.otp.supervision.life import TRANSITIONS, LifeState

PAGE = Path(__file__).with_name("semantics.md")
BEGIN = "<!-- begin: life of a child -->\n"
END = "<!-- end: life of a child -->\n"


def life_of_a_child() -> str:
    """Return the table of a child's life as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {LifeState.CLAIMING.value}"]
    for state, row in TRANSITIONS.items():
        for target in dict.fromkeys(row.values()):
            news = [_words(event) for event, other in row.items() if other is target]
            lines.append(f"    {state.value} --> {target.value}: {', '.join(news)}")
    return "\n".join([*lines, f"    {LifeState.ENDED.value} --> [*]", "```", ""])


def _words(event: type) -> str:
    """Return the name of an event's class as words: `ExitNoted`, "exit noted"."""
    return re.sub("(?<!^)(?=[A-Z])", " ", event.__name__).lower()


def updated(page: str) -> str:
    """Return *page* with the current diagram between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + life_of_a_child() + END + after


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
