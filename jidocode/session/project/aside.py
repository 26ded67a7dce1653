"""`Aside`: the folder of a project that keeps what was taken away from protected paths.

What stands there may have been made by a command, and may as well be all that somebody has: a
command that moves its sources to `.vscode` is one mistake, and to remove them there another.
No look tells the two apart. So nothing is removed: it is given another name, in a folder whose
content git and snapshots of the project leave out.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Generator, Sequence

from jidocode.session.project.boundary import Spot
from jidocode.session.project.descriptors import (
    ALWAYS,
    FOLDER,
    PLACE,
    READ_FOLDER,
    closing,
    key_of,
    status_or_none,
    writable,
)
from jidocode.session.project.protection import MAX_PATHS
from jidocode.session.project.renaming import exchange, rename_new

_PREFIX = ".jidocode-undone-"
_MAX_PATH_BYTES = 200
"""A longer path is not in the new name: file systems take 255."""
_RULES_NAME = ".gitignore"
_RULES = b"# This keeps what was undone. Look at it, and delete it.\n*\n"


class Aside:
    """Keeps what was taken away from protected paths, below one directory.

    Attributes:
        name: What the folder is called that keeps it.
        kept: The paths of what was taken away, relative to the directory, in order.
    """

    def __init__(self, root: int, name: str = "") -> None:
        """Keep it in a folder in *root*, a descriptor, that is made when something comes.

        Args:
            root: It must be one that may be changed whenever something comes.
            name: The folder's, if there is one of an earlier life.
        """
        self.name = name or _new_name()
        self.kept: list[str] = []
        self._root = root

    def left_over(self) -> list[str]:
        """Return the paths of all that is in the folder, which an earlier life has made."""
        try:
            with closing(os.open(self.name, READ_FOLDER, dir_fd=self._root)) as folder:
                return [f"{self.name}/{name}" for name in sorted(_names(folder))]
        except OSError:
            return []

    def take(self, spot: Spot) -> None:
        """Move what is at *spot* here, whatever it is.

        Raises:
            OSError: It cannot be moved: it is on another file system, or somebody else's.
        """
        with self._new_spot(spot) as new, _movable(spot):
            rename_new(spot.parent, spot.name, new.parent, new.name)
            self._add(new)

    def swap(self, spot: Spot, make: Callable[[Spot], object]) -> None:
        """Put at *spot* what *make* puts at the spot that it is given; keep what was there.

        Whoever reads it meanwhile finds the one or the other.

        Raises:
            OSError: It cannot be made, or moved.
        """
        with self._new_spot(spot) as new:
            make(new)
            made = status_or_none(new.parent, new.name)
            try:
                if status_or_none(spot.parent, spot.name) is None:
                    rename_new(new.parent, new.name, spot.parent, spot.name)
                    return
                with _movable(spot):
                    exchange(new.parent, new.name, spot.parent, spot.name)
            except OSError:
                _drop(new, made)
                raise
            self._add(new)

    def _add(self, new: Spot) -> None:
        self.kept.append(new.name if new.folder == "." else f"{new.folder}/{new.name}")

    @contextlib.contextmanager
    def _new_spot(self, old: Spot) -> Generator[Spot]:
        """Yield a spot that has nothing, for what comes from *old*; its name tells from where.

        If no folder can be made, for the disk is full, it is in the directory itself.
        """
        path = old.name if old.folder == "." else f"{old.folder}/{old.name}"
        new = os.urandom(4).hex()
        if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
            new += "-" + path.replace("/", "+")
        try:
            folder = self._open()
        except OSError:
            yield Spot(self._root, ".", _PREFIX + new)
            return
        with closing(folder), writable(folder):
            with contextlib.suppress(OSError):  # it is there, or the disk is full
                _write_new(folder, _RULES_NAME, _RULES)
            yield Spot(folder, self.name, new)

    def _open(self) -> int:
        """Open the folder; make one if there is none yet, or programs have done something to it."""
        try:
            return os.open(self.name, FOLDER, dir_fd=self._root)
        except FileNotFoundError:
            pass
        except OSError:  # it is something else by now
            self.name = _new_name()
        os.mkdir(self.name, 0o700, dir_fd=self._root)
        return os.open(self.name, FOLDER, dir_fd=self._root)


def is_aside(path: str) -> bool:
    """Whether *path* of a project is that of a folder that keeps what was undone, or is in one."""
    return path.startswith(_PREFIX)


def shorten(paths: Sequence[str]) -> Sequence[str]:
    """Return the *paths* of what is kept, or of the folders that keep it if they are too many."""
    if len(paths) <= MAX_PATHS:
        return paths
    return sorted({path.rpartition("/")[0] or path for path in paths})[:MAX_PATHS]


def _names(folder: int) -> set[str]:
    return set(os.listdir(folder)) - {_RULES_NAME}


def _new_name() -> str:
    return _PREFIX + os.urandom(4).hex()


@contextlib.contextmanager
def _movable(spot: Spot) -> Generator[None]:
    """Give the folder at *spot*, if it is one, the permission that it takes to move it."""
    with contextlib.ExitStack() as stack:
        fd = os.open(spot.name, PLACE | os.O_NOFOLLOW, dir_fd=spot.parent)
        stack.enter_context(closing(fd))
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            stack.enter_context(writable(fd))
        yield


def _write_new(folder: int, name: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | ALWAYS
    with closing(os.open(name, flags, 0o600, dir_fd=folder)) as file:
        os.write(file, content)


def _drop(new: Spot, made: os.stat_result | None) -> None:
    """Remove what is at *new* if it is what was *made*: a program may have put its own there."""
    there = status_or_none(new.parent, new.name)
    if made and there and key_of(made) == key_of(there):
        if stat.S_ISDIR(made.st_mode):
            with contextlib.suppress(OSError):  # it is a repository
                os.rmdir(new.name, dir_fd=new.parent)
        else:
            os.unlink(new.name, dir_fd=new.parent)
