"""Limits of this process, changed for a while, and apps within bounds of their own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from jidocode.base import orphans


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


def run_unshared(code: str, *arguments: object, namespaces: Sequence[str] = ()) -> str:
    """Return what an app that runs *code* prints, in a user namespace and *namespaces* of its own.

    It is not allowed what only root is. The test is skipped where none can be made.
    """
    unshare = ["unshare", "--map-root-user", *namespaces]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace can be made here")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.stdout


@contextmanager
def not_root(root: Path) -> Generator[None]:
    """Be somebody whom permissions stop, and whose the project is."""
    if os.geteuid():
        yield
        return
    for path in (root, *root.rglob("*")):
        os.lchown(path, 65534, 65534)
    os.seteuid(65534)
    orphans.prctl(4, 1)  # PR_SET_DUMPABLE: or /proc/self were closed
    try:
        yield
    finally:
        os.seteuid(0)
