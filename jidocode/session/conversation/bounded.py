"""A map with a limit, which drops its oldest items: so no session can fill the memory."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Anything with a length in characters."""

    @property
    def length(self) -> int:
        """How long it is."""
        ...


Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item", bound=Sized)


class BoundedMap(Generic[Key, Item]):
    """Items by key, oldest first.

    Beyond *max_count* items, or *max_length* characters in all, the oldest are dropped
    for a new one. The new one is kept in any case.
    """

    def __init__(self, max_count: int, max_length: int) -> None:
        self._max_count = max_count
        self._max_length = max_length
        self._items: dict[Key, Item] = {}
        self._length = 0

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Key) -> bool:
        return key in self._items

    def __getitem__(self, key: Key) -> Item:
        return self._items[key]

    def get(self, key: Key) -> Item | None:
        """Return the item under *key*, None if there is none."""
        return self._items.get(key)

    def values(self) -> Collection[Item]:
        """Return all items, oldest first."""
        return self._items.values()

    def put(self, key: Key, item: Item) -> list[Item]:
        """Keep *item*, in its old place if *key* is known; return what was dropped for it."""
        known = self._items.get(key)
        self._length += item.length - (known.length if known else 0)
        self._items[key] = item
        dropped: list[Item] = []
        while len(self._items) > self._max_count or (
            self._length > self._max_length and len(self._items) > 1
        ):
            oldest = next(other for other in self._items if other != key)
            dropped.append(self.pop(oldest))
        return dropped

    def pop(self, key: Key) -> Item:
        """Forget the item under *key*, and return it."""
        item = self._items.pop(key)
        self._length -= item.length
        return item

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._length = 0
