"""Which journals are deleted by age, number and size; no file is touched here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from jidocode.session.journal.catalogue import Resumable


def superfluous(
    found: Sequence[Resumable],
    *,
    now: datetime,
    older_than: timedelta | None = None,
    keep: int | None = None,
    max_size: int | None = None,
) -> list[Resumable]:
    """Return which of *found*, the last one written to first, any of the rules is against.

    Sessions that are open count, and are never among them.

    Args:
        found: The journals.
        now: The time.
        older_than: How long ago a journal may have been written to.
        keep: How many there may be.
        max_size: How many bytes they may have together.
    """
    chosen: list[Resumable] = []
    size = 0
    for number, each in enumerate(found, 1):
        size += each.size
        too_old = older_than is not None and now - each.modified_at > older_than
        too_many = keep is not None and number > keep
        too_large = max_size is not None and size > max_size
        if each.locked_by is None and (too_old or too_many or too_large):
            chosen.append(each)
    return chosen
