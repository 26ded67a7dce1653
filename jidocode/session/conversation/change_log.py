"""Where the changes of a conversation are kept: the protocol, and a log in memory.

The other one is `JournalLog`, in the room `journal`: it survives its process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from jidocode.errors import JournalDamagedError
from jidocode.session.conversation import limits
from jidocode.session.conversation.bounded import BoundedMap
from jidocode.session.conversation.changes import Change
from jidocode.session.conversation.reports import Repair


class ChangeLog(Protocol):
    """Keeps changes by their numbers, which follow each other without a gap."""

    keeps_all: bool
    """Whether every change that counts can be read again."""

    @property
    def last_seq(self) -> int:
        """The last number given out, 0 for none."""
        ...

    @property
    def readable_after(self) -> int:
        """The number after which every change can be read; before it there are gaps."""
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

    def compact(self, needed: Iterable[int]) -> None:
        """Forget all but the changes with the numbers *needed*, and the latest ones."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class MemoryLog:
    """Keeps the last changes in memory, and loses them with its process."""

    keeps_all = False
    wants_compaction = False
    repair = Repair(created=True)

    def __init__(self) -> None:
        self.last_seq = 0
        self._changes: BoundedMap[int, Change] = BoundedMap(
            limits.MAX_EVENTS, limits.MAX_EVENTS_LENGTH
        )

    @property
    def readable_after(self) -> int:
        """See `ChangeLog`."""
        return self.last_seq - len(self._changes)

    def append(self, change: Change) -> None:
        """See `ChangeLog`."""
        self.last_seq = change.seq
        self._changes.put(change.seq, change)

    def read(self, seq: int) -> Change:
        """See `ChangeLog`."""
        if seq not in self._changes:
            raise JournalDamagedError(f"change {seq} is not in memory any more")
        return self._changes[seq]

    def after(self, seq: int) -> Iterator[Change]:
        """See `ChangeLog`."""
        first = max(seq, self.readable_after) + 1
        return (self._changes[number] for number in range(first, self.last_seq + 1))

    def size_of(self, seq: int) -> int:
        """Return 0: nothing is on the disk."""
        del seq
        return 0

    def compact(self, needed: Iterable[int]) -> None:
        """Do nothing: the oldest are forgotten anyway."""

    def close(self) -> None:
        """Do nothing."""
