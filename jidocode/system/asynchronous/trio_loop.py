"""How a coroutine waits on trio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeVar

import trio

from jidocode.base.contained import contained
from jidocode.base.stop import Stop, Stopped
from jidocode.otp.seconds import INFINITY
from jidocode.system.asynchronous.from_threads import Await
from jidocode.system.asynchronous.turns import Turns

T = TypeVar("T")

_NO_SCOPE = nullcontext()


class TrioWaiter:
    """A `Waiter` by putting the task to sleep."""

    __slots__ = ("_is_awake", "_task", "_turns")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._task: trio.lowlevel.Task | None = None
        self._is_awake = False

    def wake(self) -> None:
        """End the waiting; see `Waiter`."""
        if not self._is_awake:
            self._is_awake = True
            self._turns.wake(self.end)

    def end(self) -> None:
        """End the waiting, in the loop; see `Waiter`."""
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self, seconds: float) -> None:
        """Wait until it is woken; see `Waiter`."""
        if self._is_awake:
            await trio.lowlevel.checkpoint()
        else:
            scope = _NO_SCOPE if seconds == INFINITY else trio.move_on_after(seconds)
            with scope:
                self._task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._is_awake = False

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class TrioLoop:
    """A `Loop` of trio."""

    cancelled: type[BaseException] = trio.Cancelled

    def __init__(self) -> None:
        call_soon = trio.lowlevel.current_trio_token().run_sync_soon
        self.turns = Turns(call_soon, call_soon)

    def waiter(self) -> TrioWaiter:
        """Return a new waiter."""
        return TrioWaiter(self.turns)

    def shield(self) -> AbstractContextManager[object]:
        """Keep scopes from cancelling."""
        return trio.CancelScope(shield=True)

    def is_cancelled(self, error: BaseException) -> bool:
        """Whether it is what cancels this coroutine; see `Loop`."""
        return isinstance(error, self.cancelled)  # nobody else can make one

    def cancels(self) -> int:
        """Return 0: trio raises again what was not heeded."""
        return 0

    async def within(self, seconds: float, work: Callable[[], Awaitable[T]]) -> tuple[T] | None:
        """Return what *work* comes to; see `Loop`."""
        with trio.move_on_after(seconds):
            return (await work(),)
        return None

    def from_threads(self) -> Await:
        """Return how other threads have something awaited; see `Loop`."""
        token = trio.lowlevel.current_trio_token()

        def have_awaited(work: Callable[[], Awaitable[T]], stop: Stop) -> T:
            scope = trio.CancelScope()

            async def do() -> tuple[T] | None:
                with scope, contained(self.is_cancelled):
                    return (await work(),)
                return None

            def cancel() -> None:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(scope.cancel)

            try:
                with stop.waking(cancel):
                    found = trio.from_thread.run(do, trio_token=token)
            except trio.Cancelled as error:
                raise RuntimeError("it was cancelled in its loop, which has ended") from error
            if found is None:
                raise Stopped
            return found[0]

        return have_awaited

    async def checkpoint(self) -> None:
        """Let other coroutines run."""
        await trio.lowlevel.checkpoint()


_ours: trio.lowlevel.RunVar[TrioLoop] = trio.lowlevel.RunVar("jidocode loop")


def current_trio_loop() -> TrioLoop:
    """Return the loop of trio that runs this coroutine."""
    try:
        return _ours.get()
    except LookupError:
        loop = TrioLoop()
        _ours.set(loop)
        return loop
