"""A system that is awaited, on asyncio and on trio: with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from loops import RUNNERS, OnAsyncio, Opening, Runner, nobody_waits
from servers import worker
from streamers import Streamer

from jidocode import (
    ActorExitedError,
    AsyncSessionSystem,
    BoundaryError,
    CallTimeoutError,
    ChildSpec,
    CommandFailedError,
    CreationRate,
    HostError,
    InvalidSettingError,
    JournalError,
    Message,
    NoProcessError,
    RateLimitedError,
    SessionNotFoundError,
    SessionRefused,
)
from jidocode.otp import ChildExited, Killed, Start, start
from jidocode.system.asynchronous.export import AsyncExport
from jidocode.system.asynchronous.loops import current_loop
from jidocode.system.asynchronous.turns import AT_A_TIME
from jidocode.system.asynchronous.waiting import in_thread


def test_tasks_that_open_one_project_get_one_session(loop: Runner, project: Path) -> None:
    """Though each finds none at first."""

    async def main() -> None:
        ids = set[str]()
        async with AsyncSessionSystem() as system:

            async def open_it() -> None:
                ids.add((await system.open_session(project)).id)

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(open_it)
            assert len(ids) == len(await system.list_sessions()) == 1

    loop.run(main)


def test_who_does_not_wait_for_the_start_is_told_so(loop: Runner) -> None:
    """Until it can be used; there is no moment in which it is neither."""

    async def main() -> None:
        system = AsyncSessionSystem(durability="memory")
        is_answered = anyio.Event()

        async def ask() -> None:
            while not is_answered.is_set():
                with suppress(HostError):
                    assert await system.list_sessions() == []
                    is_answered.set()
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            async with system:
                await is_answered.wait()

    loop.run(main)


def test_an_export_is_read_as_far_as_it_can_be(loop: Runner) -> None:
    """Though many changes are read at once: first comes what is there, and then what was wrong."""

    def begin() -> Iterator[dict[str, Any]]:
        yield {"seq": 1}
        yield {"seq": 2}
        raise JournalError("the rest cannot be read")

    async def main() -> None:
        export = AsyncExport(begin)
        assert [await anext(export), await anext(export)] == [{"seq": 1}, {"seq": 2}]
        with pytest.raises(JournalError):
            await anext(export)
        assert [change async for change in export] == []

    loop.run(main)


def test_a_session_is_used(loop: Runner, opened: Opening, project: Path) -> None:
    """Files, conversation, commands, children and events: each by its own kind of waiting."""

    async def main() -> None:
        children = [
            worker("worker"),
            ChildSpec(id="streamer", start=Start(Streamer, project / "log")),
        ]
        async with opened(children) as (system, session):
            message = await session.state.append_message("user", "hello")
            assert [message] == list(await session.state.messages())
            assert "# Shop" in (await session.manager.read_text("README.md")).text
            with pytest.raises(BoundaryError):
                await session.manager.read_file("../secret")

            assert (await session.run("echo out; echo err >&2")).stdout == "out\n"
            with pytest.raises(CommandFailedError):
                await session.run("exit 3", check=True)
            command = await session.commands.start(["cat"], stdin=b"")
            await command.write("a line\n")
            await command.close_stdin()
            assert b"".join([chunk async for chunk in command.output()]) == b"a line\n"
            assert (await command.wait()).ok
            left = await session.commands.start("yes | head -c 3000000")
            async with left.output() as output:
                assert await anext(output)
            assert (await left.wait(8)).raw_stdout.size == 3_000_000
            assert [chunk async for chunk in output] == []
            left = await session.commands.start("yes | head -c 3000000")
            with anyio.CancelScope() as scope:
                async with left.output() as output:
                    assert await anext(output)
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
            assert scope.cancelled_caught
            assert (await left.wait(8)).raw_stdout.size == 3_000_000
            assert len(await session.commands.list()) == 5

            ref = await system.get_process(session.id, "worker")
            assert await session.call("worker", "pid") == ref.os_pid
            assert ref in [child.ref for child in (await session.health_check()).children]
            await session.cast("worker", "nothing")
            under_way = await system.begin_call(("worker", session.id), "handled")
            assert await under_way.result() == await under_way.result()
            parts = await session.call_stream("streamer", ("count", 100))
            assert [part async for part in parts] == list(range(100))
            assert await parts.result() == await parts.result()

            assert (await session.rename("till")).name == "till"
            assert (await system.find_session(name="till")).id == session.id
            assert (await system.find_session(path=project)).id == session.id
            assert [each.id for each in await system.list_sessions()] == [session.id]
            assert session.id in str(await system.tree())
            assert (await system.statistics()).sessions == 1
            assert {each.id for each in await session.which_children()} >= {"manager", "worker"}
            await session.terminate_child("worker")
            assert await session.restart_child("worker") is not None

    loop.run(main)


def test_a_session_is_closed_and_opened_again(loop: Runner, opened: Opening, project: Path) -> None:
    """And its journal is read, copied and deleted."""

    async def main() -> None:
        async with opened() as (system, session):
            stream = system.events(session.id)
            await session.state.append_message("user", "hello")
            await session.stop()
            assert not await system.session_running(session.id)
            with pytest.raises(SessionNotFoundError):
                await session.state.messages()
            facts = [event.fact async for event in stream]
            assert isinstance(facts[-1], ChildExited)

            exported = [change async for change in system.export_session(session.id)]
            assert "hello" in str(exported)
            [resumable] = await system.list_resumable(project=project)
            again = await system.resume_session(resumable.session_id)
            assert len(await again.state.messages()) == 1
            copy = await system.fork_session(again.id)
            await system.delete_session(copy.id)

    loop.run(main)


def test_a_thousand_calls_at_once_are_answered(loop: Runner, opened: Opening) -> None:
    """Each with its own answer."""

    async def main() -> None:
        async with opened([worker("worker")], call_timeout=120.0) as (_, session):
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await session.call("worker", "handled"))

            await loop.together(*[ask] * 1000)
            assert sorted(answers) == list(range(1, 1001))

    loop.run(main)


def test_no_task_and_no_thread_is_added_for_calls_and_streams(project: Path) -> None:
    """The loop is the app's: its tasks are those that the app has made, however many wait."""
    loop = OnAsyncio()

    async def wait_for(work: Callable[[], Awaitable[object]]) -> None:
        await work()

    async def main() -> None:
        async with AsyncSessionSystem(call_timeout=60.0) as system:
            session = await system.create_session(project, children=[worker("worker")])
            after = (await session.state.append_message("user", "hello")).seq + 1
            threads = set(threading.enumerate())
            changes, events = session.state.subscribe(from_seq=after), system.events()
            async with changes, events:
                monitor = await session.monitor("worker")
                call = partial(session.call, "worker", "wait")
                works: list[Callable[[], Awaitable[object]]] = [call] * 100
                works += [changes.get, events.get, monitor.wait]
                tasks = [asyncio.create_task(wait_for(work)) for work in works]
                while system._system.client.calls < 100:
                    await loop.sleep(0.001)
                assert asyncio.all_tasks() == {*tasks, asyncio.current_task()}
                assert set(threading.enumerate()) <= threads
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            nobody_waits(system)

    loop.run(main)


