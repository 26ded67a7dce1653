"""Processes that neither answer nor die, and those that want too much memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
import servers
from async_servers import desk
from attrs import evolve
from limits import run_unshared
from loguru import logger
from servers import worker

from jidocode import (
    ActorExitedError,
    HandlerError,
    HostExitedError,
    SessionHandle,
    SessionSystem,
    Strategy,
)
from jidocode._host.daemon.process_table import STANDBYS
from jidocode.otp import Crashed, start
from jidocode.testing import PATIENCE, eventually, is_alive
from jidocode.testing.leftovers import process_state


def open_with(system: SessionSystem, project: Path, **options: float) -> SessionHandle:
    """Open a session with one own child, `own`."""
    children = [worker("own", **options)]
    return system.create_session(project, strategy=Strategy.ONE_FOR_ONE, children=children)


@pytest.mark.parametrize("misdeed", ["endless loop", "SIGSTOP"])
def test_a_child_without_a_heartbeat_is_killed_and_restarted(
    system: SessionSystem, project: Path, misdeed: str
) -> None:
    """And the reason says so."""
    session = open_with(system, project, heartbeat=0.1)
    victim = system.get_process(session.id, "own")
    monitor = session.monitor("own")
    if misdeed == "SIGSTOP":
        os.kill(victim.os_pid, signal.SIGSTOP)
    else:
        session.cast("own", "loop")
    down = monitor.wait(PATIENCE)

    assert down is not None
    assert down.reason == Crashed("no heartbeat for 0.2 s")
    assert session.call("own", "pid") != victim.os_pid


def test_a_server_of_coroutines_whose_loop_is_blocked_is_killed_and_restarted() -> None:
    """One whose callbacks wait for each other is well."""
    with start(evolve(desk("a"), heartbeat=0.2)) as app:
        waiting = app.begin_call(("desk", "a"), ("wait", "gate"))
        monitor = app.monitor(("desk", "a"))
        assert monitor.wait(2.0) is None
        assert not waiting.done
        app.cast(("desk", "a"), "block")
        down = monitor.wait(PATIENCE)

        assert down is not None
        assert down.reason == Crashed("no heartbeat for 0.4 s")
        assert app.call(("desk", "a"), "pid") != down.ref.os_pid


def test_a_caller_of_a_hung_child_is_told(system: SessionSystem, project: Path) -> None:
    """As soon as the child is given up, long before the timeout."""
    session = open_with(system, project, heartbeat=0.1)
    with pytest.raises(ActorExitedError, match="no heartbeat"):
        session.call("own", "loop", timeout=PATIENCE)


def test_the_systems_own_processes_have_a_heartbeat(project: Path) -> None:
    """A stopped Manager is found by the setting alone."""
    with SessionSystem(heartbeat=0.1) as system:
        session = system.create_session(project)
        manager = system.get_manager(session.id)
        os.kill(manager.os_pid, signal.SIGSTOP)
        eventually(lambda: system.whereis(("manager", session.id)) not in (manager, None), "it")

        assert session.manager.project_root() == str(project)


def test_a_session_that_hangs_while_it_is_stopped_is_ended(project: Path) -> None:
    """Its supervisor has all the time it wants, but no more than its heartbeat allows."""
    with SessionSystem(heartbeat=0.1) as system:
        session = system.create_session(project)
        os.kill(system.get_process(session.id, "session").os_pid, signal.SIGSTOP)
        session.stop()

        assert system.list_sessions() == []
        assert system.create_session(project).manager.project_root() == str(project)


def test_a_host_that_is_stopped_ends_its_system(project: Path) -> None:
    """The app hears of it, and nothing is left."""
    logger.enable("jidocode")
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]))
    try:
        with SessionSystem(heartbeat=0.1) as system:
            session = system.create_session(project)
            os.kill(system.host_pid, signal.SIGSTOP)
            with pytest.raises(HostExitedError):
                eventually(lambda: session.manager.project_root() != str(project), "the end")
    finally:
        logger.remove(sink)
        logger.disable("jidocode")

    assert "the host gave no sign of life for 2 s: the system ends" in lines


@pytest.mark.parametrize("which", ["the first", "the second", "both"])
def test_a_guard_that_is_stopped_goes_on(project: Path, which: str) -> None:
    """The host looks after those above it; the system has not noticed."""
    with SessionSystem(heartbeat=0.1) as system:
        session = system.create_session(project)
        second = psutil.Process(system.host_pid).parent()
        assert second is not None
        first = second.parent()
        assert first is not None
        for guard in {"the first": [first], "the second": [second], "both": [first, second]}[which]:
            guard.suspend()
            eventually(lambda guard=guard: process_state(guard.pid) == "S", "its going on")  # type: ignore[misc]

        assert session.manager.project_root() == str(project)
        assert system.host_pid == second.children()[0].pid


def test_a_standby_that_is_stopped_is_replaced(project: Path) -> None:
    """Though nobody wants it yet; and the host has as many as before."""
    with SessionSystem(heartbeat=0.1) as system:
        host = psutil.Process(system.host_pid)

        def standbys() -> list[psutil.Process] | None:
            found = [each for each in host.children() if each.name() == "jido:standby"]
            return found if len(found) == sum(STANDBYS.values()) else None

        victim = eventually(standbys, "the standbys")[0]
        victim.suspend()
        eventually(lambda: victim not in host.children(), "its end", timeout=3)
        eventually(standbys, "the standbys")

        assert system.create_session(project).manager.project_root() == str(project)


def test_a_root_that_is_stopped_is_started_again(project: Path) -> None:
    """The host looks after it, for it has no supervisor."""
    with SessionSystem(heartbeat=0.1) as system:
        root = system.tree().ref
        assert root is not None
        os.kill(root.os_pid, signal.SIGSTOP)
        eventually(lambda: not is_alive(root.os_pid), "its end")

        assert system.create_session(project).manager.project_root() == str(project)


def test_a_child_that_answers_is_left_alone(system: SessionSystem, project: Path) -> None:
    """Over many heartbeats."""
    session = open_with(system, project, heartbeat=0.02)
    pid = session.call("own", "pid")
    for _ in range(20):
        session.call("own", ("sleep", 0.01))

    assert session.call("own", "pid") == pid


def test_memory_beyond_the_limit_is_an_ordinary_crash(system: SessionSystem, project: Path) -> None:
    """The child's own, and nobody else's; it comes back with the same limit."""
    limit = 200_000_000
    session = open_with(system, project, memory_limit=limit)
    for _ in range(2):
        assert session.call("own", ("allocate", 1_000_000)) == 1_000_000
        with pytest.raises(HandlerError, match="MemoryError"):
            session.call("own", ("allocate", limit))
        eventually(lambda: session.health_check().status.value == "healthy", "recovery")


def test_a_limit_above_what_the_app_may_have_is_what_the_app_may_have(project: Path) -> None:
    """Only root can ask for more."""
    code = """
        import resource, sys
        sys.path.insert(0, sys.argv[1])
        resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
        from servers import worker
        from jidocode import SessionSystem
        with SessionSystem(durability="memory") as system:
            own = worker("own", memory_limit=8 << 30)
            session = system.create_session(sys.argv[2], children=[own])
            print(session.call("own", ("allocate", 1)))
    """
    support = Path(servers.__file__).parent

    assert run_unshared(code, support, project) == "1\n"
