"""When somebody's patience ends."""

from __future__ import annotations

import math
import time
from typing import Self

from msgspec import Struct

from jidocode.otp.seconds import require_seconds


def deadline_after(timeout: float | None) -> float:
    """Return when *timeout* seconds are over (monotonic); None for never.

    Raises:
        InvalidTimeError: *timeout* is no time.
    """
    if timeout is None:
        return math.inf
    require_seconds("timeout", timeout)
    return time.monotonic() + timeout


class Deadline(Struct, frozen=True):
    """When somebody's patience ends; what has many steps hands the same one to each.

    Attributes:
        at: That moment, in monotonic seconds.
        seconds: How long the patience was at first, for the error that tells of its end.
    """

    at: float
    seconds: float

    @classmethod
    def after(cls, timeout: float) -> Self:
        """Return the one that is *timeout* seconds from now.

        Raises:
            InvalidTimeError: *timeout* is no time.
        """
        return cls(deadline_after(timeout), timeout)

    @property
    def left(self) -> float:
        """How many seconds are left, at least 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def half(self) -> Deadline:
        """One that leaves half of what is left for what comes after it."""
        return Deadline.after(self.left / 2)
