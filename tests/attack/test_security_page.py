"""The page on security names tests that exist, and the attack suite as it is."""

from __future__ import annotations

import re
from pathlib import Path

import suite

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of all tables whose first row begins with *heading*."""
    tables = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for table in tables
        for line in table.splitlines()
    ]


def test_every_file_that_is_named_is_there() -> None:
    """A test that is renamed is renamed on the page."""
    named = re.findall(r"`([\w/]+\.py)`", PAGE)

    assert len(named) > 30
    places = [ROOT / "tests", ROOT / "jidocode"]
    assert [name for name in named if not any((place / name).is_file() for place in places)] == []


def test_whatever_somebody_cannot_do_is_shown_by_a_test() -> None:
    """And who can do everything is kept from nothing."""
    claims = rows("who")

    assert len(claims) >= 15
    for who, can, cannot, shown in claims:
        assert can, who
        assert bool(cannot) == bool(re.search(r"`[\w/]+/\w+\.py`", shown)), who


def test_every_attack_is_on_the_page() -> None:
    """In the order in which they run."""
    attacks = [f"`attack/{name}.py`" for name in suite.ATTACKS]

    assert [name for name, _, _ in rows("attack")] == attacks