def test_a_kill_ends_the_calls_under_way(loop: Runner, opened: Opening) -> None:
    """At once, with the reason; the next ones are for the next life."""

    async def main() -> None:
        async with opened([worker("worker")]) as (system, session):
            monitor = await session.monitor("worker")
            errors: list[Exception] = []

            async def ask() -> None:
                try:
                    await session.call("worker", "wait")
                except ActorExitedError as error:
                    errors.append(error)

            async def kill() -> None:
                while system._system.client.calls < 100:
                    await loop.sleep(0.001)
                os.kill(monitor.ref.os_pid, signal.SIGKILL)

            await loop.together(kill, *[ask] * 100)
            assert len(errors) == 100
            assert (await monitor.wait()).reason == Killed(signal.SIGKILL)
            assert await monitor.wait(0.0) is not None
            assert await session.call("worker", "pid") != monitor.ref.os_pid

    loop.run(main)


def test_a_subscription_goes_on_across_a_kill(loop: Runner, opened: Opening) -> None:
    """No change is missing, and none comes twice, also for one that is cancelled in between."""

    async def main() -> None:
        async with opened(call_timeout=60.0) as (system, session):
            texts: list[str] = []
            stream = session.state.subscribe(from_seq=1)

            async def read() -> None:
                async for change in stream:
                    if isinstance(change, Message):
                        texts.append(change.content)
                    if change.seq % 5 == 0:
                        await loop.within(0.0, stream.get)  # nothing is lost with it

            async def write() -> None:
                for number in range(60):
                    if number % 20 == 10:
                        state = await system.get_state(session.id)
                        os.kill(state.os_pid, signal.SIGKILL)
                    message_id = f"{number:032x}"
                    while True:
                        try:
                            await session.state.append_message(
                                "user", str(number), message_id=message_id
                            )
                            break
                        except ActorExitedError:
                            continue
                while len(texts) < 40:
                    await loop.sleep(0.001)
                await stream.aclose()

            await loop.together(read, write)
            assert stream.closed
            numbers = [int(text) for text in texts]
            assert numbers == sorted(set(numbers))
            left = session.state.subscribe(from_seq=1)
            seqs: list[int] = []
            while (change := await left.get(0.2)) is not None:
                seqs.append(change.seq)
            assert seqs == list(range(1, len(seqs) + 1))

    loop.run(main)


