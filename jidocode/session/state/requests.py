"""What may be asked of a State, each request a small record.

`requests.py` says what a request is; `state.py` has the server that answers,
and the client that asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jidocode.session.conversation.changes import (
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
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.reports import ConversationStatistics, Repair
from jidocode.session.requests import Answer, Request


class StateRequest(Request[Conversation, Answer], frozen=True):
    """A request that a State answers, next to every `SessionRequest`."""


class AppendMessage(StateRequest[Message], frozen=True):
    """See `Conversation.append_message`."""

    hidden = ("content", "metadata")

    message_id: str
    role: Role
    content: str
    metadata: Mapping[str, Any] | None = None

    def answer(self, holder: Conversation) -> Message:
        """Append, and return the message."""
        return holder.append_message(self.message_id, self.role, self.content, self.metadata)


class GetMessages(StateRequest[list[Message]], frozen=True):
    """See `Conversation.messages`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[Message]:
        """Return the page."""
        return holder.messages(after_seq=self.after_seq, limit=self.limit)


class ClearMessages(StateRequest[None], frozen=True):
    """See `Conversation.clear_messages`."""

    def answer(self, holder: Conversation) -> None:
        """Clear."""
        holder.clear_messages()


class BeginStream(StateRequest[StreamBegan], frozen=True):
    """See `Conversation.begin_stream`."""

    hidden = ("metadata",)

    message_id: str
    role: Role = "assistant"
    metadata: Mapping[str, Any] | None = None

    def answer(self, holder: Conversation) -> StreamBegan:
        """Begin, and return the beginning."""
        return holder.begin_stream(self.message_id, self.role, self.metadata)


class AppendChunk(StateRequest[int], frozen=True):
    """See `Conversation.append_chunk`."""

    hidden = ("text",)

    message_id: str
    offset: int
    text: str

    def answer(self, holder: Conversation) -> int:
        """Append, and return how many characters there are."""
        return holder.append_chunk(self.message_id, self.offset, self.text)


class EndStream(StateRequest[Message], frozen=True):
    """See `Conversation.end_stream`."""

    message_id: str
    status: MessageStatus = "complete"

    def answer(self, holder: Conversation) -> Message:
        """End, and return the message."""
        return holder.end_stream(self.message_id, self.status)


class GetStreams(StateRequest[tuple[StreamBegan, ...]], frozen=True):
    """See `Conversation.streams`."""

    def answer(self, holder: Conversation) -> tuple[StreamBegan, ...]:
        """Return the beginnings."""
        return holder.streams()


class AddReasoningStep(StateRequest[ReasoningStep], frozen=True):
    """See `Conversation.add_reasoning_step`."""

    hidden = ("content",)

    step_id: str
    content: str

    def answer(self, holder: Conversation) -> ReasoningStep:
        """Add, and return the step."""
        return holder.add_reasoning_step(self.step_id, self.content)


class ClearReasoning(StateRequest[None], frozen=True):
    """See `Conversation.clear_reasoning`."""

    def answer(self, holder: Conversation) -> None:
        """Clear."""
        holder.clear_reasoning()


class GetReasoning(StateRequest[list[ReasoningStep]], frozen=True):
    """See `Conversation.reasoning`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[ReasoningStep]:
        """Return the page."""
        return holder.reasoning(after_seq=self.after_seq, limit=self.limit)


class AddToolCall(StateRequest[ToolCall], frozen=True):
    """See `Conversation.add_tool_call`."""

    hidden = ("arguments",)

    call_id: str
    name: str
    arguments: Mapping[str, Any] | None = None

    def answer(self, holder: Conversation) -> ToolCall:
        """Add, and return the call."""
        return holder.add_tool_call(self.call_id, self.name, self.arguments)


class AddToolResult(StateRequest[ToolCall], frozen=True):
    """See `Conversation.add_tool_result`."""

    hidden = ("content",)

    call_id: str
    content: str
    is_error: bool = False

    def answer(self, holder: Conversation) -> ToolCall:
        """Set the result, and return the call."""
        return holder.add_tool_result(self.call_id, self.content, is_error=self.is_error)


class GetToolCalls(StateRequest[list[ToolCall]], frozen=True):
    """See `Conversation.tool_calls`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[ToolCall]:
        """Return the page."""
        return holder.tool_calls(after_seq=self.after_seq, limit=self.limit)


