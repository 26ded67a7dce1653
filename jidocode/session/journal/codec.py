"""How a change is written: one JSON object with one key, the tag of its class.

    {"message":{"id":"a","role":"user","content":"hello",...}}

The number of a change stands outside, in the journal's line. What is in the object are
the fields of the class, under their names: a field cannot be renamed, nor one without a
default added, without another version of the format.

Texts may hold lone surrogates, such as the names of files that are no UTF-8. They are
written as the three bytes that UTF-8 would have for them, if it had any.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import JournalDamagedError, JournalVersionError
from jidocode.session.conversation.changes import (
    Change,
    FileAccess,
    JournalOpened,
    Message,
    MessagesCleared,
    PromptAdded,
    ReasoningCleared,
    ReasoningStep,
    SessionChanged,
    SettingsChanged,
    StreamBegan,
    StreamChunk,
    Todo,
    TodosReplaced,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
)
from jidocode.session.conversation.messages import id_key
from jidocode.session.journal.format import JournalRecord
from jidocode.session.record import Session, SessionConfig

C = TypeVar("C", bound=Change)


_CLASSES: dict[str, type[Change]] = {
    "message": Message,
    "messages_cleared": MessagesCleared,
    "stream_began": StreamBegan,
    "stream_chunk": StreamChunk,
    "reasoning_step": ReasoningStep,
    "reasoning_cleared": ReasoningCleared,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "todos_replaced": TodosReplaced,
    "tool_context_replaced": ToolContextReplaced,
    "settings_changed": SettingsChanged,
    "session_changed": SessionChanged,
    "prompt_added": PromptAdded,
    "file_access": FileAccess,
    "opened": JournalOpened,
}
_TAGS = {cls: tag for tag, cls in _CLASSES.items()}
_BEGINNINGS = {cls: b'{"%b":' % tag.encode() for cls, tag in _TAGS.items()}
_BEFORE_ID = _BEGINNINGS[Message] + b'{"id":"'
_ID_START = len(_BEFORE_ID)


def _names_of(cls: type[Record]) -> dict[str, None]:
    """Return the names of the fields that are written of a class, in their order.

    The number of a change is in the line, and the result of a call is a change of its own.
    """
    names = (each.name for each in cls.__attrs_attrs__)
    return dict.fromkeys(name for name in names if name not in ("seq", "result"))


_WRITTEN: tuple[type[Record], ...] = (*_TAGS, Session, SessionConfig, Todo)
_NAMES: dict[type, dict[str, None]] = {cls: _names_of(cls) for cls in _WRITTEN}


def _plain(value: object) -> object:
    """Return a time, or a record within a change, as something that JSON has."""
    if isinstance(value, datetime):
        return value.isoformat()
    return {name: getattr(value, name) for name in _NAMES[type(value)]}


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)


def encode(change: Change) -> bytes:
    """Return the payload of *change*; it has no newline in it."""
    cls = type(change)
    fields = {name: getattr(change, name) for name in _NAMES[cls]}
    return _ENCODER.encode({_TAGS[cls]: fields}).encode("utf-8", "surrogatepass")


def decode(record: JournalRecord) -> Change:
    """Return the change in *record*.

    Raises:
        JournalVersionError: Its tag is not known here.
        JournalDamagedError: It is no change at all.
    """
    try:
        ((tag, fields),) = _read_json(record.payload).items()
        cls = _CLASSES.get(tag)
        if cls is not None:
            change = msgspec.convert({**fields, "seq": record.seq}, cls)
            _refuse_unknown(fields, change)
            return change
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise JournalDamagedError(f"record {record.seq} of the journal is no change") from error
    raise JournalVersionError(f"record {record.seq} has the unknown tag {quote(tag)}")


def _read_json(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except ValueError:
        return json.loads(payload)  # slower, but knows surrogates


def _refuse_unknown(given: Any, found: object) -> None:
    """Raise ValueError if *given* has a field that the record *found* has not, at any level.

    msgspec drops those in silence. But only a newer version can have written them, and to
    go on without what they say would be to lose it.
    """
    names = _NAMES.get(type(found))
    if names is not None:
        if not given.keys() <= names.keys():
            raise ValueError("a field is not known")
        for name, value in given.items():
            _refuse_unknown(value, getattr(found, name))
    elif isinstance(found, tuple):
        for value, part in zip(given, cast("tuple[object, ...]", found), strict=True):
            _refuse_unknown(value, part)


def holds(record: JournalRecord, cls: type[Change]) -> bool:
    """Whether *record* holds a *cls*, told from its first bytes."""
    return record.payload.startswith(_BEGINNINGS[cls])


def message_key(record: JournalRecord) -> bytes | None:
    """Return the `id_key` of the message in *record*, None if it holds none; raises as `decode`.

    The id comes first, and is read without the rest of the message.
    """
    payload = record.payload
    if payload.startswith(_BEFORE_ID):
        key = payload[_ID_START : payload.find(b'"', _ID_START)]
        return id_key(decode_as(Message, record).id) if b"\\" in key else key
    return id_key(decode_as(Message, record).id) if holds(record, Message) else None


def decode_as(cls: type[C], record: JournalRecord) -> C:
    """Return the change in *record*, which `holds` a *cls*; raises as `decode`."""
    change = decode(record)
    assert isinstance(change, cls)  # noqa: S101 - that is what `holds` says
    return change
