"""How many restarts are too many (OTP supervisor: restart intensity).

Rule: more than `max_restarts` restarts within `max_seconds` and the supervisor
gives up. The window is inclusive, restarts older than it are forgotten, and
nothing else clears it: a child that works again does not. OTP floors the
clock to whole seconds; this window is a float.
"""

from __future__ import annotations


class RestartIntensity:
    """The restart budget of one supervisor, shared by all its children."""

    def __init__(self, max_restarts: int, max_seconds: float) -> None:
        self.max_restarts = max_restarts
        self.max_seconds = max_seconds
        self._restarts: list[float] = []

    def count(self, now: float) -> int:
        """Return how many restarts are in the window at monotonic time *now* (seconds)."""
        self._restarts = [then for then in self._restarts if now - then <= self.max_seconds]
        return len(self._restarts)

    def is_spent(self, now: float) -> bool:
        """Whether a restart at monotonic time *now* (seconds) would be one too many."""
        return self.count(now) >= self.max_restarts

    def allow(self, now: float) -> bool:
        """Count a restart at monotonic time *now* (seconds); False means give up."""
        spent = self.is_spent(now)
        self._restarts.append(now)
        return not spent
