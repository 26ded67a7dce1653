"""`LockTable`: locks by key, and who waits for them, pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from uuid import UUID

from jidocode.base.refs import ActorRef
from jidocode.base.structs import Discreet
from jidocode.otp.server.messages import Caller

EARLY_RELEASES = 1000
"""How many releases are remembered whose claims have not come."""


class LockClaim(Discreet, frozen=True):
    """Somebody holds the lock on *key*, or waits for it.

    Attributes:
        key: Whose lock it is.
        ref: The process that wants it.
        token: Tells this claim from all others, of the same process, too.
        caller: Who is told when it is held.
    """

    hidden = ("key",)

    key: Hashable
    ref: ActorRef
    token: UUID
    caller: Caller


class LockTable:
    """One queue of claims for each key; the first one holds the lock.

    Each method returns the claims that hold a lock from now on.
    """

    def __init__(self) -> None:
        self._queues: dict[Hashable, list[LockClaim]] = {}
        self._claims: dict[UUID, LockClaim] = {}
        self._released_early: OrderedDict[UUID, None] = OrderedDict()

    def __len__(self) -> int:
        """Return how many claims there are."""
        return len(self._claims)

    def claim(self, claim: LockClaim) -> list[LockClaim]:
        """Have *claim* wait behind all others to its key; not if it was released before."""
        if claim.token in self._released_early:
            del self._released_early[claim.token]
            return []
        self._claims[claim.token] = claim
        queue = self._queues.setdefault(claim.key, [])
        queue.append(claim)
        return [claim] if len(queue) == 1 else []

    def release(self, token: UUID) -> list[LockClaim]:
        """Take back a claim, whether it holds its lock or waits for it.

        A thread that has lost patience may be faster than the main thread of its process,
        which makes its call: then the claim is yet to come, and must not stay.
        """
        claim = self._claims.pop(token, None)
        if claim is None:
            self._released_early[token] = None
            if len(self._released_early) > EARLY_RELEASES:
                self._released_early.popitem(last=False)
            return []
        queue = self._queues[claim.key]
        was_held = queue[0] is claim
        queue.remove(claim)
        if not queue:
            del self._queues[claim.key]
        return queue[:1] if was_held else []

    def remove_all(self, ref: ActorRef) -> list[LockClaim]:
        """Take back all claims of *ref*."""
        tokens = [claim.token for claim in self._claims.values() if claim.ref == ref]
        granted = [claim for token in tokens for claim in self.release(token)]
        return [claim for claim in granted if claim.ref != ref]
