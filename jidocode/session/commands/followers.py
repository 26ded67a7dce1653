"""`Followers`: who reads an output as it comes, and how far each of them has got.

A command that writes faster than it is read is held up for them, as it is by a pipe; else what
they have not read would be cut out. One who has vanished cannot say so, so whoever does not go on
is forgotten after a time.
"""

from __future__ import annotations

from jidocode.errors import CommandError
from jidocode.session.commands import limits

_EXPECTED = -1
"""Who is not there yet; no reader has that number."""


class Followers:
    """Those of one output. Pure: the time is told."""

    def __init__(self) -> None:
        """Have none."""
        self._places: dict[int, tuple[int, float]] = {}
        """How far each has read, and until when he is waited for."""

    def expect(self, until: float) -> None:
        """Take in that a first one is about to come, before *until*."""
        self._places[_EXPECTED] = 0, until

    def note(self, reader: int, offset: int, now: float, until: float) -> None:
        """Take in that *reader* has read all that stands before *offset*.

        Raises:
            CommandError: There are as many others as may be.
        """
        self._forget_late(now)
        self._places.pop(_EXPECTED, None)
        if reader not in self._places and len(self._places) >= limits.MAX_FOLLOWERS:
            problem = f"{limits.MAX_FOLLOWERS} follow the output already, and no more may"
            raise CommandError(problem)
        self._places[reader] = offset, until

    def extend(self, reader: int, until: float) -> None:
        """Wait for *reader*, if he has not gone, until another time."""
        if reader in self._places:
            self._places[reader] = self._places[reader][0], until

    def remove(self, reader: int) -> None:
        """Wait for *reader* no more; again is fine."""
        self._places.pop(reader, None)

    def clear(self) -> None:
        """Wait for nobody."""
        self._places = {}

    def slowest(self, now: float) -> tuple[int, float] | None:
        """Return the offset before which all have read all, and until when that counts."""
        self._forget_late(now)
        return min(self._places.values(), default=None)

    def _forget_late(self, now: float) -> None:
        self._places = {key: each for key, each in self._places.items() if each[1] > now}
