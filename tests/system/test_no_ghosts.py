"""A session that is gone, for whatever cause, holds neither a place nor a project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import servers
from servers import worker

from jidocode import JidocodeError, SessionHandle, SessionLimitError, SessionSystem, Strategy
from jidocode.otp import AutoShutdown, Flags, Restart
from jidocode.session.record import new_session_id
from jidocode.testing import eventually, is_alive, kill, pause, wait_for_exit

ONCE = Flags(strategy=Strategy.ONE_FOR_ALL, max_restarts=0)
PLACES = 10


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[tuple[SessionSystem, list[SessionHandle]]]:
    """A system with every place taken, by sessions that give up at the first crash."""
    with SessionSystem(max_sessions=PLACES, creation_rate=None, durability="memory") as system:
        ending = Flags(max_restarts=0, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
        last = worker("last", restart=Restart.TEMPORARY, significant=True)
        sessions: list[SessionHandle] = []
        for number in range(PLACES):
            folder = tmp_path / str(number)
            folder.mkdir()
            sessions.append(
                system.create_session(folder, strategy=ending, children=[last])
                if number == 0
                else system.create_session(folder, strategy=ONCE if number < PLACES - 2 else None)
            )
        yield system, sessions


def _wear_out(system: SessionSystem, session: SessionHandle) -> None:
    """Kill its Manager again and again, until it is not started any more."""

    def has_ended() -> bool:
        with suppress(JidocodeError, ProcessLookupError):
            kill(system, session, "manager")
        return not system.session_running(session.id)

    eventually(has_ended, "its end")


def _hang_and_kill(system: SessionSystem, session: SessionHandle) -> None:
    """Kill the supervisor of a child that hangs."""
    with pause(system, session, "manager"):
        kill(system, session, "session")


def _kill_all(system: SessionSystem, session: SessionHandle) -> None:
    """Kill every process of the session at once."""
    children = [info.ref.os_pid for info in session.which_children() if info.ref]
    for pid in (system.get_process(session.id, "session").os_pid, *children):
        with suppress(ProcessLookupError):  # the first one takes the others with it
            os.kill(pid, signal.SIGKILL)


def _crash(system: SessionSystem, session: SessionHandle) -> None:
    """Have the supervisor die of a fault in C code."""
    os.kill(system.get_process(session.id, "session").os_pid, signal.SIGSEGV)


def _wait_for_place(system: SessionSystem, session: SessionHandle) -> None:
    eventually(lambda: not system.session_running(session.id), "its place to become free")


def _kill_the_supervisor_of_sessions(system: SessionSystem, session: SessionHandle) -> None:
    """It takes with it whatever is left."""
    top = next(node for node in system.tree().children if node.id == "sessions")
    assert top.ref is not None
    os.kill(top.ref.os_pid, signal.SIGKILL)
    _wait_for_place(system, session)


WAYS: Sequence[Callable[[SessionSystem, SessionHandle], object]] = [
    lambda _, session: session.call("last", "stop"),
    lambda _, session: session.stop(),
    lambda system, session: kill(system, session, "manager"),
    lambda system, session: kill(system, session, "state"),
    lambda system, session: kill(system, session, "session"),
    _crash,
    _hang_and_kill,
    _kill_all,
    _wear_out,
    _kill_the_supervisor_of_sessions,
]


def test_ten_sessions_that_end_in_the_ten_worst_ways_leave_ten_places(
    crowded: tuple[SessionSystem, list[SessionHandle]], tmp_path: Path
) -> None:
    """And the same ten projects can be opened again."""
    system, sessions = crowded
    with pytest.raises(SessionLimitError):
        system.create_session(tmp_path)

    for end, session in zip(WAYS, sessions, strict=True):
        supervisor = system.get_process(session.id, "session")
        end(system, session)
        wait_for_exit(system, supervisor)
        _wait_for_place(system, session)

    assert system.list_sessions() == []
    for number in range(PLACES):
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        system.create_session(folder)
    with pytest.raises(SessionLimitError):
        system.create_session(tmp_path)


def test_a_session_is_opened_again_the_moment_it_is_dead(
    system: SessionSystem, project: Path
) -> None:
    """By its id, or its project: neither is refused for one whose death was not told yet."""
    record = system.create_session(project).session
    for _ in range(5):
        victim = system.monitor(("session", record.id)).ref
        os.kill(system.host_pid, signal.SIGSTOP)  # it tells nobody of a death
        try:
            os.kill(victim.os_pid, signal.SIGKILL)
            eventually(lambda: not is_alive(victim.os_pid), "its death")  # noqa: B023 - called at once
            with ThreadPoolExecutor(1) as threads:
                again = threads.submit(system.resume_session, record.id)
                with suppress(TimeoutError):
                    again.result(0.05)
                os.kill(system.host_pid, signal.SIGCONT)
                assert again.result().session.id == record.id
        finally:
            os.kill(system.host_pid, signal.SIGCONT)
    victim = system.monitor(("session", record.id)).ref
    os.kill(victim.os_pid, signal.SIGKILL)
    eventually(lambda: not is_alive(victim.os_pid), "its death")
    assert system.create_session(project).session.id != record.id


OPENING = """
import sys
from pathlib import Path
from jidocode import SessionSystem
from servers import worker
project, state_dir, session_id, log = sys.argv[1:]
with SessionSystem(state_dir=state_dir) as system:
    slow = worker("slow", Path(log), "hang")
    system.create_session(project, session_id=session_id, children=[slow])
"""


def test_an_app_killed_in_the_middle_of_opening_a_session_leaves_it_to_the_next(
    project: Path, tmp_path: Path
) -> None:
    """Manager and State were up, the app's own child was not yet."""
    state_dir, log, session_id = tmp_path / "state", tmp_path / "log", new_session_id()
    arguments = [str(project), str(state_dir), session_id, str(log)]
    path = str(Path(servers.__file__).parent)
    with subprocess.Popen(
        [sys.executable, "-c", OPENING, *arguments], env=os.environ | {"PYTHONPATH": path}
    ) as app:
        try:
            eventually(lambda: log.exists() and log.read_text(), "the start of the slow child")
            below = [process.pid for process in psutil.Process(app.pid).children(recursive=True)]
        finally:
            app.kill()
    eventually(lambda: not any(map(is_alive, below)), "the end of everything below")

    with SessionSystem(state_dir=state_dir) as system:
        assert system.resume_session(session_id).session.project_path == str(project)
