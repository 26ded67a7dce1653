"""A session's State, as its app and its siblings see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from jidocode.errors import (
    ActorExitedError,
)
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
    new_record_id,
)
from jidocode.session.conversation.reports import ConversationStatistics, Repair
from jidocode.session.record import Session, SessionConfig
from jidocode.session.requests import (
    Call,
    GetSession,
)
from jidocode.session.state.requests import (
    AddFileAccess,
    AddPrompt,
    AddReasoningStep,
    AddToolCall,
    AddToolResult,
    AppendChunk,
    AppendMessage,
    BeginStream,
    ClearMessages,
    ClearReasoning,
    EndStream,
    GetEvents,
    GetFileAccess,
    GetFileAccesses,
    GetMessages,
    GetPrompts,
    GetReasoning,
    GetRepair,
    GetSettings,
    GetStatistics,
    GetStreams,
    GetTodos,
    GetToolCalls,
    GetToolContext,
    ReplaceTodos,
    ReplaceToolContext,
    UpdateSettings,
)

_ANSWER_TIME = 5.0


class StateClient(Struct, frozen=True):
    """A State, as others see it. Each method asks the process and waits.

    A request that breaks a rule raises `InvalidRequestError` (for the config
    `InvalidSessionError`), one that could not be written down raises
    `JournalWriteError`; both change nothing. Besides that methods raise whatever
    the way to the process raises (`CallError`).

    All that has an id may be sent again with the same one: what is there already
    is returned, and nothing changes. Pages hold up to *limit* records (1000) after
    *after_seq*, oldest first, fewer if they are long; none only if there are no
    more. The next page starts after the last one's `seq`.
    """

    _call: Call

    # Messages

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
        """Return a page of messages.

        Kept are 200,000 in a journal, and the last 1000 without one.
        """
        return self._call(GetMessages(after_seq, limit))

    def clear_messages(self) -> None:
        """Drop all messages; sequence numbers go on."""
        self._call(ClearMessages())

    def begin_stream(
        self,
        role: Role = "assistant",
        *,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> StreamBegan:
        """Begin a message that comes in chunks; its `id` names it from now on.

        If the State crashes before `end_stream`, the message ends with what was
        written down of it and the status `interrupted`.
        """
        message_id = new_record_id() if message_id is None else message_id
        return self._call(BeginStream(message_id, role, metadata))

    def append_chunk(self, message_id: str, text: str, *, offset: int) -> int:
        """Append *text* to a message, and return how many characters it has then.

        *offset* is how many came before: 0, and then what the last chunk returned.
        """
        return self._call(AppendChunk(message_id, offset, text))

    def end_stream(self, message_id: str, *, status: MessageStatus = "complete") -> Message:
        """End a message, and return it; `aborted` is for one that its sender gave up."""
        return self._call(EndStream(message_id, status))

    def streams(self) -> tuple[StreamBegan, ...]:
        """Return the beginnings of the messages that are being said."""
        return self._call(GetStreams())

    # Reasoning and tools

    def add_reasoning_step(self, content: str, *, step_id: str | None = None) -> ReasoningStep:
        """Add a reasoning step and return it with its sequence number."""
        step_id = new_record_id() if step_id is None else step_id
        return self._call(AddReasoningStep(step_id, content))

    def reasoning(self, *, after_seq: int = 0, limit: int = 100) -> list[ReasoningStep]:
        """Return a page of reasoning steps; the last 100 are kept."""
        return self._call(GetReasoning(after_seq, limit))

    def clear_reasoning(self) -> None:
        """Drop all reasoning steps."""
        self._call(ClearReasoning())

    def add_tool_call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_id: str | None = None,
    ) -> ToolCall:
        """Add a call of the tool *name* and return it with its sequence number.

        If the State crashes before there is a result, the result is an error that
        says so: the tool may have run, and is not run again.

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
        """Return a page of tool calls; the last 500 are kept."""
        return self._call(GetToolCalls(after_seq, limit))

    def tool_context(self) -> Mapping[str, Any]:
        """Return what tools are given to know."""
        return self._call(GetToolContext())

    def replace_tool_context(self, context: Mapping[str, Any]) -> None:
        """Make *context*, anything that is JSON, what tools are given to know."""
        self._call(ReplaceToolContext(context))

    # Todos, settings, prompts, files

    def todos(self) -> tuple[Todo, ...]:
        """Return the list of todos."""
        return self._call(GetTodos())

    def replace_todos(self, todos: Sequence[Todo]) -> tuple[Todo, ...]:
        """Make *todos* the whole list, and return it."""
        return self._call(ReplaceTodos(todos))

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return self._call(GetSettings())

    def update_settings(self, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Merge *changes* into the settings, and return all; None takes a key out."""
        return self._call(UpdateSettings(changes))

    def add_prompt(self, text: str, *, prompt_id: str | None = None) -> None:
        """Add a prompt to the history; a blank one is not added."""
        self._call(AddPrompt(new_record_id() if prompt_id is None else prompt_id, text))

    def prompts(self, *, after_seq: int = 0, limit: int = 100) -> list[PromptAdded]:
        """Return a page of prompts; the last 100 are kept."""
        return self._call(GetPrompts(after_seq, limit))

    def add_file_access(self, path: str, kind: FileAccessKind, sha256: str) -> FileAccess:
        """Note that a file was read or written, with the SHA-256 of its whole content."""
        return self._call(AddFileAccess(path, kind, sha256))

    def file_access(self, path: str, kind: FileAccessKind) -> FileAccess | None:
        """Return the last reading or writing of a file, None if there was none."""
        return self._call(GetFileAccess(path, kind))

    def file_accesses(self, *, after_seq: int = 0, limit: int = 100) -> list[FileAccess]:
        """Return a page of file accesses: the last of each kind for each file, up to 2000."""
        return self._call(GetFileAccesses(after_seq, limit))

    # The record

    def config(self) -> SessionConfig:
        """Return the session's config."""
        return self.session().config

    def session(self) -> Session:
        """Return the session's record, as the State has it."""
        return self._call(GetSession())

    # Looking

    def statistics(self) -> ConversationStatistics:
        """Return how much the State keeps."""
        return self._call(GetStatistics())

    def repair(self) -> Repair:
        """Return what was wrong with the journal when it was opened last, and what was done."""
        return self._call(GetRepair())

    def events(self, *, after_seq: int, limit: int = 100, wait: float = 0.0) -> list[Change]:
        """Return a page of the changes that follow *after_seq* one by one.

        Args:
            after_seq: The number of the last event that is known; 0 for none.
            limit: As for other pages.
            wait: Seconds to wait for an event if there is none, at most 60.

        Raises:
            EventGapError: The next event is not there any more, because it was
                compacted away, or dropped from memory. Read what the State
                holds, and go on after `EventGapError.resume_after`.
        """
        timeout = wait + _ANSWER_TIME if wait else None
        return self._call(GetEvents(after_seq, limit, wait), timeout=timeout)

    def subscribe(self, *, from_seq: int) -> Iterator[Change]:
        """Yield every event from number *from_seq* on, waiting for the next one for ever.

        With a journal it goes on across restarts of the State, without a gap and
        without a double. It ends with an error when the session is gone. Raises
        as `events`.
        """
        after_seq = from_seq - 1
        while True:
            try:
                page = self.events(after_seq=after_seq, wait=_ANSWER_TIME)
            except ActorExitedError:
                continue  # the next State is asked from the same number on
            for change in page:
                yield change
                after_seq = change.seq
