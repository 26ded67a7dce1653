"""`AsyncRunner`: a coroutine's way to wait for what a running tree does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from jidocode._host.client.calls import NotSentError, PendingCall
from jidocode._host.deadline import Deadline
from jidocode.base.refs import ActorRef
from jidocode.base.stepwise import carry_out_async
from jidocode.base.stop import Stop, Stopped
from jidocode.errors import CallError
from jidocode.otp.seconds import INFINITY
from jidocode.session.requests import Request
from jidocode.system.asynchronous.loops import Loop, await_turn, current_loop
from jidocode.system.asynchronous.waiting import in_thread, wait_for
from jidocode.system.running import RunningTree
from jidocode.system.running_sessions import Way
from jidocode.system.steps import (
    Ask,
    AskAll,
    AwaitChange,
    AwaitName,
    Begin,
    BeginStream,
    PingAll,
    Plan,
    Step,
)

T = TypeVar("T")

_NOTHING = nullcontext()


class AsyncRunner:
    """Carries out the plans of a running tree for coroutines, of any number of loops.

    What is sent is sent before anything is awaited, and what is awaited no more is forgotten:
    its late answer reaches nobody.
    """

    def __init__(self, tree: RunningTree) -> None:
        self._client = tree.client
        self._observers = tree.observers

    async def carry_out(self, plan: Plan[T], stop: Stop | None = None) -> T:
        """Carry out *plan*, awaiting what comes of each step until *stop*."""
        loop = current_loop()
        if loop.turns.is_full:  # nothing is done yet, so there is nothing to undo
            await await_turn(loop)
        return await carry_out_async(plan, partial(self._take, loop, stop))

    # Each coroutine between a task and what it waits for is gone through at each step: so there
    # are as few of them as can be where every call comes by.

    def _take(self, loop: Loop, stop: Stop | None, step: Step) -> Awaitable[object]:
        client = self._client
        match step:
            case Ask():
                ask = self._ask_observed if self._observers.active else self._ask
                return ask(loop, step, stop)
            case Begin():
                return self._begin(step)
            case AwaitName():
                return self._await_name(step, stop)
            case AskAll():
                calls = client.begin_all(step.refs, step.request)
                return self._answers(loop, calls, step.deadline)
            case PingAll():
                return self._answers(loop, client.begin_pings(step.refs), step.deadline)
            case AwaitChange():
                return wait_for(step.changes, step.look, step.deadline.at)

    async def _begin(self, step: Begin) -> PendingCall:
        client = self._client
        begin = client.begin_stream if isinstance(step, BeginStream) else client.begin
        return begin(step.ref, step.request, target=step.target)

    async def _ask(self, loop: Loop, step: Ask, stop: Stop | None) -> Any:
        turns = loop.turns
        turns.ask()
        pending = self._client.begin(step.ref, step.request, target=step.target, gather=turns.send)
        return await self._answer(loop, pending, step.deadline, stop)

    async def _ask_observed(self, loop: Loop, step: Ask, stop: Stop | None) -> Any:
        with self._observers.observing(step) as call:
            call.answer = await self._ask(loop, step, stop)
        return call.answer

    async def _answer(
        self, loop: Loop, pending: PendingCall, deadline: Deadline, stop: Stop | None = None
    ) -> Any:
        client = self._client
        try:
            with _NOTHING if stop is None else stop.waking(partial(client.stop, pending)):
                waiter = loop.waiter()
                pending.on_end = waiter.wake
                client.limit(pending, deadline)
                while not pending.ended:  # after that: what ended before has woken nobody
                    await waiter.wait(INFINITY)
                return pending.result()
        finally:
            client.forget(pending)

    async def _answers(
        self, loop: Loop, calls: Sequence[PendingCall | NotSentError], deadline: Deadline
    ) -> list[Any | CallError]:
        try:
            return [await self._answer_or_error(loop, call, deadline) for call in calls]
        finally:
            for call in calls:
                if isinstance(call, PendingCall):
                    self._client.cancel(call)

    async def _answer_or_error(
        self, loop: Loop, call: PendingCall | NotSentError, deadline: Deadline
    ) -> Any:
        if isinstance(call, NotSentError):
            return call
        try:
            return await self._answer(loop, call, deadline)
        except CallError as error:
            return error

    async def _await_name(self, step: AwaitName, stop: Stop | None) -> ActorRef | None:
        directory, give_up = self._client.directory, step.give_up
        if stop is not None:
            give_up = partial(_either, stop, step.give_up)
        with nullcontext() if stop is None else stop.waking(directory.wake):
            found = await wait_for(
                directory.changes, lambda: directory.look_for(step.name, give_up), step.deadline.at
            )
        if stop is not None and stop.requested:
            raise Stopped
        return found[0] if found else None


def _either(stop: Stop, give_up: Callable[[], bool]) -> bool:
    return stop.requested or give_up()


class AsyncWay(Struct, frozen=True):
    """The way of coroutines to a process: an `AsyncChannel`; *waiting* is that of threads."""

    runner: AsyncRunner
    waiting: Way

    def __call__(  # noqa: D102 - see `AsyncChannel`
        self,
        request: Request[T],
        /,
        *,
        timeout: float | None = None,
        stop: Stop | None = None,
        shielded: bool = False,
    ) -> Coroutine[Any, Any, T]:
        if shielded:
            return in_thread(lambda: self.waiting(request, timeout=timeout))
        return self.runner.carry_out(self.waiting.asking(request, timeout), stop)
