"""How waiting for news ends: from outside, after a time, with the session, with the system."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from servers import worker

from jidocode import Event, EventStream, HostExitedError, SessionHandle, SessionSystem
from jidocode.errors import SessionNotFoundError
from jidocode.otp import ChildExited, Flags
from jidocode.session.conversation.changes import Change
from jidocode.session.state.change_stream import ChangeStream
from jidocode.session.state.subscriptions import MAX_SUBSCRIBERS
from jidocode.testing import eventually, wait_for_restart

Stream = EventStream | ChangeStream
SOON = 10.0
"""Seconds that the end of a waiting may take; far less than any wait would."""


@pytest.fixture
def session(system: SessionSystem, project: Path) -> SessionHandle:
    """A session in which nothing happens."""
    return system.create_session(project, children=[worker("own")])


def changes(session: SessionHandle) -> ChangeStream:
    """Return a stream of what is yet to come."""
    return session.state.subscribe(from_seq=session.state.statistics().last_seq + 1)


OPEN: dict[str, Callable[[SessionHandle], Stream]] = {
    "events": lambda session: session.events(),
    "changes": changes,
}
KINDS = pytest.mark.parametrize("kind", OPEN)


def read_all(stream: Stream) -> list[Event | Change]:
    """Return all that comes, until there is no more."""
    return list(stream)


def read_one(stream: Stream) -> Event | Change | None:
    """Return what comes next."""
    return stream.get(60)


def in_thread(do: Callable[[], Any]) -> Future[Any]:
    """Do something in a thread of its own."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(do())
        except BaseException as error:  # noqa: BLE001 - it is told
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


@KINDS
def test_a_stream_is_closed_by_another_thread_while_one_waits(
    session: SessionHandle, kind: str
) -> None:
    """At once, for iteration and for `get`; closing again is fine."""
    for wait in (read_all, read_one):
        stream = OPEN[kind](session)
        waiting = in_thread(partial(wait, stream))
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        stream.close()
        stream.close()

        assert not waiting.result(SOON)
        assert stream.closed
        assert stream.get() is None
        assert list(stream) == []


@KINDS
def test_leaving_the_block_closes_a_stream(session: SessionHandle, kind: str) -> None:
    """As leaving it always does."""
    with OPEN[kind](session) as stream:
        assert not stream.closed

    assert stream.closed


@KINDS
@pytest.mark.parametrize("timeout", [0, 0.2])
def test_a_time_out_returns_nothing_and_the_stream_goes_on(
    session: SessionHandle, kind: str, timeout: float
) -> None:
    """What comes later is got later."""
    stream = OPEN[kind](session)
    begun = time.monotonic()
    nothing = stream.get(timeout)
    took = time.monotonic() - begun
    session.call("own", ("announce", "news"))
    message = session.state.append_message("user", "news")
    got = stream.get(20)

    assert nothing is None
    assert timeout <= took < SOON
    assert not stream.closed
    assert got == message or (isinstance(got, Event) and got.session_id == session.id)


def test_a_stream_of_changes_has_every_one_whatever_the_time_outs(session: SessionHandle) -> None:
    """No gap and no double."""
    stream = changes(session)
    written = in_thread(
        lambda: [session.state.append_message("user", str(number)) for number in range(50)]
    )
    got: list[Change] = []
    while len(got) < 50:
        change = stream.get(0.001)
        got += [change] if change else []

    assert got == written.result(20)


@KINDS
def test_a_signal_handler_may_close_a_stream_that_its_thread_waits_in(
    session: SessionHandle, kind: str
) -> None:
    """As a SIGTERM handler of a simple app does."""
    stream = OPEN[kind](session)

    def close(_number: int, _frame: FrameType | None) -> None:
        stream.close()

    before = signal.signal(signal.SIGUSR1, close)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        assert list(stream) == []
    finally:
        signal.signal(signal.SIGUSR1, before)


@KINDS
def test_a_server_whose_threads_are_all_in_idle_streams_gets_them_back(
    session: SessionHandle, kind: str
) -> None:
    """Forty of them, as in the thread pool of a usual server; others are served meanwhile."""
    streams = [OPEN[kind](session) for _ in range(40)]
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(read_all, stream) for stream in streams]
        assert session.call("own", ("echo", 1)) == 1
        for stream in streams:
            stream.close()
        assert [each.result(SOON) for each in waiting] == 40 * [[]]

        assert pool.submit(session.call, "own", ("echo", 2)).result(SOON) == 2


@KINDS
def test_a_server_that_polls_serves_more_streams_than_it_has_threads(
    session: SessionHandle, kind: str
) -> None:
    """A time-out gives the thread to the next one."""
    streams = [OPEN[kind](session) for _ in range(20)]
    session.call("own", ("announce", "news"))
    session.state.append_message("user", "news")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(read_one, streams))

    assert all(found)


