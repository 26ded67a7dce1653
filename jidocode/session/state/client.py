"""A session's State, as its app and its siblings see it: one client waits, one is awaited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jidocode.session.arguments import require_int, require_wait
from jidocode.session.conversation.changes import (
    Change,
    Message,
    MessageStatus,
    ReasoningStep,
    Role,
    StreamBegan,
    ToolCall,
    new_record_id,
)
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.record import SessionConfig
from jidocode.session.requests import (
    AsyncChannel,
    AsyncClient,
    Channel,
    Client,
    Question,
    Script,
    ask,
    asked,
    get_session,
    remote,
    request,
    scripted,
)
from jidocode.session.state import operations
from jidocode.session.state.change_stream import (
    ANSWER_TIME,
    AsyncChangeStream,
    AsyncRest,
    ChangeStream,
    Rest,
    no_async_rest,
    no_rest,
)


class StateMethods:
    """What both clients of a State ask."""

    # Messages

    @asked
    def append_message(
        self,
        role: Role,
        content: str,
        *,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Question[Message]:
        """Append a message and return it with its sequence number.

        Args:
            role: Who says it: user, assistant, system or tool.
            content: What is said, up to a million characters.
            message_id: A fresh one by default. Give your own to try again
                safely: a second append of the same with the same id returns the first.
            metadata: Anything that is JSON.
        """
        message_id = new_record_id() if message_id is None else message_id
        return Question(request(Conversation.append_message, message_id, role, content, metadata))

    messages = remote(Conversation.messages)
    clear_messages = remote(Conversation.clear_messages)

    @asked
    def begin_stream(
        self,
        role: Role = "assistant",
        *,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Question[StreamBegan]:
        """Begin a message that comes in chunks; its `id` names it from now on.

        If the State crashes before `end_stream`, the message ends with what was
        written down of it and the status `interrupted`.
        """
        message_id = new_record_id() if message_id is None else message_id
        return Question(request(Conversation.begin_stream, message_id, role, metadata))

    append_chunk = remote(operations.append_chunk)

    @asked
    def end_stream(
        self, message_id: str, *, status: MessageStatus = "complete"
    ) -> Question[Message]:
        """End a message, and return it; `aborted` is for one that its sender gave up."""
        return Question(request(Conversation.end_stream, message_id, status))

    streams = remote(Conversation.streams)

    # Reasoning and tools

    @asked
    def add_reasoning_step(
        self, content: str, *, step_id: str | None = None
    ) -> Question[ReasoningStep]:
        """Add a reasoning step and return it with its sequence number."""
        step_id = new_record_id() if step_id is None else step_id
        return Question(request(Conversation.add_reasoning_step, step_id, content))

    reasoning = remote(Conversation.reasoning)
    clear_reasoning = remote(Conversation.clear_reasoning)

    @asked
    def add_tool_call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_id: str | None = None,
    ) -> Question[ToolCall]:
        """Add a call of the tool *name* and return it with its sequence number.

        If the State crashes before there is a result, the result is an error that
        says so: the tool may have run, and is not run again.

        Args:
            name: The tool's.
            arguments: Anything that is JSON.
            call_id: As *message_id* in `append_message`.
        """
        call_id = new_record_id() if call_id is None else call_id
        return Question(request(Conversation.add_tool_call, call_id, name, arguments))

    add_tool_result = remote(Conversation.add_tool_result)
    tool_calls = remote(Conversation.tool_calls)
    tool_context = remote(Conversation.tool_context)
    replace_tool_context = remote(Conversation.replace_tool_context)

    # Todos, settings, prompts, files

    todos = remote(Conversation.todos)
    replace_todos = remote(Conversation.replace_todos)
    settings = remote(Conversation.settings)
    update_settings = remote(Conversation.update_settings)

    @asked
    def add_prompt(self, text: str, *, prompt_id: str | None = None) -> Question[None]:
        """Add a prompt to the history; a blank one is not added."""
        prompt_id = new_record_id() if prompt_id is None else prompt_id
        return Question(request(Conversation.add_prompt, prompt_id, text))

    prompts = remote(Conversation.prompts)
    add_file_access = remote(Conversation.add_file_access)
    file_access = remote(Conversation.file_access)
    file_accesses = remote(Conversation.file_accesses)

    # The record

    session = remote(get_session)

    @scripted
    def config(self) -> Script[SessionConfig]:
        """Return the session's config."""
        return (yield from ask(Question(request(get_session)))).config

    # Looking

    statistics = remote(Conversation.statistics)
    repair = remote(operations.repair)

    @asked
    def events(
        self, *, after_seq: int, limit: int = 100, wait: float = 0.0
    ) -> Question[list[Change]]:
        """Return a page of the changes that follow *after_seq* one by one.

        Args:
            after_seq: The number of the last event that is known; 0 for none.
            limit: As for other pages.
            wait: Seconds to wait for an event if there is none, at most 60.

        Raises:
            EventGapError: The next event is not there any more, because it was
                compacted away, or dropped from memory. Read what the State
                holds, and go on after `EventGapError.resume_after`.
            InvalidRequestError: An argument breaks a rule.
        """
        require_wait("wait", wait, most=operations.MAX_WAIT)  # it is a time-out here, too
        question = request(operations.events, after_seq=after_seq, limit=limit, wait=wait)
        return Question(question, wait + ANSWER_TIME if wait else None)


