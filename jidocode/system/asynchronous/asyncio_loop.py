"""How a coroutine waits on asyncio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

from jidocode.otp.seconds import INFINITY
from jidocode.system.asynchronous.alarm import Alarm

T = TypeVar("T")

_alarms: WeakKeyDictionary[asyncio.AbstractEventLoop, Alarm] = WeakKeyDictionary()
"""Of each loop that somebody has waited in."""


def _call_soon(
    loop: asyncio.AbstractEventLoop,
) -> Callable[[Callable[[], None]], object]:
    """Return the way into *loop* from other threads, which does not keep it alive."""
    weak = ref(loop)

    def call_soon(callback: Callable[[], None]) -> None:
        loop = weak()
        if loop is not None:
            loop.call_soon_threadsafe(callback)

    return call_soon


class AsyncioWaiter:
    """A `Waiter` by a future."""

    __slots__ = ("_alarm", "_future", "_is_awake", "_loop")

    def __init__(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        alarm = _alarms.get(loop)
        if alarm is None:
            alarm = _alarms[loop] = Alarm(_call_soon(loop))
        self._alarm = alarm
        self._future: asyncio.Future[None] | None = None
        self._is_awake = False

    def wake(self) -> None:
        """End the waiting; see `Waiter`."""
        if not self._is_awake:
            self._is_awake = True
            self._alarm.ring(self._end)

    def _end(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken; see `Waiter`."""
        if not self._is_awake:
            self._future = future = self._loop.create_future()
            timer = None if seconds == INFINITY else self._loop.call_later(seconds, self._end)
            try:
                await future
            finally:
                self._future = None
                if timer is not None:
                    timer.cancel()
        self._is_awake = False


class AsyncioLoop:
    """The `Loop` of asyncio, whoever has made it (uvloop, too)."""

    cancelled: type[BaseException] = asyncio.CancelledError

    def waiter(self) -> AsyncioWaiter:
        """Return a new waiter."""
        return AsyncioWaiter()

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

    async def checkpoint(self) -> None:
        """Let other coroutines run."""
        await asyncio.sleep(0)


ASYNCIO = AsyncioLoop()
