"""What every test gets: a look at what it leaves behind, and a system on a project if it asks."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from jidocode import SessionHandle, SessionSystem
from jidocode.testing import nothing_left

# A machine may have other things to do; and a folder of a test may have those of many examples.
settings.register_profile(
    "unhurried",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True, scope="session")
def heeds_ctrl_c() -> None:
    """Have what the tests start end by SIGINT, also where a shell runs them in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the journals of systems with default settings out of the user's home."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True, scope="session")
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the names of systems apart from those of the user's own."""
    os.environ["XDG_RUNTIME_DIR"] = str(tmp_path_factory.mktemp("run"))


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """Fail a test that leaves a process or a descriptor behind; where there is none, 0.4 ms."""
    with nothing_left():
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project folder."""
    folder = tmp_path / "shop"
    (folder / "src").mkdir(parents=True)
    (folder / "README.md").write_text("# Shop\n\nSells things.\n")
    (folder / "src" / "checkout.py").write_text("def checkout() -> None: ...\n")
    (folder / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    return folder


_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A name for a system, which no other test has."""
    return f"shop-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def system(session_system: SessionSystem) -> SessionSystem:
    """A running system."""
    return session_system


@pytest.fixture
def session(system: SessionSystem, project: Path) -> SessionHandle:
    """An open session."""
    return system.create_session(project)
