"""`KeyTable`: keys and the processes under them, pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from jidocode.base.refs import ActorRef
from jidocode.otp.registry.messages import Entry


class KeyTable:
    """Keys and their processes, in the order of registration; at most one each if *unique*."""

    def __init__(self, *, unique: bool) -> None:
        self.unique = unique
        self._by_key: dict[Hashable, list[Entry]] = {}
        self._keys_of: dict[ActorRef, dict[Hashable, None]] = {}

    def __len__(self) -> int:
        """Return how many entries there are."""
        return sum(map(len, self._by_key.values()))

    def __iter__(self) -> Iterator[Entry]:
        """Yield all entries, key by key."""
        for entries in self._by_key.values():
            yield from entries

    def __contains__(self, ref: ActorRef) -> bool:
        return ref in self._keys_of

    def holder_of(self, key: Hashable) -> ActorRef | None:
        """Return who stands in the way of one more process under *key*, if anybody does."""
        entries = self._by_key.get(key)
        return entries[0].ref if entries and self.unique else None

    def add(self, entry: Entry) -> None:
        """Keep *entry*, whose key must have no holder."""
        self._by_key.setdefault(entry.key, []).append(entry)
        self._keys_of.setdefault(entry.ref, {})[entry.key] = None

    def lookup(self, key: Hashable) -> list[Entry]:
        """Return the entries under *key*."""
        return list(self._by_key.get(key, ()))

    def keys(self, ref: ActorRef) -> list[Hashable]:
        """Return the keys of *ref*, one for each of its entries."""
        return [
            entry.key
            for key in self._keys_of.get(ref, ())
            for entry in self._by_key[key]
            if entry.ref == ref
        ]

    def update(self, key: Hashable, ref: ActorRef, value: object) -> bool:
        """Change the value of *ref* under *key*; False if it is not there."""
        entries = self._by_key.get(key, [])
        found = [index for index, entry in enumerate(entries) if entry.ref == ref]
        for index in found:
            entries[index] = Entry(key, ref, value)
        return bool(found)

    def remove(self, key: Hashable, ref: ActorRef) -> list[Entry]:
        """Take *ref* from *key*; return what was removed."""
        entries = self._by_key.get(key, [])
        removed = [entry for entry in entries if entry.ref == ref]
        if removed:
            rest = [entry for entry in entries if entry.ref != ref]
            if rest:
                self._by_key[key] = rest
            else:
                del self._by_key[key]
            keys = self._keys_of[ref]
            del keys[key]
            if not keys:
                del self._keys_of[ref]
        return removed

    def remove_all(self, ref: ActorRef) -> list[Entry]:
        """Take *ref* from all its keys; return what was removed."""
        return [
            entry for key in list(self._keys_of.get(ref, ())) for entry in self.remove(key, ref)
        ]
