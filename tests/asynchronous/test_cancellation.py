"""Whatever is awaited may be cancelled at any moment, and nothing is left of it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from loops import Opening, Runner, nobody_waits
from servers import worker
from streamers import Streamer

from jidocode import (
    AsyncSessionHandle,
    AsyncSessionSystem,
    ChildSpec,
    SessionExistsError,
    SessionNotFoundError,
)
from jidocode.otp import Start
from jidocode.testing import eventually
from jidocode.testing.leftovers import processes_below

MOMENTS = [*range(8), 12, 20, 50, 150, 500, 2000]
"""Turns of the loop, after which something is cancelled."""

Work = Callable[[], Awaitable[object]]


async def calls(system: AsyncSessionSystem, session: AsyncSessionHandle) -> list[Work]:
    """Return one of each kind of waiting."""
    monitor = await session.monitor("worker")
    under_way = await system.begin_call(("worker", session.id), "wait")
    events, changes = system.events(), session.state.subscribe(from_seq=1)

    async def stream() -> None:
        async with await session.call_stream("streamer", ("count", 200)) as parts:
            async for _ in parts:
                pass

    return [
        lambda: session.call("worker", "pid"),
        lambda: session.call("worker", "wait"),
        lambda: session.manager.read_text("README.md"),
        lambda: session.state.append_message("user", "hello"),
        lambda: session.rename("till"),
        system.tree,
        system.system_health,
        lambda: session.run("exit"),
        system.list_resumable,
        stream,
        monitor.wait,
        under_way.result,
        events.get,
        changes.get,
    ]


def test_a_call_is_cancelled_at_any_moment(loop: Runner, opened: Opening, project: Path) -> None:
    """Of nothing that was awaited is anything left, and the next call is answered."""

    async def main() -> None:
        children = [
            worker("worker"),
            ChildSpec(id="streamer", start=Start(Streamer, project / "log")),
        ]
        async with opened(children, call_timeout=60.0) as (system, session):
            works = await calls(system, session)
            cancelled = [0] * len(works)
            for steps in MOMENTS:
                for number, work in enumerate(works):
                    before = system._system.client.calls
                    cancelled[number] += await loop.cancelled_after(steps, work)
                    assert system._system.client.calls == before == 1  # that of `under_way`
                    assert system._system.client.directory.changes.waiting == 0
            assert all(cancelled)  # each at least at once
            assert await session.call("worker", "handled")
            record = await session.rename("at last")
            assert record.name == "at last"
            texts = [message.content for message in await session.state.messages()]
            assert set(texts) == {"hello"}
            del works
            nobody_waits(system)

    loop.run(main)


def test_a_command_is_ended_with_its_caller(loop: Runner, opened: Opening, project: Path) -> None:
    """Before the cancellation goes on."""

    async def main() -> None:
        async with opened() as (_, session):
            await session.run("true")
            pid_file = project / "pid"

            async def run() -> None:
                await session.run(f"echo $$ > {pid_file}; exec sleep 1000")

            assert not await loop.within(1.0, run)
            listed = await session.commands.list()
            assert [info.running for info in listed] == [False, False]

    loop.run(main)


def test_a_session_that_is_not_wanted_any_more_is_not_open(
    loop: Runner, opened: Opening, tmp_path: Path
) -> None:
    """Nor is it found, nor has it a journal, whenever it was cancelled."""

    async def main() -> None:
        async with opened() as (system, session):
            for number, seconds in enumerate([0.0, 0.001, 0.01, 0.03, 0.06, 0.1, 0.2] * 3):
                folder = tmp_path / f"project {number}"
                folder.mkdir()

                async def create(folder: Path = folder) -> None:
                    await system.create_session(folder)

                if await loop.within(seconds, create):
                    found = await system.find_session(path=folder)
                    await found.stop()
                else:
                    with pytest.raises(SessionNotFoundError):
                        await system.find_session(path=folder)
                    known = await system.list_resumable(project=folder)
                    assert known == []
            assert [each.id for each in await system.list_sessions()] == [session.id]

    loop.run(main)


def test_a_session_whose_child_hangs_is_not_waited_for(
    loop: Runner, opened: Opening, tmp_path: Path
) -> None:
    """If its start is cancelled: it is stopped before it has started."""

    async def main() -> None:
        async with opened() as (system, _):
            hanging = [worker("hanging", None, "hang")]
            folder = tmp_path / "another"
            folder.mkdir()
            begin = time.monotonic()
            assert not await loop.within(
                0.3, lambda: system.create_session(folder, children=hanging)
            )
            assert time.monotonic() - begin < 15  # of the 30 that it has
            assert len(await system.list_sessions()) == 1

    loop.run(main)


def test_a_resumed_session_that_is_not_wanted_keeps_its_journal(
    loop: Runner, opened: Opening
) -> None:
    """And one that is open already is left alone by who has asked for it in vain."""

    async def main() -> None:
        async with opened() as (system, session):
            await session.state.append_message("user", "hello")

            async def resume() -> None:
                await system.resume_session(session.id)

            for seconds in (0.0, 0.005, 0.02):
                with suppress(SessionExistsError):  # it was as fast as that
                    assert not await loop.within(seconds, resume)
                assert await system.session_running(session.id)
            await session.stop()
            for seconds in (0.0, 0.02, 0.05):
                if await loop.within(seconds, resume):
                    await system.stop_session(session.id)
                assert not await system.session_running(session.id)
            await resume()
            assert len(await session.state.messages()) == 1

    loop.run(main)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3])
def test_a_start_that_is_cancelled_leaves_nothing(loop: Runner, seconds: float) -> None:
    """No process; the test fails over one that is there."""
    before = set(Path("/proc/self/task").iterdir())

    async def main() -> None:
        system = AsyncSessionSystem()

        async def start() -> None:
            async with system:
                await loop.sleep(1000)

        assert not await loop.within(seconds, start)
        assert processes_below(os.getpid()) == {}

    loop.run(main)
    eventually(lambda: before >= set(Path("/proc/self/task").iterdir()), "the end of all threads")


def test_a_close_that_is_cancelled_is_done(loop: Runner, project: Path) -> None:
    """And so is one in a block whose scope is cancelled, again and again by anyio."""

    async def main() -> None:
        async def use() -> None:
            async with AsyncSessionSystem() as system:
                await system.create_session(project)
                await system.aclose()

        assert not await loop.within(1.0, lambda: sleeping_in_a_system(loop, project))
        assert processes_below(os.getpid()) == {}
        with anyio.move_on_after(1.0) as scope:
            await sleeping_in_a_system(loop, project)
        assert scope.cancelled_caught
        assert processes_below(os.getpid()) == {}
        await use()
        assert processes_below(os.getpid()) == {}

    loop.run(main)


async def sleeping_in_a_system(loop: Runner, project: Path) -> Any:
    async with AsyncSessionSystem() as system:
        await system.create_session(project)
        await loop.sleep(1000)
