"""How a change is written: one JSON object with one key, the tag of its class.

    {"message":{"id":"a","role":"user","content":"hello",...}}

The number of a change stands outside, in the journal's line. What is in the object are
the fields of the class, under their names: a field cannot be renamed, nor one without a
default added, without another version of the format.

A field that came later than version 1 of the format is left out where it has its default: so
whatever does not use it is written as it always was, and older versions read it. What such a
field says, a version that does not know it refuses, instead of dropping it in silence.

The blocks of a message are objects of one key, too, the tag of their class. The content of a
message that has some is not written, for it is in them.

Texts may hold lone surrogates, such as the names of files that are no UTF-8. They are
written as the three bytes that UTF-8 would have for them, if it had any.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
from attrs import evolve

from jidocode.base.converting import convert
from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import JournalDamagedError, JournalVersionError
from jidocode.session.conversation.blocks import (
    Block,
    Completion,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolUseBlock,
    Usage,
    text_in,
)
from jidocode.session.conversation.changes import (
    Approval,
    ApprovalAnswer,
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
    StreamBlock,
    StreamChunk,
    Summary,
    Todo,
    TodosReplaced,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
    UsageCounted,
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
    "stream_block": StreamBlock,
    "reasoning_step": ReasoningStep,
    "reasoning_cleared": ReasoningCleared,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "summary": Summary,
    "usage_counted": UsageCounted,
    "approval": Approval,
    "approval_answer": ApprovalAnswer,
    "todos_replaced": TodosReplaced,
    "tool_context_replaced": ToolContextReplaced,
    "settings_changed": SettingsChanged,
    "session_changed": SessionChanged,
    "prompt_added": PromptAdded,
    "file_access": FileAccess,
    "opened": JournalOpened,
}
_TAGS = {cls: tag for tag, cls in _CLASSES.items()}
_BLOCKS: dict[str, type[Record]] = {
    "text": TextBlock,
    "reasoning": ReasoningBlock,
    "image": ImageBlock,
    "file": FileBlock,
    "tool_use": ToolUseBlock,
}
_BLOCK_TAGS: dict[type, str] = {cls: tag for tag, cls in _BLOCKS.items()}
_BEGINNINGS = {cls: b'{"%b":' % tag.encode() for cls, tag in _TAGS.items()}
_BEFORE_ID = _BEGINNINGS[Message] + b'{"id":"'
_ID_START = len(_BEFORE_ID)


_ADDED: dict[type[Record], dict[str, object]] = {
    Message: {"blocks": (), "completion": None},
    StreamChunk: {"kind": "text"},
    ToolCall: {"message_id": None},
    ToolResult: {"message_id": None},
}
"""The fields that version 1 began without, and their defaults."""


def _names_of(cls: type[Record]) -> dict[str, None]:
    """Return the names of the fields that may be written of a class, in their order.

    The number of a change is in the line, and the result of a call is a change of its own.
    """
    names = (each.name for each in cls.__attrs_attrs__)
    return dict.fromkeys(name for name in names if name not in ("seq", "result", "answer"))


_WRITTEN: tuple[type[Record], ...] = (
    *_TAGS,
    Session,
    SessionConfig,
    Todo,
    Completion,
    Usage,
)
_NAMES: dict[type, dict[str, None]] = {cls: _names_of(cls) for cls in _WRITTEN}
_BLOCK_NAMES: dict[type, dict[str, None]] = {cls: _names_of(cls) for cls in _BLOCKS.values()}
_ALWAYS: dict[type, list[str]] = {
    cls: [name for name in _NAMES[cls] if name not in _ADDED.get(cls, ())] for cls in _WRITTEN
}
_ADDITIONS: dict[type, list[tuple[str, object]]] = {
    cls: list(added.items()) for cls, added in _ADDED.items()
}


def _plain(value: object) -> object:
    """Return a time, or a record within a change, as something that JSON has."""
    if isinstance(value, datetime):
        return value.isoformat()
    cls = type(value)
    tag = _BLOCK_TAGS.get(cls)
    if tag is None:
        return {name: getattr(value, name) for name in _NAMES[cls]}
    return {tag: {name: getattr(value, name) for name in _BLOCK_NAMES[cls]}}


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)


def encode(change: Change) -> bytes:
    """Return the payload of *change*; it has no newline in it."""
    cls = type(change)
    fields = {name: getattr(change, name) for name in _ALWAYS[cls]}
    if cls in _ADDITIONS:
        for name, default in _ADDITIONS[cls]:
            value = getattr(change, name)
            if value != default:
                fields[name] = value
        if "blocks" in fields:
            fields["content"] = ""
    return _ENCODER.encode({_TAGS[cls]: fields}).encode("utf-8", "surrogatepass")


_NO_CHANGE = (AttributeError, TypeError, ValueError, RecursionError)
"""What is raised where a record does not hold what a change has."""


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
            # With the defaults: it costs msgspec more to find and set them than to take them.
            given = {**_ADDED.get(cls, {}), **fields, "seq": record.seq}
            if "blocks" in fields or "block" in fields:
                change = convert(given, cls, _block)
                if isinstance(change, Message) and change.blocks:
                    change = evolve(change, content=text_in(change.blocks))
            else:
                change = convert(given, cls)
            _refuse_unknown(fields, change)
            return change
    except _NO_CHANGE as error:
        raise _damaged(record) from error
    raise JournalVersionError(f"record {record.seq} has the unknown tag {quote(tag)}")


def as_json(record: JournalRecord) -> dict[str, Any]:
    """Return the change in *record* as the JSON object that it is, with its number as `seq`.

    Its class need not be known here.

    Raises:
        JournalDamagedError: It is no change at all.
    """
    try:
        return {"seq": record.seq, **_read_json(record.payload)}
    except _NO_CHANGE as error:
        raise _damaged(record) from error


def _damaged(record: JournalRecord) -> JournalDamagedError:
    return JournalDamagedError(f"record {record.seq} of the journal is no change")


def _block(_cls: type[Block], value: Any) -> object:
    """Return the block in *value*; raises as the reading of any other field."""
    ((tag, fields),) = value.items()
    cls = _BLOCKS.get(tag)
    if cls is None:
        raise ValueError("a block is not known")
    if not fields.keys() <= _BLOCK_NAMES[cls].keys():
        raise ValueError("a field is not known")
    return convert(fields, cls)


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
            if isinstance(value, (dict, list)):  # there is no other level, and no call for each
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
