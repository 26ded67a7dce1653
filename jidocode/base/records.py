"""What the records of every layer have in common: how they are compared and printed.

Two kinds of record exist. What users make, hold or match on is a `Record`: an attrs
class, frozen and slotted. What only travels between processes, or lives inside a
machine, is a msgspec `Struct`, and a `Discreet` one if it carries something that must
not be printed.

Both are compared and printed by code that is written once, here. attrs would generate
it anew for each class, and generating it is what a class costs at import: in every
start, twice, for the app and for the host.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from msgspec import Struct


class Record:
    """The base of the attrs classes: equality, hash and text by fields.

    Decorate each subclass with `@frozen(eq=False, repr=False)`. A field with
    `field(repr=False)` is left out of the text: whatever users or projects wrote, and
    what is secret.
    """

    __slots__ = ()
    __attrs_attrs__: ClassVar[tuple[Any, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(
            getattr(self, field.name) == getattr(other, field.name)
            for field in self.__attrs_attrs__
        )

    def __hash__(self) -> int:
        return hash(tuple([getattr(self, field.name) for field in self.__attrs_attrs__]))

    def __repr__(self) -> str:
        return _text_of(self, (field.name for field in self.__attrs_attrs__ if field.repr))


class Discreet(Struct, frozen=True):
    """The base of structs that carry what must not be printed.

    Attributes:
        hidden: The fields that are left out of the text.
    """

    hidden: ClassVar[Collection[str]] = ()

    def __repr__(self) -> str:
        return _text_of(self, (name for name in self.__struct_fields__ if name not in self.hidden))


def _text_of(record: object, names: Iterable[str]) -> str:
    fields = ", ".join(f"{name}={getattr(record, name)!r}" for name in names)
    return f"{type(record).__name__}({fields})"
