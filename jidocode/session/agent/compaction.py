"""`Compaction`: has a summary stand for a conversation that becomes too long for its model.

The model itself writes it. Near the bound it is given the conversation as it is. Once a server has
refused that as too long, no list of messages is sure to be short enough, and a shorter one has to
keep the servers' rules; so it is given one text then, which is cut to what it may read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from attrs import evolve
from msgspec import Struct

from jidocode.base import log
from jidocode.base.text import NOTE_LENGTH, without_middle
from jidocode.errors import ContextOverflowError, ModelError
from jidocode.session.agent.asking import ask_model
from jidocode.session.agent.message import MessageBuilder, ModelMessage
from jidocode.session.agent.model import Model, ModelRequest, StopReason
from jidocode.session.agent.retrying import ModelRetry, RetryRules
from jidocode.session.agent.writing import completion_of
from jidocode.session.conversation.blocks import Usage
from jidocode.session.conversation.changes import Todo, new_record_id
from jidocode.session.state.client import AsyncStateClient

_FULL = 0.8
"""The part of a context that is used when a summary is had."""
SHORTER = (2, 4, 8, 16)
"""What part of a conversation is given to be summarized after one that was too long."""
MAX_SUMMARY = 100_000
"""Characters of a summary, and as many of the todos."""
_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
"""Parameters that make no sense for a text without tools."""
_NO_SUMMARY = (StopReason.REFUSAL, StopReason.CONTENT_FILTER)

_SUMMARIZE = """\
The conversation becomes too long. Write a summary that will stand in its place, for yourself: \
what was asked for, in the words that matter; what was done, found out and decided, with the \
paths; what is still to be done next. No tools; only the summary."""


class Gauge(Struct):
    """How full a model's context is.

    Attributes:
        bound: Tokens that it may have; None if nobody says.
        used: Tokens of the last request and its answer, as the server counts them; None as long
            as nobody has looked.
    """

    bound: int | None
    used: int | None = None

    def note(self, usage: Usage) -> None:
        """Know what the last answer took."""
        self.used = usage.input_tokens + usage.output_tokens

    @property
    def is_full(self) -> bool:
        """Whether a summary is to stand for the conversation now."""
        return self.bound is not None and (self.used or 0) >= self.bound * _FULL


class Compaction:
    """Summarizes, for one turn."""

    def __init__(
        self,
        state: AsyncStateClient,
        gauge: Gauge,
        model_name: str,
        on_usage: Callable[[Usage], object],
        on_retry: Callable[[ModelRetry], object],
    ) -> None:
        """Write summaries to *state*, and tell *on_usage* what each answer took.

        *on_retry* hears of each time that the model is asked again.
        """
        self._state = state
        self._gauge = gauge
        self._model_name = model_name
        self._on_usage = on_usage
        self._on_retry = on_retry
        self._failed = False

    @property
    def is_due(self) -> bool:
        """Whether a summary is to be had before the model is asked, and may be there."""
        return self._gauge.is_full and not self._failed

    async def summarize(
        self,
        model: Model,
        request: ModelRequest,
        said: Sequence[Mapping[str, Any]],
        upto_seq: int,
        *,
        overflowed: bool,
    ) -> bool:
        """Have a summary of *said*, all up to *upto_seq*, stand for it; return whether it does.

        Args:
            model: Who writes it.
            request: What it would be asked next.
            said: The conversation.
            upto_seq: The number of the last of it.
            overflowed: Whether the model's server has refused it as too long.
        """
        known = await self._state.summary()
        if not said or upto_seq < 1 or (known is not None and known.upto_seq >= upto_seq):
            return False  # there is nothing that could be said in fewer words
        text = await self._summary(model, request, said, overflowed=overflowed)
        if not text:
            self._failed = True
            return False
        todos = _todo_list(await self._state.todos())
        await self._state.summarize(f"{text[:MAX_SUMMARY]}{todos[:MAX_SUMMARY]}", upto_seq=upto_seq)
        self._gauge.used = 0
        self._failed = False
        return True

    async def _summary(
        self,
        model: Model,
        request: ModelRequest,
        said: Sequence[Mapping[str, Any]],
        *,
        overflowed: bool,
    ) -> str:
        """Return the summary; nothing if the model does not write one."""
        parameters = {
            name: value for name, value in request.parameters.items() if name not in _OF_TOOLS
        }
        system = request.messages[:1]
        for messages in _attempts(said, overflowed=overflowed):
            asked = evolve(request, messages=[*system, *messages], tools=(), parameters=parameters)
            try:
                message = await self._answer(model, asked)
            except ContextOverflowError as error:
                log.debug("what is to be summarized is too long itself: {}", error)
                continue
            except ModelError as error:
                log.warning("the conversation is not summarized: {}", error)
                return ""
            if message.stop in _NO_SUMMARY or not message.text.strip():
                log.warning("the conversation is not summarized: the model said nothing of it")
                return ""
            return message.text.strip()
        log.warning("the conversation is not summarized: it is too long for that")
        return ""

    async def _answer(self, model: Model, request: ModelRequest) -> ModelMessage:
        began = time.monotonic()
        builder, come = MessageBuilder(new_record_id), False
        try:
            asking = ask_model(model, request, RetryRules(), self._on_retry)
            async with aclosing(asking) as deltas:
                async for delta in deltas:
                    come = True
                    builder.add(delta)
        finally:
            message = builder.message()
            if come:
                took = completion_of(message, self._model_name, time.monotonic() - began)
                self._on_usage(took.usage)
                await self._state.add_usage(took)
        return message


def _attempts(
    said: Sequence[Mapping[str, Any]], *, overflowed: bool
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield what the model is given to summarize, each time less."""
    if not overflowed:
        yield [*said, {"role": "user", "content": _SUMMARIZE}]
    whole = _transcript(said)
    for part in SHORTER:
        text = _transcript(said, len(whole) // part)
        yield [{"role": "user", "content": f"{_SUMMARIZE}\n\nThe conversation:\n\n{text}"}]


def _todo_list(todos: Iterable[Todo]) -> str:
    """Return what follows a summary: what there is to do, which was said before it."""
    lines = [f"- {todo.content} ({todo.status})" for todo in todos]
    return "\n".join(["\n\nTodos:", *lines]) if lines else ""


def _transcript(said: Iterable[Mapping[str, Any]], most: int | None = None) -> str:
    """Return the messages of a request as one text, of *most* characters at most.

    What is too long has its beginning and its end: what was asked for, and what was done last.
    Of each message alone likewise, so that one that is huge does not take the place of all others.
    """
    texts = [_as_text(message) for message in said]
    if most is None:
        return "\n\n".join(texts)
    each = max(most // 8, NOTE_LENGTH)
    return without_middle("\n\n".join(without_middle(text, each) for text in texts), most)


def _as_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = cast("list[Mapping[str, Any]]", content)
        content = "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in parts)
    calls = cast("list[Mapping[str, Any]]", message.get("tool_calls") or [])
    functions = [cast("Mapping[str, Any]", call["function"]) for call in calls]
    lines = [str(content)] if content else []
    lines += [f"[calls {each['name']} {each['arguments']}]" for each in functions]
    return f"{message['role']}: " + "\n".join(lines)
