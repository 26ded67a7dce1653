"""Who knows why: how a session ended, and who has it open."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from apps import IMPORTS
from servers import worker

from jidocode import (
    JidocodeError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.errors import JournalLockedError
from jidocode.otp import AutoShutdown, ChildExited, ChildSpec, Flags, Restart
from jidocode.session.record import new_session_id
from jidocode.system.events import EventStream
from jidocode.testing import eventually, kill

# ----- how a session ended --------------------------------------------------------------


def _give_up(system: SessionSystem, session: SessionHandle) -> None:
    while True:
        try:
            os.kill(system.get_process(session.id, "manager").os_pid, signal.SIGKILL)
        except (JidocodeError, ProcessLookupError):
            if not system.session_running(session.id):
                return


def _kill_supervisor(system: SessionSystem, session: SessionHandle) -> None:
    kill(system, session, "session")


def _end_by_child(system: SessionSystem, session: SessionHandle) -> None:
    del system
    session.call("significant", "stop")


def _stop(system: SessionSystem, session: SessionHandle) -> None:
    del system
    session.stop()


ENDS: dict[str, Callable[[SessionSystem, SessionHandle], None]] = {
    "gave up": _give_up,
    "killed": _kill_supervisor,
    "ended by its child": _end_by_child,
    "stopped": _stop,
}

ASKS: dict[str, Callable[[SessionSystem, SessionHandle], object]] = {
    "state": lambda _, session: session.state.messages(),
    "manager": lambda _, session: session.manager.project_root(),
    "call": lambda _, session: session.call("significant", "pid"),
    "record": lambda _, session: session.session,
    "stop": lambda _, session: session.stop(),
    "get_session": lambda system, session: system.get_session(session.id),
    "get_process": lambda system, session: system.get_process(session.id, "state"),
    "health": lambda _, session: session.health_check(),
    "rename": lambda _, session: session.rename("till"),
    "monitor": lambda system, session: system.monitor(session.id, "state"),
    "children": lambda _, session: session.which_children(),
    "start_child": lambda _, session: session.start_child(worker("late")),
    "subscription": lambda _, session: next(session.state.subscribe(from_seq=1)),
}


def _open(system: SessionSystem, project: Path) -> SessionHandle:
    flags = Flags(max_restarts=1, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    significant = ChildSpec(
        id="significant", start=worker("x").start, restart=Restart.TRANSIENT, significant=True
    )
    return system.create_session(project, strategy=flags, children=[significant])


def _reason(events: EventStream, session: SessionHandle) -> object:
    """Return how the supervisor of sessions says that the session ended."""
    while (event := events.get(20)) is not None:
        fact = event.fact
        if isinstance(fact, ChildExited) and fact.name == ("session", session.id):
            return fact.reason
    raise AssertionError("the session has not ended")


@pytest.mark.parametrize("how", ENDS)
def test_whoever_asks_for_a_session_that_ended_hears_how(
    system: SessionSystem, project: Path, how: str
) -> None:
    """Whatever is asked, and in words, too."""
    events = system.events()
    session = _open(system, project)
    ENDS[how](system, session)
    reason = _reason(events, session)
    eventually(lambda: not system.session_running(session.id), "the end")
    for name, ask in ASKS.items():
        with pytest.raises(SessionNotFoundError) as error:
            ask(system, session)

        assert error.value.ended == reason, name
        assert str(reason) in str(error.value), name


def test_a_handle_that_waits_hears_how_its_session_ended(
    system: SessionSystem, project: Path
) -> None:
    """The first error after the end is not another one."""
    session = _open(system, project)
    heard: list[BaseException] = []

    def follow() -> None:
        try:
            for _ in session.state.subscribe(from_seq=1):
                pass
        except BaseException as error:  # noqa: BLE001 - it is looked at
            heard.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    _give_up(system, session)
    thread.join(20)

    (error,) = heard
    assert isinstance(error, SessionNotFoundError), repr(error)
    assert error.ended is not None


def test_a_session_that_never_was_has_not_ended(system: SessionSystem) -> None:
    """Nor has one of another system's life."""
    with pytest.raises(SessionNotFoundError) as error:
        system.get_session(new_session_id())

    assert error.value.ended is None
    with pytest.raises(SessionNotFoundError) as by_name:
        system.find_session(name="nobody")
    assert by_name.value.ended is None


