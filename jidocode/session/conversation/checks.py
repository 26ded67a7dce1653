"""What may come into a conversation: each check refuses what may not, by InvalidRequestError.

Those that change what was given, or tell its type, return it.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Sequence
from typing import Any, cast, get_args

from attrs import asdict, evolve, fields

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import is_sha256
from jidocode.session.conversation.blocks import (
    Block,
    Completion,
    FileBlock,
    ImageBlock,
    ReasoningBlock,
    TextBlock,
    ToolUseBlock,
    Usage,
)
from jidocode.session.conversation.changes import Role, Todo, TodoStatus
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
"""Characters in an id, the name of a tool or of a file, or a media type."""
MAX_BLOCKS = 1000
"""Blocks in a message."""
MAX_DATA_LENGTH = 2**23
"""Characters of base64 in the images and files of a message."""
MAX_OPTIONS = 20
"""Answers that a question may have."""
MAX_COUNT = 2**53
"""The most tokens, or calls of a model, that are counted."""
MAX_PATH_LENGTH = 4096
"""Characters in the path of a file, or the URL of an image."""


def label(what: str, value: object) -> str:
    """Return *value* if it is an id or a name."""
    return _short_text(what, value, MAX_LABEL_LENGTH)


def file_path(value: object) -> str:
    """Return *value* if it can be the path of a file."""
    return _short_text("a path", value, MAX_PATH_LENGTH)


def _short_text(what: str, value: object, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise InvalidRequestError(
            f"{what} must be a str of 1 to {most} characters, not {quote(value)}"
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


def text(what: str, value: object) -> str:
    """Return *value* if it is a text."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{what} must be a str, not {quote(value)}")
    return value


def content(value: object) -> str:
    """Return *value* if it is a text of a length that is kept."""
    given = text("a content", value)
    if len(given) > MAX_CONTENT_LENGTH:
        raise InvalidRequestError(
            f"a content may have {MAX_CONTENT_LENGTH} characters, not {len(given)}"
        )
    return given


def sha256(value: object) -> str:
    """Return *value* if it is a SHA-256 in lower-case hex."""
    if not is_sha256(value):
        raise InvalidRequestError(f"a SHA-256 is 64 lower-case hex digits, not {quote(value)}")
    return value


def json_mapping(what: str, value: object) -> dict[str, Any]:
    """Return a copy of *value* that shares nothing with it; {} for None."""
    written = "{}" if value is None else json_object(value, max_length=MAX_JSON_LENGTH)
    if written is None:
        raise InvalidRequestError(
            f"{what} must be a mapping of names to JSON values, of at most "
            f"{MAX_JSON_LENGTH} characters and {MAX_JSON_DEPTH} levels"
        )
    copy: dict[str, Any] = json.loads(written)
    return copy


def same(what: str, record_id: str, known: Sequence[object], given: Sequence[object]) -> None:
    """Refuse what is *given* under the id of a record that says something else.

    *known* and *given* are all that counts of either, in the same order. They are compared as
    JSON, which tells 1 from 1.0 and from true.
    """
    if json.dumps(known, sort_keys=True) != json.dumps(given, sort_keys=True):
        raise InvalidRequestError(f"{what} {quote(record_id)} is there already, with other content")


# ----- blocks -------------------------------------------------------------------

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*")
_ANSWERS = (ReasoningBlock, ToolUseBlock)
_BLOCKS = (TextBlock, ImageBlock, FileBlock, *_ANSWERS)


def blocks(role: Role, value: object) -> tuple[Block, ...]:
    """Return *value* if it is a list of blocks that a message of *role* may have.

    What it returns shares nothing with what was given.
    """
    if not isinstance(value, (list, tuple)):
        raise InvalidRequestError(
            f"a content must be a str or a list of blocks, not {quote(value)}"
        )
    items = tuple(cast("Sequence[object]", value))
    if len(items) > MAX_BLOCKS:
        raise InvalidRequestError(f"a message may have {MAX_BLOCKS} blocks, not {len(items)}")
    checked = tuple(block(role, item) for item in items)
    room(checked)
    uses = [each.id for each in checked if isinstance(each, ToolUseBlock)]
    if len(set(uses)) < len(uses):
        raise InvalidRequestError("two calls of a message have the same id")
    return checked


