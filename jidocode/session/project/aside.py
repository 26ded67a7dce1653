"""`Aside`: the folder of a project that keeps what was taken away from protected paths.

What stands there may have been made by a command, and may as well be all that somebody has: a
command that moves its sources to `.vscode` is one mistake, and to remove them there another.
No look tells the two apart. So nothing is removed: it is given another name.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Generator

from jidocode.session.project.boundary import Spot
from jidocode.session.project.descriptors import (
    FOLDER,
    PLACE,
    closing,
    set_mode,
    status_or_none,
)
from jidocode.session.project.renaming import exchange, rename_new

_PREFIX = ".jidocode-undone-"
_MAX_NAME_BYTES = 200
"""A longer name is not repeated in the new one: file systems take 255."""


class Aside:
    """Keeps what was taken away from protected paths, below one directory.

    Attributes:
        kept: The paths of what was taken away, relative to the directory, in order.
    """

    def __init__(self, root: int) -> None:
        """Keep it in a folder in *root*, a descriptor, that is made when something comes."""
        self.kept: list[str] = []
        self._root = root
        self._name = ""

    def take(self, spot: Spot) -> None:
        """Move what is at *spot* here, whatever it is.

        Raises:
            OSError: It cannot be moved: it is on another file system, or its folder is closed.
        """
        with self._new_spot(spot.name) as new:
            _open_if_folder(spot)
            rename_new(spot.parent, spot.name, new.parent, new.name)
            self._add(new)

    def swap(self, spot: Spot, make: Callable[[Spot], object]) -> None:
        """Put at *spot* what *make* makes at the spot that it is given; keep what was there.

        Whoever reads it meanwhile finds the one or the other.

        Raises:
            OSError: It cannot be made, or moved.
        """
        with self._new_spot(spot.name) as new:
            make(new)
            if status_or_none(spot.parent, spot.name) is None:
                rename_new(new.parent, new.name, spot.parent, spot.name)
                return
            try:
                _open_if_folder(spot)
                exchange(new.parent, new.name, spot.parent, spot.name)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(new.name, dir_fd=new.parent)
                raise
            self._add(new)

    def _add(self, new: Spot) -> None:
        self.kept.append(new.name if new.folder == "." else f"{new.folder}/{new.name}")

    @contextlib.contextmanager
    def _new_spot(self, name: str) -> Generator[Spot]:
        """Yield a spot that has nothing, for something called *name*.

        If no folder can be made, for the disk is full, it is in the directory itself.
        """
        new = os.urandom(4).hex()
        if len(os.fsencode(name)) <= _MAX_NAME_BYTES:
            new += f"-{name}"
        try:
            folder = self._open()
        except OSError:
            yield Spot(self._root, ".", _PREFIX + new)
            return
        with closing(folder):
            yield Spot(folder, self._name, new)

    def _open(self) -> int:
        """Open the folder; make one if there is none yet, or programs have done something to it."""
        with contextlib.suppress(OSError):
            if self._name:
                return self._open_named()
        self._name = _PREFIX + os.urandom(4).hex()
        os.mkdir(self._name, 0o700, dir_fd=self._root)
        return self._open_named()

    def _open_named(self) -> int:
        folder = os.open(self._name, FOLDER, dir_fd=self._root)
        set_mode(folder, stat.S_IRWXU)
        return folder


def _open_if_folder(spot: Spot) -> None:
    """Give the folder at *spot*, if it is one, the permission that it takes to move it."""
    with closing(os.open(spot.name, PLACE | os.O_NOFOLLOW, dir_fd=spot.parent)) as fd:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode) and not mode & stat.S_IWUSR:
            set_mode(fd, stat.S_IMODE(mode) | stat.S_IWUSR)
