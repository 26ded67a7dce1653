"""What each standby goes through once for nothing, for rooms that the host does not know.

A process pays for whatever it does for the first time (see `_host/actor/warm_up.py`). A module
that the host imports before it forks names here what its servers do at their start.
"""

from __future__ import annotations

from collections.abc import Callable

_rehearsals: list[Callable[[], object]] = []


def add(rehearsal: Callable[[], object]) -> None:
    """Have *rehearsal* called in each standby for a server; nothing may come of it."""
    _rehearsals.append(rehearsal)


def go_through_all() -> None:
    """Call all that were added."""
    for rehearsal in _rehearsals:
        rehearsal()
