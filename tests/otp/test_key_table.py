"""`KeyTable` against a list that is looked through."""

from __future__ import annotations

from collections.abc import Hashable

import hypothesis.strategies as st
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jidocode.otp import ActorRef
from jidocode.otp.registry import Entry
from jidocode.otp.registry.table import KeyTable

KEYS = st.sampled_from(["a", 1, ("a", 1), None])
REFS = st.integers(1, 3).map(lambda number: ActorRef("worker", number, 100 + number))


class KeyTables(RuleBasedStateMachine):
    """What a registry keeps, and a list of the same."""

    @initialize(unique=st.booleans())
    def begin(self, unique: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        self.table = KeyTable(unique=unique)
        self.model: list[Entry] = []

    @rule(key=KEYS, ref=REFS, value=st.integers(0, 2))
    def add(self, key: Hashable, ref: ActorRef, value: int) -> None:
        holders = [entry.ref for entry in self.model if entry.key == key]
        expected = holders[0] if self.table.unique and holders else None
        assert self.table.holder_of(key) == expected
        if expected is None:
            self.table.add(Entry(key, ref, value))
            self.model.append(Entry(key, ref, value))

    @rule(key=KEYS, ref=REFS)
    def remove(self, key: Hashable, ref: ActorRef) -> None:
        gone = [entry for entry in self.model if (entry.key, entry.ref) == (key, ref)]
        self.model = [entry for entry in self.model if entry not in gone]
        assert self.table.remove(key, ref) == gone

    @rule(ref=REFS)
    def remove_all(self, ref: ActorRef) -> None:
        gone = [entry for entry in self.model if entry.ref == ref]
        self.model = [entry for entry in self.model if entry.ref != ref]
        removed = self.table.remove_all(ref)
        assert len(removed) == len(gone)
        assert all(entry in gone for entry in removed)

    @rule(key=KEYS, ref=REFS, value=st.integers(3, 5))
    def update(self, key: Hashable, ref: ActorRef, value: int) -> None:
        there = any((entry.key, entry.ref) == (key, ref) for entry in self.model)
        self.model = [
            Entry(key, ref, value) if (entry.key, entry.ref) == (key, ref) else entry
            for entry in self.model
        ]
        assert self.table.update(key, ref, value) is there

    @invariant()
    def is_the_same(self) -> None:
        if not hasattr(self, "table"):
            return
        assert len(self.table) == len(self.model)
        assert len(list(self.table)) == len(self.model)
        for key in ("a", 1, ("a", 1), None):
            assert self.table.lookup(key) == [entry for entry in self.model if entry.key == key]
        for number in (1, 2, 3):
            ref = ActorRef("worker", number, 100 + number)
            keys = [entry.key for entry in self.model if entry.ref == ref]
            assert sorted(map(repr, self.table.keys(ref))) == sorted(map(repr, keys))
            assert (ref in self.table) is bool(keys)


TestKeyTables = KeyTables.TestCase


@given(st.lists(st.tuples(KEYS, REFS)))
def test_what_is_left_is_empty(entries: list[tuple[Hashable, ActorRef]]) -> None:
    """Nothing of a process that is gone is kept."""
    table = KeyTable(unique=False)
    for key, ref in entries:
        table.add(Entry(key, ref))
    for _, ref in entries:
        table.remove_all(ref)

    assert vars(table) == {"unique": False, "_by_key": {}, "_keys_of": {}}
