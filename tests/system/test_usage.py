"""What models took: the same in a turn, its session, its system, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jidocode import (
    Completion,
    EventStream,
    InvalidRequestError,
    ModelAnswered,
    ModelSpec,
    SessionHandle,
    SessionSystem,
    Usage,
    allow_all,
)
from jidocode.system.overview import overview
from jidocode.testing import PATIENCE, kill, wait_for_restart

READ = 'call read_file {"path": "README.md"}'


@pytest.fixture
def system(tmp_path: Path) -> Iterator[SessionSystem]:
    model = ModelSpec("scripted_models:ScriptedModel", {"model": "large"})
    with SessionSystem(policy=allow_all, model=model, state_dir=tmp_path / "state") as system:
        yield system


def answers(events: EventStream, count: int) -> list[ModelAnswered]:
    """Return what the next answers took."""
    found: list[ModelAnswered] = []
    while len(found) < count:
        event = events.get(PATIENCE)
        assert event is not None
        if isinstance(event.fact, ModelAnswered):
            assert event.session_id is not None
            found.append(event.fact)
    return found


def test_a_turn_is_counted_once_and_everywhere_alike(
    system: SessionSystem, session: SessionHandle
) -> None:
    """And each answer is told of, with what it is by then."""
    with system.events() as events:
        result = session.agent.prompt(READ).result()
        first, second = answers(events, 2)

    assert (result.usage.input_tokens, result.usage.output_tokens, result.usage.calls) == (20, 4, 2)
    assert result.usage.seconds > 0
    assert session.state.statistics().usage == result.usage == second.total
    assert first.usage + second.usage == result.usage
    assert (first.model, first.stop_reason, first.total) == ("large", "tool_calls", first.usage)
    said = [message.completion for message in session.state.messages()]
    assert [each.usage for each in said if each] == [first.usage, second.usage]


def test_it_survives_restarts_and_resume(system: SessionSystem, session: SessionHandle) -> None:
    """Of the State, the agent, and the session."""
    session.agent.prompt("say one").result()
    wait_for_restart(system, session, "state", after=kill(system, session, "state").ref)
    session.agent.prompt("say two").result()
    kill(system, session, "agent")
    session.stop()

    again = system.resume_session(session.id)
    assert again.agent.prompt("say three").result().usage.calls == 1
    used = again.state.statistics().usage
    assert (used.input_tokens, used.output_tokens, used.calls) == (30, 6, 3)


def test_the_tree_has_what_each_session_and_all_took(
    system: SessionSystem, session: SessionHandle, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = system.create_session(tmp_path / "other")
    took = Completion(model="mine", usage=Usage(input_tokens=5, cached_tokens=3, output_tokens=1))
    session.state.add_usage(took, counted_id="a")
    session.state.add_usage(took, counted_id="a")
    assert other.state.add_usage(took).calls == 1
    with pytest.raises(InvalidRequestError):
        other.state.add_usage(None)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # on purpose

    root = overview(system)
    usages = {process.id: process.usage for _, process in root.lines() if process.usage}
    assert usages[session.id] == usages[other.id] == took.usage
    assert root.usage == took.usage + took.usage
    assert set(usages) == {root.id, session.id, other.id}
