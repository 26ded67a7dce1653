"""What may be asked of a State, each request a small record.

`requests.py` says what a request is; `state.py` has the server that answers,
and the client that asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from jidocode.session.changes import (
    Change,
    FileAccess,
    FileAccessKind,
    Message,
    MessageStatus,
    PromptAdded,
    ReasoningStep,
    Role,
    StreamBegan,
    Todo,
    ToolCall,
)
from jidocode.session.conversation import Conversation, ConversationStatistics
from jidocode.session.journal import Repair
from jidocode.session.requests import Answer, Request


class StateRequest(Request[Conversation, Answer]):
    """A request that a State answers, next to every `SessionRequest`."""


@attrs.frozen
class AppendMessage(StateRequest[Message]):
    """See `Conversation.append_message`."""

    message_id: str
    role: Role
    content: str = attrs.field(repr=False)
    metadata: Mapping[str, Any] | None = attrs.field(default=None, repr=False)

    def answer(self, holder: Conversation) -> Message:
        """Append, and return the message."""
        return holder.append_message(self.message_id, self.role, self.content, self.metadata)


@attrs.frozen
class GetMessages(StateRequest[list[Message]]):
    """See `Conversation.messages`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[Message]:
        """Return the page."""
        return holder.messages(after_seq=self.after_seq, limit=self.limit)


@attrs.frozen
class ClearMessages(StateRequest[None]):
    """See `Conversation.clear_messages`."""

    def answer(self, holder: Conversation) -> None:
        """Clear."""
        holder.clear_messages()


@attrs.frozen
class BeginStream(StateRequest[StreamBegan]):
    """See `Conversation.begin_stream`."""

    message_id: str
    role: Role = "assistant"
    metadata: Mapping[str, Any] | None = attrs.field(default=None, repr=False)

    def answer(self, holder: Conversation) -> StreamBegan:
        """Begin, and return the beginning."""
        return holder.begin_stream(self.message_id, self.role, self.metadata)


@attrs.frozen
class AppendChunk(StateRequest[int]):
    """See `Conversation.append_chunk`."""

    message_id: str
    offset: int
    text: str = attrs.field(repr=False)

    def answer(self, holder: Conversation) -> int:
        """Append, and return how many characters there are."""
        return holder.append_chunk(self.message_id, self.offset, self.text)


@attrs.frozen
class EndStream(StateRequest[Message]):
    """See `Conversation.end_stream`."""

    message_id: str
    status: MessageStatus = "complete"

    def answer(self, holder: Conversation) -> Message:
        """End, and return the message."""
        return holder.end_stream(self.message_id, self.status)


@attrs.frozen
class GetStreams(StateRequest[tuple[StreamBegan, ...]]):
    """See `Conversation.streams`."""

    def answer(self, holder: Conversation) -> tuple[StreamBegan, ...]:
        """Return the beginnings."""
        return holder.streams()


@attrs.frozen
class AddReasoningStep(StateRequest[ReasoningStep]):
    """See `Conversation.add_reasoning_step`."""

    step_id: str
    content: str = attrs.field(repr=False)

    def answer(self, holder: Conversation) -> ReasoningStep:
        """Add, and return the step."""
        return holder.add_reasoning_step(self.step_id, self.content)


@attrs.frozen
class ClearReasoning(StateRequest[None]):
    """See `Conversation.clear_reasoning`."""

    def answer(self, holder: Conversation) -> None:
        """Clear."""
        holder.clear_reasoning()


@attrs.frozen
class GetReasoning(StateRequest[list[ReasoningStep]]):
    """See `Conversation.reasoning`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[ReasoningStep]:
        """Return the page."""
        return holder.reasoning(after_seq=self.after_seq, limit=self.limit)


@attrs.frozen
class AddToolCall(StateRequest[ToolCall]):
    """See `Conversation.add_tool_call`."""

    call_id: str
    name: str
    arguments: Mapping[str, Any] | None = attrs.field(default=None, repr=False)

    def answer(self, holder: Conversation) -> ToolCall:
        """Add, and return the call."""
        return holder.add_tool_call(self.call_id, self.name, self.arguments)


@attrs.frozen
class AddToolResult(StateRequest[ToolCall]):
    """See `Conversation.add_tool_result`."""

    call_id: str
    content: str = attrs.field(repr=False)
    is_error: bool = False

    def answer(self, holder: Conversation) -> ToolCall:
        """Set the result, and return the call."""
        return holder.add_tool_result(self.call_id, self.content, is_error=self.is_error)


@attrs.frozen
class GetToolCalls(StateRequest[list[ToolCall]]):
    """See `Conversation.tool_calls`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[ToolCall]:
        """Return the page."""
        return holder.tool_calls(after_seq=self.after_seq, limit=self.limit)


