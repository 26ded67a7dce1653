"""Who knows why: how a session ended, and who has it open."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import worker

from jidocode import (
    JidocodeError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.otp import AutoShutdown, ChildExited, ChildSpec, Flags, Restart, Shutdown
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
    "monitor": lambda _, session: session.monitor("state"),
    "children": lambda _, session: session.which_children(),
    "start_child": lambda _, session: session.start_child(worker("late")),
    "subscription": lambda _, session: list(session.state.subscribe(from_seq=1)),
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


def test_a_session_that_gave_up_says_on_whom(system: SessionSystem, project: Path) -> None:
    """It has stopped, but nobody has stopped it."""
    session = _open(system, project)
    _give_up(system, session)

    with pytest.raises(SessionNotFoundError, match="gave up on 'manager'") as error:
        session.manager.project_root()
    assert error.value.ended == Shutdown("gave up on 'manager'")


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
