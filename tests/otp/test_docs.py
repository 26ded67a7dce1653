"""The page on runtime semantics is drawn from the tables that the code uses."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def diagrams() -> dict[str, Any]:
    """The script that draws the diagrams."""
    return runpy.run_path(str(DOCS / "diagrams.py"))


def test_page_shows_the_current_diagram(diagrams: dict[str, Any]) -> None:
    """If this fails: `python docs/diagrams.py`."""
    page = (DOCS / "semantics.md").read_text("utf-8")
    updated: Callable[[str], str] = diagrams["updated"]

    assert updated(page) == page
    assert diagrams["life_of_a_child"]() in page


def test_diagram_has_every_state(diagrams: dict[str, Any]) -> None:
    """An old diagram between the markers is replaced."""
    updated: Callable[[str], str] = diagrams["updated"]
    drawn = updated(f"before\n{diagrams['BEGIN']}old\n{diagrams['END']}after\n")

    assert drawn.startswith("before\n")
    assert drawn.endswith("after\n")
    assert "old" not in drawn
    for state in ("claiming", "starting", "running", "stopping", "killing", "silent", "ended"):
        assert f"    {state} -->" in drawn
