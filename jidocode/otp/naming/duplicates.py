"""Keys that any number of processes share: groups, publish and subscribe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jidocode.otp.naming.monitors import Tombstones
from jidocode.otp.naming.table import Watch, check_name

if TYPE_CHECKING:
    from jidocode.base.refs import ActorRef, Name


class DuplicateTable:
    """Keys and their processes, any number of processes per key, in order of registration.

    For groups and publish/subscribe: processes register themselves, nobody
    holds a key for them, and a key without a process is no key. To dispatch,
    take `lookup` and send to each, in the caller (Elixir: `NameTable.dispatch/3`).
    """

    def __init__(self) -> None:
        self._entries: list[tuple[Name, ActorRef, object]] = []
        self._watched: set[ActorRef] = set()
        self._dead = Tombstones()

    def register(self, key: Name, ref: ActorRef, *, value: object = None) -> list[Watch]:
        """Add *ref* to *key*, once more if it is there already; a dead *ref* changes nothing.

        Call `process_died` when the watch that this asks for sees the end of *ref*.

        Raises:
            InvalidChildSpecError: If *key* is no pair of str.
        """
        check_name(key)
        if ref in self._dead:
            return []
        self._entries.append((key, ref, value))
        if ref in self._watched:
            return []
        self._watched.add(ref)
        return [Watch(ref)]

    def unregister(self, key: Name, ref: ActorRef) -> None:
        """Take all entries of *ref* from *key*."""
        self._entries = [entry for entry in self._entries if entry[:2] != (key, ref)]

    def process_died(self, ref: ActorRef) -> None:
        """Take note that *ref* is dead; a second notice changes nothing."""
        self._dead.add(ref)
        self._watched.discard(ref)
        self._entries = [entry for entry in self._entries if entry[1] != ref]

    def lookup(self, key: Name) -> list[tuple[ActorRef, object]]:
        """Return the processes under *key*, each with its value."""
        return [(ref, value) for name, ref, value in self._entries if name == key]

    def keys(self, ref: ActorRef) -> list[Name]:
        """Return the keys of *ref*, one for each of its entries."""
        return [name for name, holder, _ in self._entries if holder == ref]

    def values(self, key: Name, ref: ActorRef) -> list[object]:
        """Return the values that *ref* keeps under *key*."""
        return [value for holder, value in self.lookup(key) if holder == ref]

    def count(self) -> int:
        """Count the entries of all keys."""
        return len(self._entries)