def test_a_stream_of_a_session_that_ends_says_so(loop: Runner, opened: Opening) -> None:
    """Also to who waits in it."""

    async def main() -> None:
        async with opened() as (_, session):
            stream = session.state.subscribe(from_seq=1)

            async def read() -> None:
                with pytest.raises(SessionNotFoundError):
                    async for _ in stream:
                        pass

            async def stop() -> None:
                await loop.sleep(0.1)
                with pytest.raises(RuntimeError, match="another task"):
                    await stream.get()
                await session.stop()

            await loop.together(read, stop)

    loop.run(main)


def test_events_end_when_their_stream_is_closed(loop: Runner, opened: Opening) -> None:
    """From another task; and one that waits for a time gets nothing when it is over."""

    async def main() -> None:
        async with opened([worker("worker")], event_buffer=5) as (system, session):
            stream = system.events()
            assert await stream.get(0.0) is None
            await session.call("worker", ("announce", "news"))
            event = await stream.get(30.0)
            assert event is not None
            assert event.session_id == session.id

            async def read() -> None:
                async for _ in stream:
                    pass

            async def close() -> None:
                await loop.sleep(0.05)
                await stream.aclose()

            await loop.together(read, read, close)
            assert stream.closed
            async with session.events() as other:
                for number in range(20):
                    await session.call("worker", ("announce", number))
                await system.statistics()
            assert other.dropped >= 10

    loop.run(main)


def test_time_outs_by_scope_and_by_argument_agree(loop: Runner, opened: Opening) -> None:
    """Whichever is over first ends the waiting, and leaves nothing behind."""

    async def main() -> None:
        async with opened([worker("worker")]) as (system, session):
            with pytest.raises(CallTimeoutError, match=r"within 0\.1 s"):
                await session.call("worker", "wait", timeout=0.1)
            with pytest.raises(TimeoutError), anyio.fail_after(0.1):
                await session.call("worker", "wait", timeout=30)
            with anyio.move_on_after(30), pytest.raises(CallTimeoutError):
                await session.call("worker", "wait", timeout=0.0)
            under_way = await system.begin_call(("worker", session.id), "wait")
            with pytest.raises(CallTimeoutError):
                await under_way.result(0.05)
            assert not under_way.done
            assert under_way.cancel()
            with pytest.raises(NoProcessError):
                await session.call("nobody", "pid")

    loop.run(main)


