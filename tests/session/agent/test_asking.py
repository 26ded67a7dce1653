"""What is made of the answer of a model, whoever has written that."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, Iterator
from typing import Any, cast

import pytest

from jidocode.base import log
from jidocode.errors import ModelError, ModelInterruptedError, ModelUnavailableError
from jidocode.session.agent.asking import ask_model
from jidocode.session.agent.model import Delta, Model, ModelRequest, Stop, StopReason, TextDelta
from jidocode.session.agent.retrying import ModelRetry, RetryRules

SECRET = "sk-very-secret"  # noqa: S105 - nobody's


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[log.Line]:
    """What is logged."""
    lines: list[log.Line] = []
    monkeypatch.setattr(log, "_target", lines.append)
    return lines


def asked(model: object) -> tuple[list[Delta], ModelError | None]:
    """Return what *model* says, and what is wrong with it."""

    async def ask() -> tuple[list[Delta], ModelError | None]:
        said: list[Delta] = []
        request = ModelRequest(messages=[{"role": "user", "content": "?"}])
        try:
            async for delta in ask_model(cast("Model", model), request, RetryRules()):
                said.append(delta)  # noqa: PERF401 - they are there if it raises, too
        except ModelError as error:
            return said, error
        return said, None

    return asyncio.run(ask())


class Whole:
    """Says a word, and that it was all."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        del request
        yield TextDelta("so")
        yield Stop(StopReason.END)


class Cut:
    """Says a word, and no more."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        del request
        yield TextDelta("so")


def failing(depth: int) -> None:
    if depth:
        failing(depth - 1)
    raise ValueError(SECRET)


class Failing:
    """Has a bug somewhere below."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        del request
        failing(500)
        yield TextDelta("so")


class Coroutine:
    """Lacks its `yield`."""

    async def stream(self, request: ModelRequest) -> list[str]:
        del request
        return ["so"]


class Plain:
    """Lacks its `async`."""

    def stream(self, request: ModelRequest) -> Iterator[Delta]:
        del request
        yield TextDelta("so")


class Listed:
    """Says all at once."""

    def stream(self, request: ModelRequest) -> list[Delta]:
        del request
        return [TextDelta("so")]


def test_an_answer_is_whole_that_says_so() -> None:
    assert asked(Whole()) == ([TextDelta("so"), Stop(StopReason.END)], None)


def test_an_answer_that_does_not_say_why_it_ended_broke_off() -> None:
    """What came of it is there."""
    said, error = asked(Cut())

    assert said == [TextDelta("so")]
    assert type(error) is ModelInterruptedError
    assert "Stop" in str(error)


def test_the_log_says_where_a_model_failed(lines: list[log.Line]) -> None:
    """In a few words, and not with which message, which may quote the key."""
    said, error = asked(Failing())

    assert (said, str(error)) == ([], "the model failed: it raised ValueError")
    (line,) = lines
    assert line.level == "WARNING"
    number = failing.__code__.co_firstlineno + 3
    assert f"ValueError at {__file__}:{number} in failing" in line.text
    assert SECRET not in line.text
    assert len(line.text) < 2_000


@pytest.mark.parametrize(
    ("model", "came"),
    [(Coroutine(), "coroutine"), (Plain(), "generator"), (Listed(), "list")],
)
def test_a_stream_that_is_none_says_what_was_expected(
    model: Any, came: str, lines: list[log.Line], recwarn: pytest.WarningsRecorder
) -> None:
    said, error = asked(model)

    assert said == []
    assert str(error) == (
        "the model failed: its stream must return an async generator (async def with yield), "
        f"and returned a {came}"
    )
    assert lines == []
    assert not recwarn.list  # of a coroutine that nobody has awaited


class _AwayError(ModelUnavailableError):
    """One of a model's own: it is made of something else than it says, and has no words."""

    kind = "away"

    def __init__(self, host: str, problem: object) -> None:
        super().__init__(f"{host} is away", 503, 0.0)
        self.problem = cast("Any", problem)

    def __str__(self) -> str:
        raise ValueError(SECRET)


@pytest.mark.parametrize("problem", ["it is away", "x" * 1_000_000, lambda: 1, None])
def test_what_a_model_raises_of_its_own_any_process_can_read(problem: object) -> None:
    """The app may not have its class, and what does not arrive would end the turn."""

    def fail() -> None:
        raise _AwayError("example.com", problem)

    class Away:
        async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
            del request
            fail()
            yield TextDelta("so")

        async def aclose(self) -> None:
            pass

    told: list[ModelRetry | ModelError] = []

    async def ask() -> None:
        rules = RetryRules(attempts=2, first_wait=0.0)
        try:
            async for _ in ask_model(Away(), ModelRequest(messages=[]), rules, told.append):
                pass
        except ModelError as error:
            told.append(error)

    asyncio.run(ask())
    retry, error = told
    assert isinstance(retry, ModelRetry)
    for each in (retry.error, error):
        assert type(each) is ModelUnavailableError
        assert (each.status, each.retry_after) == (503, 0.0)
        assert len(pickle.dumps(each)) < 100_000
        assert str(each).startswith("the model cannot answer now: ")
