"""The changes of a session: everything that ever happens to a conversation is one of these.

They are what a journal keeps, what a `Fold` adds up, and what subscribers get as
events. All changes of a session share one sequence of numbers, which only grows,
so one number serves for paging and for events.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.session.conversation.blocks import (
    Block,
    Completion,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
    json_length,
)
from jidocode.session.record import Session

Role = Literal["user", "assistant", "system", "tool"]
TodoStatus = Literal["pending", "in_progress", "completed"]
MessageStatus = Literal["complete", "aborted", "interrupted"]
FileAccessKind = Literal["read", "write"]
ChunkKind = Literal["text", "reasoning"]

INTERRUPTED_CALL = "interrupted before there was a result; the tool may have run"
"""The result of a tool call that nobody makes any more: somebody has died, or given it up."""


def now() -> datetime:
    """Return the time for a change, in UTC."""
    return datetime.now(UTC)


def new_record_id() -> str:
    """Return a fresh id for whatever has one."""
    return str(uuid.uuid4())


@frozen(eq=False, repr=False, kw_only=True)
class Numbered(Record):
    """What every change has.

    Attributes:
        seq: Its number in the session's sequence.
    """

    seq: int

    @property
    def length(self) -> int:
        """Characters in it, about, for paging and caps."""
        return 0


@frozen(eq=False, repr=False, kw_only=True)
class Message(Numbered):
    """One message.

    Attributes:
        id: From whoever appended it; of a tool's result, the id of the call.
        role: Who said it.
        content: What was said, as text; may be empty.
        metadata: Anything that is JSON.
        created_at: When State took it, in UTC; for a streamed one, when it ended.
        status: `complete`; a streamed one may be `aborted` by its sender, or
            `interrupted` because State, or its sender, crashed meanwhile.
        blocks: All of it in its order, if it is more than text; empty if it is not.
        completion: What the server said of the answer; None if a model did not make it.
    """

    id: str
    role: Role
    content: str = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    created_at: datetime
    status: MessageStatus = "complete"
    blocks: tuple[Block, ...] = field(default=(), repr=False)
    completion: Completion | None = None

    @property
    def length(self) -> int:
        """Characters in it."""
        length = len(self.content) + json_length(self.metadata)
        return length + sum([block.length for block in self.blocks]) if self.blocks else length

    @property
    def tool_uses(self) -> tuple[ToolUseBlock, ...]:
        """The calls of tools that it asks for."""
        return tuple(block for block in self.blocks if isinstance(block, ToolUseBlock))


@frozen(eq=False, repr=False, kw_only=True)
class MessagesCleared(Numbered):
    """All messages were dropped."""


@frozen(eq=False, repr=False, kw_only=True)
class StreamBegan(Numbered):
    """A message is being said; it becomes a `Message` with the same id.

    Attributes:
        id: From whoever began it.
        role: Who says it.
        metadata: Anything that is JSON.
        created_at: When State took it, in UTC.
    """

    id: str
    role: Role
    metadata: Mapping[str, Any] = field(repr=False)
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return json_length(self.metadata)


@frozen(eq=False, repr=False, kw_only=True)
class StreamChunk(Numbered):
    """More of a message that is being said.

    Attributes:
        stream_id: Which message.
        offset: How many characters came before.
        text: What came.
        kind: Whether it is part of the text, or was thought on the way to it.
    """

    stream_id: str
    offset: int
    text: str = field(repr=False)
    kind: ChunkKind = "text"

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.text)


@frozen(eq=False, repr=False, kw_only=True)
class StreamBlock(Numbered):
    """A block of a message that is being said: a call of a tool, the signature of reasoning.

    Attributes:
        stream_id: Which message.
        offset: How many characters came before.
        block: What came.
    """

    stream_id: str
    offset: int
    block: Block = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return self.block.length


@frozen(eq=False, repr=False, kw_only=True)
class ReasoningStep(Numbered):
    """A step on the way to an answer.

    Attributes:
        id: From whoever added it.
        content: What was thought.
        created_at: When State took it, in UTC.
    """

    id: str
    content: str = field(repr=False)
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content)


@frozen(eq=False, repr=False, kw_only=True)
class ReasoningCleared(Numbered):
    """All reasoning steps were dropped."""


@frozen(eq=False, repr=False, kw_only=True)
class ToolResult(Numbered):
    """What came of a tool call.

    Attributes:
        call_id: The call.
        content: What the tool returned, or its error.
        is_error: Whether it failed.
        created_at: When State took it, in UTC.
        message_id: The message that asks for the call; None if none does.
    """

    call_id: str
    content: str = field(repr=False)
    is_error: bool
    created_at: datetime
    message_id: str | None = None

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content)

    @property
    def message(self) -> Message:
        """The result of a call that a message asks for, as a message of the tool."""
        return Message(
            seq=self.seq,
            id=self.call_id,
            role="tool",
            content=self.content,
            metadata={},
            created_at=self.created_at,
            blocks=(ToolResultBlock(self.call_id, self.content, self.is_error, self.message_id),),
        )


def message_by(change: Numbered) -> Message | None:
    """Return the message that there is by *change*, None if it is about something else.

    The result of a call that a message asks for is one, too.
    """
    if isinstance(change, ToolResult):
        return None if change.message_id is None else change.message
    return change if isinstance(change, Message) else None


@frozen(eq=False, repr=False, kw_only=True)
class ToolCall(Numbered):
    """One call of a tool, written down before it is made.

    Attributes:
        id: From whoever added it.
        name: The tool's.
        arguments: Anything that is JSON.
        created_at: When State took it, in UTC.
        result: None as long as there is none.
        message_id: The message that asks for it; None if none does.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(repr=False)
    created_at: datetime
    result: ToolResult | None = None
    message_id: str | None = None

    @property
    def length(self) -> int:
        """Characters in it and its result."""
        return json_length(self.arguments) + (self.result.length if self.result else 0)


