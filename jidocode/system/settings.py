"""`Settings`: everything about a system that can be chosen, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs

from jidocode.errors import shown
from jidocode.otp.specs import Flags
from jidocode.otp.strategy import Strategy

_Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def _seconds(_settings: object, field: attrs.Attribute[Any], value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{field.name} must be finite seconds > 0, got {shown(value)}")


def _count(_settings: object, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{field.name} must be an int >= 0, got {shown(value)}")


def _positive(settings: object, field: attrs.Attribute[Any], value: Any) -> None:
    _count(settings, field, value)
    if value == 0:
        raise ValueError(f"{field.name} must be an int > 0, got 0")


def _instance(kind: type[Any]) -> _Validator:
    def check(_settings: object, field: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, kind):
            raise ValueError(f"{field.name} must be a {kind.__name__}, got {shown(value)}")  # noqa: TRY004 - all bad settings are ValueErrors

    return check


def _optional(check: _Validator) -> _Validator:
    def checked(settings: object, field: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            check(settings, field, value)

    return checked


@attrs.frozen
class CreationRate:
    """How often a session may be tried to be created.

    Attributes:
        attempts: As many at once, and on average as many per *seconds*.
        seconds: How long it takes until as many may be made again.
    """

    attempts: int = attrs.field(validator=_positive)
    seconds: float = attrs.field(validator=_seconds)


@attrs.frozen(kw_only=True)
class Settings:
    """How a `SessionSystem` behaves; a bad value raises ValueError.

    Attributes:
        max_sessions: Sessions that may be open at once; one more is refused
            with `SessionLimitError`. 10 by default.
        creation_rate: How often creating a session may be tried; refused and
            failed attempts count too, one more raises `RateLimitedError`.
            None for no limit. 30 in 10 seconds by default.
        allow_nested: Whether a project may lie inside another open project;
            refused by default, for two sessions would change the same files.
        strategy: Who is restarted with a dead child of a session;
            one_for_all by default. A session can be given its own.
        max_restarts: Restarts a session may need within *max_seconds*; one
            more and it gives up. 3 by default.
        max_seconds: The window of *max_restarts*, in seconds. 5 by default.
        heartbeat: Seconds between probes of each of the system's own processes; one
            that leaves two in a row unanswered, because it hangs or was stopped,
            is killed and restarted. None for no probes. 10 by default.
        event_buffer: Events that each stream of `events()` keeps for a slow reader; the
            oldest are dropped and counted beyond it. 1000 by default.
        call_timeout: Seconds that a call waits for its answer unless it says
            otherwise. 5 by default.
        start_timeout: Seconds that the whole system may take to start; then
            `HostStartError`. 30 by default.
        shutdown: Seconds that `close` gives the system to stop in order before
            it is killed. 10 by default.
    """

    max_sessions: int = attrs.field(default=10, validator=_positive)
    creation_rate: CreationRate | None = attrs.field(
        default=CreationRate(30, 10.0),
        validator=_optional(_instance(CreationRate)),
    )
    allow_nested: bool = attrs.field(default=False, validator=_instance(bool))
    strategy: Strategy = attrs.field(default=Strategy.ONE_FOR_ALL, validator=_instance(Strategy))
    max_restarts: int = attrs.field(default=3, validator=_count)
    max_seconds: float = attrs.field(default=5.0, validator=_seconds)
    heartbeat: float | None = attrs.field(default=10.0, validator=_optional(_seconds))
    event_buffer: int = attrs.field(default=1000, validator=_positive)
    call_timeout: float = attrs.field(default=5.0, validator=_seconds)
    start_timeout: float = attrs.field(default=30.0, validator=_seconds)
    shutdown: float = attrs.field(default=10.0, validator=_seconds)

    def session_flags(self, strategy: Strategy | None) -> Flags:
        """Return the flags of a session's supervisor; *strategy* None is the default one.

        Raises:
            InvalidChildSpecError: *strategy* is no `Strategy`.
        """
        return Flags(
            strategy=self.strategy if strategy is None else strategy,
            max_restarts=self.max_restarts,
            max_seconds=self.max_seconds,
        )
