"""What every test gets: a look at what it leaves behind, and a system on a project if it asks."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import eventually

from jidocode import SessionHandle, SessionSystem


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves a process or a descriptor behind."""
    before = _descriptors()
    yield
    gc.collect()
    eventually(lambda: not psutil.Process().children(recursive=True), "the end of all processes")
    eventually(lambda: _descriptors() <= before, f"closing of {_descriptors() - before}")


def _descriptors() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.add((descriptor.name, str(descriptor.readlink())))
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project folder."""
    folder = tmp_path / "shop"
    (folder / "src").mkdir(parents=True)
    (folder / "README.md").write_text("# Shop\n\nSells things.\n")
    (folder / "src" / "checkout.py").write_text("def checkout() -> None: ...\n")
    (folder / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    return folder


@pytest.fixture
def system() -> Iterator[SessionSystem]:
    """A running system."""
    with SessionSystem() as running:
        yield running


@pytest.fixture
def session(system: SessionSystem, project: Path) -> SessionHandle:
    """An open session."""
    return system.create_session(project)
