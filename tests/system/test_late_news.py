"""An app that has attached may hear news later than answers: what it asks for is what there is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from scripted_models import SCRIPTED
from servers import worker

from jidocode import (
    AsyncSessionSystem,
    NoProcessError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
)
from jidocode._host.client.attached import AttachedClient
from jidocode._host.client.directory import Directory
from jidocode._host.transport.messenger import Envelope
from jidocode.base.exits import SHUTDOWN
from jidocode.base.refs import ActorRef
from jidocode.otp.naming.messages import REGISTRY
from jidocode.session.agent import presence
from jidocode.system.running import RunningTree
from jidocode.testing import PATIENCE, eventually, is_alive


@pytest.fixture
def shop(name: str, tmp_path: Path) -> Iterator[SessionSystem]:
    """A system with a name."""
    with SessionSystem(
        name=name, state_dir=tmp_path / "state", model=SCRIPTED, heartbeat=None
    ) as system:
        yield system


@pytest.fixture
def late(name: str, shop: SessionSystem) -> Iterator[SessionSystem]:
    """The same system, for who has attached to it."""
    del shop
    with SessionSystem.attach(name) as attached:
        yield attached


@pytest.fixture
def session(late: SessionSystem, project: Path) -> SessionHandle:
    """A session that it has opened, and heard of; each of its processes dies alone."""
    session = late.create_session(project, strategy="one_for_one", children=[worker("worker")])
    eventually(lambda: directory(late._running).find(("worker", session.id)))
    return session


def directory(tree: RunningTree) -> Directory:
    return tree.client.directory


@contextmanager
def unheard(tree: RunningTree, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Have an app that has attached hear no news while the block runs, and all of them then."""
    client = tree.client
    assert isinstance(client, AttachedClient)
    held: list[Envelope] = []
    take = client._take_news

    def hear() -> None:
        monkeypatch.setattr(client, "_take_news", take)
        for envelope in held:
            take(envelope)

    monkeypatch.setattr(client, "_take_news", held.append)
    try:
        yield
    finally:
        client.hand_over(hear)


def kill(*refs: ActorRef) -> None:
    """Kill the first of *refs*, and return when all are dead."""
    os.kill(refs[0].os_pid, signal.SIGKILL)
    eventually(lambda: not any(is_alive(ref.os_pid) for ref in refs))


