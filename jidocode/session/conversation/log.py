"""Where a conversation's changes go: a `MemoryLog`, or a `JournalLog` that survives.

Both keep the changes by number. A `MemoryLog` forgets the oldest, and
everything with its process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from jidocode.base import log
from jidocode.errors import JournalDamagedError, JournalError
from jidocode.session.conversation.changes import Change
from jidocode.session.conversation.shelf import Shelf
from jidocode.session.journal.codec import decode, encode
from jidocode.session.journal.file import Journal, Repair

MAX_EVENTS = 1000
"""Changes that a `MemoryLog` keeps."""
MAX_EVENTS_LENGTH = 2**24
"""Characters in the changes that a `MemoryLog` keeps."""
COMPACT_FROM = 2**23
"""Bytes that a journal must have before it is compacted."""


class Log(Protocol):
    """Keeps changes by their numbers, which follow each other without a gap."""

    keeps_all: bool
    """Whether every change can be read again."""

    @property
    def last_seq(self) -> int:
        """The last number given out, 0 for none."""
        ...

    @property
    def gap_end(self) -> int:
        """The number after which every change can be read."""
        ...

    @property
    def wants_compaction(self) -> bool:
        """Whether it is time for `compact`."""
        ...

    @property
    def repair(self) -> Repair:
        """What was wrong with it when it was opened."""
        ...

    def append(self, change: Change) -> None:
        """Keep *change*, whose number is the next one.

        Raises:
            JournalWriteError: It could not be kept, and its number is free.
        """
        ...

    def read(self, seq: int) -> Change:
        """Return the change with that number; raises `JournalDamagedError`."""
        ...

    def after(self, seq: int) -> Iterator[Change]:
        """Yield the changes after *seq* that can be read, oldest first."""
        ...

    def size_of(self, seq: int) -> int:
        """Return how many bytes a change takes on the disk."""
        ...

    def compact(self, keep: Iterable[int]) -> None:
        """Forget everything but *keep* and the latest changes."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class MemoryLog:
    """Keeps the last changes in memory."""

    keeps_all = False
    wants_compaction = False
    repair = Repair(created=True)

    def __init__(self) -> None:
        self.last_seq = 0
        self._changes: Shelf[int, Change] = Shelf(MAX_EVENTS, MAX_EVENTS_LENGTH)

    @property
    def gap_end(self) -> int:
        """See `Log`."""
        return self.last_seq - len(self._changes)

    def append(self, change: Change) -> None:
        """See `Log`."""
        self.last_seq = change.seq
        self._changes.put(change.seq, change)

    def read(self, seq: int) -> Change:
        """See `Log`."""
        if seq not in self._changes:
            raise JournalDamagedError(f"change {seq} is not in memory any more")
        return self._changes[seq]

    def after(self, seq: int) -> Iterator[Change]:
        """See `Log`."""
        first = max(seq, self.gap_end) + 1
        return (self._changes[number] for number in range(first, self.last_seq + 1))

    def size_of(self, seq: int) -> int:
        """Return 0: nothing is on the disk."""
        del seq
        return 0

    def compact(self, keep: Iterable[int]) -> None:
        """Do nothing: the oldest are forgotten anyway."""

    def close(self) -> None:
        """Do nothing."""


class JournalLog:
    """Keeps all changes in a journal, and none in memory."""

    keeps_all = True

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._compact_at = COMPACT_FROM

    @property
    def last_seq(self) -> int:
        """See `Log`."""
        return self._journal.last_seq

    @property
    def gap_end(self) -> int:
        """See `Log`."""
        return self._journal.gap_end

    @property
    def repair(self) -> Repair:
        """See `Log`."""
        return self._journal.repair

    @property
    def wants_compaction(self) -> bool:
        """Whether the file has doubled since it was last looked at."""
        return self._journal.size >= self._compact_at

    def append(self, change: Change) -> None:
        """See `Log`."""
        self._journal.append(encode(change))

    def read(self, seq: int) -> Change:
        """See `Log`."""
        return decode(self._journal.read(seq))

    def after(self, seq: int) -> Iterator[Change]:
        """See `Log`."""
        return (decode(record) for record in self._journal.records(seq))

    def size_of(self, seq: int) -> int:
        """See `Log`."""
        return self._journal.size_of(seq)

    def compact(self, keep: Iterable[int]) -> None:
        """Compact the file if that makes it half as big; if it fails, the old one is as good."""
        seqs = set(keep)
        if 2 * sum(map(self._journal.size_of, seqs)) <= self._journal.size:
            try:
                self._journal.compact(seqs)
            except JournalError as error:
                log.warning("a journal could not be compacted: {}", error.message)
        self._compact_at = max(COMPACT_FROM, 2 * self._journal.size)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