def test_streams_that_come_and_go_find_a_place_at_the_state(session: SessionHandle) -> None:
    """Those that are closed while they wait, too: more than a State has subscribers."""
    for _ in range(2):
        streams = [changes(session) for _ in range(MAX_SUBSCRIBERS + 1)]
        waiting = [in_thread(partial(read_all, stream)) for stream in streams]
        message = session.state.append_message("user", "news")
        first = changes(session)
        assert first.get(0) is None
        for stream in streams:
            stream.close()
        assert all(each.result(SOON) in ([], [message]) for each in waiting)


@KINDS
def test_a_cancelled_task_leaves_no_thread_that_waits(session: SessionHandle, kind: str) -> None:
    """`asyncio.run` waits for its threads: closing the stream lets them go."""

    async def follow() -> None:
        with OPEN[kind](session) as stream:
            begun = threading.Event()

            def wait() -> object:
                begun.set()
                return stream.get()

            task = asyncio.create_task(asyncio.to_thread(wait))
            await asyncio.to_thread(begun.wait)
            task.cancel()

    begun = time.monotonic()
    asyncio.run(follow())

    assert time.monotonic() - begun < SOON


@KINDS
def test_a_stream_that_waits_for_a_hung_or_restarting_state_can_be_closed(
    system: SessionSystem, session: SessionHandle, kind: str
) -> None:
    """Whatever it waits for."""
    os.kill(system.get_state(session.id).os_pid, signal.SIGSTOP)
    stream = OPEN["events"](session) if kind == "events" else session.state.subscribe(from_seq=1)
    waiting = in_thread(partial(read_all, stream))
    if kind == "changes":  # of the other kind nobody can see that it waits
        eventually(lambda: system._running.client.calls, "the wait for a State that hangs")
    begun = time.monotonic()
    stream.close()

    assert waiting.result(SOON) is not None
    assert time.monotonic() - begun < SOON


ENDS: dict[str, Callable[[SessionSystem, SessionHandle], object]] = {
    "stopped": lambda _, session: session.stop(),
    "killed": lambda system, session: os.kill(
        system.get_process(session.id, "session").os_pid, signal.SIGKILL
    ),
    "lost with its supervisor": lambda system, _: os.kill(_pid_of(system, "sessions"), 9),
    "lost with the root": lambda system, _: os.kill(_pid_of(system, None), 9),
}


def _pid_of(system: SessionSystem, child_id: str | None) -> int:
    tree = system.tree()
    node = next((each for each in tree.children if each.id == child_id), tree)
    assert node.ref is not None
    return node.ref.os_pid


@pytest.mark.parametrize("how", ENDS)
def test_the_events_of_a_session_end_with_it(
    system: SessionSystem, session: SessionHandle, how: str
) -> None:
    """The last one says how it ended; those of all sessions go on."""
    everything = system.events()
    mine, named = session.events(), system.events(session.id)
    waiting = [in_thread(partial(read_all, each)) for each in (mine, named)]
    ENDS[how](system, session)
    for each in waiting:
        *_, last = each.result(20)
        assert isinstance(last.fact, ChildExited)
        assert last.fact.name == ("session", session.id)
        assert last.session_id == session.id

    assert mine.closed
    assert not everything.closed


@pytest.mark.parametrize("how", ENDS)
def test_a_stream_of_changes_ends_with_the_session_and_says_how_that_ended(
    system: SessionSystem, session: SessionHandle, how: str
) -> None:
    """By the error that says it."""
    stream = changes(session)
    waiting = in_thread(partial(read_all, stream))
    ENDS[how](system, session)
    with pytest.raises(SessionNotFoundError) as error:
        waiting.result(20)

    assert error.value.ended is not None


def test_the_events_of_a_session_outlast_restarts(system: SessionSystem, project: Path) -> None:
    """Only the end of the whole session is the end."""
    session = system.create_session(project, strategy=Flags(max_restarts=10))
    with session.events() as events:
        for _ in range(3):
            ref = system.get_state(session.id)
            os.kill(ref.os_pid, signal.SIGKILL)
            assert wait_for_restart(system, session, "state", after=ref) != ref

        assert not events.closed


@KINDS
def test_closing_the_system_ends_every_stream(
    system: SessionSystem, session: SessionHandle, kind: str
) -> None:
    """Nobody waits for what cannot come."""
    stream = OPEN[kind](session)
    waiting = in_thread(partial(read_all, stream))
    system.close()
    error = waiting.exception(SOON)

    assert error is None or isinstance(error, (HostExitedError, SessionNotFoundError))
