"""What is at each path of a project now, in the order of an index.

Besides what a visit comes to, these are the paths of a snapshot that is compared: rules may leave
out now what they did not leave out then, and to be left out is not to be removed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from msgspec.structs import replace

from jidocode.session.project.descriptors import closing, key_of
from jidocode.session.project.entries import CHANGED, Ground, Visited, visit
from jidocode.session.snapshots.index import Entry, Index, in_order
from jidocode.session.snapshots.limits import MAX_FILE_SIZE, MAX_HASHED
from jidocode.session.snapshots.store import Store

_TRIES = 3
_BLOCK = 2**20
PERMISSIONS = 0o777
"""Bits of a mode that count: set-user-id and its kin are never brought back."""


class Sighting(NamedTuple):
    """A path, and how it was come to; a directory is *listed* if what is in it follows."""

    path: str
    how: Literal["listed", "unlisted", "ignored"]


def sightings(
    ground: Ground, covered: Iterable[str] = (), after: str | None = None
) -> Iterator[Sighting]:
    """Yield what a visit comes to, and each path of *covered*, in order, behind *after*.

    *covered* are in order and all behind *after*, too.

    Raises:
        OSError: The project itself cannot be listed.
    """
    others = iter(covered)
    other = next(others, None)
    for seen in _visits(ground, after):
        while other is not None and other != seen.path and in_order(other) < in_order(seen.path):
            yield Sighting(other, "unlisted")
            other = next(others, None)
        if other == seen.path:
            other = next(others, None)
            seen = Sighting(seen.path, "unlisted") if seen.how == "ignored" else seen  # noqa: PLW2901 - what is yielded
        yield seen
    while other is not None:
        yield Sighting(other, "unlisted")
        other = next(others, None)


def _visits(ground: Ground, after: str | None) -> Iterator[Sighting]:
    start = [] if after is None else in_order(after)
    visits = visit(ground, "", hidden=True, ignore=True, after=start, only=[])
    held: Visited | None = None  # until it is known whether it can be listed
    for visited in visits:
        if held is not None:
            is_unlisted = visited == (held.path, "unlisted")
            yield Sighting(held.path, "unlisted" if is_unlisted else "listed")
            held = None
            if is_unlisted:
                continue
        if start and in_order(visited.path) <= start:
            continue
        start = []
        if visited.kind == "directory":
            held = visited
        else:
            yield Sighting(visited.path, "ignored" if visited.kind == "ignored" else "listed")
    if held is not None:
        yield Sighting(held.path, "listed")


class Eye:
    """Looks at what is at a path; a file that was seen before is not read again."""

    def __init__(self, ground: Ground, known: Index | None, store: Store | None = None) -> None:
        """Look at *ground*.

        Args:
            ground: Where to look.
            known: The snapshot that says what files were; None if there is none.
            store: Where contents are kept; None if they are not.
        """
        self._ground, self._store = ground, store
        root = os.fstat(ground.root)
        is_same = known is not None and known.summary.root == key_of(root)
        # In another folder the same status may be that of another file.
        self._known = known if is_same else None
        self._entries = self._known.entries() if self._known else iter(())
        self._next = next(self._entries, None)

    def look(self, sighting: Sighting) -> Entry:
        """Return what is there; each sighting comes after the one before."""
        raw = os.fsencode(sighting.path)
        if sighting.how == "ignored":
            return Entry(raw=raw, kind="ignored")
        known = self._find(sighting.path)
        for _ in range(_TRIES):
            try:
                entry = entry_of(raw, self._ground.status(sighting.path))
            except OSError as error:
                if error.errno in CHANGED:
                    return Entry(raw=raw)
                self._ground.note(error)
                break
            try:
                return self._look(sighting, entry, known)
            except OSError as error:
                if error.errno not in CHANGED:
                    self._ground.note(error)
                    return entry
        return Entry(raw=raw, kind="unknown")

    def _look(self, sighting: Sighting, entry: Entry, known: Entry | None) -> Entry:
        """Return *entry* with what its status does not say.

        Raises:
            OSError: It cannot be read, or was swapped for something else meanwhile.
        """
        if entry.kind == "file":
            if known is not None and self._is_enough(entry, known):
                return replace(entry, sha256=known.sha256, is_kept=known.is_kept)
            return self._read(sighting.path, entry)
        if entry.kind == "symlink":
            return replace(entry, target=os.fsencode(self._ground.link_target(sighting.path)))
        if entry.kind == "directory" and sighting.how == "unlisted":
            return replace(entry, kind="unlisted")
        return entry

    def _is_enough(self, entry: Entry, known: Entry) -> bool:
        """Whether what is *known* of a file says all of it as it is now."""
        return (
            self._known is not None
            and known.kind == "file"
            and known.has_status(entry)
            and self._known.summary.is_settled(known)
            and (known.is_kept or not self._may_keep(entry.size))
        )

    def _may_keep(self, size: int) -> bool:
        store = self._store
        return store is not None and size <= store.rules.file_size and store.has_room(size)

    def _read(self, path: str, entry: Entry) -> Entry:
        """Return *entry*, of the file at *path*, with its hash; keep its content if it may be."""
        content: tuple[bytes, bytes | None] | None = None
        with closing(self._ground.open_file(path)) as fd:
            for _ in range(_TRIES):
                entry = entry_of(entry.raw, os.fstat(fd))
                content = _content_of(fd)
                # If somebody writes all the time: its status is another one by now, so the
                # next look reads it again.
                if entry_of(entry.raw, os.fstat(fd)).has_status(entry):
                    break
        if content is None:
            return entry
        digest, data = content
        is_kept = False
        if self._store is not None and data is not None and self._may_keep(len(data)):
            is_kept = self._store.keep(digest, data)
        return replace(entry, sha256=digest, is_kept=is_kept)

    def _find(self, path: str) -> Entry | None:
        """Return what is known of *path*."""
        known = self._next
        while known is not None:
            other = known.path
            if other != path and in_order(other) > in_order(path):
                break
            self._next = next(self._entries, None)
            if other == path:
                return known
            known = self._next
        return None


def _content_of(fd: int) -> tuple[bytes, bytes | None] | None:
    """Return the hash of the file *fd*, and its bytes; None for what is too large for that."""
    if os.fstat(fd).st_size > MAX_HASHED:
        return None
    hasher, size = hashlib.sha256(), 0
    blocks: list[bytes] | None = []
    while block := os.pread(fd, _BLOCK, size):
        hasher.update(block)
        size += len(block)
        if size > MAX_HASHED:
            return None
        if size > MAX_FILE_SIZE:
            blocks = None
        if blocks is not None:
            blocks.append(block)
        if len(block) < _BLOCK:
            break  # of a regular file that is the end
    return hasher.digest(), None if blocks is None else b"".join(blocks)


def entry_of(raw: bytes, status: os.stat_result) -> Entry:
    """Return what *status* says of the path *raw*."""
    mode = stat.S_IMODE(status.st_mode) & PERMISSIONS
    if stat.S_ISREG(status.st_mode):
        return Entry(
            raw=raw,
            kind="file",
            mode=mode,
            size=status.st_size,
            inode=status.st_ino,
            mtime=status.st_mtime_ns,
            ctime=status.st_ctime_ns,
        )
    if stat.S_ISDIR(status.st_mode):
        return Entry(raw=raw, kind="directory", mode=mode)
    return Entry(raw=raw, kind="symlink" if stat.S_ISLNK(status.st_mode) else "other")
