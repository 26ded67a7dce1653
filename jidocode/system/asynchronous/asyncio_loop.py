"""How a coroutine waits on asyncio."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar
from weakref import ref

from jidocode.base.stop import Stop, Stopped
from jidocode.otp.seconds import INFINITY
from jidocode.system.asynchronous.alarm import Alarm, Turn
from jidocode.system.asynchronous.from_threads import Await

T = TypeVar("T")

_HOME = "_jidocode_home"
"""The attribute of a loop under which what is shared there stands, so that both end together."""


class _Home:
    """What those who wait in one loop share: its alarm, and one timer for all of them.

    A loop's own timers are kept in order one by one, also those that never ring, as that of a
    call hardly ever does. Here the loop has one for the earliest moment, and when that comes
    it is looked who is due. It does not keep the loop alive for other threads.
    """

    __slots__ = ("_loop", "_next", "_until", "alarm", "turn")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self.alarm = Alarm(self._call_soon)
        self._until: dict[AsyncioWaiter, float] = {}
        self._next = INFINITY
        self.turn = Turn(self._call_in_this_thread)

    def _call_soon(self, callback: Callable[[], None]) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_soon_threadsafe(callback)

    def _call_in_this_thread(self, callback: Callable[[], None]) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_soon(callback)

    def wait_until(self, waiter: AsyncioWaiter, when: float) -> None:
        """End the waiting of *waiter* at *when* (monotonic seconds)."""
        self._until[waiter] = when
        if when < self._next:
            self._set_timer(when)

    def wait_no_more(self, waiter: AsyncioWaiter) -> None:
        """Leave *waiter* alone."""
        self._until.pop(waiter, None)

    def _set_timer(self, when: float) -> None:
        loop = self._loop()
        if loop is not None:
            self._next = when
            loop.call_later(max(0.0, when - time.monotonic()), self._ring, when)

    def _ring(self, when: float) -> None:
        if when != self._next:
            return  # an earlier one was set after it
        self._next = INFINITY
        now = max(when, time.monotonic())
        for waiter in [waiter for waiter, until in self._until.items() if until <= now]:
            waiter.end()
        if self._until:
            self._set_timer(min(self._until.values()))


def _home_of(loop: asyncio.AbstractEventLoop) -> _Home:
    home: _Home | None = getattr(loop, _HOME, None)
    if home is None:
        home = _Home(loop)
        setattr(loop, _HOME, home)
    return home


class AsyncioWaiter:
    """A `Waiter` by a future."""

    __slots__ = ("_future", "_home", "_is_awake", "_loop")

    def __init__(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._home = _home_of(loop)
        self._future: asyncio.Future[None] | None = None
        self._is_awake = False

    def wake(self) -> None:
        """End the waiting; see `Waiter`."""
        if not self._is_awake:
            self._is_awake = True
            self._home.alarm.ring(self.end)

    def end(self) -> None:
        """End the waiting, in the loop."""
        self._home.wait_no_more(self)
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken; see `Waiter`."""
        if not self._is_awake:
            self._future = future = self._loop.create_future()
            if seconds != INFINITY:
                self._home.wait_until(self, time.monotonic() + seconds)
            try:
                await future
            finally:
                self._future = None
                self._home.wait_no_more(self)
        self._is_awake = False


class AsyncioLoop:
    """The `Loop` of asyncio, whoever has made it (uvloop, too)."""

    cancelled: type[BaseException] = asyncio.CancelledError

    def waiter(self) -> AsyncioWaiter:
        """Return a new waiter."""
        return AsyncioWaiter()

    def gather(self, action: Callable[[], None]) -> None:
        """Do *action* at once, or at the end of this turn of the loop."""
        _home_of(asyncio.get_running_loop()).turn.gather(action)

    def shield(self) -> AbstractContextManager[object]:
        """Keep scopes of anyio's, if it is in use, from cancelling again and again."""
        anyio: Any = sys.modules.get("anyio")
        return nullcontext() if anyio is None else anyio.CancelScope(shield=True)

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


ASYNCIO = AsyncioLoop()
