"""The events of Chat Completions, made deltas, whichever server sends them.

Pure. Servers differ, and this is the place that knows how: a field may be missing, null or
empty; `index` may be missing, or the same for several calls; a name or an id may come again with
every fragment; reasoning has two names; usage comes last, always, or never.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import Struct

from jidocode.errors import ModelInterruptedError
from jidocode.session.agent.model import (
    MOST_CALLS,
    Delta,
    ReasoningDelta,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)

_REASONS = {
    "stop": StopReason.END,
    "tool_calls": StopReason.TOOL_CALLS,
    "function_call": StopReason.TOOL_CALLS,
    "length": StopReason.LENGTH,
    "content_filter": StopReason.CONTENT_FILTER,
}


class _Function(Struct):
    name: str | None = None
    arguments: Any = None


class _Fragment(Struct):
    index: int | None = None
    id: str | int | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: Any = None
    reasoning_content: str | None = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[_Fragment] | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Details(Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def counted(self) -> TokenUsage:
        of_input = self.prompt_tokens_details or _Details()
        of_output = self.completion_tokens_details or _Details()
        return TokenUsage(
            input_tokens=self.prompt_tokens or 0,
            output_tokens=self.completion_tokens or 0,
            cached_tokens=of_input.cached_tokens or 0,
            reasoning_tokens=of_output.reasoning_tokens or 0,
        )


class Chunk(Struct):
    """An event: a part of the answer, or an error instead of the rest."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Chunk)


def read_chunk(data: str) -> Chunk:
    """Return the event that *data* is.

    Raises:
        ModelInterruptedError: It is none.
    """
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Not quoted: it is a piece of the answer, or anything at all.
        problem = f"an event of {len(data)} characters is no part of an answer"
    raise ModelInterruptedError(problem)


class ChunkReader:
    """Makes deltas of the events of one answer."""

    def __init__(self) -> None:
        self._refused = False
        self._stopped = False
        self._calls: list[_Seen] = []

    @property
    def has_stopped(self) -> bool:
        """Whether the server has said why the answer ended."""
        return self._stopped

    def read(self, chunk: Chunk) -> Iterator[Delta]:
        """Yield what *chunk* has in it: nothing, or several pieces."""
        for choice in (chunk.choices or ())[:1]:
            if choice.delta is not None:
                yield from self._pieces(choice.delta)
            if choice.finish_reason and not self._stopped:
                self._stopped = True
                reason = _REASONS.get(choice.finish_reason, StopReason.END)
                refused = self._refused and reason is StopReason.END
                yield Stop(StopReason.REFUSAL if refused else reason)
        if chunk.usage is not None:
            yield chunk.usage.counted()

    def finish(self) -> Iterator[Delta]:
        """Yield the `Stop` of an answer that has ended, if the server has not said why it did."""
        if not self._stopped:
            self._stopped = True
            reason = StopReason.TOOL_CALLS if self._calls else StopReason.END
            yield Stop(StopReason.REFUSAL if self._refused else reason)

    def _pieces(self, delta: _Delta) -> Iterator[Delta]:
        reasoning = delta.reasoning_content or delta.reasoning
        if isinstance(reasoning, str) and reasoning:
            yield ReasoningDelta(reasoning)
        content: object = delta.content
        if isinstance(content, list):
            yield from _blocks(cast("list[object]", content))
        elif isinstance(content, str) and content:
            yield TextDelta(content)
        if delta.refusal:
            self._refused = True
            yield TextDelta(delta.refusal)
        for fragment in delta.tool_calls or ():
            function = fragment.function or _Function()
            name = function.name or ""
            call_id = "" if fragment.id is None else str(fragment.id)
            arguments = _said(function.arguments)
            index = self._place(fragment.index, call_id, name)
            self._calls[index].take(call_id, name, arguments)
            yield ToolCallDelta(index, call_id, name, arguments)

    def _place(self, index: int | None, call_id: str, name: str) -> int:
        """Return which call of the answer a fragment belongs to."""
        for place, seen in enumerate(self._calls):
            if index is None:
                if call_id and seen.id == call_id:
                    return place
            elif seen.index == index and not seen.is_whole_and_another(call_id, name):
                return place
        if index is None and self._calls and not name:
            return len(self._calls) - 1
        if len(self._calls) >= MOST_CALLS:
            raise ModelInterruptedError(f"more than {MOST_CALLS} calls of tools came")
        self._calls.append(_Seen(index))
        return len(self._calls) - 1


class _Seen(Struct):
    """A call of which something has come.

    Attributes:
        index: As the server numbers it.
        id: The first id that came.
        name: The first name that came.
        arguments: All that has come of its arguments.
    """

    index: int | None
    id: str = ""
    name: str = ""
    arguments: list[str] = []

    def take(self, call_id: str, name: str, arguments: str) -> None:
        self.id = self.id or call_id
        self.name = self.name or name
        self.arguments.append(arguments)

    def is_whole_and_another(self, call_id: str, name: str) -> bool:
        """Whether a fragment with the same index begins another call.

        Some servers number all calls 0, and send each in one piece; others have an id, or a
        name, of their own for each fragment of one call.
        """
        if not (self.name and name and call_id and self.id and self.id != call_id):
            return False
        try:
            json.loads("".join(self.arguments))
        except (ValueError, RecursionError):
            return False
        return True


def _said(arguments: object) -> str:
    if arguments is None:
        return ""
    # Some servers send the object itself, and not its JSON.
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _blocks(content: list[object]) -> Iterator[Delta]:
    """Yield what stands in a content of blocks, `{"type": "text", "text": ...}` or `thinking`."""
    for block in content:
        if not isinstance(block, dict):
            continue
        said = cast("dict[str, object]", block)
        text, thinking = said.get("text"), said.get("thinking")
        if isinstance(text, str) and text:
            yield TextDelta(text)
        elif isinstance(thinking, str) and thinking:
            yield ReasoningDelta(thinking)
        elif isinstance(thinking, list):
            for delta in _blocks(cast("list[object]", thinking)):
                if isinstance(delta, TextDelta):
                    yield ReasoningDelta(delta.text)
