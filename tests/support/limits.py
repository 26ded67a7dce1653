"""Limits of this process, changed for a while."""

from __future__ import annotations

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def limited(kind: int, soft: int) -> Generator[None]:
    """Have *soft* as the limit of *kind*, one of `resource.RLIMIT_...`, while the block runs."""
    before, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, hard))
