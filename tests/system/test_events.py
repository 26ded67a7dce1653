"""What a system tells of itself while it runs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import GATE, READ, Alarm, Gated, Group, Poison, worker

from jidocode import (
    Event,
    EventStream,
    SessionHandle,
    SessionLimitError,
    SessionRefused,
    SessionSystem,
    Strategy,
)
from jidocode.otp import (
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildStarting,
    ChildType,
    Flags,
    GaveUp,
    Killed,
    Start,
)
from jidocode.otp.supervision.events import Announced, HeartbeatMissed
from jidocode.session.conversation.reports import Repair
from jidocode.session.journal.place import journal_path
from jidocode.testing import PATIENCE, eventually, kill, wait_for_restart


def read_until(stream: EventStream, last: Callable[[object], bool]) -> list[object]:
    """Return the facts up to the first for which *last* is true."""
    facts: list[object] = []
    while not facts or not last(facts[-1]):
        event = stream.get(PATIENCE)
        assert event is not None, f"nothing came after {facts}"
        facts.append(event.fact)
    return facts


def started(child_id: str) -> Callable[[object], bool]:
    return lambda fact: isinstance(fact, ChildStarted) and fact.child_id == child_id


def test_a_crash_is_told_in_order_with_its_reason_and_the_time_it_took(
    system: SessionSystem, session: SessionHandle
) -> None:
    """The one that died, the one that was stopped, and both again."""
    with session.events() as stream:
        kill(system, session, "manager")
        facts = read_until(stream, started("state"))

    told = [(type(fact).__name__, getattr(fact, "child_id", None)) for fact in facts]
    assert told == [
        ("ChildExited", "manager"),
        ("ChildExited", "state"),
        ("ChildStarting", "manager"),
        ("ChildStarted", "manager"),
        ("ChildStarting", "state"),
        ("ChildStarted", "state"),
    ]
    first, second, starting, third, *_ = facts
    assert isinstance(first, ChildExited)
    assert (first.reason, first.on_request, first.restarting) == (Killed(9), False, True)
    assert isinstance(second, ChildExited)
    assert (second.on_request, second.restarting) == (True, True)
    assert isinstance(third, ChildStarted)
    assert isinstance(starting, ChildStarting)
    assert starting.os_pid == third.ref.os_pid
    assert third.recovered_after is not None
    assert 0 < third.recovered_after < PATIENCE


def test_a_session_that_gives_up_says_so(system: SessionSystem, session: SessionHandle) -> None:
    """And ends."""
    with session.events() as stream:
        for _ in range(3):
            wait_for_restart(system, session, "manager", after=kill(system, session, "manager").ref)
        kill(system, session, "manager")
        facts = read_until(
            stream, lambda fact: isinstance(fact, ChildExited) and fact.ref.kind == "session"
        )

    assert [fact.child_id for fact in facts if isinstance(fact, GaveUp)] == ["manager"]


def test_every_reader_gets_every_event_of_its_session(
    system: SessionSystem, tmp_path: Path
) -> None:
    """Two readers of one session, one of the other, one of all."""
    sessions: list[SessionHandle] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        sessions.append(system.create_session(tmp_path / name))
    streams = [system.events(), *(sessions[index].events() for index in (0, 0, 1))]
    wait_for_restart(system, sessions[0], "state", after=kill(system, sessions[0], "state").ref)
    sessions[1].stop()
    system.close()
    facts = [list(stream) for stream in streams]

    assert [event.fact for event in facts[1]] == [event.fact for event in facts[2]]
    assert {event.session_id for event in facts[1]} == {sessions[0].id}
    assert {event.session_id for event in facts[3]} == {sessions[1].id}
    assert {sessions[0].id, sessions[1].id} <= {event.session_id for event in facts[0]}


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(project: Path) -> None:
    """And holds up nobody."""
    with SessionSystem(event_buffer=2) as system:
        stream = system.events()
        session = system.create_session(project)
        session.stop()
        eventually(lambda: stream.dropped >= 4, "six events")
        kept = [stream.get(0), stream.get(0)]

        assert all(isinstance(event, Event) for event in kept)
        assert stream.get(0) is None


def test_a_refused_session_is_an_event(project: Path, tmp_path: Path) -> None:
    """With the error that the caller got."""
    with SessionSystem(max_sessions=1) as system, system.events() as stream:
        system.create_session(project)
        (tmp_path / "other").mkdir()
        with pytest.raises(SessionLimitError):
            system.create_session(tmp_path / "other")
        facts = read_until(stream, lambda fact: isinstance(fact, SessionRefused))

    refused = facts[-1]
    assert isinstance(refused, SessionRefused)
    assert str(refused.error) == "1 of 1 sessions are open"


def test_a_missed_heartbeat_is_told_before_the_end(system: SessionSystem, project: Path) -> None:
    """Once per probe without an answer."""
    children = [worker("own", heartbeat=0.1)]
    session = system.create_session(project, strategy=Strategy.ONE_FOR_ONE, children=children)
    with session.events() as stream:
        os.kill(system.get_process(session.id, "own").os_pid, signal.SIGSTOP)
        facts = read_until(stream, lambda fact: isinstance(fact, ChildExited))

    assert [fact.missed for fact in facts if isinstance(fact, HeartbeatMissed)] == [1, 2]


def test_a_child_can_announce_facts_of_its_own(system: SessionSystem, project: Path) -> None:
    """They come with the session that they are about."""
    session = system.create_session(project, children=[worker("own")])
    with session.events() as stream:
        session.call("own", ("announce", {"tests": "green"}))
        event = stream.get(PATIENCE)

    assert event is not None
    assert (event.fact, event.session_id) == (Announced({"tests": "green"}), session.id)


def test_streams_end_with_the_system(project: Path) -> None:
    """A reader that waits is let go."""
    with SessionSystem() as system:
        stream = system.events()
        counts: list[int] = []
        reader = threading.Thread(target=lambda: counts.append(len(list(stream))))
        reader.start()
        system.create_session(project)
    reader.join()

    assert counts[0] >= 3
    assert list(system.events()) == []


def test_what_happens_below_an_own_supervisor_happens_in_the_session(
    system: SessionSystem, project: Path
) -> None:
    """However deep, and without a name."""
    group = ChildSpec(
        id="group", start=Start(Group, Flags(), [worker("leaf")]), type=ChildType.SUPERVISOR
    )
    session = system.create_session(project, children=[group])
    with session.events() as stream:
        (leaf,) = next(
            node for node in system.tree().children[1].children[0].children if node.id == "group"
        ).children
        assert leaf.ref is not None
        os.kill(leaf.ref.os_pid, signal.SIGKILL)
        facts = read_until(stream, started("leaf"))

    assert [type(fact) for fact in facts] == [ChildExited, ChildStarting, ChildStarted]


def test_streams_end_when_the_host_is_killed(system: SessionSystem) -> None:
    """Nothing can happen any more."""
    stream = system.events()
    os.kill(system.host_pid, signal.SIGKILL)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(list, stream).result(20)


def test_a_fact_that_cannot_be_read_is_dropped(system: SessionSystem, project: Path) -> None:
    """Even if reading it would end the thread that reads."""
    session = system.create_session(project, children=[worker("talker")])
    with system.events() as stream:
        session.call("talker", ("announce", Poison(os.getpid())))
        session.call("talker", ("announce", "well"))
        facts = (event.fact for event in stream)
        assert next(fact for fact in facts if isinstance(fact, Announced)).value == "well"

    assert session.call("talker", "handled") == 3


@pytest.fixture
def gate() -> Generator[threading.Event]:
    """Closed, until it is opened here, or the test is over."""
    GATE.clear()
    READ.clear()
    yield GATE
    GATE.set()


def test_a_fact_that_is_slow_to_read_holds_up_its_reader_alone(
    system: SessionSystem, project: Path, gate: threading.Event
) -> None:
    """Each reads for itself what it is given; calls, and other streams, go on."""
    session = system.create_session(project, children=[worker("talker")])
    with system.events() as stream, session.events() as other, ThreadPoolExecutor(1) as pool:
        session.call("talker", ("announce", Gated(os.getpid())))
        session.call("talker", ("announce", "well"))
        assert not READ
        found = pool.submit(read_until, other, lambda fact: isinstance(fact, Announced))
        try:
            eventually(lambda: READ, "one reads")
            assert session.call("talker", ("echo", 1), timeout=2) == 1
            assert not found.done()
        finally:
            gate.set()
        values = [found.result()[-1], *read_until(stream, lambda fact: fact == Announced("well"))]
        announced = [fact.value for fact in values if isinstance(fact, Announced)]

    assert announced == [*READ, "well"]
    assert len(READ) == 2


@pytest.mark.usefixtures("gate")
def test_a_fact_that_nobody_wants_to_know_is_not_read(system: SessionSystem, project: Path) -> None:
    """A stream that was closed wants to know nothing."""
    session = system.create_session(project, children=[worker("talker")])
    with system.events():
        pass
    session.call("talker", ("announce", Gated(os.getpid())), timeout=2)
    assert session.call("talker", ("echo", 1), timeout=2) == 1

    assert not READ


def test_what_cannot_be_read_takes_nothing_from_what_follows(project: Path) -> None:
    """Nor does it keep a stream from its end, or a reader longer than he wants to wait."""
    with SessionSystem(event_buffer=8) as system:
        session = system.create_session(project, children=[worker("talker")])
        stream = session.events()
        for _ in range(3):
            session.call("talker", ("announce", Poison(os.getpid())))
        session.call("talker", ("announce", "well"))
        event = stream.get(0)
        session.call("talker", ("announce", Poison(os.getpid())))
        assert stream.get(0) is None
        session.stop()
        rest = [type(event.fact) for event in stream]

        assert event is not None
        assert event.fact == Announced("well")
        assert (rest[-1], stream.dropped) == (ChildExited, 0)


def test_an_interrupted_reader_finds_the_fact_once_more(
    system: SessionSystem, project: Path
) -> None:
    """But one that always interrupts keeps nobody from what follows."""
    session = system.create_session(project, children=[worker("talker")])
    with session.events() as stream:
        for value in (Alarm(os.getpid(), "read"), Alarm(os.getpid(), "read"), "well"):
            session.call("talker", ("announce", value))
        before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                stream.get(PATIENCE)
            with ThreadPoolExecutor(1) as pool:
                event = pool.submit(stream.get, PATIENCE).result()
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    stream.get(PATIENCE)
        finally:
            signal.signal(signal.SIGUSR1, before)
        last = stream.get(PATIENCE)

    assert event is not None
    assert isinstance(event.fact, Announced)
    assert isinstance(event.fact.value, Alarm)
    assert last is not None
    assert last.fact == Announced("well")


def test_a_damaged_journal_is_told(system: SessionSystem, session: SessionHandle) -> None:
    """When State opens it, with what was wrong."""
    session.state.append_message("user", "hello")
    assert system.settings.state_dir is not None
    journal = journal_path(system.settings.state_dir, session.id)
    with session.events() as stream:
        with journal.open("ab") as file:
            file.write(b"torn")
        kill(system, session, "state")
        facts = read_until(stream, lambda fact: isinstance(fact, Repair))

    assert facts[-1] == Repair(torn_bytes=4, kept_aside=(f"{journal.name}.torn-1",))
    assert [message.content for message in session.state.messages()] == ["hello"]
