"""The snapshots of a Manager's session, from the first one that is asked for.

Few sessions take any, and every start waits for imports: so what they need is imported then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jidocode.base import log
from jidocode.otp.server.messages import Caller
from jidocode.session.journal.writing import make_private_folder
from jidocode.session.manager.searches import Answer, Searches
from jidocode.session.project.files import Project
from jidocode.session.requests import Request
from jidocode.session.snapshots.limits import SnapshotRules

if TYPE_CHECKING:
    from jidocode.session.snapshots.taking import Work

NAMES = frozenset({"take_snapshot", "snapshots", "changes_since", "diff", "revert"})
"""The operations, see `operations.SNAPSHOTS` in their room."""


class Snapshots:
    """Does what is asked about snapshots in one thread, one after the other."""

    def __init__(
        self,
        project: Project,
        folder: Path | None,
        rules: SnapshotRules,
        *,
        answer: Answer,
        fail: Callable[[Exception], None],
    ) -> None:
        """Keep the snapshots of *project* in *folder*, which is made.

        Args:
            project: The project.
            folder: None if nothing is to be written to disk; then there are no snapshots.
            rules: How much they may be.
            answer: As for `Searches`.
            fail: As for `Searches`.
        """
        self._project, self._folder, self._rules = project, folder, rules
        self._answer, self._fail = answer, fail
        self._searches: Searches[Work] | None = None
        if folder is not None:
            try:
                make_private_folder(folder)
            except OSError as error:  # a full disk is no reason not to begin
                log.warning("no snapshot can be written: {}", error.strerror)

    def start(self, request: object, caller: Caller) -> bool:
        """Start what *request* asks for; return whether it is about snapshots.

        Raises:
            OSError: As `Searches.start`.
        """
        if not _is_about_snapshots(request):
            return False
        if self._searches is None:
            self._searches = self._begin()
        return self._searches.start(request, caller)

    @property
    def busy(self) -> bool:
        """Whether any waits, or is done now."""
        return self._searches is not None and self._searches.busy

    def close(self) -> None:
        """Have all end soon; see `Searches.close`."""
        if self._searches is not None:
            self._searches.close()

    def _begin(self) -> Searches[Work]:
        from jidocode.session.snapshots.reverting import SNAPSHOTS  # noqa: PLC0415 - see above
        from jidocode.session.snapshots.store import Store  # noqa: PLC0415 - idem
        from jidocode.session.snapshots.taking import Work  # noqa: PLC0415 - idem

        store, protector = Store(self._folder, self._rules), self._project.protector
        return Searches(
            self._project.boundary,
            SNAPSHOTS,
            lambda ground: Work(ground, store, protector),
            threads=1,  # for a store is used by one at a time
            answer=self._answer,
            fail=self._fail,
        )


def _is_about_snapshots(request: object) -> bool:
    return isinstance(request, Request) and request.operation in NAMES
