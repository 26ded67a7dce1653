"""What was said and done in a session: messages, tool calls, todos, the record's changes.

`Conversation` keeps the data; `state.py` puts it into a process. Every change
is a frozen record that goes through one place, `Conversation.apply`: whoever
writes these records down can rebuild the conversation from them.

Messages and tool calls share one sequence, which only grows: paging by it
neither repeats nor skips, whatever is appended, dropped or cleared meanwhile.
Appends carry an id; the second append with the same id changes nothing and
answers with the first, so a caller who is not sure may try again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar, cast, get_args

import attrs

from jidocode.errors import InvalidRequestError, shown
from jidocode.session.record import Session, json_object
from jidocode.session.requests import require_int

MAX_MESSAGES = 1000
"""Messages kept; the oldest is dropped for a new one."""
MAX_TOOL_CALLS = 500
"""Tool calls kept; the oldest is dropped for a new one."""
MAX_TODOS = 1000
"""Todos in the list."""
MAX_CONTENT_LENGTH = 2**20
"""Characters in a message, a result, or a todo."""
MAX_JSON_LENGTH = 2**20
"""Characters of JSON in the metadata of a message or the arguments of a call."""
MAX_LABEL_LENGTH = 200
"""Characters in an id or the name of a tool."""
MAX_PAGE = 1000
"""Records in one page."""
MAX_PAGE_LENGTH = 4 * 2**20
"""Characters in one page that holds more than one record."""

Role = Literal["user", "assistant", "system", "tool"]
TodoStatus = Literal["pending", "in_progress", "completed"]


@attrs.frozen(kw_only=True)
class Message:
    """One message.

    Attributes:
        seq: Its place in the session's sequence.
        id: From whoever appended it.
        role: Who said it.
        content: What was said, may be empty.
        metadata: Anything that is JSON.
        created_at: When State took it, in UTC.
    """

    seq: int
    id: str
    role: Role
    content: str = attrs.field(repr=False)
    metadata: Mapping[str, Any] = attrs.field(repr=False)
    created_at: datetime

    @property
    def length(self) -> int:
        """Characters in it, for paging."""
        return len(self.content)


@attrs.frozen(kw_only=True)
class ToolResult:
    """What came of a tool call.

    Attributes:
        call_id: The call.
        content: What the tool returned, or its error.
        is_error: Whether it failed.
        created_at: When State took it, in UTC.
    """

    call_id: str
    content: str = attrs.field(repr=False)
    is_error: bool
    created_at: datetime


@attrs.frozen(kw_only=True)
class ToolCall:
    """One call of a tool.

    Attributes:
        seq: Its place in the session's sequence.
        id: From whoever added it.
        name: The tool's.
        arguments: Anything that is JSON.
        created_at: When State took it, in UTC.
        result: None as long as there is none.
    """

    seq: int
    id: str
    name: str
    arguments: Mapping[str, Any] = attrs.field(repr=False)
    created_at: datetime
    result: ToolResult | None = None

    @property
    def length(self) -> int:
        """Characters in its result, for paging."""
        return len(self.result.content) if self.result else 0


@attrs.frozen
class Todo:
    """One thing to do; checked when the list is replaced.

    Attributes:
        content: What to do.
        status: How far it is.
    """

    content: str
    status: TodoStatus = "pending"


@attrs.frozen
class MessagesCleared:
    """All messages were dropped."""


@attrs.frozen
class TodosReplaced:
    """The list of todos is *todos* now."""

    todos: tuple[Todo, ...]


@attrs.frozen
class SessionChanged:
    """The session's record is *session* now."""

    session: Session


Change = Message | MessagesCleared | ToolCall | ToolResult | TodosReplaced | SessionChanged


@attrs.frozen(kw_only=True)
class ConversationStatistics:
    """How much a conversation holds.

    Attributes:
        messages: Kept now.
        dropped_messages: Dropped for new ones, because of `MAX_MESSAGES`.
        tool_calls: Kept now.
        dropped_tool_calls: Dropped for new ones, because of `MAX_TOOL_CALLS`.
        todos: In the list.
        last_seq: The last number given out, 0 for none.
    """

    messages: int
    dropped_messages: int
    tool_calls: int
    dropped_tool_calls: int
    todos: int
    last_seq: int