@attrs.frozen
class ReplaceTodos(StateRequest[tuple[Todo, ...]]):
    """See `Conversation.replace_todos`."""

    todos: Sequence[Todo]

    def answer(self, holder: Conversation) -> tuple[Todo, ...]:
        """Replace, and return the list."""
        return holder.replace_todos(self.todos)


@attrs.frozen
class GetTodos(StateRequest[tuple[Todo, ...]]):
    """See `Conversation.todos`."""

    def answer(self, holder: Conversation) -> tuple[Todo, ...]:
        """Return the list."""
        return holder.todos()


@attrs.frozen
class ReplaceToolContext(StateRequest[None]):
    """See `Conversation.replace_tool_context`."""

    context: Mapping[str, Any] = attrs.field(repr=False)

    def answer(self, holder: Conversation) -> None:
        """Replace."""
        holder.replace_tool_context(self.context)


@attrs.frozen
class GetToolContext(StateRequest[Mapping[str, Any]]):
    """See `Conversation.tool_context`."""

    def answer(self, holder: Conversation) -> Mapping[str, Any]:
        """Return it."""
        return holder.tool_context()


@attrs.frozen
class UpdateSettings(StateRequest[Mapping[str, Any]]):
    """See `Conversation.update_settings`."""

    changes: Mapping[str, Any] = attrs.field(repr=False)

    def answer(self, holder: Conversation) -> Mapping[str, Any]:
        """Merge, and return all settings."""
        return holder.update_settings(self.changes)


@attrs.frozen
class GetSettings(StateRequest[Mapping[str, Any]]):
    """See `Conversation.settings`."""

    def answer(self, holder: Conversation) -> Mapping[str, Any]:
        """Return all settings."""
        return holder.settings()


@attrs.frozen
class AddPrompt(StateRequest[None]):
    """See `Conversation.add_prompt`."""

    prompt_id: str
    text: str = attrs.field(repr=False)

    def answer(self, holder: Conversation) -> None:
        """Add."""
        holder.add_prompt(self.prompt_id, self.text)


@attrs.frozen
class GetPrompts(StateRequest[list[PromptAdded]]):
    """See `Conversation.prompts`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[PromptAdded]:
        """Return the page."""
        return holder.prompts(after_seq=self.after_seq, limit=self.limit)


@attrs.frozen
class AddFileAccess(StateRequest[FileAccess]):
    """See `Conversation.add_file_access`."""

    path: str
    kind: FileAccessKind
    sha256: str

    def answer(self, holder: Conversation) -> FileAccess:
        """Note, and return the note."""
        return holder.add_file_access(self.path, self.kind, self.sha256)


@attrs.frozen
class GetFileAccess(StateRequest[FileAccess | None]):
    """See `Conversation.file_access`."""

    path: str
    kind: FileAccessKind

    def answer(self, holder: Conversation) -> FileAccess | None:
        """Return the last one."""
        return holder.file_access(self.path, self.kind)


@attrs.frozen
class GetFileAccesses(StateRequest[list[FileAccess]]):
    """See `Conversation.file_accesses`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[FileAccess]:
        """Return the page."""
        return holder.file_accesses(after_seq=self.after_seq, limit=self.limit)


@attrs.frozen
class GetStatistics(StateRequest[ConversationStatistics]):
    """See `Conversation.statistics`."""

    def answer(self, holder: Conversation) -> ConversationStatistics:
        """Return the figures."""
        return holder.statistics()


@attrs.frozen
class GetRepair(StateRequest[Repair]):
    """See `Conversation.repair`."""

    def answer(self, holder: Conversation) -> Repair:
        """Return what was found."""
        return holder.repair


@attrs.frozen
class GetEvents(StateRequest[list[Change]]):
    """See `Conversation.events`; with *wait* the answer waits for an event, or that many seconds.

    At most `state.MAX_WAIT` seconds; without an event the answer is empty.
    """

    after_seq: int
    limit: int = 100
    wait: float = 0.0

    def answer(self, holder: Conversation) -> list[Change]:
        """Return the page."""
        return holder.events(after_seq=self.after_seq, limit=self.limit)
