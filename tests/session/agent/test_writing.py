"""Answers of a model, written into a conversation while they come."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from jidocode import (
    ActorRef,
    Completion,
    Delta,
    ReasoningBlock,
    ReasoningDelta,
    TextBlock,
    TextDelta,
)
from jidocode.session.agent.message import ModelMessage
from jidocode.session.agent.writing import WRITE_DELAY, MessageWriter
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.record import Session
from jidocode.session.state.client import AsyncStateClient
from jidocode.session.state.operations import OPERATIONS

OWNER = ActorRef("agent", 1, 100)
SAID: list[Delta] = [
    TextDelta("one "),
    ReasoningDelta("hm", "signed"),
    TextDelta("two "),
    TextDelta("three"),
]


@pytest.mark.parametrize("pause", [None, 0.0, WRITE_DELAY * 0.8])
def test_all_of_an_answer_is_written(session: Session, pause: float | None) -> None:
    """Also if all of it comes at once, before any of it could be written."""
    conversation = Conversation.in_memory(session)

    async def ask(request: Any, /, **_options: object) -> Any:
        await asyncio.sleep(0)
        operation = OPERATIONS.by_name[request.operation]
        return operation(conversation, *request.args, **request.kwargs)

    async def write() -> None:
        writer = MessageWriter(AsyncStateClient(cast("Any", ask)), OWNER)
        for delta in SAID:
            writer.add(delta)
            if pause is not None:
                await asyncio.sleep(pause)
        await writer.finish(ModelMessage(), "complete", Completion())

    asyncio.run(write())

    (message,) = conversation.messages()
    assert message.blocks == (
        TextBlock("one "),
        ReasoningBlock("hm", "signed"),
        TextBlock("two three"),
    )
