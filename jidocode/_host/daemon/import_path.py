"""Where the processes of a system import from, once the host has imported what it needs."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _LibraryFinder:
    """Finds *names* in Python's own library, in *folders*, whatever else is on the path."""

    def __init__(self, names: Collection[str], folders: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._folders = folders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module, if it is one of those."""
        del path
        if fullname not in self._names:
            return None
        return PathFinder.find_spec(fullname, self._folders, target)


def use_app_path(path: Sequence[str], names: Collection[str], library: Sequence[str]) -> None:
    """Import from where the app does from now on.

    Args:
        path: The app's path.
        names: The modules that the app has from Python's own library, for it had imported
            them before something else of that name came onto its path.
        library: The folders of that library.
    """
    sys.path[:] = path
    sys.meta_path.insert(0, _LibraryFinder(names, library))