def new_record_id() -> str:
    """Return a fresh id for a message or a tool call."""
    return str(uuid.uuid4())


class Conversation:
    """The conversation of one session, in memory. Not thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._messages: dict[str, Message] = {}
        self._tool_calls: dict[str, ToolCall] = {}
        self._todos: tuple[Todo, ...] = ()
        self._last_seq = 0
        self._dropped_messages = 0
        self._dropped_tool_calls = 0

    # What changes it

    def append_message(
        self, message_id: str, role: Role, content: str, metadata: Mapping[str, Any] | None = None
    ) -> Message:
        """Append a message, or return the one that has *message_id* already.

        An id is known as long as its message is kept.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        _require_label("the id of a message", message_id)
        if message_id in self._messages:
            return self._messages[message_id]
        _require_one_of("a role", role, get_args(Role))
        message = Message(
            seq=self._last_seq + 1,
            id=message_id,
            role=role,
            content=_content(content),
            metadata=_json_object("metadata", metadata),
            created_at=datetime.now(UTC),
        )
        self.apply(message)
        return message

    def clear_messages(self) -> None:
        """Drop all messages; the sequence goes on."""
        self.apply(MessagesCleared())

    def replace_todos(self, todos: Sequence[Todo]) -> tuple[Todo, ...]:
        """Make *todos* the whole list.

        Raises:
            InvalidRequestError: It is no list of at most `MAX_TODOS` valid todos.
        """
        given: object = todos
        if not isinstance(given, (list, tuple)):
            raise InvalidRequestError(f"todos must be a list, not {shown(given)}")
        items = tuple(cast("Sequence[object]", given))
        if len(items) > MAX_TODOS:
            raise InvalidRequestError(f"there may be {MAX_TODOS} todos, not {len(items)}")
        self.apply(TodosReplaced(tuple(_checked_todo(item) for item in items)))
        return self._todos

    def add_tool_call(
        self, call_id: str, name: str, arguments: Mapping[str, Any] | None = None
    ) -> ToolCall:
        """Add a tool call, or return the one that has *call_id* already.

        An id is known as long as its call is kept.

        Raises:
            InvalidRequestError: An argument breaks a rule.
        """
        _require_label("the id of a tool call", call_id)
        if call_id in self._tool_calls:
            return self._tool_calls[call_id]
        _require_label("the name of a tool", name)
        call = ToolCall(
            seq=self._last_seq + 1,
            id=call_id,
            name=name,
            arguments=_json_object("arguments", arguments),
            created_at=datetime.now(UTC),
        )
        self.apply(call)
        return call

    def add_tool_result(self, call_id: str, content: str, *, is_error: bool = False) -> ToolCall:
        """Set the result of a tool call; the same result again changes nothing.

        Raises:
            InvalidRequestError: There is no such call, it has another result
                already, or an argument breaks a rule.
        """
        _require_label("the id of a tool call", call_id)
        _require_bool("is_error", is_error)
        call = self._tool_calls.get(call_id)
        if call is None:
            raise InvalidRequestError(f"no tool call {shown(call_id)}")
        result = ToolResult(
            call_id=call_id,
            content=_content(content),
            is_error=is_error,
            created_at=datetime.now(UTC),
        )
        if call.result is None:
            self.apply(result)
        elif (call.result.content, call.result.is_error) != (content, is_error):
            raise InvalidRequestError(f"tool call {shown(call_id)} has another result already")
        return self._tool_calls[call_id]

    def update_config(self, changes: Mapping[str, Any]) -> Session:
        """Merge *changes* into the session's config and return the new record.

        Raises:
            InvalidSessionError: Rules are broken: all of them.
        """
        self.session = self._session.update_config(changes)
        return self._session

    @property
    def session(self) -> Session:
        """The session's record."""
        return self._session

    @session.setter
    def session(self, session: Session) -> None:
        if session != self._session:
            self.apply(SessionChanged(session))

    # What reads it

    def messages(self, *, after_seq: int = 0, limit: int = 100) -> list[Message]:
        """Return the first messages with a sequence number above *after_seq*, oldest first.

        Up to *limit*, fewer if they are long; none only if there are no more.
        The next page starts after the last one's `seq`.

        Raises:
            InvalidRequestError: *after_seq* or *limit* breaks a rule.
        """
        return _page(self._messages.values(), after_seq, limit)

    def tool_calls(self, *, after_seq: int = 0, limit: int = 100) -> list[ToolCall]:
        """Return the first tool calls with a sequence number above *after_seq*, oldest first.

        In pages, as `messages`.

        Raises:
            InvalidRequestError: *after_seq* or *limit* breaks a rule.
        """
        return _page(self._tool_calls.values(), after_seq, limit)

    def todos(self) -> tuple[Todo, ...]:
        """Return the whole list."""
        return self._todos

    def statistics(self) -> ConversationStatistics:
        """Return how much there is."""
        return ConversationStatistics(
            messages=len(self._messages),
            dropped_messages=self._dropped_messages,
            tool_calls=len(self._tool_calls),
            dropped_tool_calls=self._dropped_tool_calls,
            todos=len(self._todos),
            last_seq=self._last_seq,
        )

    # The one place where anything changes

    def apply(self, change: Change) -> None:
        """Carry out *change*, which was checked when it was made."""
        match change:
            case Message():
                self._last_seq = change.seq
                self._messages[change.id] = change
                self._dropped_messages += _drop_oldest(self._messages, MAX_MESSAGES)
            case MessagesCleared():
                self._messages.clear()
            case ToolCall():
                self._last_seq = change.seq
                self._tool_calls[change.id] = change
                self._dropped_tool_calls += _drop_oldest(self._tool_calls, MAX_TOOL_CALLS)
            case ToolResult():
                call = self._tool_calls[change.call_id]
                self._tool_calls[change.call_id] = attrs.evolve(call, result=change)
            case TodosReplaced():
                self._todos = change.todos
            case SessionChanged():
                self._session = change.session


