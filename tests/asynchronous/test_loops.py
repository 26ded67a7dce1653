"""How coroutines wait: no wake-up is lost, none holds up a loop, and its end is no error."""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from types import FrameType
from weakref import ref

import pytest
from loops import Runner

from jidocode.base.changes import Changes
from jidocode.system.asynchronous import turns
from jidocode.system.asynchronous.loops import await_turn, current_loop
from jidocode.system.asynchronous.turns import AT_A_TIME, LOST, Action, Turns
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


class Script:
    """A loop whose turns the test makes."""

    def __init__(self) -> None:
        self.turns = Turns(self._call_soon, self._call_soon)
        self._soon: list[Action] = []

    def _call_soon(self, action: Action) -> None:
        self._soon.append(action)

    def turn(self) -> bool:
        """Make a turn, and return whether there was anything to do in it."""
        soon, self._soon = self._soon, []
        for action in soon:
            action()
        return bool(soon)


def test_a_few_are_woken_in_each_turn() -> None:
    """So the loop comes to everything else in between: also while others go on waking."""
    loop = Script()
    woken: list[int] = []
    for number in range(100):
        loop.turns.wake(partial(woken.append, number))

    counts: list[int] = []
    while loop.turn():
        counts.append(len(woken))
        if len(counts) < 10:
            loop.turns.wake(partial(woken.append, 100 + len(counts)))

    assert woken == [*range(100), *range(101, 110)]
    assert counts[:3] == [AT_A_TIME, 2 * AT_A_TIME, 3 * AT_A_TIME]
    loop.turns.wake(partial(woken.append, 200))
    assert loop.turn()
    assert woken[-1] == 200


def test_who_wakes_more_than_the_loop_comes_to_leaves_it_the_interpreter() -> None:
    """Whoever works without a break would have it wait for 5 ms again and again."""
    loop = Script()
    waited: list[float] = []

    def wake_many() -> None:
        begin, worked = time.monotonic(), time.thread_time()
        for _ in range(100 * AT_A_TIME):
            loop.turns.wake(lambda: None)
        waited.append(time.monotonic() - begin - (time.thread_time() - worked))

    thread = threading.Thread(target=wake_many)
    thread.start()
    thread.join()
    assert waited[0] > 0.004  # 99 times 50 us


def test_one_that_fails_keeps_nobody_asleep() -> None:
    """Such as by Ctrl-C, which is raised wherever the loop is."""
    loop = Script()
    woken: list[str] = []
    loop.turns.wake(partial(next, iter(())))
    for name in ("second", "third"):
        loop.turns.wake(partial(woken.append, name))
    with pytest.raises(StopIteration):
        loop.turn()
    while loop.turn():
        pass
    assert woken == ["second", "third"]


def test_the_first_request_of_a_turn_is_sent_at_once() -> None:
    """The others after the turn, all that is for one process together."""
    loop = Script()
    sent: list[str] = []
    to_one, to_other = partial(sent.append, "one"), partial(sent.append, "other")

    def ask(flush: Action) -> None:
        loop.turns.ask()
        loop.turns.send(flush)

    for flush in (to_one, to_one, to_other, to_one):
        ask(flush)
    assert sent == ["one"]
    loop.turn()
    assert sent == ["one", "one", "other"]
    ask(to_other)
    assert sent[3:] == ["other"]

    loop.turns.wake(partial(ask, to_one))  # who was answered asks again
    loop.turn()
    assert sent[4:] == ["one"]
    assert not loop.turn()


def test_a_turn_in_which_many_begin_is_full() -> None:
    """And the next one is not, though nobody is answered."""
    loop = Script()
    for _ in range(AT_A_TIME):
        assert not loop.turns.is_full
        loop.turns.begin()
    assert loop.turns.is_full
    loop.turn()
    assert not loop.turns.is_full


class Interruption:
    """Raises `KeyboardInterrupt` once, at one of the steps of Python that `Turns` takes."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.came = False

    def __call__(self, frame: FrameType, event: str, _arg: object) -> Interruption:
        if frame.f_code.co_filename == turns.__file__:
            frame.f_trace_opcodes = True
            if event in {"call", "opcode"} and not self.came:
                self._left -= 1
                if self._left < 0:
                    self.came = True
                    raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("names", [["first"], ["first", "second"]])
def test_an_interruption_at_any_step_keeps_nobody_who_comes_later(names: list[str]) -> None:
    """By Ctrl-C, after which the loop runs again: at the least to close the system."""
    for at in itertools.count():
        loop = Script()
        done: list[str] = []
        interruption = Interruption(at)

        def work(name: str, loop: Script = loop, done: list[str] = done) -> None:
            for _ in range(2):
                loop.turns.begin()
                loop.turns.ask()
                loop.turns.send(partial(done.append, f"{name} sent"))
            loop.turns.wake(partial(done.append, f"{name} woken"))

        before = sys.gettrace()
        sys.settrace(interruption)
        try:
            with suppress(KeyboardInterrupt):
                for name in names:
                    work(name)
                loop.turn()
        finally:
            sys.settrace(before)
        time.sleep(1.1 * LOST)
        with suppress(KeyboardInterrupt):
            work("last")
        loop.turn()
        loop.turn()
        assert done.count("last sent") == 2, at
        assert done.count("last woken") == 1, at
        assert not loop.turns.is_full
        while loop.turn():
            pass
        if not interruption.came:  # all steps were had
            assert at > 50
            return


def test_a_thousand_that_wait_for_a_turn_share_out_many(loop: Runner) -> None:
    """What else is in the loop comes in between; one that is cancelled takes nobody's place."""
    begun: list[float] = []

    async def main() -> None:
        current = current_loop()

        async def begin() -> None:
            await await_turn(current)
            begun.append(0.0)

        async def give_up() -> None:
            assert not await loop.within(0.0, begin)

        async def look() -> None:
            seen = [len(begun)]
            while len(begun) < 1000:
                await current.checkpoint()
                seen.append(len(begun))
            assert max(after - before for before, after in pairwise(seen)) <= 2 * AT_A_TIME

        await loop.together(look, *[begin] * 500, *[give_up] * 100, *[begin] * 500)

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
