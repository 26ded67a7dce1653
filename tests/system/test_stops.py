"""`stop_session` and its kin: by many at once, over dead registries, below a root that hangs."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import worker

from jidocode import (
    CallTimeoutError,
    ChildNotFoundError,
    NoProcessError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.base.exits import SHUTDOWN
from jidocode.otp import ActorRef, ExitReason, Restart, start
from jidocode.testing import eventually


def outcomes(action: Callable[[], object], times: int = 10) -> Counter[str]:
    """Do *action* in many threads at once; return what came of it."""

    def one(_number: int) -> str:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - counted
            return type(error).__name__
        return "done"

    with ThreadPoolExecutor(times) as threads:
        return Counter(threads.map(one, range(times)))


def pause(ref: ActorRef | None) -> ActorRef:
    """Stop a process for a while: it will not end before it is killed, or goes on."""
    assert ref is not None
    os.kill(ref.os_pid, signal.SIGSTOP)
    return ref


def test_all_who_stop_a_session_while_it_stops_are_answered_when_it_has(
    system: SessionSystem, project: Path
) -> None:
    """And whoever comes later finds none, and how it ended."""
    session = system.create_session(project, children=[worker("slow", shutdown=1.0)])
    pause(system.get_process(session.id, "slow"))

    assert outcomes(session.stop) == {"done": 10}
    eventually(lambda: ended(session) == SHUTDOWN, "the news of the end")


def ended(session: SessionHandle) -> ExitReason | None:
    with pytest.raises(SessionNotFoundError) as missing:
        session.stop()
    return missing.value.ended


def test_all_who_terminate_a_child_while_it_ends_are_answered(session: SessionHandle) -> None:
    """A static supervisor keeps the spec, so it answers those who come later, too."""
    pause(session.start_child(worker("slow", shutdown=0.5)))

    assert outcomes(lambda: session.terminate_child("slow")) == {"done": 10}
    session.terminate_child("slow")
    session.delete_child("slow")
    with pytest.raises(ChildNotFoundError):
        session.terminate_child("slow")


def test_all_who_stop_a_process_are_answered_when_it_has_ended() -> None:
    """It is one life that is meant."""
    name = ("worker", "slow")
    with start(worker("slow", restart=Restart.TEMPORARY, name=name)) as app:
        ref = pause(app.whereis(name))
        with ThreadPoolExecutor(1) as threads:
            stops = threads.submit(outcomes, lambda: app.stop(ref))
            with pytest.raises(TimeoutError):
                stops.result(0.5)
            os.kill(ref.os_pid, signal.SIGCONT)

            assert stops.result() == {"done": 10}
        with pytest.raises(NoProcessError):
            app.stop(ref)


# ----- a registry that dies over it, and a root that hangs ----------------------------------


def registry_of(system: SessionSystem) -> ActorRef:
    (ref,) = [node.ref for node in system.tree().children if node.id == "registry"]
    assert ref is not None
    return ref


def test_a_session_is_stopped_whenever_the_registry_is_killed(tmp_path: Path) -> None:
    """Before it is asked, and while it waits for the end: the next one is asked the same."""
    with SessionSystem(creation_rate=None) as system:
        for number, before in enumerate([True, False]):
            folder = tmp_path / str(number)
            folder.mkdir()
            session = system.create_session(folder, children=[worker("slow", shutdown=0.5)])
            pause(system.get_process(session.id, "slow"))
            registry = registry_of(system)
            with ThreadPoolExecutor(1) as threads:
                if before:
                    os.kill(registry.os_pid, signal.SIGKILL)
                stop = threads.submit(session.stop)
                if not before:
                    with pytest.raises(TimeoutError):
                        stop.result(0.1)
                    os.kill(registry.os_pid, signal.SIGKILL)
                stop.result()

            assert not system.session_running(session.id)


def test_a_registry_that_nobody_brings_back_is_what_did_not_answer(
    tmp_path: Path, project: Path
) -> None:
    """Whatever is asked, with a root that hangs; and the root is named where it was asked."""
    with SessionSystem(heartbeat=None, call_timeout=1.0, shutdown=1.0) as system:
        session = system.create_session(project)
        registry, root = registry_of(system), system.tree().ref
        pause(root)
        assert root is not None
        os.kill(registry.os_pid, signal.SIGKILL)
        of_registry: list[Callable[[], object]] = [
            lambda: system.stop_session(session.id),
            lambda: system.create_session(tmp_path),
            system.list_sessions,
            lambda: system.find_session(path=project),
            lambda: system.get_process(session.id, "agent"),
        ]
        of_root: list[Callable[[], object]] = [system.tree, system.system_health]
        with ThreadPoolExecutor(len(of_registry + of_root)) as threads:
            said = threads.map(complaint, of_registry)
            said_of_root = threads.map(complaint, of_root)
        os.kill(root.os_pid, signal.SIGCONT)

        agent = f"agent of session {session.id}"
        assert {line.split(" did not answer")[0] for line in said} <= {"the registry", agent}
        assert all(line.startswith(f"{root} did not answer within") for line in said_of_root)
        eventually(system.list_sessions, "the next registry")


def complaint(ask: Callable[[], object]) -> str:
    with pytest.raises(CallTimeoutError) as error:
        ask()
    return str(error.value)
