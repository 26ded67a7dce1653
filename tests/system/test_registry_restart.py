"""What is asked of a registry that has just taken over from a dead one."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from jidocode import ActorExitedError, SessionHandle, SessionSystem
from jidocode.otp import ROOT, management
from jidocode.testing import eventually


def kill_registry(system: SessionSystem) -> None:
    """Kill the registry."""
    registry = management.which_children(system, ROOT)[0].ref
    assert registry is not None
    os.kill(registry.os_pid, signal.SIGKILL)


@pytest.mark.parametrize("number", range(4))
def test_what_is_open_stays_known(
    session: SessionHandle, system: SessionSystem, number: int
) -> None:
    """No answer of a new registry is that of one without sessions."""
    del number
    names = [("state", session.id), ("session", session.id), ("system", "sessions")]
    before = [system.whereis(name) for name in names]
    for _ in range(3):  # as many restarts as the root may make
        children = management.which_children(system, ROOT)
        kill_registry(system)
        asked = 0
        while asked < 10:
            try:
                assert [each.id for each in system.list_sessions()] == [session.id]
                assert system.session_running(session.id)
                assert [system.whereis(name) for name in names] == before
            except ActorExitedError:  # the old one, over this very question
                continue
            asked += 1
        again = management.which_children(system, ROOT)
        assert again[0].ref != children[0].ref
        assert again[1].ref == children[1].ref
        eventually(lambda: system.system_health().status.value == "healthy", "health")


def test_what_is_not_there_is_not_there_after_a_while(system: SessionSystem, project: Path) -> None:
    """A name that nobody tells the new registry of is nobody's."""
    kill_registry(system)
    with suppress(ActorExitedError):  # the old one
        assert system.list_sessions() == []
    assert system.whereis(("worker", "nobody")) is None
    assert system.create_session(project).manager.project_root() == str(project)
