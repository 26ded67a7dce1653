"""Two systems on one state directory: who has a session open, and what they may not share."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from apps import IMPORTS

from jidocode import (
    JidocodeError,
    JournalError,
    ProjectAlreadyOpenError,
    Session,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
    StartFailedError,
)
from jidocode.errors import JournalLockedError, JournalLostError
from jidocode.otp import Announced, Flags
from jidocode.session.admission.admission import Place
from jidocode.session.journal.ownership import Home, owned
from jidocode.system.archive import Archive
from jidocode.testing import eventually, kill, wait_for_restart

# ----- who has it open --------------------------------------------------------------------

OTHER = """
import sys
from jidocode import SessionSystem
with SessionSystem(state_dir=sys.argv[2]) as system:
    session = system.create_session(sys.argv[1])
    print(session.id, flush=True)
    sys.stdin.readline()
"""


class Other:
    """Another app, with a session of its own.

    Attributes:
        app: Its process.
        session_id: Its session.
    """

    def __init__(self, project: Path, state_dir: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(project), str(state_dir)]
        env = {**os.environ, "PYTHONPATH": IMPORTS}
        self.app = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        assert self.app.stdout is not None
        self.session_id = self.app.stdout.readline().strip()

    def pids(self) -> set[int]:
        """Return the pids of the app and of all below it."""
        app = psutil.Process(self.app.pid)
        return {app.pid, *(each.pid for each in app.children(recursive=True))}

    def end(self) -> None:
        """Kill it; its system ends with it."""
        below = (
            psutil.Process(self.app.pid).children(recursive=True) if self.app.poll() is None else []
        )
        self.app.kill()
        self.app.communicate()
        eventually(
            lambda: not any(map(psutil.Process.is_running, below)), "the end of the other system"
        )


@pytest.fixture
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both systems keep their state; no project is around it."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def other(project: Path, state_dir: Path) -> Iterator[Other]:
    """Another app, with a session on the project."""
    other = Other(project, state_dir)
    yield other
    other.end()


@pytest.fixture
def mine(state_dir: Path) -> Iterator[SessionSystem]:
    """A system on the state directory that the other app uses."""
    with SessionSystem(state_dir=state_dir) as system:
        yield system


@pytest.fixture
def system_without_rate(state_dir: Path) -> Iterator[SessionSystem]:
    """The same, in which sessions may be opened as fast as can be."""
    with SessionSystem(state_dir=state_dir, creation_rate=None) as system:
        yield system


@pytest.fixture
def theirs(state_dir: Path) -> Iterator[SessionSystem]:
    """Another system of this app on it."""
    with SessionSystem(state_dir=state_dir) as system:
        yield system


def test_resuming_what_is_open_elsewhere_says_by_whom(mine: SessionSystem, other: Other) -> None:
    """By its own error, with a process that can be looked at."""
    with pytest.raises(JournalLockedError) as error:
        mine.resume_session(other.session_id)

    assert error.value.pid in other.pids()
    assert str(error.value.pid) in str(error.value)
    assert other.session_id in str(error.value)
    assert mine.list_sessions() == []
    copy = pickle.loads(pickle.dumps(error.value))
    assert (copy.pid, str(copy)) == (error.value.pid, str(error.value))


def test_what_can_be_resumed_says_what_is_open_elsewhere(
    mine: SessionSystem, other: Other, tmp_path: Path
) -> None:
    """And what is not, has nobody."""
    free = mine.create_session(_folder(tmp_path, "free"))
    free.stop()
    found = {each.session_id: each for each in mine.list_resumable()}

    assert found[free.id].locked_by is None
    assert found[other.session_id].locked_by in other.pids()
    other.end()
    eventually(  # its processes end soon after it
        lambda: (
            {each.session_id: each for each in mine.list_resumable()}[other.session_id].locked_by
            is None
        )
    )
    assert mine.resume_session(other.session_id).state.messages() == []


def test_looking_at_journals_locks_none(mine: SessionSystem, other: Other) -> None:
    """Who resumes meanwhile is not told that somebody has it."""
    other.end()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            mine.list_resumable()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(10):
            mine.resume_session(other.session_id).stop()
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("way", ["delete", "start", "create"])
def test_every_way_to_what_is_open_elsewhere_says_by_whom(
    mine: SessionSystem, other: Other, tmp_path: Path, way: str
) -> None:
    """Also on another project."""
    folder = _folder(tmp_path, "another")
    ways: dict[str, Callable[[], Any]] = {
        "delete": lambda: mine.delete_session(other.session_id),
        "start": lambda: mine.start_session(
            next(each.session for each in mine.list_resumable() if each.session)
        ),
        "create": lambda: mine.create_session(folder, session_id=other.session_id),
    }
    with pytest.raises(JournalLockedError) as error:
        ways[way]()

    assert error.value.pid in other.pids()


# ----- between two lives ------------------------------------------------------------------


def test_a_session_that_is_deleted_while_it_is_resumed_is_not_begun_anew(
    mine: SessionSystem,
    theirs: SessionSystem,
    project: Path,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Just after its journal was looked at: it is not given back without its messages."""
    session = mine.create_session(project)
    session.stop()
    truly = Archive.record

    def record(archive: Archive, session_id: str) -> Session:
        found = truly(archive, session_id)
        theirs.delete_session(session_id)
        return found

    monkeypatch.setattr(Archive, "record", record)
    with pytest.raises(SessionNotFoundError, match=session.id):
        mine.resume_session(session.id)

    assert mine.list_sessions() == []
    assert list(state_dir.glob("*.jsonl*")) == []


