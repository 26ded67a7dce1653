"""`open_session`: the session of a project, the same one for all who ask at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from colleagues import colleagues
from servers import worker

from jidocode import CreationRate, InvalidSessionError, Session, SessionSystem, SettingsOverrides
from jidocode.errors import CallTimeoutError, ProjectAlreadyOpenError, RateLimitedError
from jidocode.testing import eventually, kill


def test_it_is_the_open_one_else_the_last_one_else_a_new_one(
    system: SessionSystem, project: Path
) -> None:
    """Whose name and config are those that it was begun with."""
    first = system.open_session(project, name="till", config={"model": "m"})
    again = system.open_session(project, name="other")
    first.stop()
    system.create_session(project).stop()
    last = system.create_session(project)
    last.state.append_message("user", "hello")
    last.stop()
    resumed = system.open_session(project)

    assert again.id == first.id
    assert (resumed.id, resumed.session.name) == (last.id, project.name)
    assert [message.content for message in resumed.state.messages()] == ["hello"]


def test_the_folder_counts_and_not_its_path(system: SessionSystem, project: Path) -> None:
    """One that was moved has its session still; one that took its place has none."""
    first = system.create_session(project)
    first.stop()
    moved = project.rename(project.with_name("moved"))
    project.mkdir()
    other = system.open_session(project)
    resumed = system.open_session(moved)

    assert resumed.id == first.id
    assert resumed.session.project_path == str(moved)
    assert other.id != first.id


def test_whoever_looks_for_a_session_waits_for_its_start(project: Path, tmp_path: Path) -> None:
    """Within his time; the error says what has taken it."""
    latch, log = tmp_path / "latch", tmp_path / "log"
    child = worker("worker", log, f"latch {latch}")
    with SessionSystem(call_timeout=1.0) as system, ThreadPoolExecutor() as pool:
        session = Session.new(project_path=project)
        starting = pool.submit(system.start_session, session, children=[child])
        eventually(log.exists)
        with pytest.raises(CallTimeoutError, match="the start of the session"):
            system.get_session(session.id)
        with pytest.raises(CallTimeoutError, match="the start of the session"):
            system.find_session(path=project)
        assert system.list_sessions() == []
        assert not system.session_running(session.id)
        latch.touch()
        assert isinstance(starting.exception(), CallTimeoutError)  # it was not there in time either
        assert system.get_session(session.id).call("worker", ("echo", 1)) == 1


def test_a_system_without_journals_has_it_too(project: Path) -> None:
    """There is nothing to resume."""
    with SessionSystem(durability="memory") as system:
        first = system.open_session(project)
        assert system.open_session(project).id == first.id
        first.stop()
        assert system.open_session(project).id != first.id


def test_what_is_wrong_is_said_at_once(system: SessionSystem, project: Path) -> None:
    """Also of what is not needed, for it is open."""
    system.open_session(project)
    (project / "inner").mkdir(exist_ok=True)

    with pytest.raises(InvalidSessionError, match="name"):
        system.open_session(project, name="")
    with pytest.raises(InvalidSessionError, match="cannot be used"):
        system.open_session(project / "missing")
    with pytest.raises(ProjectAlreadyOpenError) as caught:
        system.open_session(project / "inner")
    assert caught.value.nested


def test_what_another_system_has_open_is_refused_at_once(tmp_path: Path, project: Path) -> None:
    """Its session is not this system's to return; the error says in which process it is."""
    state = tmp_path / "state"
    with (
        SessionSystem(state_dir=state) as first,
        SessionSystem(state_dir=state, call_timeout=60.0) as second,
    ):
        session = first.open_session(project)
        with pytest.raises(ProjectAlreadyOpenError) as caught:
            second.open_session(project)

    assert caught.value.session_id == session.id
    assert caught.value.pid is not None


@pytest.mark.parametrize("resumes", [False, True])
def test_all_threads_get_the_same_one(
    system: SessionSystem, project: Path, *, resumes: bool
) -> None:
    """Though each of them finds none at first."""
    known = system.create_session(project) if resumes else None
    if known:
        known.stop()
    start = threading.Barrier(6)

    def open_it(_: int) -> str:
        start.wait()
        return system.open_session(project).id

    with ThreadPoolExecutor(6) as pool:
        ids = set(pool.map(open_it, range(6)))

    assert len(ids) == 1
    assert known is None or ids == {known.id}
    assert len(system.list_sessions()) == 1


def test_no_limit_keeps_anybody_from_what_another_one_opens(project: Path) -> None:
    """The place is that of the session itself, and only one attempt opens it."""
    rules: SettingsOverrides = {"max_sessions": 1, "creation_rate": CreationRate(1, 3600.0)}
    with SessionSystem(**rules) as system:
        start = threading.Barrier(6)

        def open_it(_: int) -> str:
            start.wait()
            return system.open_session(project).id

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(open_it, range(6)))) == 1
        other = project.with_name("other")
        other.mkdir()
        with pytest.raises(RateLimitedError):
            system.open_session(other)


def test_all_processes_get_the_same_one(name: str, tmp_path: Path, project: Path) -> None:
    """Those that have attached, too; in each round but the first by resuming what was stopped."""
    with (
        SessionSystem(name=name, state_dir=tmp_path / "state", creation_rate=None) as system,
        colleagues(3) as others,
    ):
        for other in others:
            other.attach(name)
        ids = set[str]()
        for _ in range(4):
            for other in others:
                other.begin(f"system.open_session({str(project)!r}).id")
            found = {other.answer() for other in others}
            assert len(found) == 1
            ids |= found
            system.stop_session(*found)

    assert len(ids) == 1


def test_one_that_is_restarted_meanwhile_is_waited_for(
    system: SessionSystem, project: Path
) -> None:
    """It is the same session."""
    session = system.open_session(project)
    kill(system, session, "session")

    assert system.open_session(project).state.statistics() is not None
