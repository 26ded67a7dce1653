"""`MessageWriter`: an answer of a model, written into the State while it comes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

from attrs import evolve

from jidocode.base.refs import ActorRef
from jidocode.errors import InvalidRequestError
from jidocode.session.agent.message import CalledTool, ModelMessage
from jidocode.session.agent.model import Delta, ReasoningDelta, TextDelta, TokenUsage
from jidocode.session.conversation import checks
from jidocode.session.conversation.blocks import Completion, ReasoningBlock, ToolUseBlock, Usage
from jidocode.session.conversation.changes import MessageStatus, new_record_id
from jidocode.session.state.client import AsyncStateClient
from jidocode.session.tools.arguments import as_object
from jidocode.session.tools.tool import MAX_TOOL_NAME

WRITE_DELAY = 0.05
"""Seconds for which pieces wait for more of them."""
NO_NAME = "unknown"
"""What stands in a conversation for a call of a tool without a name."""
_Kind = Literal["text", "reasoning", "signature"]


def arguments_of(call: CalledTool) -> dict[str, Any]:
    """Return the arguments of *call*; none if they are no JSON object that a State keeps."""
    try:
        return checks.json_mapping("the arguments", as_object(call.arguments))
    except InvalidRequestError:
        return {}


def name_of(call: CalledTool) -> str:
    """Return the name of the tool as a conversation has it."""
    return call.name[:MAX_TOOL_NAME] or NO_NAME


def completion_of(message: ModelMessage, model: str, seconds: float) -> Completion:
    """Return what is said of *message*, an answer of *model* that took so long."""
    said = message.usage or TokenUsage()
    usage = Usage(
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cached_tokens=said.cached_tokens,
        reasoning_tokens=said.reasoning_tokens,
        seconds=seconds,
    )
    stop = "" if message.stop is None else str(message.stop)
    return Completion(model=model, stop_reason=stop, usage=usage)


class MessageWriter:
    """Writes one answer. The State ends it as interrupted if its *owner* dies."""

    def __init__(self, state: AsyncStateClient, owner: ActorRef) -> None:
        self._state = state
        self._owner = owner
        self._waiting: list[tuple[_Kind, list[str]]] = []
        self._length = 0
        self._began = False
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self.message_id = new_record_id()

    def add(self, delta: Delta) -> None:
        """Write *delta* soon, together with what follows."""
        match delta:
            case TextDelta():
                self._wait("text", delta.text)
            case ReasoningDelta():
                self._wait("reasoning", delta.text)
                self._wait("signature", delta.signature)
            case _:
                return

    def _wait(self, kind: _Kind, text: str) -> None:
        if not text:
            return
        if not self._waiting or self._waiting[-1][0] != kind:
            self._waiting.append((kind, []))
        self._waiting[-1][1].append(text)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        # A whole answer may have come, and be finished, before this runs at all: so it looks
        # whether there is a hurry only after it has written.
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_DELAY):
                    await self._hurry.wait()
            await self._write()
            if self._hurry.is_set():
                return

    async def _write(self) -> None:
        while self._waiting:
            kind, texts = self._waiting[0]
            if kind == "signature" and len(self._waiting) == 1 and not self._hurry.is_set():
                return  # it is one block, and more of it may come
            del self._waiting[0]
            await self._begin()
            if kind == "signature":
                await self._append(ReasoningBlock(signature="".join(texts)))
            else:
                self._length = await self._state.append_chunk(
                    self.message_id, "".join(texts), offset=self._length, kind=kind
                )

    async def _begin(self) -> None:
        if not self._began:
            self._began = True
            await self._state.begin_stream(message_id=self.message_id, owner=self._owner)

    async def finish(
        self, message: ModelMessage, status: MessageStatus, completion: Completion
    ) -> None:
        """Write the rest of *message*, and end it."""
        self._hurry.set()
        if self._writing is not None:
            await self._writing
        await self._write()  # it may all have come before a write was begun
        await self._begin()
        for call in message.tool_calls:
            use = ToolUseBlock(call.id, name_of(call), arguments_of(call))
            try:
                await self._append(use)
            except InvalidRequestError:  # it is too much for one message, with what was before
                await self._append(evolve(use, arguments={}))
        await self._state.end_stream(self.message_id, status=status, completion=completion)

    async def _append(self, block: ReasoningBlock | ToolUseBlock) -> None:
        self._length = await self._state.append_block(self.message_id, block, offset=self._length)

    async def is_ended_by_state(self) -> bool:
        """Whether the State was restarted meanwhile: it has ended the message, or knows of none."""
        if not self._began:
            return False
        return all(stream.id != self.message_id for stream in await self._state.streams())

    async def abandon(self) -> None:
        """End it as interrupted, if it has begun and can be ended."""
        self._hurry.set()
        if self._writing is not None:
            self._writing.cancel()
        if self._began:
            await self._state.end_stream(self.message_id, status="interrupted")
