"""Pages: the answer to a question whose whole answer might be too long for one message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import require_int
from jidocode.session.conversation import limits
from jidocode.session.conversation.changes import Change

C = TypeVar("C", bound=Change)


def require_page(after_seq: int, limit: int) -> None:
    """Raise InvalidRequestError unless there can be such a page."""
    require_int("after_seq", after_seq, least=0)
    require_limit("limit", limit)


def require_limit(what: str, value: int) -> None:
    """Raise InvalidRequestError unless *value*, called *what*, may be the length of a page."""
    require_int(what, value, least=1)
    if value > limits.MAX_PAGE:
        raise InvalidRequestError(f"{what} may be {limits.MAX_PAGE} at most, not {quote(value)}")


def page(records: Iterable[C], *, after_seq: int, limit: int) -> list[C]:
    """Return the first of *records* with a number above *after_seq*, at most *limit*.

    Fewer if they are long, but one in any case: an empty page means there are no more.

    Raises:
        InvalidRequestError: *after_seq* or *limit* breaks a rule.
    """
    require_page(after_seq, limit)
    found: list[C] = []
    length = 0
    for record in records:
        if record.seq <= after_seq:
            continue
        length += record.length
        if len(found) == limit or (found and length > limits.MAX_PAGE_LENGTH):
            break
        found.append(record)
    return found
