"""The pictures in the README, and the script that takes them."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from terminals import TMUX

pytest.importorskip("rich")

DOCS = Path(__file__).parents[2] / "docs"
NAMES = {"top.svg": "docs/cli.md", "recovery.svg": "README.md"}
"""The pictures of `jidocode top`, and the pages that show them."""
MAX_BYTES = 40_000


def text_of(picture: Path) -> str:
    """Return the text of *picture*, which is small, and asks nobody for anything."""
    content = picture.read_text("utf-8")
    assert len(content) < MAX_BYTES
    assert "url(http" not in content
    assert "<script" not in content
    return " ".join(ET.fromstring(content).itertext()).replace("\xa0", " ")  # noqa: S314 - our own


def test_they_can_be_taken_again(tmp_path: Path) -> None:
    """By the script, of a real run; those that are shown say the same."""
    runpy.run_path(str(DOCS / "pictures.py"))["main"](tmp_path)
    for name, page in NAMES.items():
        taken, shown = text_of(tmp_path / name), text_of(DOCS / name)
        for words in ("CALLS/S", "shop", "manager", "healthy"):
            assert words in taken
            assert words in shown
        assert name in (DOCS.parent / page).read_text("utf-8")
    for each in (tmp_path, DOCS):
        assert "killed by signal 9" in text_of(each / "recovery.svg")
        assert "recovered after" in text_of(each / "recovery.svg")


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed")
def test_a_chat_can_be_taken_again(tmp_path: Path) -> None:
    """In a real terminal; the one that is shown says the same."""
    runpy.run_path(str(DOCS / "chat_picture.py"))["main"](tmp_path)
    taken, shown = (text_of(folder / "chat.svg").split() for folder in (tmp_path, DOCS))
    for words in ("read_file", "edit_file", "allow?", "run_command", "cart", "answers,"):
        assert words in taken
        assert words in shown
    assert "docs/chat.svg" in (DOCS.parent / "README.md").read_text("utf-8")
