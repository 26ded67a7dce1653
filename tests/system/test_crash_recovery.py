"""What a killed process takes with it, and what comes back (review C2)."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest
from folders import new_folders
from servers import worker

from jidocode import (
    BoundaryError,
    CallError,
    HostExitedError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
    Strategy,
)
from jidocode.otp import ActorRef, ChildStarting, Killed
from jidocode.testing import eventually, kill, wait_for_restart


def refs(session: SessionHandle) -> dict[str, ActorRef | None]:
    return {info.id: info.ref for info in session.which_children()}


def is_registered(system: SessionSystem, session: SessionHandle, kind: str, ref: ActorRef) -> bool:
    return system.whereis((kind, session.id)) == ref


def root_of(system: SessionSystem) -> ActorRef | None:
    try:
        return system.tree().ref
    except CallError:
        return None


@pytest.mark.parametrize("victim", ["manager", "state"])
def test_one_for_all_restarts_both_children_when_one_is_killed(
    system: SessionSystem, session: SessionHandle, victim: str
) -> None:
    """Manager and State are both new, whichever of them was killed."""
    before = refs(session)
    wait_for_restart(system, session, victim, after=kill(system, session, victim).ref)
    after = refs(session)

    assert set(before) == set(after) == {"manager", "state"}
    assert all(before[child] != after[child] for child in before)


@pytest.mark.parametrize("victim", ["manager", "state"])
def test_one_for_one_restarts_the_killed_child_alone(
    system: SessionSystem, project: Path, victim: str
) -> None:
    """The sibling keeps its process."""
    session = system.create_session(project, strategy=Strategy.ONE_FOR_ONE)
    before = refs(session)
    wait_for_restart(system, session, victim, after=kill(system, session, victim).ref)
    after = refs(session)

    assert {child for child in before if before[child] != after[child]} == {victim}


def test_rest_for_one_restarts_those_started_later(system: SessionSystem, project: Path) -> None:
    """State's death takes the own child with it and leaves Manager alone."""
    session = system.create_session(
        project, strategy=Strategy.REST_FOR_ONE, children=[worker("own")]
    )
    before = refs(session)
    wait_for_restart(system, session, "state", after=kill(system, session, "state").ref)
    after = refs(session)

    assert {child for child in before if before[child] != after[child]} == {"state", "own"}


@pytest.mark.parametrize("victim", ["manager", "state"])
def test_the_registry_answers_with_the_new_processes(
    system: SessionSystem, session: SessionHandle, victim: str
) -> None:
    """And never with an old one after a new one."""
    for _ in range(2):
        old = system.get_process(session.id, victim)
        new = wait_for_restart(system, session, victim, after=kill(system, session, victim).ref)
        eventually(partial(is_registered, system, session, victim, new), "registration")

        assert new.incarnation > old.incarnation
        assert system.whereis((victim, session.id)) == system.get_process(session.id, victim)


def test_never_an_old_entry_after_a_new_one(system: SessionSystem, session: SessionHandle) -> None:
    """What the registry says of a name only ever moves forward."""
    seen: list[int] = []
    for _ in range(3):
        kill(system, session, "manager")
        old = seen[-1] if seen else 0

        def newer(old: int = old) -> bool:
            ref = system.whereis(("manager", session.id))
            seen.extend([ref.incarnation] if ref else [])
            return bool(seen) and seen[-1] > old

        eventually(newer, "a newer registration")
        eventually(lambda: session.health_check().status.value == "healthy", "recovery")

    assert seen == sorted(seen)


def test_a_crash_changes_neither_id_nor_path_nor_config(
    system: SessionSystem, project: Path
) -> None:
    """The record is the supervisor's, not the child's."""
    session = system.create_session(project, config={"temperature": 0.1}, name="till")
    record = session.session
    wait_for_restart(system, session, "manager", after=kill(system, session, "manager").ref)

    assert session.session == record
    assert session.manager.session() == record
    assert session.state.session() == record


def test_the_reason_of_a_kill_names_the_signal(
    system: SessionSystem, session: SessionHandle
) -> None:
    """A killed process says nothing; its exit status does."""
    down = kill(system, session, "state")

    assert down.reason == Killed(signal.SIGKILL)


def test_a_session_that_crashes_too_often_ends_and_frees_its_place(
    system: SessionSystem, project: Path
) -> None:
    """The fourth kill within five seconds is one too many; no ghost is left."""
    session = system.create_session(project)
    for _ in range(3):
        wait_for_restart(system, session, "manager", after=kill(system, session, "manager").ref)
    kill(system, session, "manager")
    eventually(lambda: not system.session_running(session.id), "the end of the session")

    with pytest.raises(SessionNotFoundError):
        session.manager.project_root()
    with pytest.raises(SessionNotFoundError):
        session.stop()
    assert system.create_session(project).manager.project_root() == str(project)


