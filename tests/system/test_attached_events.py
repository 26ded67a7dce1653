"""What who attaches hears: all that runs, and then every change, and the same as all others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from colleagues import RemoteError, colleagues
from servers import worker

from jidocode import CreationRate, HostExitedError, SessionHandle, SessionRefused, SessionSystem
from jidocode.base.refs import ActorRef
from jidocode.otp import ChildExited, ChildRunning, ChildStarted
from jidocode.system.events import EventStream
from jidocode.testing import PATIENCE, eventually, kill


@pytest.fixture
def shop(name: str) -> Iterator[SessionSystem]:
    """A system with a name, whose sessions are not kept."""
    with SessionSystem(name=name, durability="memory", creation_rate=None) as system:
        yield system


@pytest.fixture
def own(shop: SessionSystem, project: Path) -> SessionHandle:
    """A session that was opened by who has started the system."""
    return shop.create_session(project, children=[worker("worker")])


def facts(stream: EventStream, number: int) -> list[object]:
    """Return the next facts of *stream*."""
    found = [stream.get(PATIENCE) for _ in range(number)]
    return [None if event is None else event.fact for event in found]


def test_a_stream_begins_with_what_runs(name: str, shop: SessionSystem, own: SessionHandle) -> None:
    """Parents first, and nothing of it is told again; of one session, that one."""
    with SessionSystem.attach(name) as attached:
        stream = attached.events()
        kill(shop, own, "worker")
        running = facts(stream, 7)
        assert all(isinstance(fact, ChildRunning) for fact in running)
        known = [fact for fact in running if isinstance(fact, ChildRunning)]
        root, *below = known
        assert root.supervisor == root.ref
        for place, fact in enumerate(below, 1):
            assert fact.supervisor in {each.ref for each in known[:place]}
        assert {fact.ref for fact in known} == set(attached._running.client.directory.live()) | {
            known[-1].ref
        }
        assert [fact.child_id for fact in known[-4:]] == [own.id, "manager", "state", "worker"]
        changes = facts(stream, 1)
        assert isinstance(changes[0], ChildExited)
        assert changes[0].ref == known[-1].ref

        mine = attached.get_session(own.id).events()
        event = mine.get(PATIENCE)
        assert event is not None
        assert event.session_id == own.id
        assert isinstance(event.fact, ChildRunning)
        assert event.fact.child_id == own.id
        own.stop()
        assert isinstance(list(mine)[-1].fact, ChildExited)
    with pytest.raises(HostExitedError, match="detached"):
        attached.events()
    assert shop.events().get(0) is None  # who has started it has heard all


def test_no_change_is_missed_and_none_told_twice(
    name: str, shop: SessionSystem, own: SessionHandle, tmp_path: Path
) -> None:
    """Whenever a stream begins, while sessions come, crash and go."""
    del own

    def come_and_go() -> None:
        for number in range(6):
            folder = tmp_path / f"till{number}"
            folder.mkdir()
            session = shop.create_session(folder)
            kill(shop, session, "state")
            if number % 2:
                session.stop()

    with SessionSystem.attach(name) as attached:
        with ThreadPoolExecutor(1) as threads:
            traffic = threads.submit(come_and_go)
            streams = [attached.events()]
            while not traffic.done():
                streams.append(attached.events())
                wait([traffic], 0.02)
            traffic.result()
        directory = attached._running.client.directory
        live = shop._running.client.directory.live()
        eventually(lambda: set(directory.live()) == set(live), "all is heard")
        last = attached.events()
        for stream in streams:
            assert added_up(stream) == set(live)
        assert added_up(last) == set(live)
        assert len(streams) > 3


def added_up(stream: EventStream) -> set[ActorRef]:
    """Return which processes run, by all that a stream has told; fail if it contradicts itself."""
    running: set[ActorRef] = set()
    while (event := stream.get(0.1)) is not None:
        match event.fact:
            case ChildRunning(ref=ref) | ChildStarted(ref=ref):
                assert ref not in running
                running.add(ref)
            case ChildExited(ref=ref):
                assert ref in running
                running.remove(ref)
            case _:
                pass
    return running


def test_a_refusal_is_heard_by_all(name: str, tmp_path: Path) -> None:
    """By who has started the system and by who looks, whoever is refused."""
    rate = CreationRate(attempts=1, seconds=600.0)
    with (
        SessionSystem(name=name, durability="memory", creation_rate=rate) as shop,
        SessionSystem.attach(name, read_only=True) as look,
        colleagues() as [other],
    ):
        streams = [shop.events(), look.events()]
        other.attach(name)
        shop.create_session(tmp_path)
        with pytest.raises(RemoteError, match="RateLimitedError"):
            other.do(f"system.create_session({str(tmp_path)!r})")
        for stream in streams:
            while (event := stream.get(PATIENCE)) is not None:
                if isinstance(event.fact, SessionRefused):
                    break
            assert event is not None
            assert event.session_id is None
