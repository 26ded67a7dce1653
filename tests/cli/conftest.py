"""A system that `jidocode serve` holds, and `jidocode` as a shell starts it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import COMMAND, SECONDS, environment

from jidocode import SessionHandle, SessionSystem
from jidocode.testing import eventually


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of journals that all commands have."""
    folder = tmp_path / "journals"
    monkeypatch.setenv("JIDOCODE_STATE_DIR", str(folder))
    return folder


@pytest.fixture
def served(name: str, home: Path) -> Iterator[str]:
    """The name of a system in a process of its own."""
    said = home.with_suffix(".log")
    command = [*COMMAND, "serve", "--name", name]
    with (
        said.open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment()) as process,
    ):
        try:
            eventually(lambda: "is ready" in said.read_text(), timeout=SECONDS)
            yield name
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(SECONDS)
    assert status == 0, said.read_text()[-2000:]


@pytest.fixture
def attached(served: str) -> Iterator[SessionSystem]:
    """The served system."""
    with SessionSystem.attach(served) as system:
        yield system


@pytest.fixture
def opened(attached: SessionSystem, project: Path) -> Iterator[SessionHandle]:
    """A session of the served system, which ends with the test."""
    session = attached.create_session(project, name="shop")
    yield session
    if attached.session_running(session.id):
        attached.stop_session(session.id)
