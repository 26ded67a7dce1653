"""What is in a folder at all depths: counted first, and then gone through folder by folder.

Nothing is removed or copied before all of it is known, so what is refused has changed
nothing. Whatever is put in a folder's place meanwhile, no step leads out of the folder at
the top: each is opened beneath it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from jidocode.base.text import quote
from jidocode.errors import BoundaryError, FolderTooLargeError
from jidocode.session.project.boundary import Boundary, EntryKind, kind_of
from jidocode.session.project.descriptors import ALWAYS, DIRECTORY, closing
from jidocode.session.project.paths import errors_about


class Item(NamedTuple):
    """Something in a folder."""

    folder: str
    """In which one, relative to the one at the top; `.` for that itself."""
    name: str
    """What it is called there."""
    kind: EntryKind
    """What it is itself: file, directory or symlink."""
    size: int
    """Bytes in it."""

    @property
    def path(self) -> str:
        """Its path, relative to the folder at the top."""
        return below(self.folder, self.name)


def below(folder: str, name: str) -> str:
    """Return the path of *name* in *folder*."""
    return name if folder == "." else f"{folder}/{name}"


def contents(boundary: Boundary, top: int, relative: str, limit: int) -> list[Item]:
    """Return all that is in the folder *top*, at *relative*: folders before what is in them.

    Raises:
        FolderTooLargeError: That is more than *limit*.
        BoundaryError: Something in it is neither file, directory nor symlink.
        OSError: Some of it cannot be read; EBUSY if a folder in it is of another file system.
    """
    device = os.fstat(top).st_dev
    found: list[Item] = []
    waiting = ["."]
    while waiting:
        folder = waiting.pop()
        here = below(relative, folder) if folder != "." else relative
        flags = os.O_RDONLY | os.O_DIRECTORY | ALWAYS
        with errors_about(here), closing(boundary.open_below(top, folder, flags)) as fd:
            if os.fstat(fd).st_dev != device:
                raise OSError(errno.EBUSY, "a file system is mounted there")
            with os.scandir(fd) as entries:
                for entry in entries:
                    item = _item(folder, entry, here)
                    found.append(item)
                    if len(found) > limit:
                        raise FolderTooLargeError(quote(relative), limit)
                    if item.kind == "directory":
                        waiting.append(item.path)
    return found


def _item(folder: str, entry: os.DirEntry[str], here: str) -> Item:
    kind = kind_of(entry)
    if kind == "other":
        raise BoundaryError(f"{quote(below(here, entry.name))} is no regular file")
    size = entry.stat(follow_symlinks=False).st_size if kind == "file" else 0
    return Item(folder, entry.name, kind, size)


def by_folder(items: Iterable[Item]) -> Iterator[tuple[str, Iterator[Item]]]:
    """Yield each folder with what is in it; in the order of *items*, or its reverse."""
    yield from groupby(items, attrgetter("folder"))


def remove_items(boundary: Boundary, top: int, items: list[Item]) -> None:
    """Remove *items* from the folder *top*: what `contents` has found there, or a part.

    What is gone already is fine.

    Raises:
        OSError: One cannot be removed; those behind it are.
    """
    for folder, group in by_folder(reversed(items)):
        with closing(boundary.open_below(top, folder, DIRECTORY)) as here:
            for item in group:
                _remove_item(here, item)


def _remove_item(here: int, item: Item) -> None:
    try:
        if item.kind == "directory":
            os.rmdir(item.name, dir_fd=here)
        else:
            os.unlink(item.name, dir_fd=here)
    except FileNotFoundError:
        pass
