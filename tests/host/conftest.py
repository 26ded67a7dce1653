"""What the tests of the shells share: trees of their own, below a host each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from trees import MakeTree, Tree


@pytest.fixture
def tree() -> Iterator[MakeTree]:
    """A factory of trees: `tree(flags, *specs, registry=False)`."""
    with ExitStack() as trees:
        yield lambda *args, **options: trees.enter_context(Tree(*args, **options))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file in which workers note what they do."""
    return tmp_path / "log"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that workers wait for."""
    return tmp_path / "gate"
