"""Turns of agents for coroutines: the same driver, awaited."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from loops import Runner
from scripted_models import SCRIPTED
from sessions import Words, a_tool

from jidocode import (
    AgentBusyError,
    Allow,
    AsyncPolicy,
    AsyncSessionHandle,
    AsyncSessionSystem,
    AsyncTurnHandle,
    CallTimeoutError,
    Decision,
    Deny,
    SessionHandle,
    SessionSystem,
    TextDelta,
    ToolRequest,
    ToolResult,
    TurnEvent,
    TurnOutcome,
    accept_edits,
    allow_all,
)
from jidocode.base.contained import contained


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


# What the app awaits


async def results(turn: AsyncTurnHandle) -> list[tuple[str, bool]]:
    events = [event async for event in turn]
    return [(each.content, each.is_error) for each in events if isinstance(each, ToolResult)]


def test_tools_and_policies_are_awaited_in_the_loop(loop: Runner, project: Path) -> None:
    """Those that are coroutine functions; plain ones have threads."""
    main_thread = threading.current_thread()

    async def awaited(session: AsyncSessionHandle, arguments: Words) -> str:
        assert threading.current_thread() is main_thread
        await session.manager.write_file("new.txt", arguments.text)
        return (await session.run("cat new.txt")).stdout

    def plain(session: SessionHandle, arguments: Words) -> str:
        assert threading.current_thread() is not main_thread
        return session.run(["echo", "-n", arguments.text]).stdout

    async def policy(request: ToolRequest) -> Decision:
        assert threading.current_thread() is main_thread
        await loop.sleep(0.01)
        return Allow() if request.subject.startswith("y") else Deny("so it is")

    def plain_policy(request: ToolRequest) -> Decision:
        assert threading.current_thread() is not main_thread
        return Allow() if request.subject.startswith("y") else Deny("so it is")

    calls = [f'call {name} {{"text": "{text}"}}' for name in ("a", "b") for text in ("yes", "no")]
    wanted = [
        ("yes", False),
        ("a was not allowed: so it is", True),
        ("yes", False),
        ("b was not allowed: so it is", True),
    ]
    others: list[AsyncPolicy | None] = [None, plain_policy, accept_edits(policy)]

    async def main() -> None:
        async with AsyncSessionSystem(
            tools=[a_tool("a", awaited), a_tool("b", plain)],
            policy=policy,
            model=SCRIPTED,
            durability="memory",
        ) as system:
            session = await system.create_session(project)
            for other in others:
                turn = await session.agent.prompt("\n".join(calls), policy=other)
                assert await results(turn) == wanted

    loop.run(main)


def test_a_policy_that_fails_or_hangs_denies(loop: Runner, project: Path) -> None:
    """It is cancelled when it has had its time, and the turn goes on."""
    cancelled: list[str] = []

    async def policy(request: ToolRequest) -> Decision:
        if request.subject == "fail":
            raise TimeoutError("its own")
        try:
            await loop.sleep(1000)
        except BaseException:
            cancelled.append(request.subject)
            raise
        return Allow()

    async def main() -> None:
        async with AsyncSessionSystem(
            policy=policy, model=SCRIPTED, durability="memory", policy_timeout=0.3
        ) as system:
            session = await system.create_session(project)
            calls = [f'call run_command {{"command": "{each}"}}' for each in ("fail", "hang")]
            failed, hung = await results(await session.agent.prompt("\n".join(calls)))
            assert failed == ("run_command was not allowed: the policy failed", True)
            assert hung == ("run_command was not allowed: nobody answered within 0.3 s", True)

            async def come() -> None:
                while not cancelled:
                    await loop.sleep(0.01)

            assert await loop.within(30, come)
            assert cancelled == ["hang"]

    loop.run(main)


def test_a_tool_or_a_policy_that_exits_fails_and_ends_nothing(loop: Runner, project: Path) -> None:
    """Neither its loop, in which it may be awaited, nor its turn."""

    async def awaited(_session: AsyncSessionHandle, arguments: Words) -> str:
        await loop.sleep(0)
        sys.exit(arguments.text)

    def plain(_session: SessionHandle, arguments: Words) -> str:
        sys.exit(arguments.text)

    async def policy(request: ToolRequest) -> Decision:
        if request.subject == "deny":
            sys.exit(3)
        return Allow()

    async def main() -> None:
        async with AsyncSessionSystem(
            tools=[a_tool("a", awaited), a_tool("b", plain)],
            policy=policy,
            model=SCRIPTED,
            durability="memory",
        ) as system:
            session = await system.create_session(project)
            said = {
                "so": ("it raised SystemExit: so", True),
                "deny": ("{} was not allowed: the policy failed", True),
            }
            calls = [(name, text) for name in ("a", "b") for text in said]
            wanted = [(said[text][0].format(name), True) for name, text in calls]
            script = "\n".join(f'call {name} {{"text": "{text}"}}' for name, text in calls)

            assert await results(await session.agent.prompt(script)) == wanted

            for (name, text), expected in zip(calls, wanted, strict=True):
                result = await session.tools.call(name, {"text": text})
                assert (result.content, result.is_error) == expected

    loop.run(main)


def test_what_a_tool_raises_by_itself_is_its_result(loop: Runner, project: Path) -> None:
    """Also what a coroutine otherwise has raised in it from outside, when it is to end."""

    async def awaited(_session: AsyncSessionHandle, arguments: Words) -> str:
        await loop.sleep(0)
        raise KINDS[arguments.text]

    def plain(_session: SessionHandle, arguments: Words) -> str:
        raise KINDS[arguments.text]

    async def policy(request: ToolRequest) -> Decision:
        await loop.sleep(0)
        if request.tool == "c":
            raise KINDS[request.subject]
        return Allow()

    async def main() -> None:
        tools = [a_tool("a", awaited), a_tool("b", plain), a_tool("c", plain)]
        async with AsyncSessionSystem(
            tools=tools, policy=policy, model=SCRIPTED, durability="memory"
        ) as system:
            session = await system.create_session(project)
            calls = [(tool.name, text) for tool in tools for text in KINDS]
            script = "\n".join(f'call {name} {{"text": "{text}"}}' for name, text in calls)
            by_agent = await results(await session.agent.prompt(script))
            for (name, text), (content, is_error) in zip(calls, by_agent, strict=True):
                result = await session.tools.call(name, {"text": text})
                assert (result.content, result.is_error) == (content, is_error)
                assert is_error
                assert ("the policy failed" if name == "c" else text) in content

    loop.run(main)


KINDS = {error.__name__: error for error in (GeneratorExit, asyncio.CancelledError)}


def test_what_closes_a_coroutine_is_not_what_its_tool_has_raised() -> None:
    """It ends, as any that is closed."""

    async def forever() -> None:
        await asyncio.Future()

    async def waiting() -> None:
        with contained():
            await forever()

    async def main() -> None:
        begun = waiting()
        begun.send(None)
        begun.close()
        assert inspect.getcoroutinestate(begun) == inspect.CORO_CLOSED

    asyncio.run(main())


def test_a_tool_that_is_awaited_ends_with_the_turn(loop: Runner, project: Path) -> None:
    """And with the loop, if nobody has closed anything."""
    begun: list[str] = []
    ended: list[str] = []

    async def hang(_session: AsyncSessionHandle, arguments: Words) -> str:
        begun.append(arguments.text)
        try:
            await loop.sleep(1000)
        finally:
            ended.append(arguments.text)
        return "late"

    async def come(texts: list[str], count: int) -> None:
        while len(texts) < count:
            await loop.sleep(0.01)

    async def main() -> None:
        async with AsyncSessionSystem(
            tools=[a_tool("hang", hang)], policy=allow_all, model=SCRIPTED, durability="memory"
        ) as system:
            session = await system.create_session(project)
            turn = await session.agent.prompt('call hang {"text": "one"}')
            assert await loop.within(30, lambda: come(begun, 1))
            assert (await turn.cancel()).outcome is TurnOutcome.CANCELLED
            assert await loop.within(30, lambda: come(ended, 1))
            assert all(call.result for call in await session.state.tool_calls())

            await session.agent.prompt('call hang {"text": "two"}')
            assert await loop.within(30, lambda: come(begun, 2))
        assert await loop.within(30, lambda: come(ended, 2))

    loop.run(main)


def test_a_policy_that_is_awaited_ends_with_the_turn(loop: Runner, project: Path) -> None:
    """However long it might take: what it cleans up, it cleans up when the turn is cancelled."""
    begun: list[str] = []
    ended: list[str] = []

    async def ask(request: ToolRequest) -> Decision:
        begun.append(request.subject)
        try:
            await loop.sleep(1000)
        finally:
            ended.append(request.subject)
        return Allow()

    async def come(texts: list[str], count: int) -> None:
        while len(texts) < count:
            await loop.sleep(0.01)

    async def main() -> None:
        async with AsyncSessionSystem(policy=ask, model=SCRIPTED, durability="memory") as system:
            session = await system.create_session(project)
            for count, policy in enumerate((None, accept_edits(ask)), start=1):
                turn = await session.agent.prompt(
                    'call run_command {"command": "true"}', policy=policy
                )
                assert await loop.within(30, partial(come, begun, count))
                assert (await turn.cancel()).outcome is TurnOutcome.CANCELLED
                assert await loop.within(10, partial(come, ended, count))

            turn = await session.agent.prompt('call run_command {"command": "true"}', timeout=0.2)
            assert (await turn.result()).outcome is TurnOutcome.TIMEOUT
            assert await loop.within(10, partial(come, ended, 3))

    loop.run(main)


def test_a_turn_outlives_the_loop_that_has_prompted(loop: Runner, project: Path) -> None:
    """What it cannot have awaited any more is denied, or fails."""
    systems: list[AsyncSessionSystem] = []
    turns: list[AsyncTurnHandle] = []
    begun = threading.Event()

    async def hang(_session: AsyncSessionHandle, _arguments: Words) -> str:
        begun.set()
        await loop.sleep(1000)
        return "late"

    async def policy(_request: ToolRequest) -> Decision:
        return Allow()

    async def prompt() -> None:
        system = AsyncSessionSystem(
            tools=[a_tool("hang", hang)], policy=policy, model=SCRIPTED, durability="memory"
        )
        systems.append(await system.__aenter__())
        session = await system.create_session(project)
        turns.append(await session.agent.prompt("call hang {}\ncall hang {}"))
        while not begun.is_set():
            await loop.sleep(0.01)

    async def look() -> None:
        first, second = await results(turns[0])
        assert "cancelled in its loop" in first[0]
        assert second == ("hang was not allowed: the policy failed", True)
        assert (await turns[0].result()).text == "2 done"
        await systems[0].aclose()

    loop.run(prompt)
    loop.run(look)


def test_what_can_only_be_awaited_is_refused_where_it_is_waited_for(project: Path) -> None:
    async def policy(_request: ToolRequest) -> Decision:
        return Allow()

    with SessionSystem(model=SCRIPTED, durability="memory") as system:
        session = system.create_session(project)
        with pytest.raises(TypeError, match="policy that is awaited"):
            session.agent.prompt("say one", policy=policy)  # type: ignore[arg-type] # on purpose
