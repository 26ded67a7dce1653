"""`AsyncToolbox`: makes the calls of tools, and awaits what they wait for."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jidocode._host.deadline import Deadline
from jidocode.base.contained import contained
from jidocode.base.stepwise import carry_out_async
from jidocode.session.tools.steps import Decide, Run, Step, UndecidedError, Use
from jidocode.session.tools.tool import is_awaited
from jidocode.system.asynchronous.loops import current_loop
from jidocode.system.asynchronous.waiting import in_thread, in_thread_until

if TYPE_CHECKING:
    from jidocode.base.refs import ActorRef
    from jidocode.session.conversation.changes import ToolResult
    from jidocode.session.tools.calls import ToolCalls
    from jidocode.session.tools.policy import AsyncPolicy
    from jidocode.session.tools.tool import Tool, ToolContext


class AsyncToolbox:
    """The tools of one session: the methods of `Toolbox`, to be awaited.

    A tool or a policy that is a coroutine function runs in the loop; one that is a plain function
    may wait, and has a thread for that. The tools that every session has need none.
    """

    def __init__(self, session: object, waiting: ToolContext, calls: ToolCalls) -> None:
        """Make *calls* in *session*, an `AsyncSessionHandle`; *waiting* is for what waits."""
        self._session = session
        self._waiting = waiting
        self._calls = calls

    def __iter__(self) -> Iterator[Tool]:
        """Yield the tools that need not be asked for: of every session, and the app's."""
        return iter(self._calls.tools.values())

    async def __aiter__(self) -> AsyncIterator[Tool]:
        """Yield all tools, those of the session's MCP servers last; see `Toolbox.__iter__`."""
        take = _Take(self._session, self._waiting, self._calls.patience)
        for tool in await carry_out_async(self._calls.listed(), take):
            yield tool

    def under(self, policy: AsyncPolicy) -> AsyncToolbox:
        """Return the same tools under another policy."""
        return AsyncToolbox(self._session, self._waiting, self._calls.under(policy))

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str,
        *,
        call_id: str | None = None,
        message_id: str | None = None,
        owner: ActorRef | None = None,
    ) -> ToolResult:
        """Make a call of the tool *name*, and return what came of it; see `Toolbox.call`.

        If it is cancelled, a tool that is a coroutine function is, too, and a command is ended;
        one that is a plain function runs to its end before the cancellation goes on. Then stands
        in the State that the call was interrupted.
        """
        take = _Take(self._session, self._waiting, self._calls.patience)
        steps = self._calls.call(
            name, arguments, call_id=call_id, message_id=message_id, owner=owner
        )
        return await carry_out_async(steps, take)


class _Take:
    """Does the steps of one call."""

    def __init__(self, session: object, waiting: ToolContext, patience: float) -> None:
        self._session: Any = session  # the steps are written for one that waits
        self._waiting = waiting
        self._patience = patience
        self._is_interrupted = False

    async def __call__(self, step: Step) -> object:
        try:
            match step:
                case Use():
                    return await self._use(step)
                case Run():
                    return await self._run(step)
                case Decide():
                    return await self._decide(step)
        except BaseException as error:
            self._is_interrupted = self._is_interrupted or not isinstance(error, Exception)
            raise

    async def _use(self, step: Use) -> object:
        if step.whole or self._is_interrupted:  # what is asked after that, is asked to the end
            return await in_thread(lambda: step.do(self._waiting))
        asked: Any = step.do(self._session)
        return await asked

    async def _run(self, step: Run) -> object:
        run, arguments = step.tool.run, step.arguments
        result: object
        if is_awaited(run):
            result = run(self._session, arguments)
        else:
            result = await in_thread(lambda: _call(run, self._waiting, arguments))
        if not inspect.isawaitable(result):
            return result
        loop = current_loop()
        cancels = loop.cancels()
        try:
            with contained(loop.is_cancelled):
                return await result
        except Exception as error:
            if loop.cancels() > cancels:  # what it raises over that does not take its place
                raise loop.cancelled from error
            raise

    async def _decide(self, step: Decide) -> object:
        deadline = Deadline.after(self._patience)
        policy, request = step.policy, step.request
        decision: object
        if is_awaited(policy):
            decision = policy(request)
        else:
            decision = _one(await in_thread_until(deadline.at, lambda: _call(policy, request)))
        if not inspect.isawaitable(decision):
            return decision
        awaitable = decision
        loop = current_loop()
        with contained(loop.is_cancelled):
            return _one(await loop.within(deadline.left, lambda: awaitable))


def _call(function: Callable[..., object], *args: object) -> object:
    """Call *function*, one of the app's, in a thread."""
    with contained():
        return function(*args)


def _one(found: tuple[object] | None) -> object:
    if found is None:
        raise UndecidedError
    return found[0]
