"""Changes of a session's record: seen by everybody, and kept through every crash."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import attrs
import pytest
from folders import new_folders

from jidocode import (
    InvalidRequestError,
    InvalidSessionError,
    ProjectAlreadyOpenError,
    Session,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.session.record import new_session_id
from jidocode.testing import eventually, kill, wait_for_restart


def records(session: SessionHandle) -> list[Session]:
    return [session.session, session.manager.session(), session.state.session()]


def test_a_rename_is_seen_by_registry_state_and_manager(
    system: SessionSystem, session: SessionHandle
) -> None:
    """And the session is found by its new name."""
    record = session.rename("till")

    assert records(session) == [record] * 3
    assert record.name == "till"
    assert system.find_session(name="till").id == session.id
    with pytest.raises(SessionNotFoundError):
        system.find_session(name="shop")


@pytest.mark.parametrize("victim", ["manager", "state"])
def test_an_update_survives_the_restart_of_its_processes(
    system: SessionSystem, session: SessionHandle, victim: str
) -> None:
    """They start again from the new record."""
    session.update_config({"temperature": 1.5})
    record = session.update_language("elixir")
    wait_for_restart(system, session, victim, after=kill(system, session, victim).ref)

    assert records(session) == [record] * 3
    assert (record.config.temperature, record.language) == (1.5, "elixir")


def test_an_update_survives_the_registry(system: SessionSystem, session: SessionHandle) -> None:
    """The supervisor of sessions tells the new one the latest record."""
    record = session.rename("till")
    registry = system.tree().children[0].ref
    assert registry is not None
    os.kill(registry.os_pid, signal.SIGKILL)
    eventually(lambda: system.tree().children[0].restarts == 1, "restart of the registry")
    eventually(system.list_sessions, "rebuilding")

    assert system.list_sessions() == [record]


def test_an_invalid_update_changes_nothing(session: SessionHandle) -> None:
    """With all reasons."""
    before = session.session
    with pytest.raises(InvalidSessionError) as refused:
        session.update_config({"temperature": 3, "max_tokens": 0})
    with pytest.raises(InvalidSessionError):
        session.rename("")

    assert refused.value.codes == ("invalid_temperature", "invalid_max_tokens")
    assert records(session) == [before] * 3


def test_an_update_cannot_move_a_session(
    system: SessionSystem, session: SessionHandle, tmp_path: Path
) -> None:
    """Neither onto an open project nor onto another one."""
    folders = new_folders(tmp_path, 2)
    system.create_session(folders[0])
    for folder, error in zip(folders, (ProjectAlreadyOpenError, InvalidRequestError), strict=True):
        other = Session.new(project_path=folder)

        def move(record: Session, other: Session = other) -> Session:
            return attrs.evolve(
                record, project_path=other.project_path, project_key=other.project_key
            )

        with pytest.raises(error):
            system.update_session(session.id, move)


def test_an_unknown_session_cannot_be_updated(system: SessionSystem) -> None:
    """As it cannot be stopped."""
    with pytest.raises(SessionNotFoundError):
        system.update_session(new_session_id(), Session.validate)
