"""Conversations that outlive State, the session, the app and every process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jidocode import (
    ActorExitedError,
    JournalError,
    NoProcessError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
    Strategy,
)
from jidocode.errors import JournalDamagedError, JournalLockedError, StartFailedError
from jidocode.session.journal.place import journal_path
from jidocode.session.record import new_session_id
from jidocode.testing import kill, wait_for_restart


def texts(session: SessionHandle) -> list[str]:
    return [message.content for message in session.state.messages(limit=1000)]


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("victim", ["manager", "state"])
def test_no_crash_of_a_child_loses_what_was_acknowledged(
    system: SessionSystem, project: Path, strategy: Strategy, victim: str
) -> None:
    """Messages, todos and tool calls, under every strategy."""
    session = system.create_session(project, strategy=strategy)
    for round_number in range(2):
        session.state.append_message("user", f"message {round_number}")
        down = kill(system, session, victim)
        wait_for_restart(system, session, victim, after=down.ref)

    assert texts(session) == ["message 0", "message 1"]


def test_an_append_with_an_id_is_not_doubled_by_asking_again(
    system: SessionSystem, session: SessionHandle
) -> None:
    """Also after State was killed in between."""
    first = session.state.append_message("user", "hello", message_id="m1")
    down = kill(system, session, "state")
    wait_for_restart(system, session, "state", after=down.ref)
    again = session.state.append_message("user", "hello", message_id="m1")

    assert again == first
    assert texts(session) == ["hello"]


def test_a_stopped_session_can_be_resumed(system: SessionSystem, session: SessionHandle) -> None:
    """With its record as it was last, and its conversation."""
    session.state.append_message("user", "to be continued")
    record = session.rename("till")
    session.stop()

    assert [each.session_id for each in system.list_resumable()] == [session.id]
    resumed = system.resume_session(session.id)
    assert (resumed.session, texts(resumed)) == (record, ["to be continued"])
    assert system.list_resumable() == []


def test_a_session_survives_its_app(project: Path, tmp_path: Path) -> None:
    """Killed with everything below it, in the middle of its work."""
    code = (
        "import sys\n"
        "from jidocode import SessionSystem\n"
        "system = SessionSystem(state_dir=sys.argv[2])\n"
        "session = system.create_session(sys.argv[1])\n"
        "for number in range(100000):\n"
        "    session.state.append_message('user', str(number))\n"
        "    print(number, flush=True)\n"
    )
    state_dir = tmp_path / "state"
    app = subprocess.Popen(
        [sys.executable, "-c", code, str(project), str(state_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert app.stdout is not None
    for _ in range(50):
        app.stdout.readline()
    app.kill()
    rest = app.communicate()[0].splitlines()
    acknowledged = 50 + sum(line.isdigit() for line in rest)
    with SessionSystem(state_dir=state_dir) as system:
        (found,) = system.list_resumable()
        session = resume_when_free(system, found.session_id)
        kept = texts(session)

    assert kept[:acknowledged] == [str(number) for number in range(acknowledged)]
    assert len(kept) <= acknowledged + 1


def resume_when_free(system: SessionSystem, session_id: str) -> SessionHandle:
    """Resume a session as soon as the processes of its last life are gone."""
    while True:
        try:
            return system.resume_session(session_id)
        except (StartFailedError, JournalLockedError):
            continue


def test_a_session_that_is_open_elsewhere_is_refused(project: Path, tmp_path: Path) -> None:
    """One writer at a time; the other system is not disturbed."""
    with SessionSystem(state_dir=tmp_path) as one, SessionSystem(state_dir=tmp_path) as two:
        session = one.create_session(project)
        with pytest.raises(JournalLockedError):
            two.resume_session(session.id)
        with pytest.raises(JournalLockedError):
            two.delete_session(session.id)
        session.state.append_message("user", "still mine")

        assert texts(session) == ["still mine"]
        assert two.list_sessions() == []


def test_a_session_can_be_exported_forked_and_deleted(
    system: SessionSystem, session: SessionHandle
) -> None:
    """Export and fork while it is open."""
    for number in range(3):
        session.state.append_message("user", f"message {number}")
    exported = list(system.export_session(session.id))
    cut = next(change["seq"] for change in exported if "message 1" in str(change))
    copy = system.fork_session(session.id, upto_seq=cut, name="other end")
    session.stop()
    forked = system.resume_session(copy.id)

    assert sum("message" in str(change) for change in exported) >= 3
    assert texts(forked) == ["message 0", "message 1"]
    assert forked.session.name == "other end"
    system.delete_session(session.id)
    assert system.list_resumable() == []
    with pytest.raises(SessionNotFoundError):
        system.resume_session(session.id)


def test_an_open_session_is_not_deleted(system: SessionSystem, session: SessionHandle) -> None:
    """Not even while its State does not run, and nobody holds the journal."""
    session.state.append_message("user", "keep me")
    session.terminate_child("state")
    with pytest.raises(JournalLockedError):
        system.delete_session(session.id)
    session.restart_child("state")

    assert texts(session) == ["keep me"]


def test_a_project_around_the_journals_is_refused(project: Path) -> None:
    """In one sentence that says what to do, before anything is started."""
    with SessionSystem(state_dir=project / "state") as system:
        with pytest.raises(JournalError, match="choose another state_dir"):
            system.create_session(project)

        assert system.statistics().processes == 3
    assert list((project / "state").iterdir()) == []


@pytest.mark.parametrize("way", ["resume", "create"])
def test_a_session_whose_record_is_damaged_is_opened_if_its_project_is_named(
    system: SessionSystem, session: SessionHandle, project: Path, way: str
) -> None:
    """By either way, with all messages and a report; then it is as before."""
    for number in range(5):
        session.state.append_message("user", str(number))
    session.stop()
    journal = journal_path(str(system.settings.state_dir), session.id)
    lines = journal.read_bytes().splitlines(keepends=True)
    broken = [
        line.replace(b"shop", b"shoq", 1) if b"session_changed" in line else line for line in lines
    ]
    journal.write_bytes(b"".join(broken))
    with pytest.raises(JournalDamagedError, match="say where its project is"):
        system.resume_session(session.id)
    if way == "resume":
        opened = system.resume_session(session.id, project_path=project)
    else:
        opened = system.create_session(project, session_id=session.id)

    assert texts(opened) == ["0", "1", "2", "3", "4"]
    assert opened.state.repair().bad_records == 1
    opened.stop()
    assert texts(system.resume_session(session.id)) == ["0", "1", "2", "3", "4"]


def test_a_system_in_memory_has_nothing_to_resume(project: Path) -> None:
    """And says so."""
    with SessionSystem(durability="memory") as system:
        session = system.create_session(project)
        session.state.append_message("user", "hello")
        with pytest.raises(JournalError, match="in memory"):
            system.list_resumable()
        down = kill(system, session, "state")
        wait_for_restart(system, session, "state", after=down.ref)

        assert texts(session) == []


def test_an_unknown_session_cannot_be_resumed(system: SessionSystem) -> None:
    """As it cannot be stopped."""
    with pytest.raises(SessionNotFoundError):
        system.resume_session(new_session_id())


@pytest.mark.slow
def test_state_killed_over_and_over_under_load_loses_and_doubles_nothing(
    project: Path,
) -> None:
    """Two hundred times, at any moment; appends carry ids and are asked again."""
    with SessionSystem(max_restarts=1000, strategy=Strategy.ONE_FOR_ONE) as system:
        session = system.create_session(project)
        state, sent = system.get_state(session.id), 0
        for _ in range(200):
            for _ in range(3):
                append(session, str(sent))
                sent += 1
            os.kill(state.os_pid, signal.SIGKILL)
            append(session, str(sent))  # while it is dying
            sent += 1
            state = wait_for_restart(system, session, "state", after=state)

        assert texts(session) == [str(number) for number in range(sent)]


def append(session: SessionHandle, text: str) -> None:
    """Append a message, and ask again until it is acknowledged."""
    while True:
        try:
            session.state.append_message("user", text, message_id=f"m{text}")
        except (ActorExitedError, NoProcessError):
            continue
        else:
            return