def test_of_a_deletion_and_a_resumption_at_once_one_comes_first(
    system_without_rate: SessionSystem, theirs: SessionSystem, project: Path, state_dir: Path
) -> None:
    """The session comes back with all that it had, or not at all."""
    mine = system_without_rate
    session = mine.create_session(project)
    session.state.append_message("user", "keep me")
    session.stop()
    journal = state_dir / f"{session.id}.jsonl"
    content = journal.read_bytes()
    outcomes: list[str] = []
    for number in range(20):
        journal.write_bytes(content)
        barrier = threading.Barrier(2)

        def delete(barrier: threading.Barrier = barrier, delay: float = number * 0.001) -> None:
            barrier.wait()
            time.sleep(delay)
            with suppress(JournalLockedError):
                theirs.delete_session(session.id)

        thread = threading.Thread(target=delete)
        thread.start()
        barrier.wait()
        try:
            resumed = mine.resume_session(session.id)
        except (SessionNotFoundError, JournalLockedError) as error:
            outcomes.append(type(error).__name__)
            thread.join()
            assert not journal.exists()
        else:
            outcomes.append("resumed")
            thread.join()
            assert [each.content for each in resumed.state.messages()] == ["keep me"]
            resumed.stop()

    assert len(outcomes) == 20


@pytest.mark.parametrize("lets_go", [True, False])
def test_a_session_that_is_taken_between_a_look_and_its_start_is_refused_by_name(
    mine: SessionSystem,
    project: Path,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    lets_go: bool,
) -> None:
    """Also if it is free again when this system looks by whom it was taken."""
    session = mine.create_session(project)
    session.stop()
    taken = owned(state_dir / f"{session.id}.jsonl")
    truly, looks = Home.check, iter(["before", "after"])

    def check(home: Home, place: Place) -> None:
        match next(looks):
            case "before":
                taken.__enter__()
                return
            case _ if lets_go:
                taken.__exit__(None, None, None)
            case _:
                pass
        truly(home, place)

    monkeypatch.setattr(Home, "check", check)
    with pytest.raises(JournalLockedError) as error:
        mine.resume_session(session.id)
    if not lets_go:
        taken.__exit__(None, None, None)

    assert error.value.pid == (None if lets_go else os.getpid())


def test_a_session_of_which_nothing_can_be_noted_is_not_opened(
    mine: SessionSystem, project: Path, state_dir: Path
) -> None:
    """Nor resumed; the error says where, and why."""
    session = mine.create_session(project)
    session.stop()
    shutil.rmtree(state_dir / "open")
    (state_dir / "open").touch()
    ways: list[Callable[[], Any]] = [
        lambda: mine.resume_session(session.id),
        lambda: mine.create_session(project),
    ]
    for way in ways:
        with pytest.raises(JournalError, match=r"cannot be noted in .*/open': File exists"):
            way()

    assert mine.list_sessions() == []
    assert mine.statistics().processes == 3
    (state_dir / "open").unlink()
    mine.resume_session(session.id)