class ReplaceTodos(StateRequest[tuple[Todo, ...]], frozen=True):
    """See `Conversation.replace_todos`."""

    todos: Sequence[Todo]

    def answer(self, holder: Conversation) -> tuple[Todo, ...]:
        """Replace, and return the list."""
        return holder.replace_todos(self.todos)


class GetTodos(StateRequest[tuple[Todo, ...]], frozen=True):
    """See `Conversation.todos`."""

    def answer(self, holder: Conversation) -> tuple[Todo, ...]:
        """Return the list."""
        return holder.todos()


class ReplaceToolContext(StateRequest[None], frozen=True):
    """See `Conversation.replace_tool_context`."""

    hidden = ("context",)

    context: Mapping[str, Any]

    def answer(self, holder: Conversation) -> None:
        """Replace."""
        holder.replace_tool_context(self.context)


class GetToolContext(StateRequest[Mapping[str, Any]], frozen=True):
    """See `Conversation.tool_context`."""

    def answer(self, holder: Conversation) -> Mapping[str, Any]:
        """Return it."""
        return holder.tool_context()


class UpdateSettings(StateRequest[Mapping[str, Any]], frozen=True):
    """See `Conversation.update_settings`."""

    hidden = ("changes",)

    changes: Mapping[str, Any]

    def answer(self, holder: Conversation) -> Mapping[str, Any]:
        """Merge, and return all settings."""
        return holder.update_settings(self.changes)


class GetSettings(StateRequest[Mapping[str, Any]], frozen=True):
    """See `Conversation.settings`."""

    def answer(self, holder: Conversation) -> Mapping[str, Any]:
        """Return all settings."""
        return holder.settings()


class AddPrompt(StateRequest[None], frozen=True):
    """See `Conversation.add_prompt`."""

    hidden = ("text",)

    prompt_id: str
    text: str

    def answer(self, holder: Conversation) -> None:
        """Add."""
        holder.add_prompt(self.prompt_id, self.text)


class GetPrompts(StateRequest[list[PromptAdded]], frozen=True):
    """See `Conversation.prompts`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[PromptAdded]:
        """Return the page."""
        return holder.prompts(after_seq=self.after_seq, limit=self.limit)


class AddFileAccess(StateRequest[FileAccess], frozen=True):
    """See `Conversation.add_file_access`."""

    path: str
    kind: FileAccessKind
    sha256: str

    def answer(self, holder: Conversation) -> FileAccess:
        """Note, and return the note."""
        return holder.add_file_access(self.path, self.kind, self.sha256)


class GetFileAccess(StateRequest[FileAccess | None], frozen=True):
    """See `Conversation.file_access`."""

    path: str
    kind: FileAccessKind

    def answer(self, holder: Conversation) -> FileAccess | None:
        """Return the last one."""
        return holder.file_access(self.path, self.kind)


class GetFileAccesses(StateRequest[list[FileAccess]], frozen=True):
    """See `Conversation.file_accesses`."""

    after_seq: int = 0
    limit: int = 100

    def answer(self, holder: Conversation) -> list[FileAccess]:
        """Return the page."""
        return holder.file_accesses(after_seq=self.after_seq, limit=self.limit)


class GetStatistics(StateRequest[ConversationStatistics], frozen=True):
    """See `Conversation.statistics`."""

    def answer(self, holder: Conversation) -> ConversationStatistics:
        """Return the figures."""
        return holder.statistics()


class GetRepair(StateRequest[Repair], frozen=True):
    """See `Conversation.repair`."""

    def answer(self, holder: Conversation) -> Repair:
        """Return what was found."""
        return holder.repair


class GetEvents(StateRequest[list[Change]], frozen=True):
    """See `Conversation.events`; with *wait* the answer waits for an event, or that many seconds.

    At most `state.MAX_WAIT` seconds; without an event the answer is empty.
    """

    after_seq: int
    limit: int = 100
    wait: float = 0.0

    def answer(self, holder: Conversation) -> list[Change]:
        """Return the page."""
        return holder.events(after_seq=self.after_seq, limit=self.limit)