def test_a_loop_sends_by_itself(loop: Runner, opened: Opening, project: Path) -> None:
    """Also in the main thread, where there may be handlers; what was sent before comes first."""
    log = project / "log"

    async def main() -> None:
        async with opened([worker("worker", log)]) as (system, session):
            await session.call("worker", "pid")
            gate = threading.Event()
            system._system.client.hand_over(gate.wait)

            async def ask() -> None:
                await session.cast("worker", "before")
                await session.call("worker", "handled")

            async def look() -> None:
                with anyio.fail_after(30):
                    while "call handled" not in log.read_text():
                        await loop.sleep(0.01)
                gate.set()

            await loop.together(ask, look)
            assert log.read_text().splitlines()[-2:] == ["cast before", "call handled"]

    handler = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    try:
        loop.run(main)
    finally:
        signal.signal(signal.SIGUSR1, handler)


def test_what_many_begin_at_once_is_shared_out_among_turns(loop: Runner, opened: Opening) -> None:
    """So a `gather` of many calls does not hold up everything else."""

    async def main() -> None:
        async with opened() as (system, session):
            client, seen = system._system.client, [0]

            async def look() -> None:
                while seen[-1] == 0 or client.calls > 0:
                    seen.append(client.calls)
                    await current_loop().checkpoint()

            await loop.together(look, *[session.manager.project_root] * 200)
            assert max(after - before for before, after in pairwise(seen)) <= 2 * AT_A_TIME

    loop.run(main)


def test_one_that_never_waits_holds_up_nobody(loop: Runner, opened: Opening) -> None:
    """Whoever casts again and again, or asks somebody again and again who is not there."""

    async def main() -> None:
        async with opened([worker("worker")]) as (_, session):
            turns, done = [0], [0]

            async def look() -> None:
                while done[0] == 0:
                    turns[0] += 1
                    await current_loop().checkpoint()

            async def cast() -> None:
                for _ in range(200):
                    await session.cast("worker", "hello")
                done[0] += 1

            async def ask() -> None:
                for _ in range(200):
                    with suppress(NoProcessError):
                        await session.call("nobody", "hello")
                done[0] += 1

            await loop.together(look, cast)
            assert turns[0] >= 200 // AT_A_TIME
            turns[0], done[0] = 0, 0
            await loop.together(look, ask)
            assert turns[0] >= 200 // AT_A_TIME

    loop.run(main)


def test_many_time_outs_take_one_timer(loop: Runner, opened: Opening) -> None:
    """Each call ends at its time, whatever others were begun before and after it."""

    async def main() -> None:
        async with opened([worker("worker")]) as (system, session):
            timeouts = [0.3, 0.1, 0.2, 0.0, 0.1] + [
                20.0 + 37 * number % 100 for number in range(100)
            ]
            ended: list[float] = []

            async def wait(seconds: float) -> None:
                begin = time.monotonic()
                with suppress(CallTimeoutError):
                    await session.call("worker", "wait", timeout=seconds)
                assert time.monotonic() - begin >= seconds
                ended.append(seconds)

            async def end_all() -> None:
                while len(ended) < 5:
                    await loop.sleep(0.01)
                timers = list(system._system.client._messenger.poller.timers())
                assert len(timers) < 20
                assert system._system.client.calls == 100
                scope.cancel()

            with anyio.CancelScope() as scope:
                await loop.together(end_all, *[partial(wait, seconds) for seconds in timeouts])
            assert sorted(ended) == [0.0, 0.1, 0.1, 0.2, 0.3]

    loop.run(main)