def test_an_open_session_whose_file_is_cut_off_has_its_project_alone(
    mine: SessionSystem, theirs: SessionSystem, project: Path, state_dir: Path
) -> None:
    """It takes no change, and nobody else opens one until it is stopped."""
    session = mine.create_session(project)
    os.truncate(state_dir / "open" / session.id, 0)
    with pytest.raises(JournalLockedError) as error:
        theirs.create_session(project)
    assert error.value.pid == mine.get_process(session.id, "session").os_pid
    with pytest.raises(JournalLostError, match="removed or changed"):
        session.state.append_message("user", "never")
    session.stop()

    theirs.create_session(project)


def test_an_open_session_whose_state_does_not_run_is_nobody_elses(
    mine: SessionSystem, other_system: SessionSystem, project: Path
) -> None:
    """Its journal can be neither deleted nor taken, nor changed."""
    session = mine.create_session(project)
    session.state.append_message("user", "keep me")
    session.terminate_child("state")
    ways: dict[str, Callable[[], Any]] = {
        "resume": lambda: other_system.resume_session(session.id),
        "move": lambda: other_system.resume_session(session.id, project_path=project),
        "delete": lambda: other_system.delete_session(session.id),
    }
    for way, take in ways.items():
        with pytest.raises(JournalLockedError) as error:
            take()
        assert error.value.pid == mine.get_process(session.id, "session").os_pid, way
    (seen,) = other_system.list_resumable()
    assert seen.locked_by == mine.get_process(session.id, "session").os_pid
    session.restart_child("state")

    assert [each.content for each in session.state.messages()] == ["keep me"]


@pytest.mark.parametrize("victims", [["state"], ["manager"], ["manager", "state"]])
def test_no_crash_of_a_child_leaves_a_moment_in_which_a_session_can_be_taken(
    mine: SessionSystem, other_system: SessionSystem, project: Path, victims: list[str]
) -> None:
    """Another system tries all the time, to delete it and to open it."""
    session = mine.create_session(project, strategy=Flags(max_restarts=1000))
    session.state.append_message("user", "keep me")
    stop = threading.Event()
    taken: list[object] = []

    def take() -> None:
        while not stop.is_set():
            for way in (other_system.delete_session, other_system.resume_session):
                with suppress(JidocodeError):
                    taken.append(way(session.id))

    thread = threading.Thread(target=take)
    thread.start()
    try:
        for _ in range(10):
            before = [mine.get_process(session.id, kind) for kind in victims]
            for ref in before:
                os.kill(ref.os_pid, signal.SIGKILL)
            for kind, ref in zip(victims, before, strict=True):
                wait_for_restart(mine, session, kind, after=ref)
    finally:
        stop.set()
        thread.join()

    assert taken == []
    assert [each.content for each in session.state.messages()] == ["keep me"]


def test_what_a_killed_system_left_stops_nobody_and_goes(
    mine: SessionSystem, other: Other, state_dir: Path
) -> None:
    """All its processes at once, so that none can clean up."""
    for pid in sorted(other.pids() - {other.app.pid}):
        os.kill(pid, signal.SIGKILL)
    other.end()
    session = mine.resume_session(other.session_id)

    assert session.state.messages() == []
    assert [path.name for path in (state_dir / "open").iterdir()] == [session.id]
    session.stop()
    mine.delete_session(session.id)
    assert list((state_dir / "open").iterdir()) == []


@pytest.fixture
def other_system(state_dir: Path) -> Iterator[SessionSystem]:
    """A second system on the same state directory, in this app."""
    with SessionSystem(state_dir=state_dir) as system:
        yield system


def test_who_removes_the_folder_of_open_sessions_is_noticed(
    mine: SessionSystem, theirs: SessionSystem, project: Path, state_dir: Path
) -> None:
    """By the next change, before anybody believes that it was kept; all else is there again."""
    session = mine.create_session(project, strategy=Flags(max_restarts=0))
    kept = session.state.append_message("user", "keep me")
    events = mine.events()
    shutil.rmtree(state_dir / "open")
    with pytest.raises(JournalLostError, match="was removed"):
        session.state.append_message("user", "never")
    assert isinstance(next(events).fact, Announced)
    assert session.state.messages() == [kept]
    os.kill(mine.get_process(session.id, "state").os_pid, signal.SIGKILL)
    eventually(lambda: not mine.session_running(session.id), "the end")
    resumed = mine.resume_session(session.id)
    with pytest.raises(ProjectAlreadyOpenError):
        theirs.create_session(project)

    assert resumed.state.messages() == [kept]


