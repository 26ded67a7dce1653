"""Tools and policies that may wait, in a loop that is never held up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from loops import Runner, nobody_waits
from sessions import Words, a_tool

from jidocode import (
    Allow,
    AsyncPolicy,
    AsyncSessionHandle,
    AsyncSessionSystem,
    Decision,
    Deny,
    InvalidRequestError,
    InvalidToolError,
    SessionHandle,
    SessionSystem,
    Tool,
    ToolRequest,
    ToolUseBlock,
    accept_edits,
    allow_all,
    ask_unless_remembered,
)
from jidocode.session.conversation.changes import INTERRUPTED_CALL

Making = Callable[..., AbstractAsyncContextManager[AsyncSessionHandle]]


@pytest.fixture
def opened(project: Path) -> Making:
    """Start a system with one session whose tools are given."""

    @asynccontextmanager
    async def opened(
        *tools: Tool, policy: AsyncPolicy = allow_all, **settings: Any
    ) -> AsyncGenerator[AsyncSessionHandle, None]:
        async with AsyncSessionSystem(
            tools=tools, policy=policy, call_timeout=30.0, **settings
        ) as system:
            yield await system.create_session(project)
            nobody_waits(system)

    return opened


async def results(session: AsyncSessionHandle) -> list[tuple[str, bool]]:
    """Return what stands in the State of each call; all have ended."""
    calls = await session.state.tool_calls()
    return [(call.result.content, call.result.is_error) for call in calls if call.result]


def test_tools_of_a_session_are_awaited(loop: Runner, opened: Making, project: Path) -> None:
    """What is said of them is the same as where they are waited for."""

    async def main() -> None:
        async with opened() as session:
            tools = session.tools
            calls: list[tuple[str, Any, str]] = [
                ("write_file", {"path": "notes.txt", "content": "buy milk\n"}, "was written"),
                ("read_file", '{"path": "notes.txt"}', "1\tbuy milk"),
                ("read_file", {"pth": "notes.txt"}, "did you mean path?"),
                ("edit_file", {"path": "notes.txt", "edits": [{"old": "milk", "new": "tea"}]}, "1"),
                ("write_file", {"path": "README.md", "content": ""}, "you have not read it"),
                ("glob", {"pattern": "notes*"}, "notes.txt"),
                ("grep", {"pattern": "tea"}, "buy tea"),
                ("list_directory", {}, "notes.txt"),
                ("run_command", {"command": "echo $((6 * 7))"}, "42\n[exit code 0]"),
                ("todo_write", {"todos": [{"content": "drink"}]}, "1 todos"),
                ("nothing", {}, "there is no tool"),
                ("todo_write", "{", "no JSON"),
            ]
            for name, arguments, said in calls:
                result = await tools.call(name, arguments)
                assert said in result.content
            assert {tool.name for tool in tools} >= {"read_file", "todo_write"}
            assert len(await results(session)) == 12
        assert (project / "notes.txt").read_text(encoding="utf-8") == "buy tea\n"

    loop.run(main)


def test_a_coroutine_function_has_the_session_and_a_plain_one_a_thread(
    loop: Runner, opened: Making
) -> None:
    """So the loop goes on, whatever they do."""
    threads: list[threading.Thread] = []

    async def run(session: AsyncSessionHandle, arguments: Words) -> str:
        assert isinstance(session, AsyncSessionHandle)
        assert threading.current_thread() is threading.main_thread()
        return (await session.run(f"echo {arguments.text}")).stdout.strip()

    def wait(session: SessionHandle, arguments: Words) -> str:
        threads.append(threading.current_thread())
        return session.run(f"sleep 0.5; echo {arguments.text}").stdout.strip()

    async def main() -> None:
        async with opened(a_tool("run", run), a_tool("wait", wait)) as session:
            said: list[str] = []

            async def call(name: str) -> None:
                said.append((await session.tools.call(name, {"text": name})).content)

            turns = 0

            async def tick() -> None:
                nonlocal turns
                while len(said) < 2:
                    await loop.sleep(0.01)
                    turns += 1

            await loop.together(lambda: call("wait"), lambda: call("run"), tick)
            assert sorted(said) == ["run", "wait"]
            assert turns > 5
            assert threads[0] is not threading.main_thread()

    loop.run(main)


async def awaited(request: ToolRequest) -> Decision:
    """Allow what begins with y."""
    return Allow() if request.subject.startswith("y") else Deny("so it is")


def waited(request: ToolRequest) -> Decision:
    """Do the same, in a thread."""
    assert threading.current_thread() is not threading.main_thread()
    time.sleep(0.05)
    return Allow() if request.subject.startswith("y") else Deny("so it is")


def nothing(_request: ToolRequest) -> Any:
    """Decide nothing."""


class Judge:
    """Does the same, as an object."""

    async def __call__(self, request: ToolRequest) -> Decision:
        return await awaited(request)


def test_a_policy_is_a_function_of_either_kind(loop: Runner, opened: Making) -> None:
    """It decides, and what it always allows is remembered."""

    async def say(_session: AsyncSessionHandle, arguments: Words) -> str:
        return arguments.text

    async def always(request: ToolRequest) -> Decision:
        return Allow(always=request.subject, arguments={"text": "ja"})

    policies: list[AsyncPolicy] = [awaited, waited, Judge()]
    policies += [accept_edits(each) for each in policies]

    async def main() -> None:
        async with opened(a_tool("say", say), policy=awaited) as session:
            for tools in [session.tools, *map(session.tools.under, policies)]:
                yes = await tools.call("say", {"text": "yes"})
                no = await tools.call("say", {"text": "no"})
                assert (yes.content, yes.is_error) == ("yes", False)
                assert (no.content, no.is_error) == ("say was not allowed: so it is", True)

            texts, other = [f"n{number}" for number in range(8)], session.tools.under(always)
            await loop.together(*[partial(other.call, "say", {"text": text}) for text in texts])
            asking = session.tools.under(ask_unless_remembered(awaited))
            for text in texts:  # allowed for good, but not under a policy that does not care
                assert (await asking.call("say", {"text": text})).content == text
                assert (await session.tools.call("say", {"text": text})).is_error

    loop.run(main)


@pytest.mark.parametrize("kind", ["awaited", "waited"])
def test_a_policy_that_fails_or_hangs_denies(loop: Runner, opened: Making, kind: str) -> None:
    """And nothing of it is waited for."""
    released = threading.Event()

    async def hang(request: ToolRequest) -> Decision:
        if request.subject == "fail":
            raise TimeoutError("its own")
        await loop.sleep(1000)
        return Allow()

    def hang_in_thread(request: ToolRequest) -> Decision:
        if request.subject == "fail":
            raise TimeoutError("its own")
        released.wait(60)
        return Allow()

    async def main() -> None:
        policy: AsyncPolicy = hang if kind == "awaited" else hang_in_thread
        async with opened(policy=policy, policy_timeout=0.3) as session:
            failed = await session.tools.call("run_command", {"command": "fail"})
            assert failed.content == "run_command was not allowed: the policy failed"
            hung = await session.tools.call("run_command", {"command": "hang"})
            assert hung.content == "run_command was not allowed: nobody answered within 0.3 s"
            wrong = await session.tools.under(nothing).call("run_command", {"command": "x"})
            assert wrong.content == "run_command was not allowed: the policy failed"

    try:
        loop.run(main)
    finally:
        released.set()


def test_a_call_that_is_cancelled_has_a_result(loop: Runner, opened: Making) -> None:
    """Whenever that was, and whatever it waited for."""
    moments = [*range(12), 20, 50, 200]

    async def sleep(session: AsyncSessionHandle, _arguments: Words) -> str:
        await session.state.statistics()
        await loop.sleep(1000)
        return "late"

    async def hang(_request: ToolRequest) -> Decision:
        await loop.sleep(1000)
        return Allow()

    async def main() -> None:
        async with opened(a_tool("sleep", sleep)) as session:
            for steps in moments:
                for work in (
                    lambda: session.tools.call("sleep", {}),
                    lambda: session.tools.under(hang).call("sleep", {}),
                    lambda: session.tools.call("read_file", {"path": "README.md"}),
                    lambda: session.tools.call("run_command", {"command": "sleep 1000"}),
                ):
                    await loop.cancelled_after(steps, work)
            calls = await session.state.tool_calls()
            assert calls
            assert all(call.result for call in calls)
            assert not any(info.running for info in await session.commands.list())
            contents = {call.result.content for call in calls if call.result}
            assert any("interrupted" in each for each in contents)

    loop.run(main)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(9)])
def test_what_a_tool_raises_over_its_cancellation_does_not_take_its_place(
    opened: Making, error: BaseException
) -> None:
    """On asyncio, that is: trio cancels again at the next checkpoint."""

    async def cancelled(_session: AsyncSessionHandle, _arguments: Words) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise error from None
        return "late"

    async def main() -> None:
        async with opened(a_tool("cancelled", cancelled)) as session:
            task = asyncio.create_task(session.tools.call("cancelled", {}))
            await asyncio.wait([task])
            assert task.cancelled()
            (call,) = await session.state.tool_calls()
            assert call.result is not None
            assert call.result.is_error

    asyncio.run(main())


def test_a_call_that_was_begun_is_not_made_again(loop: Runner, opened: Making) -> None:
    """Under the id that a message has for it; not if it was cancelled, either."""
    made: list[str] = []

    async def say(_session: AsyncSessionHandle, arguments: Words) -> str:
        made.append(arguments.text)
        if arguments.text == "sleep":
            await loop.sleep(1000)
        return arguments.text

    async def main() -> None:
        async with opened(a_tool("say", say)) as session:
            uses = [ToolUseBlock(each, "say", {"text": each}) for each in ("a", "b", "sleep")]
            message = await session.state.append_message("assistant", uses)

            async def call(call_id: str, text: str) -> tuple[str, bool]:
                done = await session.tools.call(
                    "say", {"text": text}, call_id=call_id, message_id=message.id
                )
                return done.content, done.is_error

            async def give_up() -> None:
                await call("sleep", "sleep")

            assert await call("a", "a") == ("a", False)
            await session.state.add_tool_call(
                "say", {"text": "b"}, call_id="b", message_id=message.id
            )
            assert not await loop.within(1.0, give_up)
            assert await call("a", "other") == ("a", False)
            assert await call("b", "b") == (INTERRUPTED_CALL, True)
            assert "interrupted" in (await call("sleep", "sleep"))[0]
            assert made == ["a", "sleep"]
            with pytest.raises(InvalidRequestError, match="asks for the call"):
                await call("c", "c")

    loop.run(main)


def test_a_call_that_waited_for_permission_was_not_made(loop: Runner, project: Path) -> None:
    async def ask(_request: ToolRequest) -> Decision:
        await loop.sleep(1000)
        return Allow()

    async def main() -> None:
        async with AsyncSessionSystem(policy=ask, durability="memory") as system:
            session = await system.create_session(project)

            async def give_up() -> None:
                await session.tools.call("run_command", {"command": "true"})

            assert not await loop.within(0.5, give_up)
            (call,) = await session.state.tool_calls()
            assert call.result is not None
            assert call.result.content == "the call was interrupted before it was made"

    loop.run(main)


def test_a_plain_function_runs_to_its_end(loop: Runner, opened: Making) -> None:
    """Before the cancellation goes on; a policy that hangs is left alone."""
    begun, ended, released, let_go = [threading.Event() for _ in range(4)]

    def work(_session: SessionHandle, _arguments: Words) -> str:
        begun.set()
        released.wait(60)
        ended.set()
        return "done"

    def policy(_request: ToolRequest) -> Decision:
        let_go.wait(60)
        return Allow()

    async def main() -> None:
        async with opened(a_tool("work", work)) as session:

            async def call() -> None:
                await session.tools.call("work", {})

            def release() -> None:
                begun.wait(60)
                released.set()

            threading.Thread(target=release).start()
            if not await loop.within(1.0, call):
                assert ended.is_set()
            begin = time.monotonic()
            assert not await loop.within(0.2, lambda: session.tools.under(policy).call("work", {}))
            assert time.monotonic() - begin < 30
            assert (await results(session))[-1][1]

    try:
        loop.run(main)
    finally:
        let_go.set()


def test_what_can_only_be_awaited_is_refused_where_it_is_waited_for(project: Path) -> None:
    """Before anything starts; and what checks tools does so here, too."""

    async def run(_session: AsyncSessionHandle, _arguments: Words) -> str:
        return ""

    def say(_session: SessionHandle, _arguments: Words) -> str:
        return ""

    with pytest.raises(InvalidToolError, match="tool run is awaited"):
        SessionSystem(tools=[a_tool("run", run)])
    with pytest.raises(TypeError, match="policy that is awaited"):
        SessionSystem(policy=awaited)  # type: ignore[arg-type] # on purpose
    with pytest.raises(InvalidToolError, match="two tools say"):
        AsyncSessionSystem(tools=[a_tool("say", say)] * 2)
    with SessionSystem() as system:
        tools = system.create_session(project).tools
        denied = tools.under(Judge()).call("run_command", {"command": "x"})  # type: ignore[arg-type] # on purpose
        assert denied.content == "run_command was not allowed: the policy failed"
