"""How a change is written: one JSON object with one key, the change's kind.

    {"message":{"id":"a","role":"user","content":"hello",...}}

The number of a change stands outside, in the journal's line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from msgspec.structs import asdict

from jidocode.base.records import Record as Attrs
from jidocode.base.text import quote
from jidocode.errors import JournalDamagedError, JournalVersionError
from jidocode.session.conversation.changes import (
    Change,
    FileAccess,
    Message,
    MessagesCleared,
    Opened,
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
from jidocode.session.journal.format import Record
from jidocode.session.record import Session, SessionConfig

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
    "opened": Opened,
}
# The result of a call is a change of its own.
_SHAPES = {
    cls: (kind, [name for name in cls.__struct_fields__ if name not in ("seq", "result")])
    for kind, cls in _CLASSES.items()
}


def _plain(value: Any) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Attrs):
        return attrs.asdict(value, recurse=False)
    return asdict(value)


def _session(fields: dict[str, Any]) -> Session:
    device, inode = fields["project_key"]
    known: dict[str, Any] = {
        "project_key": (device, inode),
        "config": SessionConfig(**fields["config"]),
        "created_at": datetime.fromisoformat(fields["created_at"]),
        "updated_at": datetime.fromisoformat(fields["updated_at"]),
    }
    return Session(**fields | known)


def _todos(items: list[dict[str, Any]]) -> tuple[Todo, ...]:
    return tuple(Todo(**item) for item in items)


_READERS: dict[str, Callable[[Any], object]] = {
    "created_at": datetime.fromisoformat,
    "session": _session,
    "todos": _todos,
}
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)


def encode(change: Change) -> bytes:
    """Return the payload of *change*; it has no newline in it."""
    kind, names = _SHAPES[type(change)]
    text = _ENCODER.encode({kind: {name: getattr(change, name) for name in names}})
    return text.encode("utf-8", "surrogatepass")


def decode(record: Record) -> Change:
    """Return the change in *record*.

    Raises:
        JournalVersionError: It is of a kind that is not known here.
        JournalDamagedError: It is no change at all.
    """
    try:
        ((kind, fields),) = json.loads(record.payload).items()
        cls = _CLASSES.get(kind)
        if cls is not None:
            read = {key: _READERS[key](fields[key]) for key in fields.keys() & _READERS.keys()}
            return cls(seq=record.seq, **fields | read)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise JournalDamagedError(f"record {record.seq} of the journal is no change") from error
    raise JournalVersionError(f"record {record.seq} is of the unknown kind {quote(kind)}")


def is_kind(record: Record, cls: type[Change]) -> bool:
    """Whether *record* holds a *cls*, told from its first bytes."""
    return record.payload.startswith(_PREFIXES[cls])


_PREFIXES = {cls: b'{"%b":' % kind.encode() for kind, cls in _CLASSES.items()}
