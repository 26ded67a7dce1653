"""`Followers`: who reads an output as it comes, and how far each of them has got.

A command that writes faster than it is read is held up for them, as it is by a pipe; else what
they have not read would be cut out. Nobody says that he reads no more, so whoever does not go on
is forgotten after a time.
"""

from __future__ import annotations

_EXPECTED = 0
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

    def note(self, reader: int, offset: int, until: float) -> None:
        """Take in that *reader* has read all that stands before *offset*."""
        self._places.pop(_EXPECTED, None)
        self._places[reader] = offset, until

    def slowest(self, now: float) -> int | None:
        """Return the offset before which all of them have read all; None if there are none."""
        self._places = {key: each for key, each in self._places.items() if each[1] > now}
        return min((offset for offset, _ in self._places.values()), default=None)
