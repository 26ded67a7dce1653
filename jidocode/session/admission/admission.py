"""`Admission`: decides whether one more session may be opened.

Pure: it is told the time and what is open, and never looks at a disk. Folders are
known to it by their keys, which the app finds out before it asks: a disk that
hangs holds up who uses it, and not the registry that all wait for.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jidocode.errors import (
    ProjectAlreadyOpenError,
    RateLimitedError,
    SessionExistsError,
    SessionLimitError,
)
from jidocode.session.admission.bucket import TokenBucket
from jidocode.session.project.locate import ProjectKey


class AdmissionRules(Struct, frozen=True, kw_only=True):
    """How many sessions are let in, and where.

    Attributes:
        max_sessions: Sessions that may be open at once.
        attempts: Attempts to open one that may be made at once; None for no limit.
        seconds: How long it takes until as many may be made again.
        allow_nested: Whether a project may lie inside another open project.
    """

    max_sessions: int
    attempts: int | None = None
    seconds: float = 1.0
    allow_nested: bool = False


class Place(Struct, frozen=True):
    """What one session takes up: an id, and a project's folder.

    Attributes:
        session_id: The session.
        project: The key of its project's folder.
        enclosing: The keys of the folders around that one, as they were when the
            session was opened.
    """

    session_id: str
    project: ProjectKey
    enclosing: frozenset[ProjectKey]

    def is_nested_with(self, other: Place) -> bool:
        """Whether one of the two projects lies inside the other."""
        return self.project in other.enclosing or other.project in self.enclosing


class Admission:
    """Applies the rules of one system; remembers how often it was asked."""

    def __init__(self, rules: AdmissionRules) -> None:
        self._rules = rules
        attempts = rules.attempts
        self._bucket = None if attempts is None else TokenBucket(attempts, rules.seconds)

    def count_attempt(self, now: float) -> None:
        """Count an attempt at monotonic time *now*.

        Raises:
            RateLimitedError: There were too many; this one is not counted.
        """
        retry_after = self._bucket.take(now) if self._bucket else 0.0
        if retry_after:
            raise RateLimitedError(retry_after)

    def check_place(self, wanted: Place, taken: Iterable[Place]) -> None:
        """Check that *wanted* is free, beside those that are *taken*.

        Raises:
            SessionLimitError, SessionExistsError, ProjectAlreadyOpenError: It is
                not; checked in this order.
        """
        others = list(taken)
        if len(others) >= self._rules.max_sessions:
            raise SessionLimitError(len(others), self._rules.max_sessions)
        if any(other.session_id == wanted.session_id for other in others):
            raise SessionExistsError(wanted.session_id)
        refuse_overlap(wanted, others, allow_nested=self._rules.allow_nested)


def refuse_overlap(wanted: Place, taken: Iterable[Place], *, allow_nested: bool) -> None:
    """Check that the project of *wanted* is in none of the places that are *taken*.

    Raises:
        ProjectAlreadyOpenError: It is; or, unless *allow_nested*, one lies inside the other.
    """
    others = list(taken)
    for other in others:
        if other.project == wanted.project:
            raise ProjectAlreadyOpenError(other.session_id)
    for other in others:
        if not allow_nested and wanted.is_nested_with(other):
            raise ProjectAlreadyOpenError(other.session_id, nested=True)
