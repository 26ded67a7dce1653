"""Limits of this process, changed for a while."""

from __future__ import annotations

import os
import resource
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def limited(kind: int, soft: int) -> Generator[None]:
    """Have *soft* as the limit of *kind*, one of `resource.RLIMIT_...`, while the block runs."""
    before, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (before, hard))


@contextmanager
def many_descriptors() -> Generator[None]:
    """Have so many descriptors open that the next ones are beyond what `select.select` counts."""
    with limited(resource.RLIMIT_NOFILE, 4096), ExitStack() as files:
        for _ in range(1024):
            files.enter_context(Path(os.devnull).open("rb"))
        yield
