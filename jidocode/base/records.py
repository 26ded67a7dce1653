"""What users make, hold or match on: how such records are compared and printed.

They are attrs classes, frozen and slotted. What only travels between processes, or
lives inside a machine, is a msgspec struct instead (see `structs`).

The code that compares and prints is written once, here. attrs would generate it anew for
each class, and generating it is most of what a class costs at import: in every start,
twice, for the app and for the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, ClassVar


class Record:
    """The base of the attrs classes: equality, hash and text by fields.

    Decorate each subclass with `@frozen(eq=False, repr=False)`. A field with
    `field(repr=False)` is left out of the text: whatever users or projects wrote, and
    what is secret.
    """

    __slots__ = ()
    __attrs_attrs__: ClassVar[tuple[Any, ...]] = ()
    _get_values: ClassVar[Callable[[Any], tuple[object, ...]]]

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        names = [field.name for field in cls.__attrs_attrs__]
        # In C where it can be: supervisors and the registry compare refs at every turn.
        cls._get_values = staticmethod(
            attrgetter(*names)
            if len(names) > 1
            else lambda record: tuple([getattr(record, name) for name in names])
        )

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        # As tuples do it: what is the same object is equal, whatever it says of itself.
        return self.__class__._get_values(self) == self.__class__._get_values(other)

    def __hash__(self) -> int:
        return hash(self.__class__._get_values(self))  # noqa: SLF001 - its own

    def __repr__(self) -> str:
        return text_of(self, (field.name for field in self.__attrs_attrs__ if field.repr))


def text_of(record: object, names: Iterable[str]) -> str:
    """Return the text of *record* with the fields *names*, as a call that would make it."""
    fields = ", ".join(f"{name}={getattr(record, name)!r}" for name in names)
    return f"{type(record).__name__}({fields})"