class _Numbered(Protocol):
    @property
    def seq(self) -> int: ...
    @property
    def length(self) -> int: ...


_Record = TypeVar("_Record", bound=_Numbered)


def _page(records: Iterable[_Record], after_seq: int, limit: int) -> list[_Record]:
    require_int("after_seq", after_seq, least=0)
    require_int("limit", limit, least=1)
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


def _drop_oldest(records: dict[str, Any], keep: int) -> int:
    """Drop the oldest of *records* until *keep* are left; return how many went."""
    too_many = max(0, len(records) - keep)
    for _ in range(too_many):
        del records[next(iter(records))]
    return too_many


# ----- what may come in -------------------------------------------------------


def _require_label(what: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL_LENGTH:
        raise InvalidRequestError(
            f"{what} must be a str of 1 to {MAX_LABEL_LENGTH} characters, not {shown(value)}"
        )


def _require_one_of(what: str, value: object, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequestError(f"{what} is one of {', '.join(choices)}, not {shown(value)}")


def _require_bool(what: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{what} must be a bool, not {shown(value)}")


def _content(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"a content must be a str, not {shown(value)}")
    if len(value) > MAX_CONTENT_LENGTH:
        raise InvalidRequestError(
            f"a content may have {MAX_CONTENT_LENGTH} characters, not {len(value)}"
        )
    return value


def _json_object(what: str, value: object) -> dict[str, Any]:
    """Return a copy of *value* that shares nothing with it; {} for None."""
    text = "{}" if value is None else json_object(value, max_length=MAX_JSON_LENGTH)
    if text is None:
        raise InvalidRequestError(f"{what} must be a mapping of names to JSON values")
    copy: dict[str, Any] = json.loads(text)
    return copy


def _checked_todo(item: object) -> Todo:
    if not isinstance(item, Todo):
        raise InvalidRequestError(f"a todo must be a Todo, not {shown(item)}")
    if not _content(item.content).strip():
        raise InvalidRequestError("a todo must say what to do")
    _require_one_of("the status of a todo", item.status, get_args(TodoStatus))
    return item
