"""Lives of a Manager, as far as snapshots are concerned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from snapshot_trees import Life, NewLife

from jidocode.session.project.boundary import Tier
from jidocode.session.snapshots.limits import SnapshotRules


@pytest.fixture
def new_life(folder: Path, tmp_path: Path) -> Iterator[NewLife]:
    """Begins a life of a Manager; every descriptor is closed at the end."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number
    lives: list[Life] = []

    def begin(rules: SnapshotRules | None = None, **options: Any) -> Life:
        for life in lives:
            life.close()
        lives.append(Life(folder, tmp_path / "store", rules, **options))
        return lives[-1]

    yield begin
    for life in lives:
        life.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - idem


@pytest.fixture(params=Tier)
def life(request: pytest.FixtureRequest, new_life: NewLife) -> Life:
    """A life in each tier."""
    return new_life(tier=request.param)
