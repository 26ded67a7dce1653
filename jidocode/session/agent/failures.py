"""What a server says instead of an answer, made an error: bounded, and without keys.

Pure. Servers agree on the status, and on little else: what stands in the body differs, and a
conversation that is too long is told by its words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from msgspec import Struct

from jidocode.base.text import line, redact
from jidocode.errors import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelError,
    ModelRequestError,
    ModelUnavailableError,
)

_AGAIN = frozenset({408, 409, 425, 429})
_SERVER_ERRORS = 500
_KEYS = frozenset({401, 402, 403})
_OVERFLOWS = frozenset({400, 413, 422, 500})
_TOO_LONG = re.compile(
    r"context.?length|context.?size|context.?window|maximum.{0,20}context|too many (input )?tokens"
    r"|prompt is too long|input is too long|exceed_context_size",
    re.IGNORECASE,
)
"""What servers say of a conversation that is too long."""

SHOWN = 500
"""Characters of what a server says that an error quotes."""


class Refusal(Struct, frozen=True):
    """What a server said instead of an answer.

    Attributes:
        status: The HTTP status, or the number that stands in its place within a stream.
        message: What it says, as it says it.
        code: Its word for it, if it has one.
    """

    status: int
    message: str
    code: str = ""

    @property
    def is_filter(self) -> bool:
        """Whether it will not read the request for what stands in it."""
        return self.code == "content_filter"


def refusal_of(status: int, body: object) -> Refusal:
    """Return what *body* says: the JSON of an error as any server has it, or a text."""
    if isinstance(body, Mapping):
        said = cast("Mapping[str, Any]", body)
        inner = said.get("error")
        if isinstance(inner, Mapping):
            said = cast("Mapping[str, Any]", inner)
        elif isinstance(inner, str):
            return Refusal(status, inner)
        words = said.get("message") or said.get("detail") or ""
        code = said.get("code")
        kind = said.get("type")
        named = code if isinstance(code, str) else kind if isinstance(kind, str) else ""
        return Refusal(status, str(words), named)
    return Refusal(status, body if isinstance(body, str) else "")


def error_of(refusal: Refusal, retry_after: float | None, secrets: Iterable[str]) -> ModelError:
    """Return the error that *refusal* is; no text of *secrets* is in it.

    Args:
        refusal: What the server said.
        retry_after: After how many seconds it wants to be asked again.
        secrets: Keys, which servers like to quote.
    """
    status = refusal.status
    said = shown(refusal.message or refusal.code, secrets)
    problem = f"{status}: {said}" if said else str(status)
    if status in _OVERFLOWS and _TOO_LONG.search(f"{refusal.code} {refusal.message[:SHOWN]}"):
        return ContextOverflowError(problem, status)
    if status in _AGAIN or status >= _SERVER_ERRORS:
        return ModelUnavailableError(problem, status, retry_after)
    if status in _KEYS:
        return ModelAuthenticationError(problem, status)
    return ModelRequestError(problem, status)


def shown(text: str, secrets: Iterable[str]) -> str:
    """Return *text* as an error quotes it: bounded, printable, without *secrets*."""
    text = redact(text, secrets)
    return line(text if len(text) <= SHOWN else f"{text[:SHOWN]}...").strip()


def seconds_of(header: str | None, now: datetime) -> float | None:
    """Return what a Retry-After says at *now*, in seconds or as a date; None if nothing."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except (ValueError, IndexError, TypeError, OverflowError):
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
