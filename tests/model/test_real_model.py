"""A real model, small enough for a CPU, behind a real server."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx2
import pytest

from jidocode.errors import ContextOverflowError
from jidocode.session.agent.asking import ask_model
from jidocode.session.agent.message import MessageBuilder, ModelMessage
from jidocode.session.agent.model import ModelRequest, StopReason, TextDelta
from jidocode.session.agent.openai_model import OpenAIModel
from jidocode.session.agent.retrying import RetryRules

pytestmark = [pytest.mark.model, pytest.mark.timeout(120)]

RULES = RetryRules()


def asking(prompt: str, **parameters: Any) -> ModelRequest:
    messages = [{"role": "user", "content": prompt}]
    return ModelRequest(messages=messages, parameters={"temperature": 0, **parameters})


def answer(llama: str, request: ModelRequest) -> tuple[ModelMessage, int]:
    """Return an answer, and of how many pieces of text it is."""

    async def run() -> tuple[ModelMessage, int]:
        model = OpenAIModel("gemma", base_url=f"{llama}/v1")
        builder, pieces = MessageBuilder(str), 0
        try:
            async for delta in ask_model(model, request, RULES):
                pieces += isinstance(delta, TextDelta)
                builder.add(delta)
        finally:
            await model.aclose()
        return builder.message(), pieces

    return asyncio.run(run())


def test_it_streams(llama: str) -> None:
    """Token by token, and counts them."""
    message, pieces = answer(llama, asking("Count from one to ten.", max_tokens=12))

    assert pieces > 3
    assert message.text
    assert message.stop in {StopReason.LENGTH, StopReason.END}
    assert message.usage is not None
    assert message.usage.input_tokens > 5
    assert 3 < message.usage.output_tokens <= 12


def test_it_answers_in_a_form(llama: str) -> None:
    """As a schema says, which is a parameter like any other."""
    schema = {
        "type": "object",
        "properties": {"tool": {"enum": ["read_file", "run_command"]}, "path": {"type": "string"}},
        "required": ["tool", "path"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
    message, _ = answer(
        llama, asking("Read the file src/main.py.", max_tokens=60, response_format=form)
    )

    assert json.loads(message.text).keys() == {"tool", "path"}


def test_to_cancel_frees_the_server(llama: str) -> None:
    """It does not go on for nobody."""

    async def run() -> None:
        async with httpx2.AsyncClient(base_url=llama) as client:

            async def is_busy() -> bool:
                (slot,) = (await client.get("/slots")).json()
                return bool(slot["is_processing"])

            model = OpenAIModel("gemma", base_url=f"{llama}/v1")
            request = asking("Tell me a very long story.", max_tokens=900)
            deltas = ask_model(model, request, RULES)
            await anext(deltas)
            assert await is_busy()
            await deltas.aclose()
            deadline = time.monotonic() + 10
            while await is_busy():
                assert time.monotonic() < deadline, "the server goes on"
                await asyncio.sleep(0.05)
            await model.aclose()

    asyncio.run(run())


def test_a_conversation_that_is_too_long_is_told_as_such(llama: str) -> None:
    """By whatever words this server has for it."""
    with pytest.raises(ContextOverflowError):
        answer(llama, asking("word " * 3000))
