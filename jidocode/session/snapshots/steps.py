"""What is done to one name of a project on the way back, in a folder that is held open.

What is there must still be what the snapshot before says, right before it is done.
"""

from __future__ import annotations

import os
import stat

from msgspec.structs import replace

from jidocode.base.text import quote
from jidocode.errors import FileChangedError
from jidocode.session.project import descriptors
from jidocode.session.project.boundary import Boundary, Spot
from jidocode.session.project.conditions import ABSENT, Condition
from jidocode.session.project.descriptors import PLACE, closing
from jidocode.session.project.replacement import Content, content_of
from jidocode.session.snapshots.index import Entry, Summary
from jidocode.session.snapshots.limits import MAX_FILE_SIZE
from jidocode.session.snapshots.sighting import PERMISSIONS, entry_of


class Seen(Condition):
    """That a file or symlink is still the one that a snapshot has seen."""

    def __init__(self, path: str, seen: Entry, snapshot: Summary) -> None:
        """Let what is at *path* be what *snapshot* has *seen*."""
        super().__init__(path, seen.sha256.hex() or None)
        self.needs_file = True
        self._path, self._seen, self._snapshot = path, seen, snapshot

    def __bool__(self) -> bool:
        """It always is one, also for a file whose hash is not known."""
        return True

    def check(self, parent: int, name: str) -> None:
        """Raise FileChangedError unless *name* in the directory *parent* is it."""
        seen = self._seen
        try:
            entry = entry_of(seen.raw, os.stat(name, dir_fd=parent, follow_symlinks=False))
            if entry.kind == "symlink":
                entry = replace(entry, target=os.fsencode(os.readlink(name, dir_fd=parent)))
        except FileNotFoundError:
            raise FileChangedError(quote(self._path), None) from None
        is_hashed = seen.sha256 and seen.size <= MAX_FILE_SIZE
        is_same = entry.kind == seen.kind and entry.target == seen.target
        has_status = entry.has_status(seen)
        if is_same and is_hashed and entry.mode == seen.mode:
            # If another name of the file went before this one, it has a new ctime.
            has_status = has_status or entry.has_status(replace(seen, ctime=entry.ctime))
        if not is_same or not has_status:
            raise FileChangedError(quote(self._path), None)
        is_settled = self._snapshot.is_settled(seen) and entry.ctime == seen.ctime
        if is_hashed and not is_settled:
            super().check(parent, name)

    def allow_writing(self, spot: Spot) -> Seen:
        """Let the owner write the file at *spot*, which must be it; return what it is then.

        What nobody may write is not replaced; and it gets the permissions that it had.
        """
        seen = self._seen
        if seen.kind != "file" or seen.mode & stat.S_IWUSR:
            return self
        self.check(spot.parent, spot.name)
        set_mode(spot, seen.mode | stat.S_IWUSR, stat.S_IFREG)
        status = os.stat(spot.name, dir_fd=spot.parent, follow_symlinks=False)
        return Seen(self._path, replace(seen, ctime=status.st_ctime_ns), self._snapshot)


def remove(spot: Spot, path: str, seen: Entry, snapshot: Summary) -> None:
    """Remove the file or symlink at *spot*.

    Raises:
        FileChangedError: It is not what *snapshot* has *seen*.
        OSError: It cannot be removed.
    """
    Seen(path, seen, snapshot).check(spot.parent, spot.name)
    os.unlink(spot.name, dir_fd=spot.parent)


def remove_folder(spot: Spot) -> None:
    """Remove the empty folder at *spot*."""
    os.rmdir(spot.name, dir_fd=spot.parent)


def make_folder(spot: Spot, mode: int) -> None:
    """Make a folder at *spot* with the permissions *mode*, as far as the umask lets it have them.

    Its owner may fill it, whatever *mode* is; `set_mode` does the rest once all is in it. It has
    the others' at once: a kill in between would leave a folder that nobody else can enter.
    """
    os.mkdir(spot.name, mode | stat.S_IRWXU, dir_fd=spot.parent)


def make_link(spot: Spot, target: bytes) -> None:
    """Make a symlink at *spot*."""
    os.symlink(os.fsdecode(target), spot.name, dir_fd=spot.parent)


def write_file(  # noqa: PLR0913, PLR0917 - what, where, and on which terms
    boundary: Boundary, spot: Spot, path: str, data: bytes, mode: int, seen: Seen | None
) -> None:
    """Put a file with *data* at *spot*, where there must be what was *seen*, or nothing for None.

    Raises:
        FileChangedError: There is something else.
        BoundaryError: It is a file that may not be changed.
        OSError: It cannot be written.
    """
    condition = Condition(path, ABSENT) if seen is None else seen.allow_writing(spot)
    boundary.replace(spot, path, Content(content_of(data).fill, mode=mode), condition)


def set_mode(spot: Spot, mode: int, kind: int) -> None:
    """Give what is at *spot*, of the *kind* `stat.S_IFDIR` or `stat.S_IFREG`, permissions.

    Raises:
        FileChangedError: It is of another kind.
        OSError: It is somebody else's.
    """
    with closing(os.open(spot.name, PLACE | os.O_NOFOLLOW, dir_fd=spot.parent)) as fd:
        status = os.fstat(fd)
        if stat.S_IFMT(status.st_mode) != kind:
            raise FileChangedError(quote(spot.name), None)
        others = stat.S_IMODE(status.st_mode) & ~PERMISSIONS
        descriptors.set_mode(fd, others | mode)
