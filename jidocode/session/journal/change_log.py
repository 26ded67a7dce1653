"""A journal as the log of a conversation: changes in, changes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jidocode.base import log
from jidocode.errors import JournalError
from jidocode.session.conversation.changes import Change
from jidocode.session.conversation.reports import Repair
from jidocode.session.journal.codec import decode, encode
from jidocode.session.journal.file import Journal
from jidocode.session.journal.ownership import Hold

COMPACT_FROM = 2**23
"""Bytes that a journal must have before it is compacted."""


class JournalLog:
    """Keeps all changes in a journal, and none in memory. A `ChangeLog`, where each is said."""

    keeps_all = True

    def __init__(self, journal: Journal, hold: Hold | None = None) -> None:
        """Take changes into *journal* as long as there is the *hold* on its session, if any."""
        self._journal = journal
        self._hold = hold
        self._compact_at = COMPACT_FROM

    @property
    def last_seq(self) -> int:
        """See `ChangeLog`."""
        return self._journal.last_seq

    @property
    def readable_after(self) -> int:
        """See `ChangeLog`."""
        return self._journal.readable_after

    @property
    def repair(self) -> Repair:
        """See `ChangeLog`."""
        return self._journal.repair

    @property
    def wants_compaction(self) -> bool:
        """Whether the file has doubled since `compact` last looked at it."""
        return self._journal.size >= self._compact_at

    def append(self, change: Change) -> None:
        """See `ChangeLog`."""
        if self._hold is not None:
            self._hold.check()
        self._journal.append(encode(change))

    def read(self, seq: int) -> Change:
        """See `ChangeLog`."""
        return decode(self._journal.read(seq))

    def after(self, seq: int) -> Iterator[Change]:
        """See `ChangeLog`."""
        return (decode(record) for record in self._journal.records(seq))

    def size_of(self, seq: int) -> int:
        """See `ChangeLog`."""
        return self._journal.size_of(seq)

    def compact(self, needed: Iterable[int]) -> None:
        """Compact the file if that makes it half as big.

        A compaction copies all that stays. Because it is only asked for when the file
        has doubled, and only done when half of it goes, a byte that is appended is
        copied about once, however long the session lives. If it fails, the old
        file is as good: nobody is told but the log, and it is tried again later.
        """
        seqs = set(needed)
        if 2 * sum(map(self._journal.size_of, seqs)) <= self._journal.size:
            try:
                self._journal.compact(seqs)
            except JournalError as error:
                log.warning("a journal could not be compacted: {}", error.message)
        self._compact_at = max(COMPACT_FROM, 2 * self._journal.size)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