def test_one_update_of_a_record_at_a_time(loop: Runner, opened: Opening) -> None:
    """Whoever makes them, in whatever loop or thread."""

    async def main() -> None:
        async with opened() as (system, session):

            async def count() -> None:
                await session.update_config({"max_tokens": 1})
                for _ in range(5):
                    await system.update_session(
                        session.id,
                        lambda record: record.update_config(
                            {"max_tokens": (record.config.max_tokens or 0) + 1}
                        ),
                    )

            async def count_only() -> None:
                for _ in range(5):
                    await system.update_session(
                        session.id, lambda record: record.rename(record.name + "x")
                    )

            def elsewhere() -> None:
                for _ in range(5):
                    system._system.update(
                        session.id, lambda record: record.rename(record.name + "x")
                    )

            thread = threading.Thread(target=elsewhere)
            thread.start()
            await loop.together(count, count_only, count_only)
            await in_thread(thread.join)
            record = await session.session()
            assert record.config.max_tokens == 6
            assert record.name == "shop" + 15 * "x"

    loop.run(main)


def test_a_block_that_fails_closes_its_system(loop: Runner, project: Path) -> None:
    """And says what has failed; closing twice is fine, and nothing can be asked after it."""
    systems: list[AsyncSessionSystem] = []

    async def main() -> None:
        async with AsyncSessionSystem() as system:
            systems.append(system)
            await system.create_session(project)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run(main)
    [system] = systems
    assert repr(system) == "<AsyncSessionSystem closed>"
    loop.run(system.aclose)
    with pytest.raises(HostError, match="closed"):
        loop.run(system.list_sessions)
    with pytest.raises(RuntimeError, match="once"):
        loop.run(system.__aenter__)


def test_a_start_that_fails_leaves_nothing(loop: Runner) -> None:
    """Nor does one that has not begun."""

    async def main() -> None:
        with pytest.raises(InvalidSettingError):
            async with AsyncSessionSystem(call_timeout=-1.0):
                pass

    loop.run(main)
    system = AsyncSessionSystem()
    assert repr(system) == "<AsyncSessionSystem not started>"
    loop.run(system.aclose)
    with pytest.raises(HostError, match="async with"):
        loop.run(system.list_sessions)


@pytest.mark.parametrize("settings", [0, -1, "", [], {}])
def test_what_is_no_settings_is_refused(loop: Runner, settings: Any) -> None:
    """Also what is empty."""

    async def main() -> None:
        with pytest.raises(TypeError, match="settings must be Settings"):
            async with AsyncSessionSystem(settings):
                pass
        with pytest.raises(TypeError, match="settings must be ApplicationSettings"):
            start(settings=settings)

    loop.run(main)


def test_what_is_no_session_is_refused(loop: Runner) -> None:
    """As by the other kind of system."""
    nothing: Any = None

    async def main() -> None:
        async with AsyncSessionSystem(durability="memory") as system:
            with pytest.raises(TypeError, match="session must be a Session"):
                await system.start_session(nothing)

    loop.run(main)


def test_several_loops_use_one_system(project: Path) -> None:
    """One in each thread, of either kind, at once."""

    async def main() -> None:
        async with AsyncSessionSystem(call_timeout=60.0) as system:
            session = await system.create_session(project)
            roots: list[str] = []

            async def ask() -> None:
                roots.extend([await session.manager.project_root() for _ in range(50)])

            threads = [
                threading.Thread(target=partial(runner.run, ask)) for runner in [*RUNNERS] * 2
            ]
            for thread in threads:
                thread.start()
            await ask()
            for thread in threads:
                await in_thread(thread.join)
            assert roots == 250 * [str(project)]

    RUNNERS[0].run(main)


def test_a_refusal_is_an_event(loop: Runner, opened: Opening, tmp_path: Path) -> None:
    """As in a system that waits."""

    async def main() -> None:
        rate = CreationRate(attempts=1, seconds=60.0)
        async with opened(creation_rate=rate) as (system, _), system.events() as stream:
            with pytest.raises(RateLimitedError):
                await system.create_session(tmp_path)
            while not isinstance((event := await anext(stream)).fact, SessionRefused):
                pass
            assert isinstance(event.fact.error, RateLimitedError)

    loop.run(main)
