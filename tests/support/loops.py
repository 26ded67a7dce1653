"""Runs coroutines on either kind of loop, and cancels them at any of their steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import trio

from jidocode import AsyncSessionHandle, AsyncSessionSystem

T = TypeVar("T")

Main = Callable[[], Coroutine[Any, Any, T]]
Opening = Callable[..., AbstractAsyncContextManager[tuple[AsyncSessionSystem, AsyncSessionHandle]]]


class OnAsyncio:
    """Asyncio."""

    name = "asyncio"

    def run(self, main: Main[T]) -> T:
        """Run *main*."""
        return asyncio.run(main())

    async def together(self, *works: Callable[[], Awaitable[object]]) -> None:
        """Do all *works*, each in a task."""
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(_as_coroutine(work))

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        await asyncio.sleep(seconds)

    async def cancelled_after(self, steps: int, work: Callable[[], Awaitable[object]]) -> bool:
        """Do *work*, and cancel it after so many turns of the loop; return whether it was."""
        task = asyncio.create_task(_as_coroutine(work))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

    async def within(self, seconds: float, work: Callable[[], Awaitable[object]]) -> bool:
        """Do *work* for so long at most; return whether it was through with it."""
        try:
            async with asyncio.timeout(seconds):
                await work()
        except TimeoutError:
            return False
        return True


class OnTrio:
    """Trio."""

    name = "trio"

    def run(self, main: Main[T]) -> T:
        """Run *main*."""
        return trio.run(main)

    async def together(self, *works: Callable[[], Awaitable[object]]) -> None:
        """Do all *works*, each in a task."""
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        await trio.sleep(seconds)

    async def cancelled_after(self, steps: int, work: Callable[[], Awaitable[object]]) -> bool:
        """Do *work*, and cancel it after so many turns of the loop; return whether it was."""
        scope, ended = trio.CancelScope(), trio.Event()

        async def do() -> None:
            try:
                with scope:
                    await work()
            finally:
                ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(do)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()
            await ended.wait()
        return scope.cancelled_caught

    async def within(self, seconds: float, work: Callable[[], Awaitable[object]]) -> bool:
        """Do *work* for so long at most; return whether it was through with it."""
        with trio.move_on_after(seconds) as scope:
            await work()
        return not scope.cancelled_caught


Runner = OnAsyncio | OnTrio

RUNNERS: list[Runner] = [OnAsyncio(), OnTrio()]


async def _as_coroutine(work: Callable[[], Awaitable[object]]) -> None:
    await work()


def nobody_waits(system: AsyncSessionSystem) -> None:
    """Check that nothing of a call is left in the client."""
    client = system._system.client
    assert client.calls == 0
    assert client.directory.changes.waiting == 0
