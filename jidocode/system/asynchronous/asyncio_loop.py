"""How a coroutine waits on asyncio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar
from weakref import ref

from jidocode.base.contained import contained
from jidocode.base.stop import Stop, Stopped
from jidocode.otp.seconds import INFINITY
from jidocode.system.asynchronous.from_threads import Await
from jidocode.system.asynchronous.turns import Action, Turns

T = TypeVar("T")

_OURS = "_jidocode_loop"
"""The attribute of a loop under which what is ours of it stands, so that both end together."""


class AsyncioWaiter:
    """A `Waiter` by a future."""

    __slots__ = ("_future", "_is_awake", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._future: asyncio.Future[None] | None = None
        self._is_awake = False

    def wake(self) -> None:
        """End the waiting; see `Waiter`."""
        if not self._is_awake:
            self._is_awake = True
            self._turns.wake(self.end)

    def end(self) -> None:
        """End the waiting, in the loop; see `Waiter`."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken; see `Waiter`."""
        if not self._is_awake:
            loop = asyncio.get_running_loop()
            self._future = future = loop.create_future()
            timer = None if seconds == INFINITY else loop.call_later(seconds, self.end)
            try:
                await future
            finally:
                self._future = None
                if timer is not None:
                    timer.cancel()
        self._is_awake = False


class AsyncioLoop:
    """A `Loop` of asyncio, whoever has made it (uvloop, too)."""

    cancelled: type[BaseException] = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)  # what waits in it does not keep it alive
        self.turns = Turns(self._call_soon, self._call_from_outside)

    def _call_soon(self, action: Action) -> None:
        asyncio.get_running_loop().call_soon(action)

    def _call_from_outside(self, action: Action) -> None:
        loop = self._loop()
        if loop is None:
            raise RuntimeError("the loop is gone")
        loop.call_soon_threadsafe(action)

    def waiter(self) -> AsyncioWaiter:
        """Return a new waiter."""
        return AsyncioWaiter(self.turns)

    def shield(self) -> AbstractContextManager[object]:
        """Keep scopes of anyio's, if it is in use, from cancelling again and again."""
        anyio: Any = sys.modules.get("anyio")
        return nullcontext() if anyio is None else anyio.CancelScope(shield=True)

    def is_cancelled(self, error: BaseException) -> bool:
        """Whether it is what cancels this coroutine; see `Loop`."""
        return isinstance(error, self.cancelled) and (
            asyncio.current_task() is None or self.cancels() > 0
        )

    def cancels(self) -> int:
        """Return how often this coroutine was cancelled; see `Loop`."""
        task = asyncio.current_task()
        return 0 if task is None else task.cancelling()

    async def within(self, seconds: float, work: Callable[[], Awaitable[T]]) -> tuple[T] | None:
        """Return what *work* comes to; see `Loop`."""
        scope = asyncio.timeout(None if seconds == INFINITY else seconds)
        try:
            async with scope:
                return (await work(),)
        except TimeoutError:
            if not scope.expired():
                raise  # it is the work's own
        return None

    def from_threads(self) -> Await:
        """Return how other threads have something awaited; see `Loop`."""
        loop = asyncio.get_running_loop()

        def have_awaited(work: Callable[[], Awaitable[T]], stop: Stop) -> T:
            async def do() -> T:
                with contained(self.is_cancelled):
                    return await work()

            task = do()
            try:
                future = asyncio.run_coroutine_threadsafe(task, loop)
            except RuntimeError:  # the loop is closed
                task.close()
                raise
            try:
                with stop.waking(future.cancel):
                    return future.result()
            except Stopped:  # it was, before this waited
                future.cancel()
                raise
            except CancelledError as error:
                if stop.requested:
                    raise Stopped from error
                raise RuntimeError("it was cancelled in its loop, which may have ended") from error

        return have_awaited

    async def checkpoint(self) -> None:
        """Let other coroutines run."""
        await asyncio.sleep(0)


def current_asyncio_loop() -> AsyncioLoop:
    """Return the loop of asyncio that runs this coroutine."""
    loop = asyncio.get_running_loop()
    ours: AsyncioLoop | None = getattr(loop, _OURS, None)
    if ours is None:
        ours = AsyncioLoop(loop)
        setattr(loop, _OURS, ours)
    return ours
