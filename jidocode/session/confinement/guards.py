"""What of a project a command may not change in tier namespaces, though it may change the rest.

Git takes orders from it: which programs it runs, by hooks and configuration. Whoever may write
that has the user's next `git status` run anything, outside of every sandbox. Landlock can take
nothing out of a folder; a mount can.
"""

from __future__ import annotations

import os
from pathlib import Path

from jidocode.session.confinement.worktree import worktree_paths

_ORDERS = ("hooks", "config", "config.worktree", "commondir")
"""In a repository: hooks, configuration, and the file by which git takes both from elsewhere."""
_WORKTREE_ORDERS = ("config.worktree", "commondir", "gitdir")


def guards(project: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the folders that must not change places, and what must not change at all.

    A guard on something does not keep the folder above it from being moved away whole, and
    another one from taking its place; so that is held where it is. What is not there now cannot
    be guarded.
    """
    marker = Path(project, ".git")
    if marker.is_symlink() or not marker.is_dir():
        _, changeable = worktree_paths(project)
        own = [os.path.join(changeable[0], name) for name in _WORKTREE_ORDERS] if changeable else []  # noqa: PTH118 - a str is needed
        return (), (str(marker), *own)
    return (str(marker),), tuple(str(marker / name) for name in _ORDERS)
