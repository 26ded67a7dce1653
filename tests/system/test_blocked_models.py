"""Models that hold up the process of their agent: whoever drives a turn ends it all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import pytest
from blocking_models import BLOCKING
from sessions import history_of, pids_of

from jidocode import (
    ActorExitedError,
    AsyncSessionSystem,
    CallTimeoutError,
    HealthStatus,
    ModelSpec,
    SessionHandle,
    SessionSystem,
    TextDelta,
    TurnHandle,
    TurnOutcome,
)
from jidocode.otp import Killed
from jidocode.testing import PATIENCE, eventually

T = TypeVar("T")

CANCELLED, INTERRUPTED, TIMEOUT = (
    TurnOutcome.CANCELLED,
    TurnOutcome.INTERRUPTED,
    TurnOutcome.TIMEOUT,
)


@pytest.fixture
def system() -> Iterator[SessionSystem]:
    """One whose heartbeat finds nobody."""
    with SessionSystem(model=BLOCKING, durability="memory", heartbeat=None) as system:
        yield system


def begun(action: Callable[[], T]) -> Future[T]:
    """Return what becomes of *action*, in a thread that nobody waits for."""
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(action())
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return future


def blocked(session: SessionHandle, timeout: float | None = None) -> TurnHandle:
    """Return a turn whose model blocks, and has said something before."""
    sign = sign_of(session.session.project_path)
    turn = session.agent.prompt(str(sign), timeout=timeout)
    assert next(turn) == TextDelta("so")
    eventually(sign.exists)
    return turn


def sign_of(project: str | Path) -> Path:
    """Return a path outside of *project* at which nothing is."""
    sign = Path(project).parent / "blocks"
    sign.unlink(missing_ok=True)
    return sign


def goes_on(session: SessionHandle, others: dict[str, int]) -> None:
    """See that the conversation can be continued, and that *others* live."""
    assert session.agent.prompt("on").result(PATIENCE).outcome is TurnOutcome.END
    history_of(session)
    assert others.items() <= pids_of(session).items()


def test_a_turn_is_cancelled_though_its_model_blocks(session: SessionHandle) -> None:
    """What it has said is kept; its agent is ended, and nobody else."""
    others = pids_of(session)
    turn = blocked(session)
    result = begun(turn.cancel).result(PATIENCE)

    assert (result.outcome, result.text, result.error) == (CANCELLED, "so", None)
    assert session.state.messages(last=1)[0].content == "so"
    goes_on(session, others)


def test_a_turn_has_its_time_though_its_model_blocks(session: SessionHandle) -> None:
    others = pids_of(session)
    result = blocked(session, timeout=1.0).result(PATIENCE)

    assert (result.outcome, result.text, result.error) == (TIMEOUT, "so", None)
    goes_on(session, others)


def test_all_turns_are_cancelled_though_a_model_blocks(session: SessionHandle) -> None:
    """By whoever has not prompted, too."""
    turn = blocked(session)
    begun(session.agent.cancel).result(PATIENCE)

    assert turn.result(PATIENCE).outcome is INTERRUPTED
    assert not session.agent.busy()
    goes_on(session, {})


def test_a_prompt_beside_a_model_that_blocks_is_refused_in_time(project: Path) -> None:
    """And leaves nothing in the conversation, then or later; one that may wait is next."""
    with SessionSystem(
        model=BLOCKING, durability="memory", heartbeat=None, call_timeout=1.0
    ) as system:
        session = system.create_session(project)
        turn = blocked(session)
        with pytest.raises(CallTimeoutError, match="agent"):
            session.agent.prompt("again")
        waiting = begun(lambda: session.agent.prompt("then", queue=True))
        turn.cancel()
        assert waiting.result(PATIENCE).result(PATIENCE).outcome is TurnOutcome.END

        said = [each.content for each in session.state.messages() if each.role == "user"]
        assert said[1:] == ["then"]


def test_a_prompt_that_is_given_up_while_its_model_is_made_ends(project: Path) -> None:
    """A constructor may take long, which is no reason to refuse; it may block for good, too."""
    sign = sign_of(project)
    model = ModelSpec(BLOCKING.name, {"sign": sign})
    with SessionSystem(
        model=model, durability="memory", heartbeat=None, call_timeout=1.0
    ) as system:
        session = system.create_session(project)
        prompting = begun(lambda: session.agent.prompt("on"))
        eventually(sign.exists)
        monitor = session.monitor("agent")
        with pytest.raises(CallTimeoutError):
            session.agent.prompt("again")
        assert not prompting.done()
        session.agent.cancel()
        with pytest.raises(ActorExitedError):
            prompting.result(PATIENCE)
        down = monitor.wait(PATIENCE)
        assert down is not None
        assert down.reason == Killed(9)
        assert "agent" not in pids_of(session)


def test_the_heartbeat_finds_an_agent_that_is_blocked(project: Path) -> None:
    with SessionSystem(model=BLOCKING, durability="memory", heartbeat=0.5) as system:
        session = system.create_session(project)
        result = blocked(session).result(PATIENCE)

        assert result.outcome is INTERRUPTED
        assert "no heartbeat" in str(result.error)
        goes_on(session, {})


def test_health_says_that_an_agent_is_blocked(project: Path) -> None:
    with SessionSystem(
        model=BLOCKING, durability="memory", heartbeat=None, call_timeout=1.0
    ) as system:
        session = system.create_session(project)
        turn = blocked(session)
        eventually(
            lambda: (
                HealthStatus.UNRESPONSIVE
                in [each.status for each in session.health_check().children]
            )
        )
        turn.cancel()


def test_coroutines_are_not_held_up_either(project: Path) -> None:
    async def main() -> None:
        async with AsyncSessionSystem(
            model=BLOCKING, durability="memory", heartbeat=None, call_timeout=1.0
        ) as system:
            session = await system.create_session(project)
            for outcome, seconds in ((CANCELLED, None), (TIMEOUT, 1.0), (INTERRUPTED, None)):
                sign = sign_of(project)
                turn = await session.agent.prompt(str(sign), timeout=seconds)
                assert await anext(turn) == TextDelta("so")
                await asyncio.to_thread(eventually, sign.exists)
                if outcome is CANCELLED:
                    with pytest.raises(CallTimeoutError):
                        await session.agent.prompt("again")
                    await turn.cancel()
                if outcome is INTERRUPTED:
                    await session.agent.cancel()
                result = await turn.result(PATIENCE)
                assert (result.outcome, result.text) == (outcome, "so")
            assert (await (await session.agent.prompt("on")).result()).ok

    asyncio.run(main())
