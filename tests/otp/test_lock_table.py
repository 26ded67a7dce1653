"""`LockTable` against a list of who came when."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from uuid import UUID

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jidocode.otp import ActorRef, Caller
from jidocode.otp.registry.locks import EARLY_RELEASES, LockClaim, LockTable

KEYS = st.sampled_from(["a", 1, ("a", 1), None])
REFS = st.integers(1, 3).map(lambda number: ActorRef("worker", number, 100 + number))


def claim_of(number: int, key: Hashable = "a", process: int = 1) -> LockClaim:
    """Return a claim with a token of its own."""
    ref = ActorRef("worker", process, 100 + process)
    return LockClaim(key, ref, UUID(int=number), Caller(process, number))


class LockTables(RuleBasedStateMachine):
    """Who holds what is the first that came and has not left."""

    @initialize()
    def begin(self) -> None:
        self.table = LockTable()
        self.numbers = itertools.count(1)
        self.claims: list[LockClaim] = []
        self.early: list[LockClaim] = []
        self.told: list[LockClaim] = []

    @rule(key=KEYS, ref=REFS)
    def claim(self, key: Hashable, ref: ActorRef) -> None:
        claim = claim_of(next(self.numbers), key, ref.incarnation)
        self.claims.append(claim)
        self.told += self.table.claim(claim)

    @rule(key=KEYS, ref=REFS)
    def release_early(self, key: Hashable, ref: ActorRef) -> None:
        claim = claim_of(next(self.numbers), key, ref.incarnation)
        self.early.append(claim)
        assert self.table.release(claim.token) == []

    @rule()
    def come_late(self) -> None:
        for claim in self.early:
            assert self.table.claim(claim) == []
        self.early = []

    @rule(number=st.integers(0, 5))
    def release(self, number: int) -> None:
        if self.claims:
            claim = self.claims.pop(number % len(self.claims))
            self.told += self.table.release(claim.token)

    @rule(ref=REFS)
    def remove_all(self, ref: ActorRef) -> None:
        self.claims = [claim for claim in self.claims if claim.ref != ref]
        told = self.table.remove_all(ref)
        assert all(claim.ref != ref for claim in told)
        self.told += told

    @invariant()
    def whoever_is_first_was_told_once(self) -> None:
        if not hasattr(self, "table"):
            return
        first = {claim.key: claim for claim in reversed(self.claims)}
        assert len(self.told) == len({claim.token for claim in self.told})
        alive = [claim for claim in self.told if claim in self.claims]
        assert sorted(alive, key=str) == sorted(first.values(), key=str)
        assert len(self.table) == len(self.claims)


TestLockTables = LockTables.TestCase


def test_early_releases_are_not_kept_for_ever() -> None:
    """Those of a registry that has restarted have no claims that could come."""
    table = LockTable()
    for number in range(EARLY_RELEASES + 1):
        table.release(UUID(int=number))
    assert len(table._released_early) == EARLY_RELEASES
    assert table.claim(claim_of(0)) == [claim_of(0)]
    assert table.claim(claim_of(1)) == []
