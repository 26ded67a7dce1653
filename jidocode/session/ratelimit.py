"""`TokenBucket`: how often something may be tried (review C4)."""

from __future__ import annotations

import attrs


@attrs.define
class TokenBucket:
    """Allows *attempts* at once, and on average as many per *seconds*.

    Attributes:
        attempts: The bucket's size; it starts full.
        seconds: How long an empty bucket takes to fill.
    """

    attempts: int
    seconds: float
    _tokens: float = attrs.field(init=False)
    _filled_at: float | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Begin full."""
        self._tokens = float(self.attempts)

    def take(self, now: float) -> float:
        """Take a token at monotonic time *now*; return 0.0, or the seconds until there is one."""
        rate = self.attempts / self.seconds
        if self._filled_at is not None:
            self._tokens = min(self.attempts, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / rate
