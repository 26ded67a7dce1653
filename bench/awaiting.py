"""Measures what it costs to await a system rather than to wait for it, and how long a loop is held.

Run it as `python bench/awaiting.py [ROUNDS]`. What counts are the ratios: each is of two
figures that were measured in turn, in one process; the gap is one of a quiet machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import trio

from jidocode import AsyncSessionHandle, AsyncSessionSystem, SessionHandle, SessionSystem

T = TypeVar("T")

GOALS = {
    "call, us": "<= 1.3x",
    "calls/s": ">= 1x",
    "longest gap, ms": "< 10",
    "longest gap, calls begin, ms": "",
    "append, 50 readers, ms": "<= 2x",
}
"""Of the ratios to the same with threads that wait; the gap itself."""
CALLS = 500
THREADS = 32
TASKS = 100
IN_FLIGHT = 1000
BEGINNING = 0.5
"""Seconds after which all calls are under way."""
READERS = 50
APPENDS = 20


def on_asyncio(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run *main* on asyncio."""
    return asyncio.run(main())


def on_trio(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run *main* on trio."""
    return trio.run(main)


LOOPS: dict[str, Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]] = {
    "asyncio": on_asyncio,
    "trio": on_trio,
}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = lambda main: uvloop.run(main())


async def together(*works: Callable[[], Awaitable[object]]) -> None:
    """Do all *works*, each in a task of its own."""
    if trio.lowlevel.in_trio_task():
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)
    else:
        await asyncio.gather(*(work() for work in works))


async def sleep(seconds: float) -> None:
    """Sleep on either loop."""
    if trio.lowlevel.in_trio_task():
        await trio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


# ----- waiting ----------------------------------------------------------------


def sync_latency(session: SessionHandle) -> float:
    """Return the seconds of a call."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        session.manager.project_root()
    return (time.perf_counter() - begin) / CALLS


def sync_rate(session: SessionHandle) -> float:
    """Return how many calls a second many threads make."""

    def work() -> None:
        for _ in range(CALLS // 5):
            session.manager.project_root()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return THREADS * (CALLS // 5) / (time.perf_counter() - begin)


def sync_appends(session: SessionHandle) -> float:
    """Return the seconds of an append that many threads are waiting to read."""
    streams = [session.state.subscribe(from_seq=1) for _ in range(READERS)]
    threads = [threading.Thread(target=list, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    times: list[float] = []
    for _ in range(APPENDS):
        begin = time.perf_counter()
        session.state.append_message("user", "hello")
        times.append(time.perf_counter() - begin)
    for stream in streams:
        stream.close()
    for thread in threads:
        thread.join()
    return statistics.median(times)


# ----- awaiting ---------------------------------------------------------------


async def async_latency(session: AsyncSessionHandle) -> float:
    """Return the seconds of a call."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        await session.manager.project_root()
    return (time.perf_counter() - begin) / CALLS


async def async_rate(session: AsyncSessionHandle) -> float:
    """Return how many calls a second many tasks make."""
    each = THREADS * (CALLS // 5) // TASKS

    async def work() -> None:
        for _ in range(each):
            await session.manager.project_root()

    begin = time.perf_counter()
    await together(*[work] * TASKS)
    return TASKS * each / (time.perf_counter() - begin)


async def longest_gaps(
    system: AsyncSessionSystem, session: AsyncSessionHandle
) -> tuple[float, float]:
    """Return for how long the loop was held at most, while many begin to call, and after that.

    They all begin in one turn, and go on while a session starts. What the app is made of is
    frozen, for the time that the garbage collector takes to look through it is not a system's.
    """
    gc.collect()
    gc.freeze()
    beginning: list[float] = []
    gaps: list[float] = []
    done = False

    async def watch() -> None:
        begin = last = time.perf_counter()
        while not done:
            await sleep(0)
            now = time.perf_counter()
            (gaps if last - begin > BEGINNING else beginning).append(now - last)
            last = now

    async def work() -> None:
        while not done:
            await session.manager.project_root()

    async def start() -> None:
        nonlocal done
        await sleep(1.0)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            another = await system.create_session(folder)
            await another.stop()
        done = True

    await together(watch, start, *[work] * IN_FLIGHT)
    gc.unfreeze()
    return max(beginning), max(gaps)


async def appends(session: AsyncSessionHandle) -> float:
    """Return the seconds of an append that many are waiting to read."""
    streams = [session.state.subscribe(from_seq=1) for _ in range(READERS)]
    waiting = iter(streams)
    times: list[float] = []

    async def read() -> None:
        async for _ in next(waiting):
            pass

    async def write() -> None:
        await sleep(0.2)
        for _ in range(APPENDS):
            begin = time.perf_counter()
            await session.state.append_message("user", "hello")
            times.append(time.perf_counter() - begin)
        for stream in streams:
            await stream.aclose()

    await together(write, *[read] * READERS)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    figures: dict[str, dict[str, list[float]]] = {}

    def note(way: str, what: str, value: float) -> None:
        figures.setdefault(what, {}).setdefault(way, []).append(value)

    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        tempfile.TemporaryDirectory(prefix="bench-") as state_dir,
    ):
        (Path(folder) / "project").mkdir()

        def measure_sync() -> None:
            with SessionSystem(state_dir=state_dir) as system:
                session = system.create_session(Path(folder) / "project")
                sync_latency(session)
                note("sync", "call, us", 1e6 * sync_latency(session))
                note("sync", "calls/s", sync_rate(session))
                note("sync", "append, 50 readers, ms", 1e3 * sync_appends(session))

        async def measure_async(loop: str) -> None:
            async with AsyncSessionSystem(state_dir=state_dir) as system:
                session = await system.create_session(Path(folder) / "project")
                await async_latency(session)
                note(loop, "call, us", 1e6 * await async_latency(session))
                note(loop, "calls/s", await async_rate(session))
                beginning, gap = await longest_gaps(system, session)
                note(loop, "longest gap, calls begin, ms", 1e3 * beginning)
                note(loop, "longest gap, ms", 1e3 * gap)
                note(loop, "append, 50 readers, ms", 1e3 * await appends(session))

        for _ in range(rounds):
            measure_sync()
            for loop, run in LOOPS.items():
                run(lambda loop=loop: measure_async(loop))  # type: ignore[misc] # it is called here

    print("# To await a system, and to wait for it in threads\n")
    print("| | threads | " + " | ".join(LOOPS) + " | goal |")
    print("|---|---|" + "---|" * len(LOOPS) + "---|")
    for what, ways in figures.items():
        base = ways.get("sync")
        cells = [f"{statistics.median(base):.3g}" if base else "-"]
        for loop in LOOPS:
            middle = statistics.median(ways[loop])
            ratio = f" ({middle / statistics.median(base):.2f}x)" if base else ""
            cells.append(f"{middle:.3g}{ratio}")
        print(f"| {what} | {' | '.join(cells)} | {GOALS[what]} |")


if __name__ == "__main__":
    main()
