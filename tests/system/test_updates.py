"""Changes of a session's record: seen by everybody, and kept through every crash."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from attrs import evolve
from folders import new_folders

from jidocode import (
    CallTimeoutError,
    InvalidRequestError,
    InvalidSessionError,
    NoProcessError,
    Session,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.base.stepwise import carry_out
from jidocode.session.record import new_session_id
from jidocode.system.steps import AwaitChange, Step, await_change
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
    """Neither to another project nor to another session."""
    before = session.session
    (folder,) = new_folders(tmp_path, 1)
    other = system.create_session(folder).session
    moved = evolve(before, project_path=other.project_path, project_key=other.project_key)
    for record in (moved, other.rename("mine")):

        def put(_: Session, record: Session = record) -> Session:
            return record

        with pytest.raises(InvalidRequestError):
            system.update_session(session.id, put)

    assert records(session) == [before] * 3
    assert system.session_record(other.id) == other


def test_a_change_that_returns_no_record_changes_nothing(
    system: SessionSystem, session: SessionHandle
) -> None:
    """And harms nobody."""
    registry = system.tree().children[0].ref
    for wrong in (None, "till", {"name": "till"}):

        def change(_: Session, wrong: object = wrong) -> Session:
            return cast("Session", wrong)

        with pytest.raises(TypeError, match="must return a Session"):
            system.update_session(session.id, change)

    assert system.tree().children[0].ref == registry
    assert session.session.name == "shop"


def test_a_change_may_change_the_session_itself(
    system: SessionSystem, session: SessionHandle
) -> None:
    """What it returns counts."""
    record = system.update_session(session.id, lambda _: session.rename("inner").rename("outer"))

    assert record.name == "outer"
    assert records(session) == [record] * 3


def test_who_is_interrupted_as_its_turn_comes_keeps_nobody_out(
    system: SessionSystem, session: SessionHandle
) -> None:
    """Ctrl-C may come at any step of Python, also just before there is something to change."""

    def take(step: Step) -> object:
        assert isinstance(step, AwaitChange)
        await_change(step)
        raise KeyboardInterrupt

    plan = system._running.updating(session.id, lambda record: record, "who is interrupted")
    with pytest.raises(KeyboardInterrupt):
        carry_out(plan, take)

    assert session.rename("till").name == "till"


def test_a_session_that_hangs_holds_up_no_update_of_another(project: Path, tmp_path: Path) -> None:
    """And the update of the one that hangs fails within its time."""
    (folder,) = new_folders(tmp_path, 1)
    with SessionSystem(call_timeout=1.0, heartbeat=None) as system, ThreadPoolExecutor(2) as pool:
        hangs, well = system.create_session(project), system.create_session(folder)
        state = system.get_state(hangs.id).os_pid
        os.kill(state, signal.SIGSTOP)
        stuck = [pool.submit(hangs.rename, name) for name in ("one", "two")]
        eventually(lambda: system.statistics().calls >= 1, "the call to the one that hangs")

        assert well.rename("well").name == "well"
        for update in stuck:
            with pytest.raises(CallTimeoutError):
                update.result(timeout=20)
        os.kill(state, signal.SIGCONT)


def test_a_stopped_manager_learns_of_an_update_when_it_starts(session: SessionHandle) -> None:
    """A stopped State refuses it, for nobody could write it down."""
    session.terminate_child("manager")
    record = session.rename("till")
    session.restart_child("manager")
    assert records(session) == [record] * 3

    session.terminate_child("manager")
    session.delete_child("manager")
    record = session.rename("bar")
    assert [session.session, session.state.session()] == [record] * 2

    session.terminate_child("state")
    with pytest.raises(NoProcessError):
        session.rename("shop")
    assert session.session == record


def test_an_unknown_session_cannot_be_updated(system: SessionSystem) -> None:
    """As it cannot be stopped."""
    with pytest.raises(SessionNotFoundError):
        system.update_session(new_session_id(), Session.validate)
