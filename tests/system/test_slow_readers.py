"""Who reads slowly: what was written before the end is read first, and then the end is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from colleagues import colleagues

from jidocode import (
    Change,
    ChangeStream,
    EventGapError,
    HostExitedError,
    Message,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode.otp import ChildExited, ChildStarted
from jidocode.system.events import EventStream
from jidocode.testing import eventually, kill

COUNT = 250
"""More than one page."""


def stop(system: SessionSystem, session: SessionHandle) -> None:
    del system
    session.stop()


def kill_session(system: SessionSystem, session: SessionHandle) -> None:
    kill(system, session, "session")


def close(system: SessionSystem, session: SessionHandle) -> None:
    del session
    system.close()


def kill_host(system: SessionSystem, session: SessionHandle) -> None:
    monitor = system.monitor(("state", session.id))
    os.kill(system.host_pid, signal.SIGKILL)
    assert monitor.wait(20)


ENDS: list[Callable[[SessionSystem, SessionHandle], None]] = [stop, kill_session, close, kill_host]


def append(session: SessionHandle, count: int = COUNT) -> list[str]:
    texts = [str(number) for number in range(count)]
    for text in texts:
        session.state.append_message("user", text)
    return texts


def texts_of(changes: list[Change]) -> list[str]:
    return [change.content for change in changes if isinstance(change, Message)]


def read_all(stream: ChangeStream) -> list[Change]:
    """Return what is in *stream*, which has to say then that its session has ended."""
    found: list[Change] = []
    with pytest.raises((SessionNotFoundError, HostExitedError)):  # noqa: PT012 - it ends by that
        while (change := stream.get(20)) is not None:
            found.append(change)
    with pytest.raises((SessionNotFoundError, HostExitedError)):
        stream.get(20)
    return found


@pytest.mark.parametrize("end", ENDS)
def test_changes_are_read_to_the_end(
    tmp_path: Path, project: Path, end: Callable[[SessionSystem, SessionHandle], None]
) -> None:
    """Whether some were read before or none, and however the session has ended."""
    with SessionSystem(state_dir=tmp_path / "state") as system:
        session = system.create_session(project)
        begun, not_begun = (session.state.subscribe(from_seq=1) for _ in range(2))
        first = begun.get(20)
        assert first is not None
        texts = append(session)
        end(system, session)

        rest = read_all(begun)
        assert texts_of(rest) == texts
        seqs = [change.seq for change in (first, *rest)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert [change.seq for change in read_all(not_begun)] == seqs


def test_who_has_read_all_is_told_the_end_at_once(system: SessionSystem, project: Path) -> None:
    session = system.create_session(project)
    with session.state.subscribe(from_seq=1) as changes:
        append(session, 3)
        while (change := changes.get(20)) is None or not isinstance(change, Message):
            pass
        assert [changes.get(20) is None for _ in range(2)] == [False, False]
        session.stop()
        assert read_all(changes) == []


def test_what_is_not_there_any_more_is_no_change(system: SessionSystem, project: Path) -> None:
    """A journal that was deleted, one with a gap, and one that cannot be read."""
    session = system.create_session(project)
    deleted, gap, unreadable = (session.state.subscribe(from_seq=1) for _ in range(3))
    append(session, 3)
    session.stop()
    (journal,) = system._running.archive.folder.glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert [gap.get(20).seq for _ in range(2)] == [1, 2]  # type: ignore[union-attr] # they are there
    with pytest.raises(EventGapError) as caught:
        gap.get(20)
    assert (caught.value.after_seq, caught.value.resume_after) == (2, 3)
    journal.unlink()
    journal.mkdir()
    assert read_all(unreadable) == []
    journal.rmdir()
    assert read_all(deleted) == []


def test_without_a_journal_the_end_comes_first(tmp_path: Path, project: Path) -> None:
    with SessionSystem(state_dir=tmp_path / "state", durability="memory") as system:
        session = system.create_session(project)
        stream = session.state.subscribe(from_seq=1)
        append(session, 3)
        session.stop()
        assert read_all(stream) == []


def test_who_has_attached_reads_to_the_end(name: str, tmp_path: Path, project: Path) -> None:
    """Also when all of the system has ended."""
    with colleagues(1) as (owner,):
        owner.do(f"system = SessionSystem(name={name!r}, state_dir={str(tmp_path / 's')!r})")
        owner.do(f"shop = system.create_session({str(project)!r})")
        with SessionSystem.attach(name) as system:
            session = system.get_session(str(owner.do("shop.id")))
            changes, later = (session.state.subscribe(from_seq=1) for _ in range(2))
            events, monitor = session.events(), session.monitor("state")
            texts = append(session, 5)
            owner.do("shop.stop()")

            assert texts_of(read_all(changes)) == texts
            everything, going = system.events(), system.monitor(("system", "sessions"))
            owner.do("system.close()")
            assert texts_of(read_all(later)) == texts
            assert isinstance([event.fact for event in events][-1], ChildExited)
            assert [event.fact for event in everything]
            assert monitor.wait(20)
            assert going.wait(20)


@pytest.mark.parametrize("end", ENDS)
def test_events_are_read_to_the_end(
    tmp_path: Path, project: Path, end: Callable[[SessionSystem, SessionHandle], None]
) -> None:
    """And a monitor tells, though nobody has waited when the process ended."""
    with SessionSystem(state_dir=tmp_path / "state") as system:
        everything = system.events()
        session = system.create_session(project)
        own, monitor = session.events(), session.monitor("manager")
        end(system, session)
        if end in {stop, kill_session}:
            facts = facts_of(own)
            assert isinstance(facts[-1], ChildExited)
            eventually(lambda: own.closed, "the end of the session's events")
            system.close()
        facts = facts_of(everything)
        assert any(isinstance(fact, ChildStarted) for fact in facts)
        assert everything.get(1) is None
        assert monitor.wait(20)


def facts_of(stream: EventStream) -> list[object]:
    return [event.fact for event in stream]


def test_what_a_command_has_written_is_read_until_its_session_ends(
    system: SessionSystem, project: Path
) -> None:
    """What came is given; the rest ends with the process that kept it, and that is said."""
    session = system.create_session(project)
    command = session.commands.start("echo one; sleep 60")
    output = command.output()
    assert next(output) == b"one\n"
    session.stop()
    with pytest.raises(SessionNotFoundError):
        next(output)
