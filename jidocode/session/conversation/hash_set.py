"""A set of hashes, for as many as there are messages in a journal."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable

_SHIFT = 56
_SHARDS = range(-128, 128)
"""The first byte of all that `hash` returns."""


class HashSet:
    """A set of what `hash` returns, in 8 bytes for each; a set of ints has ten times that.

    They are sorted, to be found by bisection, and in many short arrays by their first byte,
    because each new one moves all behind it.
    """

    def __init__(self, values: Iterable[int]) -> None:
        ordered = array("q", sorted(values))
        starts = [bisect_left(ordered, first << _SHIFT) for first in _SHARDS]
        ends = [*starts[1:], len(ordered)]
        self._shards = {
            first: ordered[start:end]
            for first, start, end in zip(_SHARDS, starts, ends, strict=True)
        }

    def __contains__(self, value: int) -> bool:
        shard = self._shards[value >> _SHIFT]
        place = bisect_left(shard, value)
        return place < len(shard) and shard[place] == value

    def add(self, value: int) -> None:
        """Put *value* in, also if it is there already."""
        insort(self._shards[value >> _SHIFT], value)