@frozen(eq=False, repr=False, kw_only=True)
class Summary(Numbered):
    """What stands, for a model, for all that was said up to a number; nothing is dropped for it.

    Attributes:
        id: From whoever added it.
        content: The summary.
        upto_seq: The last number that it stands for.
        created_at: When State took it, in UTC.
    """

    id: str
    content: str = field(repr=False)
    upto_seq: int
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content)


@frozen(eq=False, repr=False, kw_only=True)
class UsageCounted(Numbered):
    """What the session's models have taken up to now is *usage*.

    Attributes:
        counted_id: Of the answer, or summary, that was counted last.
        usage: All together.
    """

    counted_id: str
    usage: Usage


@frozen(eq=False, repr=False, kw_only=True)
class ApprovalAnswer(Numbered):
    """How somebody decided.

    Attributes:
        approval_id: What was asked.
        option: What was chosen; None if the question was withdrawn.
        created_at: When State took it, in UTC.
    """

    approval_id: str
    option: str | None = field(repr=False)
    created_at: datetime


@frozen(eq=False, repr=False, kw_only=True)
class Approval(Numbered):
    """A question that somebody is to answer, now or after any crash.

    Attributes:
        id: From whoever asked.
        question: For people.
        options: The answers that there are.
        metadata: Anything that is JSON, such as the call that it is about.
        created_at: When State took it, in UTC.
        answer: None as long as there is none.
    """

    id: str
    question: str = field(repr=False)
    options: tuple[str, ...] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    created_at: datetime
    answer: ApprovalAnswer | None = None

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.question) + sum(map(len, self.options)) + json_length(self.metadata)


@frozen(eq=False, repr=False)
class Todo(Record):
    """One thing to do; checked when the list is replaced.

    Attributes:
        content: What to do.
        status: How far it is.
    """

    content: str = field(repr=False)
    status: TodoStatus = "pending"


@frozen(eq=False, repr=False, kw_only=True)
class TodosReplaced(Numbered):
    """The list of todos is *todos* now."""

    todos: tuple[Todo, ...]

    @property
    def length(self) -> int:
        """Characters in it."""
        return sum(len(todo.content) for todo in self.todos)


@frozen(eq=False, repr=False, kw_only=True)
class ToolContextReplaced(Numbered):
    """What tools are given to know is *context* now."""

    context: Mapping[str, Any] = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return json_length(self.context)


@frozen(eq=False, repr=False, kw_only=True)
class SettingsChanged(Numbered):
    """The session's settings are *settings* now, all of them."""

    settings: Mapping[str, Any] = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return json_length(self.settings)


@frozen(eq=False, repr=False, kw_only=True)
class SessionChanged(Numbered):
    """The session's record is *session* now."""

    session: Session


@frozen(eq=False, repr=False, kw_only=True)
class PromptAdded(Numbered):
    """Somebody typed a prompt.

    Attributes:
        id: From whoever added it.
        text: What was typed.
        created_at: When State took it, in UTC.
    """

    id: str
    text: str = field(repr=False)
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.text)


@frozen(eq=False, repr=False, kw_only=True)
class FileAccess(Numbered):
    """A file of the project was read or written.

    Attributes:
        path: As it was given.
        kind: What was done.
        sha256: Of the whole content that was read or written, in lower-case hex.
        created_at: When State took it, in UTC.
    """

    path: str = field(repr=False)
    kind: FileAccessKind
    sha256: str
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.path)


@frozen(eq=False, repr=False, kw_only=True)
class JournalOpened(Numbered):
    """A State opened the journal, at its start.

    Attributes:
        created_at: When, in UTC.
        repair: What was wrong with the file; empty if nothing was.
    """

    created_at: datetime
    repair: Mapping[str, Any]


Change = (
    Message
    | MessagesCleared
    | StreamBegan
    | StreamChunk
    | StreamBlock
    | ReasoningStep
    | ReasoningCleared
    | ToolCall
    | ToolResult
    | Summary
    | UsageCounted
    | Approval
    | ApprovalAnswer
    | TodosReplaced
    | ToolContextReplaced
    | SettingsChanged
    | SessionChanged
    | PromptAdded
    | FileAccess
    | JournalOpened
)
"""Something that changed: a `match` that has a case for each of these has missed none."""
