"""How coroutines wait: no wake-up is lost, none holds up a loop, and its end is no error."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from weakref import ref

import pytest
from loops import Runner

from jidocode._host.sharing import Changes
from jidocode.system.asynchronous.alarm import Alarm
from jidocode.system.asynchronous.loops import current_loop
from jidocode.system.asynchronous.waiting import in_thread, wait_for


def test_whoever_is_woken_before_it_waits_does_not_wait(loop: Runner) -> None:
    """Nor does it wait longer than it is to, or for ever once it is woken."""

    async def main() -> None:
        waiter = current_loop().waiter()
        waiter.wake()
        await waiter.wait(1000.0)
        await waiter.wait(0.01)
        await waiter.wait(0.0)
        timer = threading.Timer(0.05, waiter.wake)
        timer.start()
        await waiter.wait(1000.0)
        timer.join()

    loop.run(main)


def test_no_change_is_missed(loop: Runner) -> None:
    """That another thread makes, at whatever moment."""
    changes, numbers = Changes(), [0]

    def look(wanted: int) -> bool | None:
        return numbers[0] >= wanted or None

    async def main() -> None:
        def count() -> None:
            for number in range(1, 2001):
                numbers[0] = number
                changes.tell()

        async def read(step: int) -> None:
            for wanted in range(0, 2001, step):
                assert await wait_for(changes, partial(look, wanted), 1e9)

        await loop.together(
            lambda: in_thread(count), lambda: read(1), lambda: read(3), lambda: read(50)
        )
        assert changes.waiting == 0

    loop.run(main)


def test_a_wake_up_after_the_end_of_the_loop_is_nobodys(loop: Runner) -> None:
    """The reader thread makes it, and has others to serve."""

    async def main() -> list[Callable[[], None]]:
        return [current_loop().waiter().wake for _ in range(3)]

    for wake in loop.run(main):
        wake()


def test_a_few_are_woken_in_each_turn() -> None:
    """So the loop comes to everything else in between."""
    turns: list[Callable[[], None]] = []
    woken: list[int] = []
    alarm = Alarm(turns.append)
    for number in range(100):
        alarm.ring(partial(woken.append, number))

    counts: list[int] = []
    while turns:
        assert len(turns) == 1
        turns.pop()()
        counts.append(len(woken))

    assert woken == list(range(100))
    assert counts[0] < 50
    alarm.ring(partial(woken.append, 100))
    turns.pop()()
    assert woken[-1] == 100


def test_many_moments_take_one_timer() -> None:
    """Each is kept, whatever others are set before and after it, and none is left."""

    async def main() -> None:
        loop, begin = asyncio.get_running_loop(), time.monotonic()
        ended: list[float] = []

        async def wait(seconds: float) -> None:
            await current_loop().waiter().wait(seconds)
            ended.append(seconds)
            assert time.monotonic() - begin >= seconds - 0.002  # a loop's clock is not finer

        tasks = [asyncio.create_task(wait(60.0)) for _ in range(100)]
        moments = [0.2, 0.05, 0.15, 0.01, 0.1, 0.1]
        await asyncio.gather(*map(wait, moments))
        assert ended == sorted(moments)
        scheduled: list[object] = vars(loop)["_scheduled"]
        assert len(scheduled) < 10
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*map(wait, moments))

    asyncio.run(main())


def test_what_is_sent_in_a_turn_is_sent_at_its_end(loop: Runner) -> None:
    """The first at once; and in the next turn it begins anew, also after a failure."""
    done: list[str] = []

    def fail() -> None:
        raise LookupError

    async def main() -> None:
        gather = current_loop().gather
        first, other = partial(done.append, "first"), partial(done.append, "other")
        with pytest.raises(LookupError):
            gather(fail)
        gather(first)
        for _ in range(3):
            gather(other)
        assert done == []
        await loop.sleep(0.01)
        assert sorted(done) == ["first", "other"]
        gather(first)
        assert done[2:] == ["first"]

    loop.run(main)


def test_a_loop_that_nobody_holds_is_collected() -> None:
    """Though something waits in it."""
    changes: Changes = Changes()
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(wait_for(changes, lambda: None, 1e9))
    loop.run_until_complete(asyncio.sleep(0))
    held, cancelled = ref(loop), waiting.cancel()
    assert cancelled
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del loop, waiting
    gc.collect()
    assert held() is None


def test_a_thread_is_waited_for_and_its_error_raised(loop: Runner) -> None:
    """It is done wholly, and undone, if it is cancelled."""
    done: list[str] = []

    async def main() -> None:
        assert await in_thread(lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)
        gate = threading.Event()

        def slow() -> str:
            gate.wait(60)
            done.append("slow")
            return "slow"

        threading.Timer(0.2, gate.set).start()
        assert not await loop.within(
            0.05, lambda: in_thread(slow, undo=lambda outcome: done.append(f"not {outcome()}"))
        )
        assert done == ["slow", "not slow"]

    loop.run(main)


def test_without_a_loop_it_is_said() -> None:
    """By asyncio, as ever."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        current_loop().waiter()


NOT_CLOSED = """
import asyncio, gc, sys, warnings
from jidocode import AsyncSessionSystem

async def main():
    system = AsyncSessionSystem()
    await system.__aenter__()
    print(system.host_pid, flush=True)

warnings.simplefilter("always")
asyncio.run(main())
gc.collect()
print("collected", flush=True)
"""


def test_a_system_that_is_not_closed_is_warned_of() -> None:
    """When nobody holds it any more; and none of its processes is left."""
    app = subprocess.run(
        [sys.executable, "-Ic", NOT_CLOSED], capture_output=True, text=True, check=True, timeout=60
    )
    pid, collected = app.stdout.split()

    assert "ResourceWarning" in app.stderr
    assert "was not closed" in app.stderr
    assert collected == "collected"
    with pytest.raises(FileNotFoundError), open(f"/proc/{pid}/stat", encoding="ascii"):  # noqa: PTH123 - of a process
        pass


ON_TRIO = """
import sys, trio
before = "asyncio" in sys.modules
from jidocode import AsyncSessionSystem
async def main():
    async with AsyncSessionSystem() as system:
        await system.tree()
trio.run(main)
print(before, "asyncio" in sys.modules, "anyio" in sys.modules, "sniffio" in sys.modules)
"""


def test_an_app_on_trio_needs_nothing_else() -> None:
    """Neither asyncio nor anyio."""
    app = subprocess.run(
        [sys.executable, "-Ic", ON_TRIO], capture_output=True, text=True, check=True, timeout=60
    )
    before, asyncio_, anyio, _sniffio = app.stdout.split()

    assert asyncio_ == before
    assert anyio == "False"


def test_a_loop_that_is_stopped_and_goes_on_is_woken() -> None:
    """As in a notebook."""
    loop = asyncio.new_event_loop()
    changes, numbers = Changes(), [0]
    try:
        task = loop.create_task(
            wait_for(changes, lambda: True if numbers[0] else None, 1e9), name="waits"
        )
        loop.run_until_complete(asyncio.sleep(0))
        numbers[0] = 1
        changes.tell()
        assert loop.run_until_complete(task)
    finally:
        loop.close()