def test_other_sessions_do_not_notice_a_crash(system: SessionSystem, tmp_path: Path) -> None:
    """Sessions share no fate."""
    folders = new_folders(tmp_path, 2)
    first, second = [system.create_session(folder) for folder in folders]
    before = refs(second)
    kill(system, first, "session")
    eventually(lambda: not system.session_running(first.id), "the end of the session")

    assert refs(second) == before


def test_a_killed_session_supervisor_takes_its_children_with_it(
    system: SessionSystem, session: SessionHandle
) -> None:
    """No orphan, and the place is free."""
    children = [ref for ref in refs(session).values() if ref]
    kill(system, session, "session")
    eventually(lambda: not system.session_running(session.id), "the end of the session")

    assert [ref for ref in children if Path(f"/proc/{ref.os_pid}").exists()] == []


def test_a_killed_registry_comes_back_and_knows_the_sessions(
    system: SessionSystem, session: SessionHandle
) -> None:
    """The supervisors tell the new one what runs; the session is not touched."""
    before = refs(session)
    record = session.session
    registry = system.tree().children[0].ref
    assert registry is not None
    os.kill(registry.os_pid, signal.SIGKILL)
    eventually(lambda: system.tree().children[0].restarts == 1, "restart of the registry")

    assert system.list_sessions() == [record]
    assert refs(session) == before
    eventually(lambda: system.whereis(("state", session.id)) == before["state"], "registration")
    session.stop()
    assert system.list_sessions() == []


def test_a_killed_supervisor_of_sessions_comes_back_empty(
    system: SessionSystem, session: SessionHandle, project: Path
) -> None:
    """Everything below dies with it, and all places are free."""
    sessions = system.tree().children[1].ref
    assert sessions is not None
    os.kill(sessions.os_pid, signal.SIGKILL)
    eventually(lambda: system.list_sessions() == [], "the end of the session")
    eventually(lambda: system.tree().children[1].restarts == 1, "restart of the supervisor")

    assert system.create_session(project).id != session.id


def test_a_session_opens_although_its_supervisors_supervisor_is_killed_over_it(
    system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """The next one is asked the same, and what the dead one had begun is in nobody's way."""
    sessions = system.tree().children[1].ref
    assert sessions is not None
    latch = tmp_path / "latch"

    def kill() -> None:
        for event in events:
            if isinstance(event.fact, ChildStarting) and event.session_id is not None:
                os.kill(sessions.os_pid, signal.SIGKILL)
                latch.touch()  # not before: it would be open already
                return

    with system.events() as events:
        killer = threading.Thread(target=kill)
        killer.start()
        session = system.create_session(project, children=[worker("late", None, f"latch {latch}")])
        killer.join()

    assert system.list_sessions() == [session.session]
    assert session.manager.project_root()
    successor = system.tree().children[1].ref
    assert successor not in {sessions, None}


def test_a_killed_root_comes_back_empty(system: SessionSystem, project: Path) -> None:
    """The host starts it again; the app goes on with an empty system."""
    system.create_session(project)
    root = system.tree().ref
    assert root is not None
    os.kill(root.os_pid, signal.SIGKILL)
    eventually(lambda: root_of(system) not in (None, root), "restart of the root")

    assert system.list_sessions() == []
    assert system.create_session(project).manager.project_root() == str(project)


def test_a_killed_host_is_told_at_the_next_call(
    system: SessionSystem, session: SessionHandle
) -> None:
    """All below it is gone, and the app can start another system."""
    pids = [ref.os_pid for ref in refs(session).values() if ref]
    os.kill(system.host_pid, signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of all")

    with pytest.raises(HostExitedError):
        session.manager.project_root()
    with SessionSystem() as another:
        assert another.list_sessions() == []


def test_what_a_killed_manager_left_in_the_project_is_gone_with_its_next_life(
    project: Path, tmp_path: Path
) -> None:
    """A note beside the journal says in which folder; an orderly end leaves no note."""
    with SessionSystem(state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        session.manager.write_file("a/b/file", "x")
        left = project / "a" / "b" / f".jidocode-{session.id}.tmp"
        left.write_text("half")
        names = [entry.name for entry in session.manager.list_directory("a/b").entries]
        wait_for_restart(system, session, "manager", after=kill(system, session, "manager").ref)

        assert names == ["file"]
        assert not left.exists()
        assert session.manager.read_text("a/b/file").text == "x"
        system.stop_session(session.id)
    journals = [path.name for path in (tmp_path / "state").glob(f"{session.id}*")]
    assert journals == [f"{session.id}.jsonl"]


def test_a_file_of_more_than_one_hard_link_is_refused_by_the_setting(project: Path) -> None:
    """The Manager gets it with its start."""
    (project / "one").write_text("x")
    (project / "two").hardlink_to(project / "one")
    with SessionSystem(hard_links=False) as strict:
        manager = strict.create_session(project).manager
        with pytest.raises(BoundaryError, match="2 hard links"):
            manager.read_text("one")
