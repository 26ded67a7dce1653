"""Whether an agent is busy, and an end of its turns, for whoever has not prompted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_models import SCRIPTED

from jidocode import (
    AsyncSessionSystem,
    CalledTool,
    ReadOnlyError,
    SessionHandle,
    SessionNotFoundError,
    SessionSystem,
    TurnOutcome,
    allow_all,
)
from jidocode.base.exits import SHUTDOWN
from jidocode.testing import kill

LONG = 'call run_command {"command": "exec sleep 1000"}'
CANCELLED = TurnOutcome.CANCELLED


def has_agent(session: SessionHandle) -> bool:
    return any(each.id == "agent" for each in session.which_children())


def test_all_turns_are_cancelled_by_whoever_has_attached(
    name: str, tmp_path: Path, project: Path
) -> None:
    """Those that wait, too; a visitor who only looks may ask, and cancels nothing."""
    with SessionSystem(
        name=name, policy=allow_all, model=SCRIPTED, state_dir=tmp_path / "s"
    ) as system:
        session = system.create_session(project)
        with SessionSystem.attach(name) as other:
            theirs = other.get_session(session.id).agent
            assert not theirs.busy()
            theirs.cancel()
            assert not has_agent(session)  # nothing was started for that

            turn = session.agent.prompt(LONG)
            waiting = session.agent.prompt("say two", queue=True)
            assert any(isinstance(event, CalledTool) for event in turn if not turn.done)
            with SessionSystem.attach(name, read_only=True) as visitor:
                looking = visitor.get_session(session.id).agent
                assert looking.busy()
                with pytest.raises(ReadOnlyError):
                    looking.cancel()
            assert theirs.busy()

            theirs.cancel()

            assert not session.agent.busy()
            assert all(call.result for call in session.state.tool_calls())
            assert [each.role for each in session.state.messages()] == ["user", "assistant", "tool"]
        assert [each.result().outcome for each in (turn, waiting)] == [CANCELLED, CANCELLED]
        assert session.agent.prompt("say three").result().text == "three"

        kill(system, session, "agent")
        session.agent.cancel()
        assert not session.agent.busy()
        assert not has_agent(session)
        session.stop()
        asks: list[Callable[[], object]] = [
            session.agent.busy,
            session.agent.cancel,
            lambda: session.agent.prompt("say four"),
            lambda: session.run("true"),
            session.mcp.servers,
        ]
        for ask in asks:
            with pytest.raises(SessionNotFoundError) as caught:
                ask()
            assert caught.value.ended == SHUTDOWN
            assert "resume_session" in str(caught.value)


def test_coroutines_ask_the_same(project: Path) -> None:
    async def main() -> None:
        async with AsyncSessionSystem(model=SCRIPTED, durability="memory") as system:
            session = await system.create_session(project)
            assert not await session.agent.busy()
            turn = await session.agent.prompt("wait")
            assert await session.agent.busy()
            await session.agent.cancel()
            assert not await session.agent.busy()
            assert (await turn.result()).outcome is CANCELLED

    asyncio.run(main())
