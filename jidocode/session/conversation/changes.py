"""The changes of a session, each a frozen record with its number.

Everything that ever happens to a conversation is one of these. They are what a
journal keeps (`codec.py`), what `Conversation.apply` carries out, and what
subscribers get as events. All of a session's changes share one sequence, which
only grows, so one number serves for paging and for events.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from jidocode.base.records import Discreet
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


class Change(Discreet, frozen=True, kw_only=True):
    """Something that changed.

    Attributes:
        seq: Its number in the session's sequence.
    """

    seq: int

    @property
    def length(self) -> int:
        """Characters in it, about, for paging and caps."""
        return 0


class Message(Change, frozen=True, kw_only=True):
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

    hidden = ("content", "metadata")

    id: str
    role: Role
    content: str
    metadata: Mapping[str, Any]
    created_at: datetime
    status: MessageStatus = "complete"

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content) + _json_length(self.metadata)


class MessagesCleared(Change, frozen=True, kw_only=True):
    """All messages were dropped."""


class StreamBegan(Change, frozen=True, kw_only=True):
    """A message is being said; it becomes a `Message` with the same id.

    Attributes:
        id: From whoever began it.
        role: Who says it.
        metadata: Anything that is JSON.
        created_at: When State took it, in UTC.
    """

    hidden = ("metadata",)

    id: str
    role: Role
    metadata: Mapping[str, Any]
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return _json_length(self.metadata)


class StreamChunk(Change, frozen=True, kw_only=True):
    """More of a message that is being said.

    Attributes:
        stream_id: Which message.
        offset: How many characters came before.
        text: What came.
    """

    hidden = ("text",)

    stream_id: str
    offset: int
    text: str

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.text)


class ReasoningStep(Change, frozen=True, kw_only=True):
    """A step on the way to an answer.

    Attributes:
        id: From whoever added it.
        content: What was thought.
        created_at: When State took it, in UTC.
    """

    hidden = ("content",)

    id: str
    content: str
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content)


class ReasoningCleared(Change, frozen=True, kw_only=True):
    """All reasoning steps were dropped."""


class ToolResult(Change, frozen=True, kw_only=True):
    """What came of a tool call.

    Attributes:
        call_id: The call.
        content: What the tool returned, or its error.
        is_error: Whether it failed.
        created_at: When State took it, in UTC.
    """

    hidden = ("content",)

    call_id: str
    content: str
    is_error: bool
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.content)


class ToolCall(Change, frozen=True, kw_only=True):
    """One call of a tool.

    Attributes:
        id: From whoever added it.
        name: The tool's.
        arguments: Anything that is JSON.
        created_at: When State took it, in UTC.
        result: None as long as there is none.
    """

    hidden = ("arguments",)

    id: str
    name: str
    arguments: Mapping[str, Any]
    created_at: datetime
    result: ToolResult | None = None

    @property
    def length(self) -> int:
        """Characters in it and its result."""
        return _json_length(self.arguments) + (self.result.length if self.result else 0)


class Todo(Struct, frozen=True):
    """One thing to do; checked when the list is replaced.

    Attributes:
        content: What to do.
        status: How far it is.
    """

    content: str
    status: TodoStatus = "pending"


class TodosReplaced(Change, frozen=True, kw_only=True):
    """The list of todos is *todos* now."""

    todos: tuple[Todo, ...]

    @property
    def length(self) -> int:
        """Characters in it."""
        return sum(len(todo.content) for todo in self.todos)


class ToolContextReplaced(Change, frozen=True, kw_only=True):
    """What tools are given to know is *context* now."""

    hidden = ("context",)

    context: Mapping[str, Any]

    @property
    def length(self) -> int:
        """Characters in it."""
        return _json_length(self.context)


class SettingsChanged(Change, frozen=True, kw_only=True):
    """The session's settings are *settings* now, all of them."""

    hidden = ("settings",)

    settings: Mapping[str, Any]

    @property
    def length(self) -> int:
        """Characters in it."""
        return _json_length(self.settings)


class SessionChanged(Change, frozen=True, kw_only=True):
    """The session's record is *session* now."""

    session: Session


class PromptAdded(Change, frozen=True, kw_only=True):
    """Somebody typed a prompt.

    Attributes:
        id: From whoever added it.
        text: What was typed.
        created_at: When State took it, in UTC.
    """

    hidden = ("text",)

    id: str
    text: str
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.text)


class FileAccess(Change, frozen=True, kw_only=True):
    """A file of the project was read or written.

    Attributes:
        path: As it was given.
        kind: What was done.
        sha256: Of the whole content that was read or written, in lower-case hex.
        created_at: When State took it, in UTC.
    """

    path: str
    kind: FileAccessKind
    sha256: str
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it."""
        return len(self.path)


class Opened(Change, frozen=True, kw_only=True):
    """A State opened the journal.

    Attributes:
        created_at: When, in UTC.
        repair: What was wrong with the file; empty if nothing was.
    """

    created_at: datetime
    repair: Mapping[str, Any]
