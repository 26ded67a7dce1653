"""When a model is asked again, and after how long: what is decided, without a clock.

The rule: only what raises `ModelUnavailableError` is asked again, and only if nothing of the
answer has come; each wait is twice as long as the one before, and less regular, so that many
agents do not come back at once; a server that says how long to wait is believed. All of it is
bounded, in number and in seconds: what would take too long is not even waited for.
"""

from __future__ import annotations

from attrs import frozen

from jidocode.base.records import Record
from jidocode.errors import ModelError, ModelUnavailableError
from jidocode.otp.seconds import require_seconds


@frozen(eq=False, repr=False, kw_only=True)
class RetryRules(Record):
    """How a model is asked again that cannot answer now.

    Attributes:
        attempts: How often it is asked in all, 1 or more.
        seconds: How long all of it may take before the answer begins.
        first_wait: Seconds before it is asked a second time, up to; twice as many later.
        longest_wait: Seconds between two, at most, unless its server wants more.

    Raises:
        InvalidTimeError: A time is none.
    """

    attempts: int = 6
    seconds: float = 60.0
    first_wait: float = 0.5
    longest_wait: float = 8.0

    def __attrs_post_init__(self) -> None:
        for name in ("seconds", "first_wait", "longest_wait"):
            require_seconds(name, getattr(self, name))


@frozen(eq=False, repr=False, kw_only=True)
class ModelRetry(Record):
    """The model cannot answer now, and is asked again.

    Attributes:
        error: Why not.
        seconds: After how long it is asked.
    """

    error: ModelError
    seconds: float

    @property
    def message(self) -> str:
        """It in words, for whoever waits."""
        return f"{self.error}; it is asked again in {self.seconds:.1f} s"


def wait_before_next(
    rules: RetryRules, error: ModelError, *, asked: int, elapsed: float, chance: float
) -> float | None:
    """Return the seconds after which the model is asked again, None if it is not.

    Args:
        rules: What may be done.
        error: What came instead of the first delta.
        asked: How often it has been asked.
        elapsed: Seconds since it was asked first.
        chance: A number from 0 to 1, another each time.
    """
    if not isinstance(error, ModelUnavailableError) or asked >= rules.attempts:
        return None
    # No more than is needed to reach the longest wait, whatever the number: it may be huge.
    doubled = rules.first_wait * 2.0 ** min(asked - 1, 64)
    wait = min(doubled, rules.longest_wait) * (0.5 + chance / 2)
    if isinstance(error.retry_after, (int, float)):  # a model of somebody else's says anything
        wait = max(wait, error.retry_after)
    return wait if wait <= rules.seconds - elapsed else None
