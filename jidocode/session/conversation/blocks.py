"""Blocks: the parts of a message that is more than text, and what a model's server said of it.

A message of text alone has no blocks. All others have all of it in blocks, in the order
in which it was said; so a model gets it back in that order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from jidocode.base.records import Record


def json_length(value: Mapping[str, Any]) -> int:
    """Return the characters of *value* as JSON; 0 for an empty one."""
    return len(json.dumps(value)) if value else 0


class Block:
    """The base of all parts of a message: `match` it on its class."""

    __slots__ = ()

    @property
    def length(self) -> int:
        """Characters in it, about, for paging and caps."""
        raise NotImplementedError


@frozen(eq=False, repr=False)
class TextBlock(Record, Block):
    """Part of the text.

    Attributes:
        text: What was said.
    """

    text: str = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.text)


def text_in(blocks: Iterable[Block]) -> str:
    """Return the text among *blocks*: what the `content` of their message is."""
    return "".join([block.text for block in blocks if isinstance(block, TextBlock)])


@frozen(eq=False, repr=False)
class ReasoningBlock(Record, Block):
    """What a model thought on the way to its answer.

    Attributes:
        text: What it thought; empty if its provider does not show it.
        signature: What its provider wants back with it, to believe that it is its own.
        redacted: Whether *signature* is the thought itself, encrypted.
    """

    text: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)
    redacted: bool = False

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.text) + len(self.signature)


@frozen(eq=False, repr=False)
class ImageBlock(Record, Block):
    """A picture: its bytes, or where it is.

    Attributes:
        media_type: Such as `image/png`; empty with a *url*.
        data: Its bytes, in base64.
        url: Where a model's server gets it.
    """

    media_type: str = ""
    data: str = field(default="", repr=False)
    url: str = field(default="", repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.data) + len(self.url)


@frozen(eq=False, repr=False)
class FileBlock(Record, Block):
    """A document.

    Attributes:
        name: For people and models.
        media_type: Such as `application/pdf`.
        data: Its bytes, in base64.
    """

    name: str = field(repr=False)
    media_type: str
    data: str = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.name) + len(self.data)


@frozen(eq=False, repr=False)
class ToolUseBlock(Record, Block):
    """A model wants a tool to be called.

    Attributes:
        id: Of the call; there is one such id in a conversation.
        name: The tool's.
        arguments: Anything that is JSON.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.id) + len(self.name) + json_length(self.arguments)


@frozen(eq=False, repr=False)
class ToolResultBlock(Record, Block):
    """What came of a call: the one block of a message of a tool; `add_tool_result` makes it.

    Attributes:
        call_id: The call.
        content: What the tool returned, or its error.
        is_error: Whether it failed.
        message_id: The message that asks for the call.
    """

    call_id: str
    content: str = field(repr=False)
    is_error: bool = False
    message_id: str | None = None

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content)


@frozen(eq=False, repr=False, kw_only=True)
class Usage(Record):
    """What calls of a model took, as its server counts it.

    Attributes:
        input_tokens: Read by the model, the *cached_tokens* among them.
        output_tokens: Said by the model, the *reasoning_tokens* among them.
        cached_tokens: Read from the server's cache.
        reasoning_tokens: Thought on the way.
        calls: How many calls of a model.
        seconds: How long they took.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    calls: int = 1
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            calls=self.calls + other.calls,
            seconds=self.seconds + other.seconds,
        )


NOTHING_USED = Usage(calls=0)


@frozen(eq=False, repr=False, kw_only=True)
class Completion(Record):
    """What a model's server said of an answer.

    Attributes:
        model: Which model it was, in the server's words; may be empty.
        stop_reason: Why the answer ended, in the server's words; may be empty.
        usage: What it took.
    """

    model: str = ""
    stop_reason: str = ""
    usage: Usage = Usage()
