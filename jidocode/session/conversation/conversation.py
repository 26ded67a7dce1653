"""`Conversation`: what was said and done in a session, and how it is changed.

Its methods are what a State is asked. Each checks what came, and has the `Ledger` make
the change: it is written to the log first, and folded then. `Fold` says what all changes
add up to, `Streams` keeps what waits of messages that come in chunks.

All changes share one sequence, which only grows: paging by it neither repeats nor
skips, whatever is appended, dropped or cleared meanwhile. Appends carry an id; the
second append with the same id changes nothing and answers with the first, so a caller
who is not sure may try again. One that says something else under a known id is refused: two
callers have chosen the same id, and one of them would believe that its own was kept.

With a log that keeps everything, only the latest messages are in memory, and older ones
are read from the log. Otherwise the oldest are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError, ToolCallRunningError
from jidocode.session.conversation import checks
from jidocode.session.conversation.blocks import (
    Block,
    Completion,
    TextBlock,
    ToolUseBlock,
    Usage,
    text_in,
)
from jidocode.session.conversation.change_log import MemoryLog
from jidocode.session.conversation.changes import (
    INTERRUPTED_CALL,
    Change,
    ChunkKind,
    FileAccess,
    FileAccessKind,
    Message,
    MessagesCleared,
    MessageStatus,
    PromptAdded,
    ReasoningCleared,
    ReasoningStep,
    Role,
    SessionChanged,
    SettingsChanged,
    StreamBegan,
    Todo,
    TodosReplaced,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
    now,
)
from jidocode.session.conversation.fold import Fold
from jidocode.session.conversation.ledger import Ledger
from jidocode.session.conversation.owners import Owners
from jidocode.session.conversation.paging import page, require_limit, require_page
from jidocode.session.conversation.reports import ConversationStatistics, Repair
from jidocode.session.conversation.streams import Streams
from jidocode.session.record import Session


class Conversation:
    """The conversation of one session. Not thread-safe.

    Everything that changes it raises `JournalWriteError` if the change could not
    be written down; then nothing has changed, and the next attempt may succeed.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.owners = Owners()
        self._fold = ledger.fold
        self._streams = Streams(ledger)

    @classmethod
    def in_memory(cls, session: Session) -> Conversation:
        """Return an empty conversation that ends with its process."""
        log = MemoryLog()
        return cls(Ledger(Fold(session, keeps_all=log.keeps_all), log))

    # Messages

    def append_message(
        self,
        message_id: str,
        role: Role,
        content: str | Sequence[Block],
        metadata: Mapping[str, Any] | None = None,
        completion: Completion | None = None,
    ) -> Message:
        """Append a message, or return the one that has *message_id* already.

        An id is known as long as its message is there to be read.

        Raises:
            InvalidRequestError: An argument breaks a rule, or a message with
                this id is being streamed, or says something else.
            JournalDamagedError: There may be one with this id, but it cannot be read any more.
        """
        checks.label("the id of a message", message_id)
        checks.one_of("a role", role, get_args(Role))
        blocks: tuple[Block, ...] = ()
        if isinstance(content, str):
            checked = checks.content(content)
        else:
            blocks = checks.blocks(role, content)
            checked = text_in(blocks)
            if len(blocks) <= 1 and all(isinstance(block, TextBlock) for block in blocks):
                blocks = ()  # it is no more than text
        given = checks.json_mapping("metadata", metadata)
        checks.completion(completion)
        known = self.ledger.message_with_id(message_id)
        if known is not None:
            said, again = (list(map(checks.as_json, each)) for each in (known.blocks, blocks))
            there = (known.role, known.content, known.metadata, known.status, said)
            checks.same("message", message_id, there, (role, checked, given, "complete", again))
            return known
        if message_id in self._fold.streams:
            raise InvalidRequestError(f"message {quote(message_id)} is being streamed")
        for block in blocks:
            if isinstance(block, ToolUseBlock):
                self.ledger.require_fresh_call(block.id)
        self.ledger.count(message_id, completion)
        return self.ledger.commit(
            lambda seq: Message(
                seq=seq,
                id=message_id,
                role=role,
                content=checked,
                metadata=given,
                created_at=now(),
                blocks=blocks,
                completion=completion,
            )
        )

    def clear_messages(self) -> None:
        """Drop all messages; the sequence goes on."""
        self.ledger.commit(lambda seq: MessagesCleared(seq=seq))

    def messages(
        self, *, after_seq: int = 0, limit: int = 100, last: int | None = None
    ) -> list[Message]:
        """Return the first messages with a sequence number above *after_seq*, oldest first.

        Up to *limit*, fewer if they are long; none only if there are no more.
        The next page starts after the last one's `seq`. With *last* they are the latest ones
        instead, up to that many, oldest first.

        Raises:
            InvalidRequestError: *after_seq*, *limit* or *last* breaks a rule.
            JournalDamagedError: One of them cannot be read any more.
        """
        require_page(after_seq, limit)
        if last is not None:
            require_limit("last", last)
            latest = self._fold.messages.seqs[-last:]
            found = page(map(self.ledger.message, reversed(latest)), after_seq=0, limit=last)
            return found[::-1]
        seqs = self._fold.messages.seqs_after(after_seq, limit)
        return page(map(self.ledger.message, seqs), after_seq=after_seq, limit=limit)

    # Streamed messages

    def begin_stream(
        self,
        message_id: str,
        role: Role = "assistant",
        metadata: Mapping[str, Any] | None = None,
        owner: ActorRef | None = None,
    ) -> StreamBegan:
        """Begin a message that comes in chunks, or return the beginning of the one that runs.

        If the process *owner* dies before its end, it ends as `interrupted`, with all that came.

        Raises:
            InvalidRequestError: An argument breaks a rule, there is a whole message with
                this id, or one that was begun otherwise, or `MAX_STREAMS` are running.
        """
        self.owners.check(owner)
        began = self._streams.begin(message_id, role, metadata)
        self.owners.note(owner, "message", message_id)
        return began

    def append_chunk(
        self,
        message_id: str,
        offset: int,
        text: str,
        *,
        kind: ChunkKind = "text",
        wait: bool = False,
    ) -> int:
        """Append *text* to a message, and return how many characters it has then.

        Args:
            message_id: A message that was begun and has not ended.
            offset: How many characters came before. What is there already
                changes nothing, so a chunk may be sent again.
            text: What comes.
            kind: Whether it is text or reasoning; the offset counts both.
            wait: Whether it may wait for more before it is written down, until
                `flush`. What waits is lost with the process.

        Raises:
            InvalidRequestError: An argument breaks a rule, no such message is
                running, or *offset* is not where it ends.
        """
        return self._streams.append(message_id, offset, text, kind, wait=wait)

    def append_block(self, message_id: str, block: Block, *, offset: int) -> int:
        """Append a block to a message that is being said, and return how many characters it has.

        It may be a call of a tool, the signature of the reasoning before it, a redacted
        thought, an image or a file. *offset* is as in `append_chunk`; what is there
        already, at the same offset, is there once.

        Raises:
            InvalidRequestError: An argument breaks a rule, no such message is running,
                *offset* is not where it ends, or there is, or was, a call with that id.
        """
        return self._streams.add_block(message_id, offset, block)

    def flush(self) -> None:
        """Write down what waits."""
        self._streams.flush()

    def end_stream(
        self,
        message_id: str,
        status: MessageStatus = "complete",
        completion: Completion | None = None,
    ) -> Message:
        """End a message; it has all that came. Return it, also if it has ended that way already.

        Raises:
            InvalidRequestError: No such message is running, or it has ended otherwise.
        """
        message = self._streams.end(message_id, status, completion)
        self.owners.ended("message", message_id)
        return message

    def streams(self) -> tuple[StreamBegan, ...]:
        """Return the beginnings of the messages that are being said, oldest first.

        What was said of them is in the events after their number.
        """
        return tuple(stream.began for stream in self._fold.streams.values())

    @property
    def waiting_length(self) -> int:
        """How many characters wait for `flush`."""
        return self._streams.waiting_length

    # Reasoning

    def add_reasoning_step(self, step_id: str, content: str) -> ReasoningStep:
        """Add a reasoning step, or return the one that has *step_id* already.

        Raises:
            InvalidRequestError: An argument breaks a rule, or that step says something else.
        """
        known = self._fold.reasoning.get(checks.label("the id of a reasoning step", step_id))
        checked = checks.content(content)
        if known is not None:
            checks.same("reasoning step", step_id, [known.content], [checked])
            return known
        return self.ledger.commit(
            lambda seq: ReasoningStep(seq=seq, id=step_id, content=checked, created_at=now())
        )

    def clear_reasoning(self) -> None:
        """Drop all reasoning steps."""
        self.ledger.commit(lambda seq: ReasoningCleared(seq=seq))

    def reasoning(self, *, after_seq: int = 0, limit: int = 100) -> list[ReasoningStep]:
        """Return the first reasoning steps after *after_seq*, in pages as `messages`."""
        return page(self._fold.reasoning.values(), after_seq=after_seq, limit=limit)

    # Tool calls

    def add_tool_call(  # noqa: PLR0913 - all that is written down of a call
        self,
        call_id: str,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        owner: ActorRef | None = None,
        *,
        maker: str | None = None,
    ) -> ToolCall:
        """Add a tool call, or return the one that has *call_id* already.

        With *maker*, which is another one for each attempt to make it, one that has no result yet
        is returned to its own maker only.

        An id is known as long as its call is kept; that of a call that a message asks for
        as long as its result can be read in `messages`.

        Raises:
            ToolCallRunningError: Somebody else makes it.
            InvalidRequestError: An argument breaks a rule, that call is another one, or
                there is no whole message *message_id* that asks for it.
        """
        if maker is not None:
            checks.label("the maker of a tool call", maker)
            self.ledger.settle()
        known = self._fold.tool_calls.get(checks.label("the id of a tool call", call_id))
        checks.label("the name of a tool", name)
        given = checks.json_mapping("arguments", arguments)
        if message_id is not None:
            checks.label("the id of a message", message_id)
        self.owners.check(owner)
        if known is not None:
            there = (known.name, known.arguments, known.message_id)
            checks.same("tool call", call_id, there, (name, given, message_id))
            if known.result is None and maker not in {None, self.owners.makers.get(call_id)}:
                raise ToolCallRunningError(call_id)
            return known
        if message_id is not None:
            self._require_use(message_id, call_id)
        call = self.ledger.commit(
            lambda seq: ToolCall(
                seq=seq,
                id=call_id,
                name=name,
                arguments=given,
                created_at=now(),
                message_id=message_id,
            )
        )
        self.owners.note(owner, "call", call_id)
        if maker is not None:
            self.owners.makers[call_id] = maker
        return call

    def _require_use(self, message_id: str, call_id: str) -> None:
        message = self.ledger.message_with_id(message_id)
        if message is None or all(use.id != call_id for use in message.tool_uses):
            raise InvalidRequestError(
                f"no message {quote(message_id)} asks for the call {quote(call_id)}"
            )
        self.ledger.require_fresh_call(call_id)

    def tool_call(self, call_id: str) -> ToolCall | None:
        """Return the tool call with that id, None if none is kept.

        Raises:
            InvalidRequestError: *call_id* is no id.
        """
        self.ledger.settle()
        return self._fold.tool_calls.get(checks.label("the id of a tool call", call_id))

    def tool_call_maker(self, call_id: str) -> str | None:
        """Return who makes a call that has no result; None if it has one, or nobody has said so.

        Raises:
            InvalidRequestError: *call_id* is no id.
        """
        return self.owners.makers.get(checks.label("the id of a tool call", call_id))

    def add_tool_result(self, call_id: str, content: str, *, is_error: bool = False) -> ToolCall:
        """Set the result of a tool call; the same result again changes nothing.

        If the State crashes before, the result is an error that says so; that is final, too.

        Raises:
            InvalidRequestError: There is no such call, it has another result
                already, or an argument breaks a rule.
        """
        checks.label("the id of a tool call", call_id)
        checks.flag("is_error", is_error)
        self.ledger.settle()
        call = self._fold.tool_calls.get(call_id)
        if call is None:
            raise InvalidRequestError(f"no tool call {quote(call_id)}")
        checked = checks.content(content)
        if call.result is None:
            self.ledger.commit(
                lambda seq: ToolResult(
                    seq=seq,
                    call_id=call_id,
                    content=checked,
                    is_error=is_error,
                    created_at=now(),
                    message_id=call.message_id,
                )
            )
        elif (call.result.content, call.result.is_error) != (checked, is_error):
            raise InvalidRequestError(f"tool call {quote(call_id)} has another result already")
        self.owners.ended("call", call_id)
        return self._fold.tool_calls[call_id]

    def tool_calls(self, *, after_seq: int = 0, limit: int = 100) -> list[ToolCall]:
        """Return the first tool calls after *after_seq*, in pages as `messages`."""
        return page(self._fold.tool_calls.values(), after_seq=after_seq, limit=limit)

    def interrupt(self, owner: ActorRef) -> None:
        """End what the process *owner* has begun and not ended, for it is gone.

        Its tools may have run: their calls get a result that says so, and are not made again.
        """
        for kind, record_id in self.owners.of(owner):
            if kind == "message" and record_id in self._fold.streams:
                self.end_stream(record_id, "interrupted")
            call = self._fold.tool_calls.get(record_id) if kind == "call" else None
            if call is not None and call.result is None:
                self.add_tool_result(record_id, INTERRUPTED_CALL, is_error=True)
        self.owners.forget(owner)

    # Todos, tool context, settings, prompts

    def replace_todos(self, todos: Sequence[Todo]) -> tuple[Todo, ...]:
        """Make *todos* the whole list.

        Raises:
            InvalidRequestError: It is no list of at most `checks.MAX_TODOS` valid todos.
        """
        checked = checks.todo_list(todos)
        self.ledger.commit(lambda seq: TodosReplaced(seq=seq, todos=checked))
        return checked

    def todos(self) -> tuple[Todo, ...]:
        """Return the whole list."""
        return self._fold.todos.todos

    def replace_tool_context(self, context: Mapping[str, Any]) -> None:
        """Make *context* what tools are given to know.

        Raises:
            InvalidRequestError: It is no mapping of names to JSON values, or too long or deep.
        """
        checked = checks.json_mapping("a tool context", context)
        self.ledger.commit(lambda seq: ToolContextReplaced(seq=seq, context=checked))

    def tool_context(self) -> Mapping[str, Any]:
        """Return what tools are given to know."""
        return self._fold.tool_context.context

    def update_settings(self, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Merge *changes* into the settings and return all of them; None takes a key out.

        Raises:
            InvalidRequestError: It is no mapping of names to JSON values, or
                the settings would be too long.
        """
        merged = {**self.settings(), **checks.json_mapping("settings", changes)}
        kept = {key: value for key, value in merged.items() if value is not None}
        checked = checks.json_mapping("settings", kept)
        self.ledger.commit(lambda seq: SettingsChanged(seq=seq, settings=checked))
        return checked

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return self._fold.settings.settings

    def add_prompt(self, prompt_id: str, text: str) -> None:
        """Add a prompt to the history; one that is blank, or there already, is not added.

        Raises:
            InvalidRequestError: An argument breaks a rule, or there is another one with that id.
        """
        known = self._fold.prompts.get(checks.label("the id of a prompt", prompt_id))
        checked = checks.content(text)
        if known is not None:
            checks.same("prompt", prompt_id, [known.text], [checked])
        elif checked.strip():
            self.ledger.commit(
                lambda seq: PromptAdded(seq=seq, id=prompt_id, text=text, created_at=now())
            )

    def prompts(self, *, after_seq: int = 0, limit: int = 100) -> list[PromptAdded]:
        """Return the first prompts after *after_seq*, oldest first, in pages as `messages`."""
        return page(self._fold.prompts.values(), after_seq=after_seq, limit=limit)

    # Files

    def add_file_access(self, path: str, kind: FileAccessKind, sha256: str) -> FileAccess:
        """Note that a file was read or written, and return the note.

        The last reading and the last writing of each path are kept.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        checks.file_path(path)
        checks.one_of("a kind of access", kind, get_args(FileAccessKind))
        checks.sha256(sha256)
        return self.ledger.commit(
            lambda seq: FileAccess(seq=seq, path=path, kind=kind, sha256=sha256, created_at=now())
        )

    def file_access(self, path: str, kind: FileAccessKind) -> FileAccess | None:
        """Return the last reading or writing of *path*, None if there was none.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        checks.one_of("a kind of access", kind, get_args(FileAccessKind))
        return self._fold.files.get((checks.file_path(path), kind))

    def file_accesses(self, *, after_seq: int = 0, limit: int = 100) -> list[FileAccess]:
        """Return the first file accesses after *after_seq*, in pages as `messages`."""
        return page(self._fold.files.values(), after_seq=after_seq, limit=limit)

    # The record

    @property
    def session(self) -> Session:
        """The session's record."""
        return self._fold.session.session

    @session.setter
    def session(self, session: Session) -> None:
        if session != self.session:
            self.ledger.commit(lambda seq: SessionChanged(seq=seq, session=session))

    # Usage

    def add_usage(self, counted_id: str, completion: Completion) -> Usage:
        """Count what an answer took that no message keeps, once, and return what all took.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        checks.label("the id of an answer", counted_id)
        if checks.completion(completion) is None:
            raise InvalidRequestError("a completion must be a Completion, not None")
        self.ledger.count(counted_id, completion)
        return self._fold.usage.usage

    # Looking

    def statistics(self) -> ConversationStatistics:
        """Return how much there is."""
        return ConversationStatistics(
            messages=len(self._fold.messages),
            dropped_messages=self._fold.dropped_messages,
            tool_calls=len(self._fold.tool_calls),
            dropped_tool_calls=self._fold.dropped_tool_calls,
            todos=len(self.todos()),
            streams=len(self._fold.streams),
            usage=self._fold.usage.usage,
            last_seq=self.last_seq,
        )

    @property
    def last_seq(self) -> int:
        """The last number given out, 0 for none."""
        return self.ledger.last_seq

    def events(self, *, after_seq: int, limit: int = 100) -> list[Change]:
        """Return the changes that follow *after_seq* one by one, in pages as `messages`.

        Raises:
            EventGapError: The one after *after_seq* cannot be read any more, or
                *after_seq* lies in the future.
            InvalidRequestError: *after_seq* or *limit* breaks a rule.
        """
        require_page(after_seq, limit)
        changes = self.ledger.changes_after(after_seq)
        return page(changes, after_seq=after_seq, limit=limit)

    @property
    def repair(self) -> Repair:
        """What was wrong with the journal, and what was done about it."""
        return self.ledger.repair

    def close(self) -> None:
        """Write down what waits, and let go of the log; raises as any change."""
        try:
            self.flush()
        finally:
            self.ledger.close()
