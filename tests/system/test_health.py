"""How a session is, right in every state it can be in."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import worker

from jidocode import (
    ChildHealth,
    HealthStatus,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
    Strategy,
)
from jidocode.otp import Killed, Restart
from jidocode.testing import eventually, kill, wait_for_restart


def child(session: SessionHandle, child_id: str) -> ChildHealth:
    (found,) = (each for each in session.health_check().children if each.id == child_id)
    return found


def test_a_healthy_child_tells_all_about_itself(
    system: SessionSystem, session: SessionHandle
) -> None:
    """Pid, incarnation, restarts, uptime, memory."""
    health = child(session, "manager")

    assert health.status is HealthStatus.HEALTHY
    assert health.ref == system.get_manager(session.id)
    assert (health.restarts, health.last_exit) == (0, None)
    assert health.uptime is not None
    assert health.uptime > 0
    assert health.memory is not None
    assert 1e5 < health.memory < 1e8


def test_a_restarted_child_says_how_often_and_why(
    system: SessionSystem, session: SessionHandle
) -> None:
    """With the last exit reason."""
    for _ in range(2):
        down = kill(system, session, "manager")
        wait_for_restart(system, session, "manager", after=down.ref)
    health = child(session, "manager")

    assert (health.status, health.restarts) == (HealthStatus.HEALTHY, 2)
    assert health.last_exit == Killed(signal.SIGKILL)


def test_a_hanging_child_is_unresponsive_and_the_others_are_well(project: Path) -> None:
    """Within the call's timeout."""
    with SessionSystem(call_timeout=1.0, heartbeat=None) as system:
        session = system.create_session(project)
        os.kill(system.get_state(session.id).os_pid, signal.SIGSTOP)
        health = session.health_check()

    assert health.status is HealthStatus.DEGRADED
    assert [each.status for each in health.children] == [
        HealthStatus.HEALTHY,
        HealthStatus.UNRESPONSIVE,
    ]


@pytest.mark.parametrize("hangs", ["registry", "session", "manager"])
def test_what_hangs_is_nothing_to_the_other_sessions(hangs: str, tmp_path: Path) -> None:
    """All are asked at once, so one that does not answer takes no time from the others."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with SessionSystem(call_timeout=1.0, heartbeat=None) as system:
        one, other = map(system.create_session, folders)
        registry = system.tree().children[0].ref
        ref = registry if hangs == "registry" else system.get_process(one.id, hangs)
        assert ref is not None
        os.kill(ref.os_pid, signal.SIGSTOP)
        health = system.system_health()
        os.kill(ref.os_pid, signal.SIGCONT)

    unwell = HealthStatus.UNRESPONSIVE
    well = HealthStatus.HEALTHY
    first = {"registry": well, "session": unwell, "manager": HealthStatus.DEGRADED}[hangs]
    assert health.status is HealthStatus.DEGRADED
    assert {each.session_id: each.status for each in health.sessions} == {
        one.id: first,
        other.id: well,
    }
    assert {each.id: each.status for each in health.processes} == {
        "registry": unwell if hangs == "registry" else well,
        "sessions": well,
    }


def test_a_hanging_supervisor_makes_the_session_unresponsive(project: Path) -> None:
    """Nothing can be said about its children then."""
    with SessionSystem(call_timeout=1.0, heartbeat=None) as system:
        session = system.create_session(project)
        supervisor = system.get_process(session.id, "session")
        os.kill(supervisor.os_pid, signal.SIGSTOP)
        health = session.health_check()
        os.kill(supervisor.os_pid, signal.SIGCONT)

    assert (health.status, health.children) == (HealthStatus.UNRESPONSIVE, ())


def test_a_child_that_is_being_started_again_is_restarting(
    system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """While its `init` takes its time."""
    latch = tmp_path / "latch"
    latch.touch()
    session = system.create_session(
        project, strategy=Strategy.ONE_FOR_ONE, children=[worker("slow", None, f"latch {latch}")]
    )
    latch.unlink()
    os.kill(system.get_process(session.id, "slow").os_pid, signal.SIGKILL)
    eventually(
        lambda: child(session, "slow").status is HealthStatus.RESTARTING, "the restart's begin"
    )
    during = session.health_check()
    latch.touch()
    eventually(lambda: session.health_check().status is HealthStatus.HEALTHY, "its end")

    assert during.status is HealthStatus.DEGRADED


def test_a_finished_child_is_dead(system: SessionSystem, project: Path) -> None:
    """A transient one that ended well."""
    children = [worker("job", restart=Restart.TRANSIENT)]
    session = system.create_session(project, children=children)
    session.call("job", "stop")
    eventually(lambda: child(session, "job").status is HealthStatus.DEAD, "the end of the job")

    assert child(session, "job").ref is None


def test_health_needs_no_registry(system: SessionSystem, session: SessionHandle) -> None:
    """The tree itself is asked, of a session and of the system."""
    registry = system.tree().children[0].ref
    assert registry is not None
    os.kill(registry.os_pid, signal.SIGSTOP)
    health = session.health_check()
    os.kill(registry.os_pid, signal.SIGKILL)
    eventually(
        lambda: system.system_health().status is HealthStatus.HEALTHY, "the registry's restart"
    )
    whole = system.system_health()

    assert health.status is HealthStatus.HEALTHY
    assert [each.id for each in whole.processes] == ["registry", "sessions"]
    assert whole.processes[0].restarts == 1
    assert [each.session_id for each in whole.sessions] == [session.id]


def test_a_gone_session_is_not_found(system: SessionSystem, session: SessionHandle) -> None:
    """Never reported as unhealthy."""
    session.stop()
    with pytest.raises(SessionNotFoundError):
        session.health_check()

    assert system.system_health().sessions == ()


def waits(system: SessionSystem) -> bool:
    """Whether one call is under way, and stays so."""
    return all(system.statistics().calls == 1 for _ in range(20))


@pytest.mark.parametrize("look", [SessionSystem.tree, SessionSystem.system_health])
def test_a_session_that_ends_meanwhile_is_left_out(
    look: Callable[[SessionSystem], object], system: SessionSystem, tmp_path: Path
) -> None:
    """It is no reason to say nothing about the others."""
    folders = [tmp_path / "stays", tmp_path / "ends"]
    for folder in folders:
        folder.mkdir()
    stays, ends = map(system.create_session, folders)
    supervisor = system.get_process(ends.id, "session")
    os.kill(supervisor.os_pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(look, system)
        eventually(lambda: waits(system), "the question to the one that hangs")
        os.kill(supervisor.os_pid, signal.SIGKILL)
        found = repr(seen.result(timeout=10))

    assert stays.id in found
    assert ends.id not in found
