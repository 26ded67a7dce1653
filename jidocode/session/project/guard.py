"""`Guard`: protected paths, wherever an operation changes a project."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from jidocode.base.text import quote
from jidocode.errors import ProtectedPathError
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.protection import (
    MAX_PATHS,
    ProtectedPathsChanged,
    Protection,
    ProtectionRules,
)

Tell = Callable[[ProtectedPathsChanged], object]
"""Hears what was changed."""


class Guard:
    """Refuses or reports what an operation is about to do to protected paths.

    A path is looked at as it was given and as it leads now. Who swaps a symlink in between, so
    that it leads elsewhere, is a program of the project's own, and what it does so is found as
    what it does itself.
    """

    def __init__(self, boundary: Boundary, rules: ProtectionRules, tell: Tell) -> None:
        """Watch over *boundary* as *rules* say, and *tell* of changes."""
        self._boundary = boundary
        self._protection = Protection(rules.paths)
        self._refuses = rules.changes == "refuse"
        self._tell = tell

    def protects(self, path: str | os.PathLike[str]) -> bool:
        """Whether to write the file at *path* would change what is protected."""
        return bool(self._touched(path, (), follow=True))

    @contextmanager
    def change(
        self, path: str | os.PathLike[str], inside: Iterable[str] = (), *, follow: bool = False
    ) -> Generator[bool]:
        """Hold what changes *path*; yield whether that is protected, and tell it in the end.

        Args:
            path: What comes, goes, or is written.
            inside: What comes or goes with it: paths below it.
            follow: Whether a symlink at *path* is followed.

        Raises:
            ProtectedPathError: It is protected, and changes are refused.
        """
        touched = self._touched(path, inside, follow=follow)
        if touched and self._refuses:
            raise ProtectedPathError(quote(touched[0]))
        yield bool(touched)
        if touched:
            self._tell(ProtectedPathsChanged(paths=tuple(touched[:MAX_PATHS])))

    def _touched(
        self, path: str | os.PathLike[str], inside: Iterable[str], *, follow: bool
    ) -> list[str]:
        boundary, protection = self._boundary, self._protection
        if not protection.tree:
            return []
        true = boundary.true_path(path, follow=follow)
        for each in (true, boundary.resolve(path)):
            if protection.touches(each):
                return [each]
        return [each for below in inside if protection.touches(each := f"{true}/{below}")]
