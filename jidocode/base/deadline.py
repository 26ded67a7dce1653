"""`Deadline`: when somebody's patience ends, and how long it was."""

from __future__ import annotations

import time
from typing import Self

from msgspec import Struct


class Deadline(Struct, frozen=True):
    """When somebody's patience ends; what has many steps hands the same one to each.

    Attributes:
        at: That moment, in monotonic seconds.
        seconds: How long the patience was at first, for the error that tells of its end.
    """

    at: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the one that has *seconds* from now."""
        return cls(time.monotonic() + seconds, seconds)

    @property
    def left(self) -> float:
        """How many seconds are left, at least 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def half(self) -> Deadline:
        """One that leaves half of what is left for what comes after it."""
        return Deadline.after(self.left / 2)
