"""State: the process that keeps a session's conversation.

Its sibling `manager.py` holds the project's files. For now a State keeps the
conversation in memory: a restart begins with an empty one, and with the record
that its supervisor holds (OTP: restarts begin with the spec's arguments).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import attrs

from jidocode.otp.server import CallResult, GenServer
from jidocode.session.conversation import (
    Conversation,
    ConversationStatistics,
    Message,
    Role,
    Todo,
    ToolCall,
    new_record_id,
)
from jidocode.session.requests import (
    Answer,
    Call,
    GetSession,
    Request,
    SessionRequest,
    UpdateSession,
    answered,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jidocode.otp.server import Caller
    from jidocode.session.record import Session, SessionConfig


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
class GetTodos(StateRequest[tuple[Todo, ...]]):
    """See `Conversation.todos`."""

    def answer(self, holder: Conversation) -> tuple[Todo, ...]:
        """Return the list."""
        return holder.todos()


@attrs.frozen
class ReplaceTodos(StateRequest[tuple[Todo, ...]]):
    """See `Conversation.replace_todos`."""

    todos: Sequence[Todo]

    def answer(self, holder: Conversation) -> tuple[Todo, ...]:
        """Replace, and return the list."""
        return holder.replace_todos(self.todos)


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
class UpdateConfig(StateRequest["Session"]):
    """See `Conversation.update_config`."""

    changes: Mapping[str, Any] = attrs.field(repr=False)

    def answer(self, holder: Conversation) -> Session:
        """Merge, and return the new record."""
        return holder.update_config(self.changes)


@attrs.frozen
class GetStatistics(StateRequest[ConversationStatistics]):
    """See `Conversation.statistics`."""

    def answer(self, holder: Conversation) -> ConversationStatistics:
        """Return the figures."""
        return holder.statistics()


class State(GenServer):
    """The server: one `Conversation`, asked by `StateRequest` and `SessionRequest`.

    A refusal (`SessionError`) goes to the caller, and the State goes on;
    anything else ends it, and its supervisor decides.
    """

    kind: ClassVar[str] = "state"

    conversation: Conversation

    def init(self, session: Session) -> None:
        """Begin an empty conversation for *session* (called by the host, first)."""
        self.conversation = Conversation(session)

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*."""
        if isinstance(request, (StateRequest, SessionRequest)):
            return answered(cast("Request[Conversation, object]", request), self.conversation)
        return super().handle_call(request, caller)


@attrs.frozen
class StateClient:
    """A State, as others see it. Each method asks the process and waits.

    A request that breaks a rule raises `InvalidRequestError` (for the config
    `InvalidSessionError`), and changes nothing; besides that methods raise
    whatever the way to the process raises (`CallError`).
    """

    _call: Call

    def append_message(
        self,
        role: Role,
        content: str,
        *,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Message:
        """Append a message and return it with its sequence number.

        Args:
            role: Who says it: user, assistant, system or tool.
            content: What is said, up to a million characters.
            message_id: A fresh one by default. Give your own to try again
                safely: a second append with the same id returns the first.
            metadata: Anything that is JSON.
        """
        message_id = new_record_id() if message_id is None else message_id
        return self._call(AppendMessage(message_id, role, content, metadata))

    def messages(self, *, after_seq: int = 0, limit: int = 100) -> list[Message]:
        """Return the first messages after *after_seq*, oldest first, in pages.

        Up to *limit* (1000), fewer if they are long; none only if there are no
        more. The last 1000 messages are kept.
        """
        return self._call(GetMessages(after_seq, limit))

    def clear_messages(self) -> None:
        """Drop all messages; sequence numbers go on."""
        self._call(ClearMessages())

    def todos(self) -> tuple[Todo, ...]:
        """Return the list of todos."""
        return self._call(GetTodos())

    def replace_todos(self, todos: Sequence[Todo]) -> tuple[Todo, ...]:
        """Make *todos* the whole list, and return it."""
        return self._call(ReplaceTodos(todos))

    def add_tool_call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_id: str | None = None,
    ) -> ToolCall:
        """Add a call of the tool *name* and return it with its sequence number.

        Args:
            name: The tool's.
            arguments: Anything that is JSON.
            call_id: As *message_id* in `append_message`.
        """
        call_id = new_record_id() if call_id is None else call_id
        return self._call(AddToolCall(call_id, name, arguments))

    def add_tool_result(self, call_id: str, content: str, *, is_error: bool = False) -> ToolCall:
        """Set what came of a tool call, and return the call. A result is final."""
        return self._call(AddToolResult(call_id, content, is_error))

    def tool_calls(self, *, after_seq: int = 0, limit: int = 100) -> list[ToolCall]:
        """Return the first tool calls after *after_seq*, in pages as `messages`.

        The last 500 calls are kept.
        """
        return self._call(GetToolCalls(after_seq, limit))

    def config(self) -> SessionConfig:
        """Return the session's config."""
        return self.session().config

    def update_config(self, changes: Mapping[str, Any]) -> Session:
        """Merge *changes* into the session's config; return the new record."""
        return self._call(UpdateConfig(changes))

    def session(self) -> Session:
        """Return the session's record, as the State has it."""
        return self._call(GetSession())

    def update_session(self, session: Session) -> Session:
        """Give the State a later record; return the one that counts now."""
        return self._call(UpdateSession(session))

    def statistics(self) -> ConversationStatistics:
        """Return how much the State keeps."""
        return self._call(GetStatistics())