def test_the_end_of_a_session_travels_with_its_error(system: SessionSystem, project: Path) -> None:
    """Between processes, as all that an error says."""
    session = _open(system, project)
    _kill_supervisor(system, session)
    eventually(lambda: not system.session_running(session.id), "the end")
    with pytest.raises(SessionNotFoundError) as error:
        session.state.messages()
    copy = pickle.loads(pickle.dumps(error.value))

    assert copy.ended == error.value.ended
    assert str(copy) == str(error.value)


@pytest.mark.parametrize("victim", ["registry", "sessions", "root"])
def test_the_end_of_a_session_is_known_after_the_system_has_crashed(
    system: SessionSystem, project: Path, victim: str
) -> None:
    """The death of who took note of it loses nothing; sessions that a crash took are told, too."""
    session = _open(system, project)
    if victim == "registry":
        _give_up(system, session)
    tree = system.tree()
    node = tree if victim == "root" else next(each for each in tree.children if each.id == victim)
    assert node.ref is not None
    os.kill(node.ref.os_pid, signal.SIGKILL)
    eventually(lambda: not _is_running(system, session.id), "the end")
    with pytest.raises(SessionNotFoundError) as error:
        eventually(lambda: session.state.messages() and None)

    assert error.value.ended is not None


def _is_running(system: SessionSystem, session_id: str) -> bool:
    try:
        return system.session_running(session_id)
    except JidocodeError:  # the registry is being restarted
        return True


def test_a_resumed_session_has_not_ended_and_its_next_end_is_told(
    system: SessionSystem, project: Path
) -> None:
    """Each life has its own."""
    events = system.events()
    session = _open(system, project)
    session.stop()
    first = _reason(events, session)
    again = system.resume_session(session.id)
    assert again.session.id == session.id
    _kill_supervisor(system, again)
    second = _reason(events, session)
    eventually(lambda: not system.session_running(session.id), "the end")
    with pytest.raises(SessionNotFoundError) as error:
        again.state.messages()

    assert error.value.ended == second != first


def test_a_session_that_could_not_start_was_none(system: SessionSystem, project: Path) -> None:
    """There is nothing whose end could be told."""
    session_id = new_session_id()
    bad = worker("bad", None, "raise")
    with pytest.raises(JidocodeError):
        system.create_session(project, session_id=session_id, children=[bad])
    with pytest.raises(SessionNotFoundError):
        system.get_session(session_id)


# ----- who has it open --------------------------------------------------------------------

OTHER = """
import sys
from jidocode import SessionSystem
with SessionSystem(state_dir=sys.argv[2]) as system:
    session = system.create_session(sys.argv[1])
    print(system.host_pid, session.id, flush=True)
    sys.stdin.readline()
"""


class Other:
    """Another app, with a session of its own.

    Attributes:
        app: Its process.
        host: The process id of its host.
        session_id: Its session.
    """

    def __init__(self, project: Path, state_dir: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(project), str(state_dir)]
        env = {**os.environ, "PYTHONPATH": IMPORTS}
        self.app = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        assert self.app.stdout is not None
        host, self.session_id = self.app.stdout.readline().split()
        self.host = int(host)

    def pids(self) -> set[int]:
        """Return the pids of the app and of all below it."""
        app = psutil.Process(self.app.pid)
        return {app.pid, *(each.pid for each in app.children(recursive=True))}

    def end(self) -> None:
        """Kill it; its system ends with it."""
        self.app.kill()
        self.app.communicate()
        eventually(lambda: not psutil.pid_exists(self.host), "the end of the other system")


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


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
