"""`TokenBucket`: how often something may be tried (review C4)."""

from __future__ import annotations

import math


class TokenBucket:
    """Allows *attempts* at once, and on average as many per *seconds*.

    Attributes:
        attempts: The bucket's size; it starts full.
        seconds: How long an empty bucket takes to fill.
    """

    def __init__(self, attempts: int, seconds: float) -> None:
        self.attempts = attempts
        self.seconds = seconds
        self._tokens = 0.0
        self._filled_at = -math.inf

    def take(self, now: float) -> float:
        """Take a token at monotonic time *now*; return 0.0, or the seconds until there is one.

        Who comes back after exactly as many seconds gets it, if nobody else did.
        """
        rate = self.attempts / self.seconds
        # Only a token that is taken changes this, so it is the same time at every try.
        ready_at = self._filled_at + (1 - self._tokens) / rate
        if now < ready_at:
            wait = ready_at - now
            return wait if now + wait >= ready_at else math.nextafter(wait, math.inf)
        filled = self._tokens + (now - self._filled_at) * rate
        self._tokens = min(self.attempts, filled) - 1
        self._filled_at = now
        return 0.0
