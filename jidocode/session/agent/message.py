"""`MessageBuilder`: deltas, put together to the whole answer.

Pure: the same pieces give the same message, however a server has cut them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import field, frozen
from msgspec import Struct

from jidocode.base.records import Record
from jidocode.session.agent.model import (
    Delta,
    ReasoningDelta,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)
from jidocode.session.conversation.checks import MAX_LABEL_LENGTH


@frozen(eq=False, repr=False)
class CalledTool(Record):
    """A call of a tool that a model wants made.

    Attributes:
        id: Its id, another for each call of the answer.
        name: The tool, as the model spells it; empty if it has said none.
        arguments: Its arguments, as the model has said them: they should be the JSON of an
            object, and may be anything.
    """

    id: str = field(repr=False)
    name: str = field(repr=False)
    arguments: str = field(repr=False)


@frozen(eq=False, repr=False, kw_only=True)
class ModelMessage(Record):
    """An answer of a model, or as much of it as came.

    Attributes:
        text: What it says.
        reasoning: What it thought before.
        signature: What its server signed the thoughts with; empty if with nothing.
        tool_calls: What it wants done, in its order.
        usage: How many tokens it took; None if the server did not say.
        stop: Why it ended; None if it did not, or its server did not say.
    """

    text: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)
    tool_calls: tuple[CalledTool, ...] = ()
    usage: TokenUsage | None = None
    stop: StopReason | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it neither says nor wants anything."""
        return not self.text and not self.tool_calls


class _Call(Struct):
    id: str = ""
    name: str = ""
    arguments: list[str] = []


class MessageBuilder:
    """Adds up the deltas of one answer."""

    def __init__(self, new_id: Callable[[], str], call_ids: set[str] | None = None) -> None:
        """Start with nothing.

        Args:
            new_id: Makes ids for calls that have none, or that of another.
            call_ids: Those of the calls before, to which those of this answer are added.
        """
        self._new_id = new_id
        self._call_ids: set[str] = set() if call_ids is None else call_ids
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._signature: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._usage: TokenUsage | None = None
        self._stop: StopReason | None = None

    def add(self, delta: Delta) -> None:
        """Take the next piece."""
        match delta:
            case TextDelta():
                self._text.append(delta.text)
            case ReasoningDelta():
                self._reasoning.append(delta.text)
                self._signature.append(delta.signature)
            case ToolCallDelta():
                call = self._calls.setdefault(delta.index, _Call())
                call.id = call.id or delta.id
                call.name = call.name or delta.name
                call.arguments.append(delta.arguments)
            case TokenUsage():
                self._usage = delta
            case Stop():
                self._stop = self._stop or delta.reason

    def message(self) -> ModelMessage:
        """Return what has come so far; for the ids' sake, once."""
        return ModelMessage(
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            signature="".join(self._signature),
            tool_calls=tuple(self._numbered()),
            usage=self._usage,
            stop=self._stop,
        )

    def _numbered(self) -> Iterable[CalledTool]:
        for _, call in sorted(self._calls.items()):
            call_id = call.id
            while not 0 < len(call_id) <= MAX_LABEL_LENGTH or call_id in self._call_ids:
                call_id = self._new_id()
            self._call_ids.add(call_id)
            yield CalledTool(call_id, call.name, "".join(call.arguments))
