"""How a turn of an agent has what the app awaits: its tools, and its policy, in the app's loop.

The turn is driven by threads, as everywhere; see `session/agent/driver.py`. They wait for what the
loop awaits for them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from attrs import evolve

from jidocode.base.stop import Stop
from jidocode.session.agent.client import AgentClient
from jidocode.session.agent.driver import StoppablePolicy
from jidocode.session.tools.calls import ToolCalls
from jidocode.session.tools.policy import AsyncPolicy, Decision, ToolRequest, read_only
from jidocode.session.tools.steps import InSteps, UndecidedError
from jidocode.session.tools.tool import Tool, ToolContext, is_awaited
from jidocode.session.tools.toolbox import Toolbox
from jidocode.system.asynchronous.from_threads import Await
from jidocode.system.asynchronous.loops import current_loop
from jidocode.system.handle import SessionHandle
from jidocode.system.prompting import AgentWay
from jidocode.system.running_sessions import RunningSystem

_Work = Callable[[], Awaitable[Any]]


def waiting_client(
    session: object, system: RunningSystem, session_id: str, have_awaited: Await
) -> AgentClient:
    """Return a client for threads; what tools and policy await, *have_awaited* has awaited.

    Tools that are coroutine functions get *session*, an `AsyncSessionHandle`.
    """
    patience = system.settings.policy_timeout

    def tools(stop: Stop | None) -> Toolbox:
        calls = system.tool_calls(session_id)
        ends = Stop() if stop is None else stop
        known = [_waiting_tool(tool, session, have_awaited, ends) for tool in calls.tools.values()]
        context = SessionHandle(system, session_id, stop)
        return Toolbox(context, ToolCalls(session_id, known, read_only, patience=calls.patience))

    def waiting(policy: AsyncPolicy) -> StoppablePolicy:
        return _waiting_policy(policy, have_awaited, patience)

    way = AgentWay(system, session_id, tools, waiting)
    return AgentClient(way, system.tooling.policy or read_only)


def _waiting_policy(policy: AsyncPolicy, have_awaited: Await, patience: float) -> StoppablePolicy:
    """Return *policy* for threads; what it awaits is also cancelled after *patience* seconds."""

    def decide(request: ToolRequest, stop: Stop) -> Decision:
        def within_patience(work: _Work) -> Any:
            async def ask() -> Any:
                found = await current_loop().within(patience, work)
                if found is None:
                    raise UndecidedError
                return found[0]

            return have_awaited(ask, stop)

        decision: Decision = _call(policy, (request,), (request,), within_patience)
        return decision

    return decide


def _waiting_tool(tool: Tool, session: object, have_awaited: Await, stop: Stop) -> Tool:
    if isinstance(tool.run, InSteps):
        return tool

    def run(waiting: ToolContext, arguments: object) -> Any:
        here, there = (waiting, arguments), (session, arguments)
        return _call(tool.run, here, there, lambda work: have_awaited(work, stop))

    return evolve(tool, run=run)


def _call(
    function: Callable[..., object],
    here: tuple[object, ...],
    there: tuple[object, ...],
    have_awaited: Callable[[_Work], Any],
) -> Any:
    """Call *function* with *here* in this thread, or *there* in the loop if it is a coroutine's."""
    if is_awaited(function):
        return have_awaited(lambda: cast("Awaitable[Any]", function(*there)))
    result = function(*here)
    if not inspect.isawaitable(result):
        return result
    awaitable = result
    return have_awaited(lambda: awaitable)
