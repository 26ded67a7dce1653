"""What protected paths are at one moment, so that a later look finds what has changed.

From the root on, each name is opened in the folder above it, and no symlink is followed: a
symlink is what it says, and where it leads to is not looked at. A file that has the same
status as at the last look was not written since, and is not read again; but the kernel's
times are no finer than some milliseconds, and who has mapped a file into memory may write it
without any. So that counts only for a file whose last change is older than whoever may
write it now.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Literal, NamedTuple

from jidocode.session.project.aside import is_aside
from jidocode.session.project.descriptors import (
    FOLDER,
    READ_FILE,
    READ_FOLDER,
    closing,
    status_or_none,
)
from jidocode.session.project.paths import above
from jidocode.session.project.protection import Tree

MAX_ENTRIES = 1000
"""Files and folders that are looked at below one protected path."""
MAX_LOOK_ENTRIES = 20_000
"""The same below all of them: a pattern with a wildcard may stand for a thousand folders."""
MAX_FILE_BYTES = 2**20
"""Bytes of a file that is read; a larger one has changed if its status has."""
MAX_KEPT_BYTES = 2**23
"""Bytes of all files together that are kept, to be put back."""

MAX_DEPTH = 32
"""Folders in one another that are looked at below a protected path."""
MAX_READ_BYTES = 2**25
"""Bytes that one look reads; files beyond it are taken as those that are too large."""
UNSEEN = b"not looked at"
"""The value of a folder that is not looked into, for it holds too much, or cannot be read. What is
in it is unknown then, and not to be touched."""

_SLACK_NS = 50_000_000
"""The times of files may be that much older than the clock."""

Kind = Literal["file", "directory", "symlink", "other", "way"]
"""What is at a path; a way is a folder that leads to protected paths, and is none itself."""
Status = tuple[int, ...]


class Found(NamedTuple):
    """What is at a path."""

    kind: Kind
    mode: int
    """Its permissions; 0 of a way, where they do not count."""
    value: bytes
    """The hash of a file, or its status if that is all that is known; where a symlink leads."""
    status: Status = ()
    """By which a file is known again without being read, empty if it has to be read; of a way
    which folder it is, and its permissions."""
    content: bytes | None = None
    """Of a file, if it is kept."""

    def is_like(self, other: Found | None) -> bool:
        """Whether the two are the same but for when they were written."""
        return other is not None and self[:3] == other[:3]


Fingerprints = Mapping[str, Found]
"""What is at each protected path, by its path."""


def take_fingerprints(
    root: int, tree: Tree, last: Fingerprints, before_ns: int, *, keep: bool
) -> Fingerprints:
    """Return what is at the paths of *tree* below the directory *root*.

    Args:
        root: Its descriptor.
        tree: The patterns of a `Protection`.
        last: What was found at the last look.
        before_ns: When the oldest of those who may write there now began, in nanoseconds since
            1970; or now.
        keep: Whether what is in files is kept.

    Raises:
        OSError: It cannot be told, for no descriptor is left, or the disk is broken.
    """
    look = _Look(last, before_ns - _SLACK_NS, MAX_KEPT_BYTES if keep else 0)
    look.follow(root, "", tree)
    return look.found


class _Look:
    def __init__(self, last: Fingerprints, settled_ns: int, room: int) -> None:
        self.found: dict[str, Found] = {}
        self._last = last
        self._settled_ns = settled_ns
        self._room = room
        self._readable = MAX_READ_BYTES
        self._left = 0
        self._left_in_all = MAX_LOOK_ENTRIES

    def follow(self, folder: int, path: str, tree: Tree) -> bool:
        """Look at what *tree* names in *folder*, which is at *path*; return whether it could be."""
        is_seen = True
        for pattern, rest in tree.items():
            names = _matching(folder, pattern)
            if names is None:
                is_seen = False
                names = self._known(path, pattern)
            for name in names:
                here = path + name
                if is_aside(here):
                    continue
                try:
                    status = status_or_none(folder, name)
                except PermissionError:  # nobody may go through the folder any more
                    is_seen = False
                    continue
                if status is None:
                    continue
                if rest and stat.S_ISDIR(status.st_mode):
                    self._follow_way(folder, name, here, status, rest)
                else:
                    self._left = most = min(MAX_ENTRIES, self._left_in_all)
                    self._take(folder, name, here, status, 0)
                    self._left_in_all -= most - self._left
        return is_seen

    def _known(self, path: str, pattern: str) -> list[str]:
        """Return the names that *pattern* stood for at the last look, in the folder at *path*."""
        below = {each[len(path) :].split("/")[0] for each in self._last if each.startswith(path)}
        return [name for name in sorted(below) if fnmatchcase(name, pattern)]

    def _follow_way(
        self, folder: int, name: str, path: str, status: os.stat_result, tree: Tree
    ) -> None:
        mode = stat.S_IMODE(status.st_mode)
        way = Found("way", 0, b"", (status.st_dev, status.st_ino, mode))
        self.found.setdefault(path, way)
        below = _open(name, FOLDER, folder)
        if below is None:
            self.found[path] = way._replace(value=UNSEEN)
            return
        with closing(below):
            if not self.follow(below, f"{path}/", tree):
                self.found[path] = way._replace(value=UNSEEN)

    def _take(self, folder: int, name: str, path: str, status: os.stat_result, depth: int) -> None:
        self._left -= 1
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            self.found[path] = Found("directory", mode, b"")
            if not self._enter(folder, name, path, depth + 1):
                self.found[path] = Found("directory", mode, UNSEEN)
        elif stat.S_ISREG(status.st_mode):
            self.found[path] = self._file(folder, name, path, status)
        elif stat.S_ISLNK(status.st_mode):
            self.found[path] = Found("symlink", 0, _target(folder, name))
        else:
            self.found[path] = Found("other", mode, b"%d" % status.st_mode)

    def _enter(self, folder: int, name: str, path: str, depth: int) -> bool:
        """Look at all that is in the folder *name*; return whether it could be."""
        below = _open(name, READ_FOLDER, folder)
        if below is None:
            return False
        with closing(below):
            names = _names(below, self._left)
            if names is None or depth > MAX_DEPTH:
                return False
            for each in names:
                try:
                    status = status_or_none(below, each)
                except PermissionError:  # nobody may go through it
                    return False
                if status is not None:
                    self._take(below, each, f"{path}/{each}", status, depth)
        return True

    def _file(self, folder: int, name: str, path: str, status: os.stat_result) -> Found:
        signature = _signature(status)
        last = self._last.get(path)
        if last is not None and last.status == signature:
            self._room -= len(last.content or b"")
            return last
        mode = stat.S_IMODE(status.st_mode)
        unread = Found("file", mode, repr(signature).encode(), signature)
        if status.st_size > min(MAX_FILE_BYTES, self._readable):
            return unread
        fd = _open(name, READ_FILE, folder)
        if fd is None:
            return unread
        with closing(fd):
            signature = _signature(status := os.fstat(fd))
            data = _read(fd) if stat.S_ISREG(status.st_mode) else None
        if data is None or len(data) > MAX_FILE_BYTES:
            return unread
        is_settled = max(status.st_mtime_ns, status.st_ctime_ns) < self._settled_ns
        self._readable -= len(data)
        self._room -= len(data)
        return Found(
            "file",
            stat.S_IMODE(status.st_mode),
            hashlib.sha256(data).digest(),
            signature if is_settled else (),
            data if self._room >= 0 else None,
        )


def differences(before: Fingerprints, after: Fingerprints) -> list[str]:
    """Return the paths at which something else is *after* than *before*, in order.

    Of a folder that came or went, or in whose place something else stands, the folder alone.
    That a way comes or goes is no change in itself.
    """
    changed = [
        path
        for path in sorted(before.keys() | after.keys())
        if not _is_same(before.get(path), after.get(path))
    ]
    kinds = {path: (_kind(before, path), _kind(after, path)) for path in changed}
    whole = {
        path
        for path, (old, new) in kinds.items()
        if old != new and {"directory", "way"} & {old, new}
    }
    return [path for path in changed if not any(each in whole for each in above(path))]


def _is_same(before: Found | None, after: Found | None) -> bool:
    if {each.kind if each else "way" for each in (before, after)} == {"way"}:
        return len({each.value if each else b"" for each in (before, after)}) == 1
    return before is not None and before.is_like(after)


def _kind(fingerprints: Fingerprints, path: str) -> Kind | None:
    found = fingerprints.get(path)
    return found.kind if found else None


def is_unknown(path: str, fingerprints: Fingerprints) -> bool:
    """Whether *fingerprints* do not tell what was at *path*, for it, or a folder, was not seen."""
    return any(
        each in fingerprints and fingerprints[each].value == UNSEEN for each in (path, *above(path))
    )


def _matching(folder: int, pattern: str) -> list[str] | None:
    """Return the names in *folder* that *pattern* may stand for; None if they cannot be listed."""
    if not {"*", "?", "["} & set(pattern):
        return [pattern]
    below = _open(".", READ_FOLDER, folder)
    if below is None:
        return None
    with closing(below):
        names = _names(below, MAX_ENTRIES)
    return names and [name for name in names if fnmatchcase(name, pattern)]


def _names(folder: int, limit: int) -> list[str] | None:
    """Return the names in *folder*, sorted; None if they are more than *limit*."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in islice(entries, max(0, limit) + 1))
    return names if len(names) <= limit else None


# What is not there, or not what it was; what may not be opened; and what a lease keeps closed,
# which whoever owns the file may take (`man 2 fcntl`).
_CLOSED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM} | {
    errno.EWOULDBLOCK
}


def _open(name: str, flags: int, folder: int) -> int | None:
    """Return a descriptor of *name* in *folder*, None if it cannot be opened, or is a symlink.

    Raises:
        OSError: There is something else amiss: no descriptor is left, or the disk is broken.
    """
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in _CLOSED:
            return None
        raise


def _target(folder: int, name: str) -> bytes:
    try:
        return os.fsencode(os.readlink(name, dir_fd=folder))
    except OSError:  # it is none any more
        return b""


def _signature(status: os.stat_result) -> Status:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _read(fd: int) -> bytes | None:
    data = b""
    try:
        while len(data) <= MAX_FILE_BYTES and (more := os.read(fd, MAX_FILE_BYTES + 1 - len(data))):
            data += more
    except OSError:
        return None
    return data
