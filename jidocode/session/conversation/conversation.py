"""What was said and done in a session: messages, tool calls, todos, files, the record's changes.

`Conversation` keeps the data; `state.py` puts it into a process, `changes.py`
says what a change is. Every change goes through one place: it is written to the
log first, and then `Conversation.apply` carries it out. So the changes of a log
rebuild the conversation, and what could not be written has not happened.

All changes share one sequence, which only grows: paging by it neither repeats
nor skips, whatever is appended, dropped or cleared meanwhile. Appends carry an
id; the second append with the same id changes nothing and answers with the
first, so a caller who is not sure may try again.

With a log that keeps everything, only the latest messages are in memory, and
older ones are read from the log. Otherwise the oldest are dropped.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar, get_args

from msgspec import Struct, field
from msgspec.structs import replace

from jidocode.base.text import quote
from jidocode.errors import EventGapError, InvalidRequestError
from jidocode.session.arguments import require_int
from jidocode.session.conversation import checks
from jidocode.session.conversation.changes import (
    Change,
    FileAccess,
    FileAccessKind,
    Message,
    MessagesCleared,
    MessageStatus,
    Opened,
    PromptAdded,
    ReasoningCleared,
    ReasoningStep,
    Role,
    SessionChanged,
    SettingsChanged,
    StreamBegan,
    StreamChunk,
    Todo,
    TodosReplaced,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
    now,
)
from jidocode.session.conversation.log import Log, MemoryLog
from jidocode.session.conversation.recovery import Unsettled
from jidocode.session.conversation.shelf import Shelf
from jidocode.session.journal.file import Repair
from jidocode.session.record import Session

MAX_MESSAGES = 1000
"""Messages in memory, at most; only their ids are known."""
MAX_STORED_MESSAGES = 200_000
"""Messages in a journal; the oldest are dropped when it is compacted."""
MAX_STORED_SIZE = 2**29
"""Bytes of messages in a journal; the oldest are dropped when it is compacted."""
MAX_TOOL_CALLS = 500
"""Tool calls kept; the oldest is dropped for a new one."""
MAX_REASONING_STEPS = 100
"""Reasoning steps kept; the oldest is dropped for a new one."""
MAX_PROMPTS = 100
"""Prompts kept; the oldest is dropped for a new one."""
MAX_FILE_ACCESSES = 2000
"""File accesses kept, one reading and one writing per file; the oldest is dropped."""
MAX_STREAMS = 10
"""Messages that may be streamed at once."""
MAX_KEPT_LENGTH = 2**25
"""Characters in memory of each kind: messages, tool calls, reasoning steps, prompts."""
MAX_PAGE = 1000
"""Records in one page."""
MAX_PAGE_LENGTH = 4 * 2**20
"""Characters in one page that holds more than one record."""


class ConversationStatistics(Struct, frozen=True, kw_only=True):
    """How much a conversation holds.

    Attributes:
        messages: That can be read now.
        dropped_messages: Dropped for new ones since this State started.
        tool_calls: Kept now.
        dropped_tool_calls: Dropped for new ones since this State started.
        todos: In the list.
        streams: Messages that are being said.
        last_seq: The last number given out, 0 for none.
    """

    messages: int
    dropped_messages: int
    tool_calls: int
    dropped_tool_calls: int
    todos: int
    streams: int
    last_seq: int


class _Stream(Struct):
    """A message that is being said: what is in the log, and what waits for more."""

    began: StreamBegan
    seqs: list[int]
    parts: list[str] = field(default_factory=list[str])
    waiting: list[str] = field(default_factory=list[str])
    logged: int = 0
    length: int = 0

    @property
    def text(self) -> str:
        return "".join((*self.parts, *self.waiting))

    def extend(self, chunk: StreamChunk) -> None:
        if chunk.offset == self.logged:  # a lost chunk leaves the part before it
            self.seqs.append(chunk.seq)
            self.parts.append(chunk.text)
            self.logged += len(chunk.text)
        self.waiting.clear()
        self.length = self.logged


class Conversation:
    """The conversation of one session. Not thread-safe.

    Everything that changes it raises `JournalWriteError` if the change could not
    be written down; then nothing has changed, and the next attempt may succeed.
    """

    def __init__(self, session: Session, log: Log | None = None) -> None:
        self._log = MemoryLog() if log is None else log
        self._session = SessionChanged(seq=0, session=session)
        self._message_seqs = array("Q")
        self._messages: Shelf[int, Message] = Shelf(MAX_MESSAGES, MAX_KEPT_LENGTH)
        self._message_places: dict[str, int] = {}
        self._streams: dict[str, _Stream] = {}
        self._tool_calls: Shelf[str, ToolCall] = Shelf(MAX_TOOL_CALLS, MAX_KEPT_LENGTH)
        self._reasoning: Shelf[str, ReasoningStep] = Shelf(MAX_REASONING_STEPS, MAX_KEPT_LENGTH)
        self._prompts: Shelf[str, PromptAdded] = Shelf(MAX_PROMPTS, MAX_KEPT_LENGTH)
        self._files: Shelf[tuple[str, str], FileAccess] = Shelf(MAX_FILE_ACCESSES, MAX_KEPT_LENGTH)
        self._todos = TodosReplaced(seq=0, todos=())
        self._tool_context = ToolContextReplaced(seq=0, context={})
        self._settings = SettingsChanged(seq=0, settings={})
        self._opened: Opened | None = None
        self._dropped_messages = 0
        self._dropped_tool_calls = 0
        self._unsettled: deque[Unsettled] = deque()

    # Messages

    def append_message(
        self, message_id: str, role: Role, content: str, metadata: Mapping[str, Any] | None = None
    ) -> Message:
        """Append a message, or return the one that has *message_id* already.

        An id is known as long as its message is in memory: among the last
        `MAX_MESSAGES`, which have `MAX_KEPT_LENGTH` characters together.

        Raises:
            InvalidRequestError: An argument breaks a rule, or a message with
                this id is being streamed.
        """
        checks.label("the id of a message", message_id)
        known = self._message(message_id)
        if known is not None:
            return known
        if message_id in self._streams:
            raise InvalidRequestError(f"message {quote(message_id)} is being streamed")
        checks.one_of("a role", role, get_args(Role))
        content = checks.content(content)
        given = checks.json_mapping("metadata", metadata)
        message = Message(
            seq=self._next_seq(),
            id=message_id,
            role=role,
            content=content,
            metadata=given,
            created_at=now(),
        )
        self._commit(message)
        return message

    def clear_messages(self) -> None:
        """Drop all messages; the sequence goes on."""
        self._commit(MessagesCleared(seq=self._next_seq()))

    def messages(self, *, after_seq: int = 0, limit: int = 100) -> list[Message]:
        """Return the first messages with a sequence number above *after_seq*, oldest first.

        Up to *limit*, fewer if they are long; none only if there are no more.
        The next page starts after the last one's `seq`.

        Raises:
            InvalidRequestError: *after_seq* or *limit* breaks a rule.
            JournalDamagedError: One of them cannot be read any more.
        """
        _require_page(after_seq, limit)
        place = bisect_right(self._message_seqs, after_seq)
        seqs = self._message_seqs[place : place + min(limit, MAX_PAGE)]
        return _page(map(self._message_at, seqs), after_seq, limit)

    def _message(self, message_id: str) -> Message | None:
        place = self._message_places.get(message_id)
        return None if place is None else self._messages[place]

    def _message_at(self, seq: int) -> Message:
        message = self._messages.get(seq)
        if message is not None:
            return message
        change = self._log.read(seq)
        assert isinstance(change, Message)  # noqa: S101 - the index holds messages only
        return change

    # Streamed messages

    def begin_stream(
        self, message_id: str, role: Role = "assistant", metadata: Mapping[str, Any] | None = None
    ) -> StreamBegan:
        """Begin a message that comes in chunks, or return the beginning of the one that runs.

        Raises:
            InvalidRequestError: An argument breaks a rule, there is a whole
                message with this id, or `MAX_STREAMS` are running.
        """
        checks.label("the id of a message", message_id)
        self.settle()
        if message_id in self._streams:
            return self._streams[message_id].began
        if self._message(message_id) is not None:
            raise InvalidRequestError(f"message {quote(message_id)} has ended already")
        if len(self._streams) >= MAX_STREAMS:
            raise InvalidRequestError(f"{MAX_STREAMS} messages are being streamed already")
        checks.one_of("a role", role, get_args(Role))
        given = checks.json_mapping("metadata", metadata)
        began = StreamBegan(
            seq=self._next_seq(), id=message_id, role=role, metadata=given, created_at=now()
        )
        self._commit(began)
        return began

    def append_chunk(self, message_id: str, offset: int, text: str, *, wait: bool = False) -> int:
        """Append *text* to a message, and return how many characters it has then.

        Args:
            message_id: A message that was begun and has not ended.
            offset: How many characters came before. What is there already
                changes nothing, so a chunk may be sent again.
            text: What comes.
            wait: Whether it may wait for more before it is written down, until
                `flush`. What waits is lost with the process.

        Raises:
            InvalidRequestError: An argument breaks a rule, no such message is
                running, or *offset* is not where it ends.
        """
        stream = self._running(message_id)
        checks.content(text)
        require_int("offset", offset, least=0)
        end = offset + len(text)
        if end > checks.MAX_CONTENT_LENGTH:
            raise InvalidRequestError(
                f"a content may have {checks.MAX_CONTENT_LENGTH} characters, not {quote(end)}"
            )
        if end <= stream.length and stream.text[offset:end] == text:
            text = ""
        elif offset != stream.length:
            raise InvalidRequestError(f"the message has {stream.length} characters, not {offset}")
        if not wait:
            self._write_chunk(stream, text)
        elif text:
            stream.waiting.append(text)
            stream.length += len(text)
        return stream.length

    def flush(self) -> None:
        """Write down what waits."""
        for stream in list(self._streams.values()):
            self._write_chunk(stream, "")

    def _write_chunk(self, stream: _Stream, text: str) -> None:
        if text or stream.waiting:
            self._commit(
                StreamChunk(
                    seq=self._next_seq(),
                    stream_id=stream.began.id,
                    offset=stream.logged,
                    text="".join((*stream.waiting, text)),
                )
            )

    def end_stream(self, message_id: str, status: MessageStatus = "complete") -> Message:
        """End a message; it has all that came. Return it, also if it has ended that way already.

        Raises:
            InvalidRequestError: No such message is running, or it has ended otherwise.
        """
        checks.one_of("a status", status, get_args(MessageStatus))
        self.settle()
        ended = self._message(checks.label("the id of a message", message_id))
        if ended is not None and ended.status == status:
            return ended
        stream = self._running(message_id)
        message = self.ended(stream.began.id, status, self._next_seq())
        self._commit(message)
        return message

    def ended(self, message_id: str, status: MessageStatus, seq: int) -> Message:
        """Return what a running message becomes if it ends with number *seq*."""
        stream = self._streams[message_id]
        return Message(
            seq=seq,
            id=message_id,
            role=stream.began.role,
            content=stream.text,
            metadata=stream.began.metadata,
            created_at=now(),
            status=status,
        )

    def streams(self) -> tuple[StreamBegan, ...]:
        """Return the beginnings of the messages that are being said, oldest first.

        What was said of them is in the events after their number.
        """
        return tuple(stream.began for stream in self._streams.values())

    @property
    def waiting_length(self) -> int:
        """How many characters wait for `flush`."""
        return sum(stream.length - stream.logged for stream in self._streams.values())

    def _running(self, message_id: object) -> _Stream:
        self.settle()
        stream = self._streams.get(checks.label("the id of a message", message_id))
        if stream is not None:
            return stream
        ended = self._message(str(message_id))
        what = f"has ended: {ended.status}" if ended else "was not begun"
        raise InvalidRequestError(f"message {quote(message_id)} {what}")

    # Reasoning

    def add_reasoning_step(self, step_id: str, content: str) -> ReasoningStep:
        """Add a reasoning step, or return the one that has *step_id* already.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        known = self._reasoning.get(checks.label("the id of a reasoning step", step_id))
        if known is not None:
            return known
        content = checks.content(content)
        step = ReasoningStep(seq=self._next_seq(), id=step_id, content=content, created_at=now())
        self._commit(step)
        return step

    def clear_reasoning(self) -> None:
        """Drop all reasoning steps."""
        self._commit(ReasoningCleared(seq=self._next_seq()))

    def reasoning(self, *, after_seq: int = 0, limit: int = 100) -> list[ReasoningStep]:
        """Return the first reasoning steps after *after_seq*, in pages as `messages`."""
        return _page(self._reasoning.values(), after_seq, limit)

    # Tool calls

    def add_tool_call(
        self, call_id: str, name: str, arguments: Mapping[str, Any] | None = None
    ) -> ToolCall:
        """Add a tool call, or return the one that has *call_id* already.

        An id is known as long as its call is kept.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        known = self._tool_calls.get(checks.label("the id of a tool call", call_id))
        if known is not None:
            return known
        checks.label("the name of a tool", name)
        given = checks.json_mapping("arguments", arguments)
        call = ToolCall(
            seq=self._next_seq(), id=call_id, name=name, arguments=given, created_at=now()
        )
        self._commit(call)
        return call

    def add_tool_result(self, call_id: str, content: str, *, is_error: bool = False) -> ToolCall:
        """Set the result of a tool call; the same result again changes nothing.

        A call without a result when the State crashes gets `recovery.INTERRUPTED_CALL` for
        one, so that a model can be given the history; that is final, too.

        Raises:
            InvalidRequestError: There is no such call, it has another result
                already, or an argument breaks a rule.
        """
        checks.label("the id of a tool call", call_id)
        checks.flag("is_error", is_error)
        self.settle()
        call = self._tool_calls.get(call_id)
        if call is None:
            raise InvalidRequestError(f"no tool call {quote(call_id)}")
        content = checks.content(content)
        if call.result is None:
            self._commit(self._tool_result(call_id, content, is_error=is_error))
        elif (call.result.content, call.result.is_error) != (content, is_error):
            raise InvalidRequestError(f"tool call {quote(call_id)} has another result already")
        return self._tool_calls[call_id]

    def _tool_result(self, call_id: str, content: str, *, is_error: bool) -> ToolResult:
        return ToolResult(
            seq=self._next_seq(),
            call_id=call_id,
            content=content,
            is_error=is_error,
            created_at=now(),
        )

    def tool_calls(self, *, after_seq: int = 0, limit: int = 100) -> list[ToolCall]:
        """Return the first tool calls with a sequence number above *after_seq*, oldest first.

        In pages, as `messages`.

        Raises:
            InvalidRequestError: *after_seq* or *limit* breaks a rule.
        """
        return _page(self._tool_calls.values(), after_seq, limit)

    # Todos, tool context, settings, prompts

    def replace_todos(self, todos: Sequence[Todo]) -> tuple[Todo, ...]:
        """Make *todos* the whole list.

        Raises:
            InvalidRequestError: It is no list of at most `checks.MAX_TODOS` valid todos.
        """
        checked = checks.todo_list(todos)
        self._commit(TodosReplaced(seq=self._next_seq(), todos=checked))
        return checked

    def todos(self) -> tuple[Todo, ...]:
        """Return the whole list."""
        return self._todos.todos

    def replace_tool_context(self, context: Mapping[str, Any]) -> None:
        """Make *context* what tools are given to know.

        Raises:
            InvalidRequestError: It is no mapping of names to JSON values, or too long or deep.
        """
        checked = checks.json_mapping("a tool context", context)
        self._commit(ToolContextReplaced(seq=self._next_seq(), context=checked))

    def tool_context(self) -> Mapping[str, Any]:
        """Return what tools are given to know."""
        return self._tool_context.context

    def update_settings(self, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Merge *changes* into the settings and return all of them; None takes a key out.

        Raises:
            InvalidRequestError: It is no mapping of names to JSON values, or
                the settings would be too long.
        """
        merged = {**self._settings.settings, **checks.json_mapping("settings", changes)}
        kept = {key: value for key, value in merged.items() if value is not None}
        checked = checks.json_mapping("settings", kept)
        self._commit(SettingsChanged(seq=self._next_seq(), settings=checked))
        return checked

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return self._settings.settings

    def add_prompt(self, prompt_id: str, text: str) -> None:
        """Add a prompt to the history; one that is blank, or has a known id, is not added.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        checks.label("the id of a prompt", prompt_id)
        if checks.content(text).strip() and prompt_id not in self._prompts:
            self._commit(
                PromptAdded(seq=self._next_seq(), id=prompt_id, text=text, created_at=now())
            )

    def prompts(self, *, after_seq: int = 0, limit: int = 100) -> list[PromptAdded]:
        """Return the first prompts after *after_seq*, oldest first, in pages as `messages`."""
        return _page(self._prompts.values(), after_seq, limit)

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
        access = FileAccess(
            seq=self._next_seq(), path=path, kind=kind, sha256=sha256, created_at=now()
        )
        self._commit(access)
        return access

    def file_access(self, path: str, kind: FileAccessKind) -> FileAccess | None:
        """Return the last reading or writing of *path*, None if there was none.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        checks.one_of("a kind of access", kind, get_args(FileAccessKind))
        return self._files.get((checks.file_path(path), kind))

    def file_accesses(self, *, after_seq: int = 0, limit: int = 100) -> list[FileAccess]:
        """Return the first file accesses after *after_seq*, in pages as `messages`."""
        return _page(self._files.values(), after_seq, limit)

    # The record

    @property
    def session(self) -> Session:
        """The session's record."""
        return self._session.session

    @session.setter
    def session(self, session: Session) -> None:
        if session != self.session:
            self._commit(SessionChanged(seq=self._next_seq(), session=session))

    # Looking

    def statistics(self) -> ConversationStatistics:
        """Return how much there is."""
        return ConversationStatistics(
            messages=len(self._message_seqs),
            dropped_messages=self._dropped_messages,
            tool_calls=len(self._tool_calls),
            dropped_tool_calls=self._dropped_tool_calls,
            todos=len(self.todos()),
            streams=len(self._streams),
            last_seq=self.last_seq,
        )

    @property
    def last_seq(self) -> int:
        """The last number given out, 0 for none."""
        return self._log.last_seq

    def events(self, *, after_seq: int, limit: int = 100) -> list[Change]:
        """Return the changes that follow *after_seq* one by one, in pages as `messages`.

        Raises:
            EventGapError: The one after *after_seq* cannot be read any more, or
                *after_seq* lies in the future.
            InvalidRequestError: *after_seq* or *limit* breaks a rule.
        """
        _require_page(after_seq, limit)
        if not self._log.gap_end <= after_seq <= self.last_seq:
            raise EventGapError(after_seq, self._log.gap_end)
        return _page(self._log.after(after_seq), after_seq, limit)

    # The one place where anything changes

    def _next_seq(self) -> int:
        self.settle()
        return self.last_seq + 1

    def _commit(self, change: Change) -> None:
        self._log.append(change)
        self.apply(change)
        if self._log.wants_compaction:
            self._trim()
            self._log.compact(self._needed())

    def apply(self, change: Change) -> None:
        """Carry out *change*, which was checked when it was made."""
        match change:
            case Message():
                self._message_seqs.append(change.seq)
                self._streams.pop(change.id, None)
                self._keep_message(change)
            case MessagesCleared():
                del self._message_seqs[:]
                self._messages.clear()
                self._message_places.clear()
            case StreamBegan():
                self._streams[change.id] = _Stream(change, [change.seq])
            case StreamChunk():
                if change.stream_id in self._streams:
                    self._streams[change.stream_id].extend(change)
            case ReasoningStep():
                self._reasoning.put(change.id, change)
            case ReasoningCleared():
                self._reasoning.clear()
            case ToolCall():
                self._dropped_tool_calls += len(self._tool_calls.put(change.id, change))
            case ToolResult():
                self._apply_result(change)
            case TodosReplaced():
                self._todos = change
            case ToolContextReplaced():
                self._tool_context = change
            case SettingsChanged():
                self._settings = change
            case SessionChanged():
                self._session = change
            case PromptAdded():
                self._prompts.put(change.id, change)
            case FileAccess():
                self._apply_access(change)
            case Opened():
                self._opened = change
            case _:
                raise TypeError(f"{quote(change)} is no change of a conversation")

    def _keep_message(self, message: Message) -> None:
        dropped = self._messages.put(message.seq, message)
        self._message_places[message.id] = message.seq
        for old in dropped:
            if self._message_places.get(old.id) == old.seq:
                del self._message_places[old.id]
        if not self._log.keeps_all:
            del self._message_seqs[: len(dropped)]
            self._dropped_messages += len(dropped)

    def _apply_result(self, result: ToolResult) -> None:
        call = self._tool_calls.get(result.call_id)
        if call is not None:  # its call may have been dropped, or damaged in the file
            dropped = self._tool_calls.put(call.id, replace(call, result=result))
            self._dropped_tool_calls += len(dropped)

    def _apply_access(self, access: FileAccess) -> None:
        key = access.path, access.kind
        if key in self._files:
            self._files.pop(key)
        self._files.put(key, access)

    # What a compaction keeps

    def _trim(self) -> None:
        """Drop the oldest messages beyond what may be stored."""
        seqs = self._message_seqs
        first = max(0, len(seqs) - MAX_STORED_MESSAGES)
        size = 0
        for place in range(len(seqs) - 1, first - 1, -1):
            size += self._log.size_of(seqs[place])
            if size > MAX_STORED_SIZE:
                first = place + 1
                break
        first = min(first, len(seqs) - len(self._messages))
        self._dropped_messages += first
        del seqs[:first]

    def _needed(self) -> Iterator[int]:
        """Yield the numbers of the changes that rebuild this conversation."""
        single = [self._session, self._todos, self._tool_context, self._settings, self._opened]
        calls = self._tool_calls.values()
        kept: Iterable[Change | None] = chain(
            single,
            calls,
            (call.result for call in calls),
            self._reasoning.values(),
            self._prompts.values(),
            self._files.values(),
        )
        yield from self._message_seqs
        yield from (change.seq for change in kept if change is not None and change.seq > 0)
        for stream in self._streams.values():
            yield from stream.seqs

    # After a start

    @property
    def repair(self) -> Repair:
        """What was wrong with the journal, and what was done about it."""
        return self._log.repair

    @property
    def known_session(self) -> Session | None:
        """The session's record, if it is in the log."""
        return self._session.session if self._session.seq else None

    @property
    def messages_in_memory(self) -> int:
        """How many messages are kept in memory."""
        return MAX_MESSAGES

    def unanswered_calls(self) -> list[str]:
        """Return the ids of the tool calls without a result, oldest first."""
        return [call.id for call in self._tool_calls.values() if call.result is None]

    def index_message(self, seq: int) -> None:
        """Note a message that `attach` will bring, or that stays in the log (for `Replay`)."""
        self._message_seqs.append(seq)

    def forget_stream(self, message_id: str) -> None:
        """Note that a message has ended (for `Replay`)."""
        self._streams.pop(message_id, None)

    def attach(self, log: Log, latest: Iterable[Message]) -> None:
        """Go on with *log*, from which this was rebuilt, and its *latest* messages."""
        self._log = log
        for message in latest:
            self._keep_message(message)
        self._dropped_tool_calls = 0

    def unsettle(self, what: Iterable[Unsettled]) -> None:
        """Note what is to be settled before the next change."""
        self._unsettled.extend(what)

    def settle(self) -> None:
        """Close what a crash left open; every change tries it until it succeeded once."""
        while self._unsettled:
            change = self._unsettled[0].change(self.last_seq + 1, self)
            if change is not None:
                self._log.append(change)
                self.apply(change)
            self._unsettled.popleft()

    def close(self) -> None:
        """Write down what waits, and let go of the log; raises as any change."""
        try:
            self.flush()
        finally:
            self._log.close()


_Record = TypeVar("_Record", bound=Change)


def _require_page(after_seq: int, limit: int) -> None:
    require_int("after_seq", after_seq, least=0)
    require_int("limit", limit, least=1)


def _page(records: Iterable[_Record], after_seq: int, limit: int) -> list[_Record]:
    _require_page(after_seq, limit)
    page: list[_Record] = []
    length = 0
    for record in records:
        if record.seq <= after_seq:
            continue
        length += record.length
        if len(page) == min(limit, MAX_PAGE) or (page and length > MAX_PAGE_LENGTH):
            break
        page.append(record)
    return page
