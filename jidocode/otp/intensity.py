"""How many restarts are too many (OTP supervisor: restart intensity).

Rule: more than `max_restarts` restarts within `max_seconds` and the supervisor
gives up. The window is inclusive, restarts older than it are forgotten, and
nothing else clears it: a child that works again does not. OTP floors the
clock to whole seconds; this window is a float.
"""

from __future__ import annotations

import attrs


@attrs.define
class RestartIntensity:
    """The restart budget of one supervisor, shared by all its children."""

    max_restarts: int
    max_seconds: float
    _restarts: list[float] = attrs.field(factory=list[float], init=False)

    def allow(self, now: float) -> bool:
        """Count a restart at monotonic time *now* (seconds); False means give up."""
        self._restarts = [then for then in self._restarts if now - then <= self.max_seconds]
        self._restarts.append(now)
        return len(self._restarts) <= self.max_restarts
