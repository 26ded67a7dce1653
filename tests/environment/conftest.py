"""What apps in odd surroundings need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from apps import Stranger, a_stranger


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    """A user who has no entry in passwd, with a project."""
    with a_stranger() as stranger:
        yield stranger
