"""A place under the rules of a session, on each tier."""

from __future__ import annotations

from pathlib import Path

import pytest
from confined import TIERS, Place, make_place


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    """The name of a tier."""
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path, tier: str) -> Place:
    """A place where a confined command may write."""
    return make_place(tmp_path, tier)
