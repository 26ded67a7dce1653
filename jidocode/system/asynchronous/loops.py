"""Event loops: how a coroutine waits for what another thread does, on asyncio and on trio.

No task of ours is in an app's loop, but for a tool or a policy of its own that it awaits for an
agent (`Loop.from_threads`); and no cancel scope stays open between two calls: who
waits is the caller itself, and whatever cancels it, an `asyncio.timeout` or a scope of trio's
or anyio's, finds it at one place (`Waiter.wait`).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Protocol, TypeVar

from jidocode.otp.seconds import INFINITY
from jidocode.system.asynchronous.from_threads import Await
from jidocode.system.asynchronous.turns import Turns

T = TypeVar("T")


class Waiter(Protocol):
    """What one coroutine waits by; made in its loop."""

    def wake(self) -> None:
        """End the waiting, now or when it begins; any thread may, after the loop's end too."""
        ...

    def end(self) -> None:
        """End the waiting if it has begun; for the loop alone."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, for *seconds* at most."""
        ...


class Loop(Protocol):
    """A running event loop.

    Attributes:
        cancelled: What a cancelled coroutine has raised in it.
        turns: What is shared out among its turns.
    """

    cancelled: type[BaseException]
    turns: Turns

    def waiter(self) -> Waiter:
        """Return a new one, for a coroutine of this loop."""
        ...

    def shield(self) -> AbstractContextManager[object]:
        """Keep scopes from cancelling what is awaited in the block.

        A task of asyncio's may be cancelled all the same.
        """
        ...

    def is_cancelled(self, error: BaseException) -> bool:
        """Whether *error* is raised because this coroutine is cancelled: any can raise it."""
        ...

    def cancels(self) -> int:
        """Return how often this coroutine was cancelled, where that is raised only once."""
        ...

    async def within(self, seconds: float, work: Callable[[], Awaitable[T]]) -> tuple[T] | None:
        """Return what *work* comes to, None if it was cancelled after so many seconds."""
        ...

    def from_threads(self) -> Await:
        """Return how other threads have something awaited in the loop that runs in this one."""
        ...

    async def checkpoint(self) -> None:
        """Let other coroutines run; raise if this one is cancelled."""
        ...


async def await_turn(loop: Loop) -> None:
    """Wait for a turn of *loop* in which little was begun before."""
    waiter = loop.waiter()
    loop.turns.wake(waiter.end)
    await waiter.wait(INFINITY)


def current_loop() -> Loop:
    """Return the loop that runs this coroutine."""
    trio = sys.modules.get("trio")  # whoever runs a loop of it has imported it
    on_trio = trio is not None and trio.lowlevel.in_trio_task()
    return (_finder_on_trio if on_trio else _finder_on_asyncio)()()


@cache
def _finder_on_trio() -> Callable[[], Loop]:
    from jidocode.system.asynchronous.trio_loop import current_trio_loop  # noqa: PLC0415 - trio need not be installed

    return current_trio_loop


@cache
def _finder_on_asyncio() -> Callable[[], Loop]:
    from jidocode.system.asynchronous.asyncio_loop import current_asyncio_loop  # noqa: PLC0415 - an app on trio needs no asyncio

    return current_asyncio_loop
