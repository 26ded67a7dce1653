"""Whether a message is what its class says: looked at where it arrives from another process.

Our messages are pickled, and unpickling does not look at types: a user who hands us
something that is no ref would end whoever reads it, far from his mistake. The rules are
the annotations of the message's own class, so there is nothing to keep in step.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from msgspec import Struct

from jidocode.base.records import Record

Rule = Callable[[Any], bool]
"""Whether a value is of a type."""

_MISSING = object()
_PACKAGE = __name__.partition(".")[0]


def fault_in(message: object) -> str | None:
    """Return what is wrong with *message*, None if nothing is.

    Only structs and records of ours are looked at, with all that they consist of; what is
    a user's, `object` by its annotation, may be anything.
    """
    for name, rule in _rules_of(type(message)):  # type: ignore[arg-type] # a class is hashable
        value = getattr(message, name, _MISSING)
        if value is _MISSING or not rule(value):
            return f"{type(message).__name__}.{name} is no {_annotation(type(message), name)[1]}"
    return None


def require_sound(message: object) -> None:
    """Raise TypeError if there is a `fault_in` *message*."""
    fault = fault_in(message)
    if fault is not None:
        raise TypeError(fault)


@cache
def _rules_of(cls: type[Any]) -> tuple[tuple[str, Rule], ...]:
    names: Collection[str]
    if cls.__module__.partition(".")[0] != _PACKAGE:
        return ()
    if issubclass(cls, Struct):
        names = cls.__struct_fields__
    elif issubclass(cls, Record):
        names = [field.name for field in cls.__attrs_attrs__]
    else:
        return ()
    rules = ((name, _rule_of_text(*_annotation(cls, name))) for name in names)
    return tuple((name, rule) for name, rule in rules if rule is not None)


def _annotation(cls: type[Any], name: str) -> tuple[str, str]:
    """Return the module in which the field *name* of *cls* is declared, and the text of its type.

    Much cheaper than `typing.get_type_hints`, for the same few texts come again and again.
    """
    for base in cls.__mro__:
        text = getattr(base, "__annotations__", {}).get(name)
        if text is not None:
            return base.__module__, text
    raise TypeError(f"{cls.__name__}.{name} has no type")


@cache
def _rule_of_text(module: str, text: str) -> Rule | None:
    return _rule(eval(text, vars(sys.modules[module])))  # noqa: S307 - our own annotations


def _rule(hint: Any) -> Rule | None:
    """Return the rule for what is annotated with *hint*, None if anything will do."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in {Any, object} or isinstance(hint, TypeVar):
        return None
    if origin in {Union, types.UnionType}:
        return _any_of([_rule(each) for each in args])
    if origin is Literal:
        return lambda value: any(type(value) is type(each) and value == each for each in args)
    if origin is tuple:
        return _tuple(args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(cast("type[Any]", origin), [_rule(each) for each in args])
    if isinstance(origin, type) and issubclass(origin, Collection):
        return _collection(cast("type[Any]", origin), _rule(args[0]))
    return _instance(cast("type[Any]", origin or hint))


def _instance(cls: type[Any]) -> Rule:
    if cls is Hashable or getattr(cls, "_is_protocol", False):
        return _is_hashable
    if cls is float:
        return lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    if cls is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    if cls is str:
        return lambda value: isinstance(value, str) and _is_hashable(value)
    return lambda value: isinstance(value, cls) and fault_in(value) is None


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except Exception:  # noqa: BLE001 - a user's `__hash__` may raise anything
        return False
    return fault_in(value) is None


def _any_of(rules: list[Rule | None]) -> Rule | None:
    given = [rule for rule in rules if rule is not None]
    if len(given) < len(rules):
        return None
    return lambda value: any(rule(value) for rule in given)


def _tuple(args: tuple[Any, ...]) -> Rule:
    if args[-1] is Ellipsis:
        return _collection(tuple, _rule(args[0]))
    rules = [_rule(each) for each in args]

    def is_such_a_tuple(value: Any) -> bool:
        if not issubclass(type(value), tuple) or len(value) != len(rules):
            return False
        return all(rule is None or rule(each) for rule, each in zip(rules, value, strict=True))

    return is_such_a_tuple


def _collection(cls: type[Any], rule: Rule | None) -> Rule:
    return lambda value: (
        isinstance(value, cls)
        and not isinstance(value, str | bytes)
        and (rule is None or all(map(rule, value)))
    )


def _mapping(cls: type[Any], rules: list[Rule | None]) -> Rule:
    of_key, of_value = rules
    return lambda value: (
        isinstance(value, cls)
        and (of_key is None or all(map(of_key, value)))
        and (of_value is None or all(map(of_value, value.values())))
    )
