"""What threads of an app share without a lock, as `base.changes` says.

Each step that others see is one call of C code, which neither a handler nor another thread can
divide.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class WeakBag(Generic[T]):
    """Objects, for as long as somebody else holds them.

    Unlike a `WeakSet` it may change, and lose what is collected, while another thread goes
    through it.
    """

    def __init__(self) -> None:
        self._refs: dict[int, weakref.ref[T]] = {}

    def add(self, item: T) -> None:
        """Take *item* in."""
        key, refs = id(item), self._refs
        refs[key] = weakref.ref(item, lambda _ref: refs.pop(key, None))

    def discard(self, item: T) -> None:
        """Let go of *item*; unknown ones are fine."""
        self._refs.pop(id(item), None)

    def __iter__(self) -> Iterator[T]:
        # A list of the values is made without a step of Python in between; of the items it
        # is not: the pairs may bring the collector on, and that the callback above.
        for ref in list(self._refs.values()):
            item = ref()
            if item is not None:
                yield item