class StateClient(StateMethods, Client):
    """A State, as others see it. Each method asks the process and waits.

    A request that breaks a rule raises `InvalidRequestError` (for the config
    `InvalidSessionError`), one that could not be written down raises
    `JournalWriteError`; both change nothing. Besides that methods raise whatever
    the way to the process raises (`CallError`).

    All that has an id may be sent again with the same one: what is there already
    is returned, and nothing changes. Something else under an id that is there is refused, with
    an `InvalidRequestError` that names the id. Pages hold up to *limit* records (1000) after
    *after_seq*, oldest first, fewer if they are long; none only if there are no
    more. The next page starts after the last one's `seq`.
    """

    def __init__(self, channel: Channel, rest: Rest = no_rest) -> None:
        """Ask over *channel*; *rest* has what was written when the session has ended."""
        super().__init__(channel)
        self._rest = rest

    def subscribe(self, *, from_seq: int) -> ChangeStream:
        """Return a stream of every event from number *from_seq* on, also of those to come.

        Iterate over it, or `get` the next event with a time-out. It goes on until it is
        closed, which any thread may do, or raises `SessionNotFoundError` when the
        session has ended, and what was written in its journal before was read. Close it: a
        thread that waits for the next event waits for ever.

        Raises:
            InvalidRequestError: *from_seq* is no int of 1 or more.
        """
        require_int("from_seq", from_seq, least=1)
        return ChangeStream(self._channel, from_seq - 1, self._rest)


class AsyncStateClient(StateMethods, AsyncClient):
    """A State, as coroutines see it: the methods of `StateClient`, to be awaited."""

    def __init__(self, channel: AsyncChannel, rest: AsyncRest = no_async_rest) -> None:
        """Ask over *channel*; *rest* has what was written when the session has ended."""
        super().__init__(channel)
        self._rest = rest

    def subscribe(self, *, from_seq: int) -> AsyncChangeStream:
        """Return a stream of every event from number *from_seq* on, also of those to come.

        Iterate over it with `async for`, or `await get(...)` the next event. It goes on until
        it is closed, or raises `SessionNotFoundError` when the session has ended, and what was
        written in its journal before was read.

        Raises:
            InvalidRequestError: *from_seq* is no int of 1 or more.
        """
        require_int("from_seq", from_seq, least=1)
        return AsyncChangeStream(self._channel, from_seq - 1, self._rest)
