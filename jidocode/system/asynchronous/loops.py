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
from typing import Protocol, TypeVar

from jidocode.system.asynchronous.from_threads import Await

T = TypeVar("T")


class Waiter(Protocol):
    """What one coroutine waits by; made in its loop."""

    def wake(self) -> None:
        """End the waiting, now or when it begins; any thread may, after the loop's end too."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken, for *seconds* at most."""
        ...


class Loop(Protocol):
    """A kind of event loop.

    Attributes:
        cancelled: What a cancelled coroutine has raised in it.
    """

    cancelled: type[BaseException]

    def waiter(self) -> Waiter:
        """Return a new one, for a coroutine of the loop that runs in this thread."""
        ...

    def gather(self, action: Callable[[], None]) -> None:
        """Do *action* at once, or at the end of this turn of the loop, for all who want it done."""
        ...

    def shield(self) -> AbstractContextManager[object]:
        """Keep scopes from cancelling what is awaited in the block.

        A task of asyncio's may be cancelled all the same.
        """
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


def current_loop() -> Loop:
    """Return the kind of the loop that runs this coroutine."""
    trio = sys.modules.get("trio")  # whoever runs a loop of it has imported it
    if trio is not None and trio.lowlevel.in_trio_task():
        from jidocode.system.asynchronous.trio_loop import TRIO  # noqa: PLC0415 - trio need not be installed

        return TRIO
    from jidocode.system.asynchronous.asyncio_loop import ASYNCIO  # noqa: PLC0415 - an app on trio needs no asyncio

    return ASYNCIO