def test_a_child_that_was_stopped_is_not_there(
    late: SessionSystem, session: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for it is told so at once, and whoever watches its process hears of its end."""
    before = late.get_process(session.id, "worker")
    with unheard(late._running, monkeypatch):
        session.terminate_child("worker")
        asks: list[Callable[[], object]] = [
            lambda: session.call("worker", ("echo", 1)),
            lambda: session.call_stream("worker", ("echo", 1)),
            lambda: session.monitor("worker"),
            lambda: late.call(before, ("echo", 1)),
        ]
        for ask in asks:
            with pytest.raises(NoProcessError):
                ask()
        monitor = late.monitor(before)
    assert monitor.wait(PATIENCE) is not None


def test_the_next_one_under_a_name_is_the_one_that_is_meant(
    late: SessionSystem, session: SessionHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the one before it, the end is heard later."""
    log = tmp_path / "log"
    session.start_child(worker("other", log))
    before = late.get_process(session.id, "other")
    eventually(lambda: directory(late._running).find(("other", session.id)) == before)
    with unheard(late._running, monkeypatch):
        session.terminate_child("other")
        after = session.restart_child("other")
        session.cast("other", "hello")
        eventually(lambda: "cast hello" in log.read_text())
        assert session.call("other", ("echo", 2)) == 2
        assert late.get_process(session.id, "other") == after
        monitor = session.monitor("other")
        assert monitor.ref == after
    eventually(lambda: directory(late._running).death_of(before))
    assert monitor.down is None


def test_a_session_that_was_stopped_is_not_there(
    late: SessionSystem, session: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of it."""
    asks: list[Callable[[], object]] = [
        session.state.messages,
        session.commands.list,
        session.health_check,
        session.which_children,
        session.agent.busy,
        session.stop,
        lambda: session.run("true"),
        lambda: session.rename("x"),
        lambda: session.call("worker", ("echo", 1)),
        lambda: session.monitor("worker"),
    ]
    with unheard(late._running, monkeypatch):
        session.stop()
        for ask in asks:
            with pytest.raises(SessionNotFoundError):
                ask()


def test_how_a_session_has_ended_is_waited_for(
    late: SessionSystem, session: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment: the error says it also if that is heard after the answer."""
    with ThreadPoolExecutor() as pool:
        with unheard(late._running, monkeypatch):
            session.stop()
            asked = pool.submit(session.state.messages)
            named = pool.submit(lambda: session.session)
            eventually(lambda: directory(late._running).leaving(("session", session.id)))
        for each in (asked, named):
            error = each.exception()
            assert isinstance(error, SessionNotFoundError)
            assert error.ended == SHUTDOWN


def test_a_session_that_was_resumed_is_there(
    late: SessionSystem, session: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that it starts at first use."""
    session.state.append_message("user", "hello")
    assert session.agent.prompt("say one").result().text == "one"
    session.run("true")
    eventually(lambda: directory(late._running).find(("commands", session.id)))
    with unheard(late._running, monkeypatch):
        session.stop()
        late.resume_session(session.id, children=[worker("worker")])
        assert session.state.messages()[0].content == "hello"
        assert session.manager.read_text("README.md").text.startswith("# Shop")
        assert session.call("worker", ("echo", 1)) == 1
        assert session.commands.list() == []
        assert session.run("echo out").stdout == "out\n"
        assert not session.agent.busy()
        assert session.agent.prompt("say two").result().text == "two"
        assert session.rename("bakery").name == "bakery"
        assert session.health_check().status.value == "healthy"
        session.stop()


@pytest.mark.parametrize("kind", ["state", "manager", "worker"])
def test_who_was_killed_is_replaced(
    late: SessionSystem, session: SessionHandle, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one answers, as soon as it is there."""
    asks: dict[str, Callable[[], object]] = {
        "state": session.state.messages,
        "manager": session.manager.project_root,
        "worker": lambda: session.call("worker", ("echo", 1)),
    }
    before = late.get_process(session.id, kind)
    with unheard(late._running, monkeypatch):
        kill(before)
        asks[kind]()
        assert late.get_process(session.id, kind) != before


def test_a_session_whose_supervisor_was_killed_is_not_there(
    late: SessionSystem, session: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has ended with all that was in it."""
    kinds = ("session", "state", "manager", "worker")
    with unheard(late._running, monkeypatch):
        kill(*[late.get_process(session.id, kind) for kind in kinds])
        for ask in (session.state.messages, session.health_check, session.commands.list):
            with pytest.raises(SessionNotFoundError):
                ask()


def test_who_has_answered_last_is_not_asked_again(
    late: SessionSystem, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though neither its start nor its end is heard yet."""
    with unheard(late._running, monkeypatch):
        session = late.create_session(project, children=[worker("worker")])
        for _ in range(2):
            assert session.call("worker", "stop") == "stopping"
            assert session.call("worker", ("echo", 1)) == 1


def test_the_next_registry_is_waited_for(
    late: SessionSystem, session: SessionHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether there will be one is yet to be heard."""
    registry = directory(late._running).find(REGISTRY)
    assert registry is not None
    with ThreadPoolExecutor() as pool:
        with unheard(late._running, monkeypatch):
            kill(registry)
            listed = pool.submit(late.list_sessions)
            eventually(lambda: directory(late._running).leaving(REGISTRY))
        assert [each.id for each in listed.result(PATIENCE)] == [session.id]


def test_a_session_that_the_last_registry_has_stopped_was_there(
    shop: SessionSystem,
    late: SessionSystem,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though its start is heard after that, and the next registry never knew it."""
    log = tmp_path / "log"
    registry = directory(late._running).find(REGISTRY)
    assert registry is not None
    with ThreadPoolExecutor() as pool:
        with unheard(late._running, monkeypatch):
            children = [worker("worker", log), worker("last")]
            session = late.create_session(project, children=children)
            last = late.get_process(session.id, "last")
            busy = late.begin_call(("worker", session.id), ("sleep", 2.0))
            eventually(lambda: "sleep" in log.read_text())
            stopped = pool.submit(session.stop)
            eventually(lambda: not is_alive(last.os_pid), "the stop has begun")
            kill(registry)
            eventually(lambda: not shop.list_sessions())
        stopped.result(PATIENCE)
    assert busy.result() == "slept"


def test_an_agent_that_hangs_is_ended_though_nobody_has_heard_of_it(
    shop: SessionSystem,
    late: SessionSystem,
    session: SessionHandle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has just been started by another process."""
    monkeypatch.setattr(presence, "PATIENCE", 0.2)
    with ThreadPoolExecutor() as pool, unheard(late._running, monkeypatch):
        turn = shop.get_session(session.id).agent.prompt("wait")
        (agent,) = [each.ref for each in session.which_children() if each.id == "agent"]
        assert agent is not None
        os.kill(agent.os_pid, signal.SIGSTOP)
        cancelled = pool.submit(session.agent.cancel)
        eventually(lambda: not is_alive(agent.os_pid))
        cancelled.result(PATIENCE)
    turn.result()


def test_coroutines_ask_the_same(
    name: str, shop: SessionSystem, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del shop

    async def main() -> None:
        async with AsyncSessionSystem.attach(name) as system:
            session = await system.create_session(project, children=[worker("worker")])
            known = directory(system._system)
            find = partial(known.find, ("worker", session.id))
            await asyncio.to_thread(eventually, find)
            with unheard(system._system, monkeypatch):
                await session.terminate_child("worker")
                after = await session.restart_child("worker")
                assert await session.call("worker", ("echo", 1)) == 1
                assert (await session.monitor("worker")).ref == after
                await session.stop()
                with pytest.raises(SessionNotFoundError):
                    await session.state.messages()
                await system.resume_session(session.id)
                assert (await session.run("echo out")).stdout == "out\n"

    asyncio.run(main())