def test_a_session_whose_journal_was_deleted_between_two_lives_ends(
    mine: SessionSystem, theirs: SessionSystem, project: Path, state_dir: Path
) -> None:
    """Another system could, for the folder of open sessions was removed; it is not begun anew."""
    session = mine.create_session(project)
    session.state.append_message("user", "gone")
    session.terminate_child("state")
    shutil.rmtree(state_dir / "open")
    theirs.delete_session(session.id)
    with pytest.raises(StartFailedError, match="JournalLostError"):
        session.restart_child("state")

    assert not (state_dir / f"{session.id}.jsonl").exists()


# ----- one project, two systems -------------------------------------------------------------


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@pytest.mark.parametrize("path", ["", "src", "..", "link", "."])
def test_two_systems_on_one_state_directory_do_not_open_one_project(
    mine: SessionSystem, other: Other, project: Path, path: str
) -> None:
    """Nor one within the other, under whatever path; it says whose it is."""
    if path == "link":
        (project.parent / "link").symlink_to(project)
        wanted = project.parent / "link"
    elif path == "..":
        wanted = project.parent
    else:
        wanted = project / path
    with pytest.raises(ProjectAlreadyOpenError) as error:
        mine.create_session(wanted)

    assert error.value.session_id == other.session_id
    assert error.value.nested is (path in ("src", ".."))
    assert mine.list_sessions() == []


def test_a_project_is_free_when_the_other_system_is_gone(
    mine: SessionSystem, other: Other, project: Path
) -> None:
    """However it ended, at once."""
    other.end()

    assert mine.create_session(project).manager.project_root() == str(project)


def test_a_project_is_free_when_the_other_system_has_stopped_the_session(
    mine: SessionSystem, theirs: SessionSystem, project: Path
) -> None:
    """And it is its own again when this one has."""
    for _ in range(2):
        session = mine.create_session(project)
        with pytest.raises(ProjectAlreadyOpenError):
            theirs.create_session(project)
        session.stop()
        theirs.create_session(project).stop()
    session = mine.create_session(project, strategy=Flags(max_restarts=0))
    os.kill(mine.get_process(session.id, "state").os_pid, signal.SIGKILL)
    eventually(lambda: not mine.session_running(session.id), "the end")

    assert theirs.create_session(project).session.name == "shop"


def test_a_restart_does_not_give_a_project_away(
    mine: SessionSystem, theirs: SessionSystem, project: Path
) -> None:
    """The session is open all the time, whichever of its processes is not."""
    session = mine.create_session(project, strategy=Flags(max_restarts=100))
    stop = threading.Event()
    opened: list[object] = []

    def try_it() -> None:
        while not stop.is_set():
            with suppress(JidocodeError):
                opened.append(theirs.create_session(project))

    thread = threading.Thread(target=try_it)
    thread.start()
    try:
        for kind in 3 * ("state", "manager"):
            down = kill(mine, session, kind)
            wait_for_restart(mine, session, kind, after=down.ref)
    finally:
        stop.set()
        thread.join()

    assert opened == []


def test_of_two_systems_that_open_one_project_at_once_one_does(
    mine: SessionSystem, theirs: SessionSystem, project: Path
) -> None:
    """And the other is told."""
    for _ in range(5):
        barrier = threading.Barrier(2)
        outcomes: list[object] = []

        def create(
            system: SessionSystem, barrier: threading.Barrier, outcomes: list[object]
        ) -> None:
            barrier.wait()
            try:
                outcomes.append(system.create_session(project))
            except ProjectAlreadyOpenError as error:
                outcomes.append(error)

        threads = [
            threading.Thread(target=create, args=(system, barrier, outcomes))
            for system in (mine, theirs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        opened = [each for each in outcomes if isinstance(each, SessionHandle)]

        assert (len(opened), len(outcomes)) == (1, 2)
        opened[0].stop()


def test_systems_with_other_state_directories_do_not_know_of_each_other(
    project: Path, tmp_path: Path
) -> None:
    """Nothing is kept outside of the folder that was chosen."""
    with (
        SessionSystem(state_dir=tmp_path / "1") as one,
        SessionSystem(state_dir=tmp_path / "2") as two,
    ):
        assert one.create_session(project).session.name == "shop"
        assert two.create_session(project).session.name == "shop"
