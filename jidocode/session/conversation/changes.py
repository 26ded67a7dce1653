"""The changes of a session: everything that ever happens to a conversation is one of these.

They are what a journal keeps, what a `Fold` adds up, and what subscribers get as
events. All changes of a session share one sequence of numbers, which only grows,
so one number serves for paging and for events.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.session.record import Session

Role = Literal["user", "assistant", "system", "tool"]
TodoStatus = Literal["pending", "in_progress", "completed"]
MessageStatus = Literal["complete", "aborted", "interrupted"]
FileAccessKind = Literal["read", "write"]


def now() -> datetime:
    """Return the time for a change, in UTC."""
    return datetime.now(UTC)


def new_record_id() -> str:
    """Return a fresh id for whatever has one."""
    return str(uuid.uuid4())


def _json_length(value: Mapping[str, Any]) -> int:
    return len(json.dumps(value)) if value else 0


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
        id: From whoever appended it.
        role: Who said it.
        content: What was said, may be empty.
        metadata: Anything that is JSON.
        created_at: When State took it, in UTC; for a streamed one, when it ended.
        status: `complete`; a streamed one may be `aborted` by its sender, or
            `interrupted` because State crashed meanwhile.
    """

    id: str
    role: Role
    content: str = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    created_at: datetime
    status: MessageStatus = "complete"

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content) + _json_length(self.metadata)


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
        return _json_length(self.metadata)


@frozen(eq=False, repr=False, kw_only=True)
class StreamChunk(Numbered):
    """More of a message that is being said.

    Attributes:
        stream_id: Which message.
        offset: How many characters came before.
        text: What came.
    """

    stream_id: str
    offset: int
    text: str = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.text)


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
    """

    call_id: str
    content: str = field(repr=False)
    is_error: bool
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content)


@frozen(eq=False, repr=False, kw_only=True)
class ToolCall(Numbered):
    """One call of a tool.

    Attributes:
        id: From whoever added it.
        name: The tool's.
        arguments: Anything that is JSON.
        created_at: When State took it, in UTC.
        result: None as long as there is none.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(repr=False)
    created_at: datetime
    result: ToolResult | None = None

    @property
    def length(self) -> int:
        """Characters in it and its result."""
        return _json_length(self.arguments) + (self.result.length if self.result else 0)


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
        return _json_length(self.context)


@frozen(eq=False, repr=False, kw_only=True)
class SettingsChanged(Numbered):
    """The session's settings are *settings* now, all of them."""

    settings: Mapping[str, Any] = field(repr=False)

    @property
    def length(self) -> int:
        """Characters in it."""
        return _json_length(self.settings)


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
    | ReasoningStep
    | ReasoningCleared
    | ToolCall
    | ToolResult
    | TodosReplaced
    | ToolContextReplaced
    | SettingsChanged
    | SessionChanged
    | PromptAdded
    | FileAccess
    | JournalOpened
)
"""Something that changed: a `match` that has a case for each of these has missed none."""
