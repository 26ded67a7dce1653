"""Turns of agents for coroutines: the same driver, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from jidocode import (
    AgentBusyError,
    AsyncSessionHandle,
    AsyncSessionSystem,
    AsyncTurnHandle,
    CallTimeoutError,
    ModelSpec,
    TextDelta,
    ToolResult,
    TurnEvent,
    TurnOutcome,
    allow_all,
)

SCRIPTED = ModelSpec("scripted_models:ScriptedModel")


def run(project: Path, use: Callable[[AsyncSessionHandle], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncSessionSystem(
            policy=allow_all, model=SCRIPTED, durability="memory"
        ) as system:
            await use(await system.create_session(project))

    asyncio.run(main())


def test_a_turn_is_read_and_awaited(project: Path) -> None:
    async def use(session: AsyncSessionHandle) -> None:
        turn = await session.agent.prompt('call write_file {"path": "new.txt", "content": "hi"}')
        events = [event async for event in turn]
        result = await turn.result()

        assert [each.is_error for each in events if isinstance(each, ToolResult)] == [False]
        assert (result.text, turn.done) == ("1 done", True)
        assert (project / "new.txt").read_text() == "hi"

    run(project, use)


async def rest_of(turn: AsyncTurnHandle) -> list[TurnEvent]:
    return [event async for event in turn]


def test_a_turn_is_cancelled(project: Path) -> None:
    """While a task reads it; who waits for its result may give up, and ask again."""

    async def use(session: AsyncSessionHandle) -> None:
        turn = await session.agent.prompt("say one\nwait")
        assert isinstance(await anext(turn), TextDelta)
        reading = asyncio.create_task(rest_of(turn))
        with pytest.raises(AgentBusyError):
            await session.agent.prompt("say two")
        with pytest.raises(CallTimeoutError):
            await turn.result(timeout=0.05)

        assert (await turn.cancel()).outcome is TurnOutcome.CANCELLED
        assert await reading == []
        assert (await turn.result()).text == "one"

    run(project, use)


def test_who_is_cancelled_while_he_prompts_leaves_no_turn(project: Path) -> None:
    async def use(session: AsyncSessionHandle) -> None:
        prompting = asyncio.create_task(session.agent.prompt("say one\nwait"))
        await asyncio.sleep(0)
        prompting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await prompting

        assert (await (await session.agent.prompt("say two")).result()).ok

    run(project, use)
