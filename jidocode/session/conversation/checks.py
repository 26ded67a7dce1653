"""What may come into a conversation: each check returns its value, or refuses it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast, get_args

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import is_sha256
from jidocode.session.conversation.changes import Todo, TodoStatus
from jidocode.session.record import MAX_JSON_DEPTH, json_object

MAX_TODOS = 1000
"""Todos in the list."""
MAX_CONTENT_LENGTH = 2**20
"""Characters in a message, a result, a reasoning step, a prompt, or all todos together."""
MAX_JSON_LENGTH = 2**20
"""Characters of JSON in metadata, arguments, the tool context or the settings.

At most `MAX_JSON_DEPTH` mappings and lists are within each other, as in a config.
"""
MAX_LABEL_LENGTH = 200
"""Characters in an id or the name of a tool."""
MAX_PATH_LENGTH = 4096
"""Characters in the path of a file."""


def label(what: str, value: object) -> str:
    """Return *value* if it is an id or a name."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL_LENGTH:
        raise InvalidRequestError(
            f"{what} must be a str of 1 to {MAX_LABEL_LENGTH} characters, not {quote(value)}"
        )
    return value


def one_of(what: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse *value* unless it is one of *choices*."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidRequestError(f"{what} is one of {', '.join(choices)}, not {quote(value)}")


def flag(what: str, value: object) -> None:
    """Refuse *value* unless it is a bool."""
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{what} must be a bool, not {quote(value)}")


def content(value: object) -> str:
    """Return *value* if it is a text of a length that is kept."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"a content must be a str, not {quote(value)}")
    if len(value) > MAX_CONTENT_LENGTH:
        raise InvalidRequestError(
            f"a content may have {MAX_CONTENT_LENGTH} characters, not {len(value)}"
        )
    return value


def file_path(value: object) -> str:
    """Return *value* if it can be the path of a file."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PATH_LENGTH:
        raise InvalidRequestError(
            f"a path must be a str of 1 to {MAX_PATH_LENGTH} characters, not {quote(value)}"
        )
    return value


def sha256(value: object) -> str:
    """Return *value* if it is a SHA-256 in lower-case hex."""
    if not is_sha256(value):
        raise InvalidRequestError(f"a SHA-256 is 64 lower-case hex digits, not {quote(value)}")
    return value


def json_mapping(what: str, value: object) -> dict[str, Any]:
    """Return a copy of *value* that shares nothing with it; {} for None."""
    text = "{}" if value is None else json_object(value, max_length=MAX_JSON_LENGTH)
    if text is None:
        raise InvalidRequestError(
            f"{what} must be a mapping of names to JSON values, of at most "
            f"{MAX_JSON_LENGTH} characters and {MAX_JSON_DEPTH} levels"
        )
    copy: dict[str, Any] = json.loads(text)
    return copy


def same(what: str, record_id: str, known: Sequence[object], given: Sequence[object]) -> None:
    """Refuse what is *given* under the id of a record that says something else.

    Both are JSON, which knows 1 from 1.0 and from true; they have whatever the caller says.
    """
    if json.dumps(known, sort_keys=True) != json.dumps(given, sort_keys=True):
        raise InvalidRequestError(f"{what} {quote(record_id)} is there already, with other content")


def todo_list(value: object) -> tuple[Todo, ...]:
    """Return *value* if it is a list of valid todos, not too many and not too long."""
    if not isinstance(value, (list, tuple)):
        raise InvalidRequestError(f"todos must be a list, not {quote(value)}")
    items = tuple(cast("Sequence[object]", value))
    if len(items) > MAX_TODOS:
        raise InvalidRequestError(f"there may be {MAX_TODOS} todos, not {len(items)}")
    todos = tuple(_todo(item) for item in items)
    length = sum(len(todo.content) for todo in todos)
    if length > MAX_CONTENT_LENGTH:
        raise InvalidRequestError(
            f"all todos may have {MAX_CONTENT_LENGTH} characters, not {length}"
        )
    return todos


def _todo(item: object) -> Todo:
    # What a subclass adds would not come back from a journal.
    if type(item) is not Todo:
        raise InvalidRequestError(f"a todo must be just a Todo, not {quote(item)}")
    if not content(item.content).strip():
        raise InvalidRequestError("a todo must say what to do")
    one_of("the status of a todo", item.status, get_args(TodoStatus))
    return item