def block(role: Role, item: object) -> Block:
    """Return *item* if it is a block that a message of *role* may have."""
    if type(item) not in _BLOCKS:
        raise InvalidRequestError(
            f"a block must be one of {', '.join(cls.__name__ for cls in _BLOCKS)}, "
            f"not {quote(item)}"
        )
    if (isinstance(item, _ANSWERS) and role != "assistant") or (
        not isinstance(item, TextBlock) and role not in ("assistant", "user")
    ):
        raise InvalidRequestError(f"a message of the {role} has no {type(item).__name__}")
    match item:
        case ToolUseBlock():
            label("the id of a tool call", item.id)
            label("the name of a tool", item.name)
            return evolve(item, arguments=json_mapping("arguments", item.arguments))
        case ReasoningBlock():
            flag("redacted", item.redacted)
            content(item.text)
            content(item.signature)
        case ImageBlock():
            _image(item)
        case FileBlock():
            label("the name of a file", item.name)
            _data(item.media_type, item.data)
        case _:
            content(cast("TextBlock", item).text)
    return cast("Block", item)


def room(given: Sequence[Block], length: int = 0) -> None:
    """Refuse blocks that are too long for one message, beside *length* characters of text."""
    data = sum(len(each.data) for each in given if isinstance(each, (ImageBlock, FileBlock)))
    if data > MAX_DATA_LENGTH:
        raise InvalidRequestError(
            f"the images and files of a message may have {MAX_DATA_LENGTH} characters of "
            f"base64, not {data}"
        )
    length += sum(each.length for each in given) - data
    if length > MAX_CONTENT_LENGTH:
        raise InvalidRequestError(
            f"a content may have {MAX_CONTENT_LENGTH} characters, not {quote(length)}"
        )


def _image(item: ImageBlock) -> None:
    text("the URL of an image", item.url)
    if not item.url:
        _data(item.media_type, item.data)
    elif (item.media_type, item.data) != ("", ""):
        raise InvalidRequestError("an image has its data and their type, or a URL")
    elif not item.url.startswith(("https://", "http://")) or len(item.url) > MAX_PATH_LENGTH:
        raise InvalidRequestError(
            f"the URL of an image begins with https://, not {quote(item.url)}"
        )


def _data(media_type: object, data: object) -> None:
    if not _MEDIA_TYPE.fullmatch(label("a media type", media_type)):
        raise InvalidRequestError(f"a media type is such as image/png, not {quote(media_type)}")
    if not isinstance(data, str) or len(data) > MAX_DATA_LENGTH:
        raise InvalidRequestError(
            f"data must be a str of at most {MAX_DATA_LENGTH} characters of base64"
        )
    try:
        found = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise InvalidRequestError(f"data must be base64: {error}") from error
    if not found:
        raise InvalidRequestError("there is no data in it")


def completion(value: object) -> Completion | None:
    """Return *value* if it is what may be said of an answer, or None."""
    if value is None:
        return None
    if type(value) is not Completion or type(value.usage) is not Usage:
        raise InvalidRequestError(f"a completion must be just a Completion, not {quote(value)}")
    for name in ("model", "stop_reason"):
        if len(text(f"the {name}", getattr(value, name))) > MAX_LABEL_LENGTH:
            raise InvalidRequestError(
                f"the {name} must be a str of at most {MAX_LABEL_LENGTH} characters"
            )
    for each in fields(Usage):
        count = getattr(value.usage, each.name)
        kinds = (int, float) if each.name == "seconds" else (int,)
        if type(count) not in kinds or not 0 <= count <= MAX_COUNT:  # not so NaN
            raise InvalidRequestError(f"{each.name} must be 0 or more, not {quote(count)}")
    return value


def options(value: object) -> tuple[str, ...]:
    """Return *value* if it is a list of answers to choose from."""
    if not isinstance(value, (list, tuple)):
        raise InvalidRequestError(f"the options must be a list, not {quote(value)}")
    items = tuple(label("an option", each) for each in cast("Sequence[object]", value))
    if not 0 < len(items) <= MAX_OPTIONS or len(set(items)) < len(items):
        raise InvalidRequestError(f"there must be 1 to {MAX_OPTIONS} options, no two the same")
    return items


def as_json(block: Block) -> str:
    """Return *block* as JSON, by which two are compared: see `same`."""
    return json.dumps([type(block).__name__, asdict(cast("Any", block))], sort_keys=True)


# ----- todos --------------------------------------------------------------------


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
