"""What git needs outside of a project that is a linked worktree.

There `.git` is a file that names a folder of the repository it belongs to. That file is the
project's, and the project is not to be trusted: it could name any folder. So the repository
must say, too, that this is its worktree; and none of what is granted may be a symlink.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_LONGEST = 5000
_WRITABLE = ("objects", "refs", "logs")
WORKTREE_ORDERS = ("commondir", "config.worktree", "gitdir")
"""What a command may write in the worktree's own folder there, and git goes by."""


def worktree_paths(project: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a command in *project* may read, and what of it change, for git to work.

    Nothing, if *project* is no linked worktree. If it is: the whole repository to read, for
    its configuration and packed references; and to change what a commit changes. What decides
    which programs git runs, `config` and `hooks`, stays closed, and so does `packed-refs`:
    deleting a branch that is packed, and `git gc`, are for the repository's owner.
    """
    marker = Path(project, ".git")
    named = _line(marker, "gitdir:")
    if named is None:
        return (), ()
    own = Path(os.path.realpath(Path(project, named)))
    common = own.parent.parent
    back = _line(own / "gitdir", "")
    if own.parent.name != "worktrees" or back is None:
        return (), ()
    if os.path.realpath(own / back) != os.path.realpath(marker):
        return (), ()
    # Not resolved any further: at a symlink nothing is granted.
    return (str(common),), (str(own), *(str(common / name) for name in _WRITABLE))


def _line(path: Path, start: str) -> str | None:
    """Return what follows *start* in the only line of the file *path*; None if it is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        text = os.fsdecode(os.read(fd, _LONGEST))
    except OSError:
        return None
    finally:
        os.close(fd)
    line = text.removesuffix("\n")
    if not line.startswith(start) or "\n" in line or "\0" in line:
        return None
    return line.removeprefix(start).strip() or None
