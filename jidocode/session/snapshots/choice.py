"""Which paths are to go back."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from typing import cast

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.paths import above
from jidocode.session.snapshots.index import UNSEEN, Entry

_Paths = Sequence[str | os.PathLike[str]]


class Choice:
    """Some paths and what is below them, or all.

    Attributes:
        named: The paths that were named.
    """

    def __init__(self, boundary: Boundary, paths: object) -> None:
        """Choose *paths* and what is below; all for None.

        Raises:
            InvalidRequestError: They are no list.
            BoundaryError: One leads out of the project.
        """
        if paths is not None and (isinstance(paths, str) or not isinstance(paths, Sequence)):
            raise InvalidRequestError(f"paths must be a list of paths, not {quote(paths)}")
        given = cast("_Paths", () if paths is None else paths)
        named = {posixpath.normpath(boundary.resolve(path)) for path in given}
        self._is_all = paths is None or "." in named
        self.named = frozenset(named - {"."})
        self._above = frozenset(each for path in self.named for each in above(path))

    def __contains__(self, path: str) -> bool:
        """Whether *path* is to go back."""
        if self._is_all or path in self.named:
            return True
        return any(each in self.named for each in above(path))

    def is_above(self, path: str) -> bool:
        """Whether *path* is that of a folder above one that was named."""
        return path in self._above

    def missing(self, entries: Iterable[Entry]) -> list[str]:
        """Return those that were named of which *entries* say nothing, nor of what is below."""
        missing = set(self.named)
        for entry in entries:
            if not missing:
                break
            if entry.kind not in UNSEEN:
                path = entry.path
                missing.discard(path)
                missing.difference_update(above(path))
        return sorted(missing)
