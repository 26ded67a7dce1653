"""What every model is: the `Model` protocol, what it is asked, and what it answers.

A model answers in deltas: pieces of text, of reasoning, of calls of tools, in the order in
which they come. Which pieces there are is up to its server, so they mean nothing; only what
they add up to does (`MessageBuilder`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from attrs import field, frozen

from jidocode.base.records import Record


@frozen(eq=False, repr=False)
class ToolDescription(Record):
    """A tool, as a model is told of it.

    Attributes:
        name: What the model calls it.
        description: What it is for.
        schema: The JSON Schema of its arguments, an object.
    """

    name: str
    description: str = field(repr=False)
    schema: Mapping[str, Any] = field(repr=False)


@frozen(eq=False, repr=False, kw_only=True)
class ModelRequest(Record):
    """What a model is asked.

    Attributes:
        messages: The conversation, as Chat Completions has it: mappings with `role`, `content`,
            `tool_calls`, `tool_call_id`.
        tools: What it may call.
        parameters: What else its server is told, by the server's own names: `temperature`,
            `max_tokens`, `response_format`.
    """

    messages: Sequence[Mapping[str, Any]] = field(repr=False)
    tools: Sequence[ToolDescription] = ()
    parameters: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)


@frozen(eq=False, repr=False)
class TextDelta(Record):
    """More of the answer's text."""

    text: str = field(repr=False)


@frozen(eq=False, repr=False)
class ReasoningDelta(Record):
    """More of what the model thinks before it answers.

    Attributes:
        text: What it thinks; may be empty.
        signature: More of what its server signs the thoughts with, for those servers that want
            them back.
    """

    text: str = field(repr=False)
    signature: str = field(default="", repr=False)


@frozen(eq=False, repr=False)
class ToolCallDelta(Record):
    """More of a call of a tool.

    Attributes:
        index: Which call of this answer; the calls come in the order of these.
        id: What the server calls it. The first one that is not empty counts; a call that gets
            none has one of ours.
        name: The tool. The first one that is not empty counts.
        arguments: More of the JSON of its arguments.
    """

    index: int
    id: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    arguments: str = field(default="", repr=False)


@frozen(eq=False, repr=False, kw_only=True)
class TokenUsage(Record):
    """How many tokens an answer took, as its server counts them; the last one that comes counts.

    Attributes:
        input_tokens: Those of the request, with the cached ones.
        output_tokens: Those of the answer, with those of its reasoning.
        cached_tokens: Those of the request that the server had read before.
        reasoning_tokens: Those of the reasoning.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class StopReason(StrEnum):
    """Why a model ended its answer."""

    END = "end"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"


@frozen(eq=False, repr=False)
class Stop(Record):
    """The answer has ended as it should; only usage may follow."""

    reason: StopReason


MOST_CALLS = 500
"""Calls of tools in one answer: a model that wants more does not end."""

Delta = TextDelta | ReasoningDelta | ToolCallDelta | TokenUsage | Stop
"""A piece of an answer."""


class Model(Protocol):
    """A language model. Implement this to use one that jidocode does not know.

    It is made and used in one process, the agent's, and in one asyncio loop.
    """

    def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        """Ask once, and yield the deltas of the answer; `async def` with `yield`.

        It ends when the answer has ended. To close the generator, or to cancel the task that
        iterates, ends the request at once, and leaves nothing open.

        Args:
            request: What is asked.

        Raises:
            ModelUnavailableError: There is no answer yet, and to ask again may help. It is
                raised before the first delta only, and the model is then asked again.
            ModelInterruptedError: The answer broke off, or is none.
            ModelError: Whatever else the model's server has against the request.
        """
        ...

    async def aclose(self) -> None:
        """Close what it keeps open between requests."""
        ...
