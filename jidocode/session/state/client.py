"""A session's State, as its app and its siblings see it: one client waits, one is awaited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jidocode.base.refs import ActorRef
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import require_int, require_wait
from jidocode.session.conversation import approvals, importing, limits, summaries
from jidocode.session.conversation.blocks import Block, Completion, Usage
from jidocode.session.conversation.changes import (
    Approval,
    Change,
    Message,
    MessageStatus,
    ReasoningStep,
    Role,
    StreamBegan,
    Summary,
    ToolCall,
    new_record_id,
)
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.history import HistoryFormat, build_history, check_format
from jidocode.session.conversation.importing import ImportedHistory
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

IMPORT_TIME = 60.0
"""Seconds that an import may take."""


class StateMethods:
    """What both clients of a State ask."""

    # Messages

    @asked
    def append_message(
        self,
        role: Role,
        content: str | Sequence[Block],
        *,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        completion: Completion | None = None,
    ) -> Question[Message]:
        """Append a message and return it with its sequence number.

        Args:
            role: Who says it: user, assistant, system or tool.
            content: What is said, up to a million characters; blocks if it is more than text.
            message_id: A fresh one by default. Give your own to try again
                safely: a second append of the same with the same id returns the first.
            metadata: Anything that is JSON.
            completion: What the model's server said of it; its usage is counted, once.
        """
        message_id = new_record_id() if message_id is None else message_id
        return Question(
            request(Conversation.append_message, message_id, role, content, metadata, completion)
        )

    messages = remote(Conversation.messages)
    clear_messages = remote(Conversation.clear_messages)

    @asked
    def begin_stream(
        self,
        role: Role = "assistant",
        *,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        owner: ActorRef | None = None,
    ) -> Question[StreamBegan]:
        """Begin a message that comes in chunks; its `id` names it from now on.

        If the State crashes before `end_stream`, or the process *owner* does, the message ends
        with what was written down of it and the status `interrupted`.
        """
        message_id = new_record_id() if message_id is None else message_id
        return Question(request(Conversation.begin_stream, message_id, role, metadata, owner))

    append_chunk = remote(operations.append_chunk)
    append_block = remote(Conversation.append_block)

    @asked
    def end_stream(
        self,
        message_id: str,
        *,
        status: MessageStatus = "complete",
        completion: Completion | None = None,
    ) -> Question[Message]:
        """End a message, and return it; `aborted` is for one that its sender gave up.

        The usage in *completion*, what the model's server said of it, is counted, once.
        """
        return Question(request(Conversation.end_stream, message_id, status, completion))

    streams = remote(Conversation.streams)

    # For models

    @scripted
    def history(self, history_format: HistoryFormat = "openai") -> Script[list[dict[str, Any]]]:
        """Return the conversation as the messages of a request to a model's server.

        It begins with the last summary, if there is one. Whatever crashed when, it is valid:
        after each message that calls tools come the results of all of them, once.

        Args:
            history_format: `openai` for Chat Completions, `anthropic` for Messages.

        Raises:
            InvalidRequestError: There is no such format, or the messages are too long for any
                model: `summarize` what was said first.
            JournalDamagedError: A message cannot be read any more.
        """
        check_format(history_format)
        summary = yield from ask(Question(request(summaries.summary)))
        messages: list[Message] = []
        length, after_seq = 0, summary.upto_seq if summary else 0
        while True:
            question = request(Conversation.messages, after_seq=after_seq, limit=limits.MAX_PAGE)
            page = yield from ask(Question(question))
            if not page:
                return build_history(messages, summary, history_format)
            messages += page
            after_seq = page[-1].seq
            length += sum(message.length for message in page)
            if length > limits.MAX_HISTORY_LENGTH:
                raise InvalidRequestError(
                    f"a history may have {limits.MAX_HISTORY_LENGTH} characters, and this one "
                    "has more: summarize it first"
                )

    @asked
    def import_history(
        self,
        messages: Sequence[Mapping[str, Any]],
        history_format: HistoryFormat = "openai",
        *,
        import_id: str | None = None,
    ) -> Question[ImportedHistory]:
        """Append the messages of a request that another tool has made, and mend what is broken.

        Args:
            messages: The list, up to 10,000 messages and 16 million characters.
            history_format: As for `history`.
            import_id: As *message_id* in `append_message`.
        """
        import_id = new_record_id() if import_id is None else import_id
        return Question(
            request(importing.import_history, import_id, messages, history_format), IMPORT_TIME
        )

    @asked
    def summarize(
        self,
        content: str,
        *,
        upto_seq: int,
        summary_id: str | None = None,
        completion: Completion | None = None,
    ) -> Question[Summary]:
        """Have *content* stand, in `history`, for all that was said up to the number *upto_seq*.

        Nothing is dropped: `messages` returns all, as before.

        Args:
            content: The summary.
            upto_seq: The `seq` of the last message that it stands for.
            summary_id: As *message_id* in `append_message`.
            completion: As in `append_message`.
        """
        summary_id = new_record_id() if summary_id is None else summary_id
        return Question(request(summaries.summarize, summary_id, content, upto_seq, completion))

    summary = remote(summaries.summary)

    @asked
    def add_usage(
        self, completion: Completion, *, counted_id: str | None = None
    ) -> Question[Usage]:
        """Count what an answer of a model took that no message keeps; return what all took.

        Args:
            completion: What the model's server said of it.
            counted_id: As *message_id* in `append_message`.
        """
        counted_id = new_record_id() if counted_id is None else counted_id
        return Question(request(Conversation.add_usage, counted_id, completion))

    # Approvals

    @asked
    def ask(
        self,
        question: str,
        options: Sequence[str],
        *,
        approval_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Question[Approval]:
        """Ask a question, which anybody may `answer`, now or after any crash.

        Whoever waits for the answer subscribes to the changes: it is an `ApprovalAnswer`.

        Args:
            question: For people.
            options: The answers that there are, up to 20.
            approval_id: As *message_id* in `append_message`.
            metadata: Anything that is JSON, such as the call that it is about.
        """
        approval_id = new_record_id() if approval_id is None else approval_id
        return Question(request(approvals.ask, approval_id, question, options, metadata))

    answer = remote(approvals.answer)
    approvals = remote(approvals.approvals)

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
    def add_tool_call(  # noqa: PLR0913 - all that is written down of a call
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_id: str | None = None,
        message_id: str | None = None,
        owner: ActorRef | None = None,
        maker: str | None = None,
    ) -> Question[ToolCall]:
        """Add a call of the tool *name* and return it with its sequence number.

        If the State, or the process *owner*, crashes before there is a result, the result is
        an error that says so: the tool may have run, and is not run again.

        Args:
            name: The tool's.
            arguments: Anything that is JSON.
            call_id: As *message_id* in `append_message`.
            message_id: The message that asks for the call, by a `ToolUseBlock` with this id.
                The result becomes a message of the tool.
            owner: The process that makes the call.
            maker: Who makes it, another text for each attempt: while it has no result, nobody else
                is given the call, but a `ToolCallRunningError`.
        """
        call_id = new_record_id() if call_id is None else call_id
        return Question(
            request(
                Conversation.add_tool_call, call_id, name, arguments, message_id, owner, maker=maker
            )
        )

    add_tool_result = remote(Conversation.add_tool_result)
    tool_call = remote(Conversation.tool_call)
    tool_calls = remote(Conversation.tool_calls)
    tool_call_maker = remote(Conversation.tool_call_maker)
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
