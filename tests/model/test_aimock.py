"""A model behind aimock, which answers as the servers of models do, good days and bad."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from valid_history import problems

from jidocode import ModelSpec, SessionSystem, ToolResult, allow_all
from jidocode.errors import (
    ContextOverflowError,
    ModelError,
    ModelInterruptedError,
    ModelUnavailableError,
)
from jidocode.session.agent.asking import ask_model
from jidocode.session.agent.message import CalledTool, MessageBuilder, ModelMessage
from jidocode.session.agent.model import Delta, ModelRequest, StopReason, TextDelta
from jidocode.session.agent.openai_model import OpenAIModel
from jidocode.session.agent.retrying import RetryRules
from jidocode.session.agent.turn import (
    Action,
    AnswerCall,
    AskModel,
    Came,
    EndTurn,
    KeepMessage,
    ModelEnded,
    RunTools,
    ToolEnded,
    Turn,
    TurnLimits,
    TurnOutcome,
)

QUICK = RetryRules(attempts=3, seconds=20, first_wait=0.01, longest_wait=0.02)
PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def asking(prompt: str) -> ModelRequest:
    return ModelRequest(messages=[{"role": "user", "content": prompt}])


def ask(aimock: str, prompt: str) -> tuple[list[Delta], ModelMessage, ModelError | None]:
    """Return what came, what it adds up to, and what was wrong."""

    async def run() -> tuple[list[Delta], ModelMessage, ModelError | None]:
        model = OpenAIModel("gpt-4o", base_url=f"{aimock}/v1", api_key="test")
        deltas, builder, failure = list[Delta](), MessageBuilder(lambda: "ours"), None
        try:
            async for delta in ask_model(model, asking(prompt), QUICK):
                deltas.append(delta)
                builder.add(delta)
        except ModelError as error:
            failure = error
        await model.aclose()
        return deltas, builder.message(), failure

    return asyncio.run(asyncio.wait_for(run(), 60))


def asked(aimock: str, prompt: str) -> list[dict[str, Any]]:
    """Return the requests with *prompt* in them, as aimock has noted them."""
    entries: list[dict[str, Any]] = httpx2.get(f"{aimock}/__aimock/journal").json()
    return [each for each in entries if prompt in str(each["body"]["messages"])]


def test_an_answer_streams(aimock: str) -> None:
    """In pieces, with what it took."""
    deltas, message, failure = ask(aimock, "greet me")

    assert failure is None
    assert sum(isinstance(delta, TextDelta) for delta in deltas) >= 4
    assert message.text == "Hello there, how are you today?"
    assert message.stop is StopReason.END
    assert message.usage is not None
    assert message.usage.output_tokens > 0


def test_calls_that_come_in_pieces_are_whole(aimock: str) -> None:
    """Each with its name, its id and its arguments."""
    _, message, failure = ask(aimock, "two calls")

    assert failure is None
    assert [(call.name, call.arguments) for call in message.tool_calls] == [
        ("read_file", '{"path":"src/main.py"}'),
        ("grep", '{"pattern":"def "}'),
    ]
    assert all(call.id.startswith("call_") for call in message.tool_calls)
    assert message.stop is StopReason.TOOL_CALLS


def test_a_limit_of_rate_is_waited_for(aimock: str) -> None:
    """As long as the server says."""
    began = time.monotonic()
    _, message, failure = ask(aimock, "limited once")

    assert (failure, message.text) == (None, "now")
    assert time.monotonic() - began >= 1
    assert [each["response"]["status"] for each in asked(aimock, "limited once")] == [429, 200]


def test_a_server_that_is_broken_is_asked_as_often_as_may(aimock: str) -> None:
    """And its words are told."""
    *_, failure = ask(aimock, "always broken")

    assert isinstance(failure, ModelUnavailableError)
    assert "503: We fell over" in str(failure)
    assert len(asked(aimock, "always broken")) == QUICK.attempts


@pytest.mark.parametrize(
    ("prompt", "expected", "times"),
    [
        ("too long", ContextOverflowError, 1),
        ("cut off", ModelInterruptedError, 1),
        ("malformed", ModelInterruptedError, 1),
        ("disconnected", ModelUnavailableError, 3),
    ],
)
def test_each_failure_has_an_error_of_its_own(
    aimock: str, prompt: str, expected: type[ModelError], times: int
) -> None:
    """And only what asking again may help is asked again."""
    *_, failure = ask(aimock, prompt)

    assert type(failure) is expected
    assert len(asked(aimock, prompt)) == times


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("short answer", StopReason.LENGTH), ("filtered", StopReason.CONTENT_FILTER)],
)
def test_why_an_answer_ended_is_told(aimock: str, prompt: str, expected: StopReason) -> None:
    """In one of our words."""
    _, message, failure = ask(aimock, prompt)

    assert (failure, message.stop) == (None, expected)


def test_what_came_before_a_cut_is_kept(aimock: str) -> None:
    """As much as came."""
    _, message, _ = ask(aimock, "cut off")

    assert message.text
    assert "one two three four five six".startswith(message.text)
    assert message.stop is None


def test_a_slow_answer_is_cancelled_at_once(aimock: str) -> None:
    """In the middle of waiting for its next piece."""

    async def run() -> float:
        model = OpenAIModel("gpt-4o", base_url=f"{aimock}/v1")
        deltas = ask_model(model, asking("slow one"), QUICK)
        await anext(deltas)
        waiting = asyncio.ensure_future(anext(deltas))
        await asyncio.sleep(0)
        began = time.monotonic()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        took = time.monotonic() - began
        await model.aclose()
        return took

    assert asyncio.run(asyncio.wait_for(run(), 60)) < 0.5


def test_a_whole_turn(aimock: str) -> None:
    """The machine decides, the server answers: two calls side by side, and an end."""

    async def run() -> tuple[list[str], list[tuple[CalledTool, ...]], TurnOutcome]:
        model = OpenAIModel("gpt-4o", base_url=f"{aimock}/v1")
        messages: list[dict[str, Any]] = [{"role": "user", "content": "two calls"}]
        turn = Turn({"read_file": True, "grep": True}, TurnLimits(), lambda: "ours")
        texts, batches = list[str](), list[tuple[CalledTool, ...]]()
        actions: list[Action] = turn.start()
        while actions:
            action = actions.pop(0)
            match action:
                case AskModel():
                    request = ModelRequest(messages=messages)
                    async for delta in ask_model(model, request, QUICK):
                        actions += turn.handle(Came(delta))
                    actions += turn.handle(ModelEnded())
                case KeepMessage(message):
                    texts.append(message.text)
                    calls = [
                        {
                            "id": each.id,
                            "type": "function",
                            "function": {"name": each.name, "arguments": each.arguments},
                        }
                        for each in message.tool_calls
                    ]
                    messages.append(
                        {
                            "role": "assistant",
                            "content": message.text,
                            **({"tool_calls": calls} if calls else {}),
                        }
                    )
                case RunTools(calls_to_make):
                    batches.append(calls_to_make)
                    for each in calls_to_make:
                        messages.append({"role": "tool", "tool_call_id": each.id, "content": "42"})
                        actions += turn.handle(ToolEnded(each.id))
                case EndTurn(outcome):
                    await model.aclose()
                    return texts, batches, outcome
                case AnswerCall() | _:
                    pytest.fail(f"nothing is wrong: {action}")
        pytest.fail("the turn did not end")

    texts, batches, outcome = asyncio.run(asyncio.wait_for(run(), 60))
    assert texts == ["I look.", "It is done."]
    assert [[each.name for each in batch] for batch in batches] == [["read_file", "grep"]]
    assert outcome is TurnOutcome.END


def test_the_code_about_models_runs(aimock: str, tmp_path: Path) -> None:
    """It prints what stands below its parts; both servers of the page are aimock."""
    page = PAGE.read_text("utf-8")
    use, own, use_own = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    served = [
        part.replace("http://127.0.0.1:8080", aimock).replace("http://127.0.0.1:11434", aimock)
        for part in (use, own, use_own)
    ]
    assert all(part != was for part, was in zip(served, (use, own, use_own), strict=True))
    (tmp_path / "ollama.py").write_text(served[1])
    for text, expected in ((served[0], printed[0]), (served[2], printed[1])):
        script = tmp_path / "script.py"
        script.write_text(text)
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.stderr, done.stdout) == ("", expected)


def test_turns_of_an_agent(aimock: str, project: Path) -> None:
    """Calls in pieces, a limit of rate, and a cut, in one conversation, which stays valid."""
    model = ModelSpec(options={"model": "gpt-4o", "base_url": f"{aimock}/v1", "api_key": "test"})
    with SessionSystem(model=model, policy=allow_all, durability="memory") as system:
        session = system.create_session(project)
        (project / "src" / "main.py").write_text("def main() -> None: ...\n")
        turn = session.agent.prompt("two calls, please")
        results = [each for each in turn if isinstance(each, ToolResult)]
        assert [result.is_error for result in results] == [False, False]
        assert turn.result().text == "It is done."
        assert session.agent.prompt("limited again").result().text == "again"
        statuses = [each["response"]["status"] for each in asked(aimock, "limited again")]
        assert statuses == [429, 200]
        cut = session.agent.prompt("cut off").result()
        assert cut.outcome is TurnOutcome.INTERRUPTED
        assert cut.text
        assert session.agent.prompt("greet me").result().ok
        assert problems(session.state.history(), "openai") == []
