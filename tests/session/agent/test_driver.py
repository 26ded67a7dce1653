"""The thread that drives a turn: what it says of one whose agent is gone, without a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Self, cast

import pytest

from jidocode.base.exits import SHUTDOWN, Killed
from jidocode.errors import ActorExitedError, NoProcessError
from jidocode.session.agent.driver import SIDE_BY_SIDE, TurnDriver, WayToAgent
from jidocode.session.agent.handle import TurnProgress
from jidocode.session.agent.message import CalledTool
from jidocode.session.agent.messages import (
    Began,
    BeginTurn,
    Counted,
    MakeCalls,
    TurnPart,
    TurnResult,
)
from jidocode.session.agent.model import TextDelta, TokenUsage, ToolCallDelta
from jidocode.session.agent.turn import DEFAULT_LIMITS, TurnOutcome
from jidocode.session.conversation.blocks import Usage
from jidocode.session.conversation.changes import ToolResult, now
from jidocode.session.tools.policy import Deny

BEGIN = BeginTurn(
    turn_id="one",
    content="?",
    tools=(),
    limits=DEFAULT_LIMITS,
    waits=False,
    instructions="",
    agents_file=None,
)
REFUSED = ToolResult(seq=3, call_id="c", content="no such tool", is_error=True, created_at=now())


class DyingAgent:
    """The way to an agent, and the stream of its answer: some parts, and no end.

    Its tools answer nothing before `gate` is set.
    """

    def __init__(self, *parts: TurnPart) -> None:
        self._parts = parts
        self.gate = threading.Event()
        self.begun: list[object] = []

    def open(self, request: BeginTurn) -> Self:
        assert request is BEGIN
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def parts(self, _seconds: float) -> Iterator[tuple[TurnPart, ...] | None]:
        yield self._parts
        raise ActorExitedError("agent", Killed(9))

    def tools(self, stop: object) -> None:
        self.begun.append(stop)
        self.gate.wait(20)
        raise LookupError

    def cast(self, _message: object) -> None:
        pass


class Toolbox:
    """Tools whose calls have all come to the same."""

    def under(self, _decide: object) -> Self:
        return self

    def call(self, *_args: object, **_options: object) -> ToolResult:
        return REFUSED


class CancelledAgent(DyingAgent):
    """One that has given a call its result while it was made, and that waits for its end."""

    def parts(self, _seconds: float) -> Iterator[tuple[TurnPart, ...] | None]:
        yield self._parts
        assert self.gate.wait(20)
        yield (REFUSED,)
        raise ActorExitedError("agent", Killed(9))

    def tools(self, stop: object) -> Any:
        self.begun.append(stop)
        return Toolbox()

    def cast(self, _message: object) -> None:
        self.gate.set()  # the call is made


class EndedAgent(DyingAgent):
    """One that is ended before the turn has begun, as many times as there are errors."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(Began(cast("Any", None)))
        self.errors = list(errors)

    def parts(self, _seconds: float) -> Iterator[tuple[TurnPart, ...] | None]:
        yield ()
        if self.errors:
            raise self.errors.pop(0)
        yield self._parts

    def result(self) -> TurnResult:
        return TurnResult(outcome=TurnOutcome.END)


def driven(*parts: TurnPart) -> TurnResult:
    """Return the result of a turn of which these *parts* come, and then no more."""
    return result_of(DyingAgent(Began(cast("Any", None)), *parts))


def result_of(way: DyingAgent) -> TurnResult:
    result = progress_of(way).look_result()
    assert result is not None
    assert result.outcome is TurnOutcome.INTERRUPTED
    assert isinstance(result.error, ActorExitedError)
    return result


def progress_of(way: DyingAgent) -> TurnProgress:
    """Return that of a turn that has ended."""
    driver = TurnDriver(cast("WayToAgent", way), BEGIN, lambda _request, _stop: Deny())
    driver.start()
    assert driver.progress.wait_ended(20) is not None
    return driver.progress


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([TextDelta("a"), TextDelta("b")], "ab"),
        ([TextDelta("a"), Counted(Usage())], "a"),
        ([TextDelta("a"), Counted(Usage()), REFUSED, TextDelta("b")], "b"),
        ([TextDelta("a"), Counted(Usage()), REFUSED, ToolCallDelta(0, "c", "look")], ""),
    ],
)
def test_the_text_is_that_of_the_last_answer(parts: list[TurnPart], text: str) -> None:
    """Of as much of it as came, whether or not calls of the one before were made."""
    assert driven(*parts).text == text


def test_what_answers_took_is_what_their_agent_has_counted() -> None:
    """A server may say several times what it takes so far: the agent has the last of these."""
    says = [TokenUsage(input_tokens=5), TokenUsage(input_tokens=5, output_tokens=2)]
    took = Usage(input_tokens=5, output_tokens=2, seconds=1.5)
    summary = Usage(input_tokens=9, seconds=0.5)

    result = driven(Counted(summary), TextDelta("a"), *says, Counted(took), *says)

    assert result.usage == summary + took
    assert result.usage.calls == 2


def test_calls_have_no_more_threads_than_are_made_at_once() -> None:
    """A tool may hang for ever; those that wait for it are not made once the turn has ended."""
    calls = tuple(CalledTool(str(number), "look", "") for number in range(5 * SIDE_BY_SIDE))
    way = DyingAgent(Began(cast("Any", None)), MakeCalls("message", calls))
    result_of(way)

    threads = [each for each in threading.enumerate() if each.name == "jidocode-call"]
    assert len(threads) == SIDE_BY_SIDE
    way.gate.set()
    for each in threads:
        each.join(20)
    assert len(way.begun) <= SIDE_BY_SIDE


ENDED = ActorExitedError("agent", SHUTDOWN)
NO_STATE = NoProcessError("state")
KILLED = ActorExitedError("agent", Killed(9))


@pytest.mark.parametrize("errors", [[ENDED], [NO_STATE], [NO_STATE, ENDED]])
def test_a_turn_is_begun_again_whose_agent_is_ended_with_the_others(
    errors: list[Exception],
) -> None:
    """It may have found that the State is gone already."""
    result = progress_of(EndedAgent(*errors)).look_result()
    assert result is not None
    assert result.ok


@pytest.mark.parametrize("errors", [[KILLED], [NO_STATE] * 3])
def test_a_turn_is_begun_again_within_bounds(errors: list[Exception]) -> None:
    """And not at all if its agent may have died over it."""
    with pytest.raises(type(errors[0])):
        progress_of(EndedAgent(*errors))


def test_a_result_is_shown_once() -> None:
    """Though the agent, as the turn ends, and whoever makes the call both say what came of it."""
    call = CalledTool(REFUSED.call_id, "look", "")
    progress = progress_of(CancelledAgent(Began(cast("Any", None)), MakeCalls("message", (call,))))

    assert list(iter(progress.read, ())) == [(call,), (REFUSED,)]
