"""The arguments of tools: what a model may say, and what is told to it if it says something else.

A tool's arguments are an attrs class. msgspec reads a JSON Schema off it for the model, and
makes an instance of what the model says, or a sentence about what is wrong.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec
from attrs import asdict, field, fields, frozen

from jidocode.base.converting import convert
from jidocode.base.records import Record
from jidocode.base.text import describe, quote
from jidocode.errors import InvalidRequestError

_PARTS = "#/$defs/"
"""Where a schema has the parts that it refers to."""


@frozen(eq=False, repr=False)
class JsonArguments(Record):
    """The arguments of an MCP server's tool: it says what they are, and checks them itself.

    Attributes:
        schema: Their JSON Schema, as text.
    """

    schema: str = field(repr=False)


def schema_of(arguments: type | JsonArguments) -> dict[str, Any]:
    """Return the JSON Schema of *arguments*, as models take one.

    Raises:
        TypeError: JSON has no such types.
    """
    if isinstance(arguments, JsonArguments):
        return cast("dict[str, Any]", json.loads(arguments.schema))
    whole = msgspec.json.schema(arguments)
    parts = {name: _strict(part) for name, part in whole["$defs"].items()}
    name = whole["$ref"].removeprefix(_PARTS)  # not always that of the class: another may have it
    schema = parts[name]
    schema.pop("description", None)  # that of the class, which is for its readers
    if f'"{_PARTS}{name}"' not in json.dumps(parts):  # it does not refer to itself
        del parts[name]
    return {**schema, "$defs": parts} if parts else schema


def _strict(part: Mapping[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in part.items() if key != "title"}
    return {**schema, "additionalProperties": False} if "properties" in schema else schema


def take_arguments(cls: type[Any] | JsonArguments, given: Mapping[str, Any] | str) -> Any:
    """Return the instance of *cls* that *given* says: an object, or the JSON of one.

    Those of somebody else's tool are that object itself.

    Raises:
        InvalidRequestError: It says something else; a model can act on the message.
    """
    said = as_object(given)
    if isinstance(cls, JsonArguments):
        return said
    names = [each.name for each in fields(cls)]
    for name in said:
        if name not in names:
            raise InvalidRequestError(no_such("argument", name, names))
    try:
        return convert(said, cls)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(_sentence(error)) from error
    except (ValueError, TypeError) as error:  # from a validator of the class
        raise InvalidRequestError(f"the arguments break a rule: {describe(error)}") from error


def as_mapping(arguments: Any) -> Mapping[str, Any]:
    """Return what `take_arguments` has returned, as it was said."""
    if isinstance(arguments, dict):
        return cast("dict[str, Any]", arguments)
    return asdict(arguments)


def as_object(given: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the object that *given* is, or is the JSON of.

    Raises:
        InvalidRequestError: It is none.
    """
    said: Any = given
    if isinstance(given, str):
        try:
            said = json.loads(given or "{}")
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the arguments are no JSON: {describe(error)}") from error
    if not isinstance(cast("object", said), Mapping):
        raise InvalidRequestError(f"the arguments must be a JSON object, not {quote(said)}")
    return cast("dict[str, Any]", dict(said))


def shown_object(given: str) -> dict[str, Any]:
    """Return the object that *given* is the JSON of, for people to see; an empty one if of none."""
    try:
        return as_object(given)
    except InvalidRequestError:
        return {}


def no_such(what: str, name: object, known: Collection[str]) -> str:
    """Return the sentence for a model that says a *name* which is none of those that are *known*.

    It has the one that may be meant, or all.
    """
    close = difflib.get_close_matches(str(name)[:100], known, n=1)
    if close:
        hint = f"did you mean {close[0]}?"
    else:
        hint = f"there are {', '.join(known)}" if known else "there are none"
    return f"there is no {what} {quote(name)}; {hint}"


def _sentence(error: msgspec.ValidationError) -> str:
    text, _, place = str(error).partition(" - at `$")
    where = place.rstrip("`").lstrip(".")
    said = text[:1].lower() + text[1:]
    return f"the arguments do not fit: {f'{where}: ' if where else ''}{said}"
