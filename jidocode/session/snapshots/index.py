"""The index of a snapshot: what was at which path, one entry after the other, in a file.

The entries are in the order of a visit (`project/entries.py`): by names, from the root on. So
two of them, or one and what is there now, are compared as they are read, and a project of any
size takes the memory of a few thousand entries. They are packed in blocks, each with a checksum;
last comes a summary, and where it begins. The file gets its name when it is complete.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from jidocode.errors import SnapshotError
from jidocode.session.journal.opening import open_private, open_regular
from jidocode.session.journal.writing import write_all
from jidocode.session.project.boundary import EntryKind
from jidocode.session.project.found import Truncation

Kind = EntryKind | Literal["absent", "ignored", "unlisted", "unknown"]
"""What an entry says of its path, besides what is there: that nothing is; that rules leave it out;
that it is a directory of which nobody knows all that is in it; that nobody knows what it is."""
HIDING = frozenset({"ignored", "unlisted", "unknown"})
"""Kinds of which what is below has no entry, though it may be there."""
UNSEEN = frozenset({"ignored", "unknown"})
"""Kinds that do not say what is there."""

_BLOCK = 1000
_HEAD = struct.Struct("<II")  # bytes that follow, and their checksum
_TAIL = struct.Struct("<Q")  # where the summary begins
_SLACK = 2_500_000_000
"""Nanoseconds: the coarsest clock of a file system (FAT: 2 s), and some."""


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """What was at a path. First comes what a search for contents reads (`_Content`)."""

    sha256: bytes = b""
    """Of a file; empty if it was not read."""
    is_kept: bool = False
    """Whether the store has its content."""
    raw: bytes = b""
    """The path as the kernel has it: it need not be text."""
    kind: Kind = "absent"
    mode: int = 0
    """The permissions."""
    size: int = 0
    inode: int = 0
    mtime: int = 0
    ctime: int = 0
    """As mtime in nanoseconds."""
    target: bytes = b""
    """Where a symlink leads, as it says."""

    @property
    def path(self) -> str:
        """The path as Python has it."""
        return os.fsdecode(self.raw)

    def has_status(self, other: Entry) -> bool:
        """Whether the kernel says the same of both files, so that nobody wrote in between."""
        return (self.inode, self.size, self.mtime, self.ctime) == (
            other.inode,
            other.size,
            other.mtime,
            other.ctime,
        )


class _Content(Struct, frozen=True, array_like=True, gc=False):
    sha256: bytes = b""
    is_kept: bool = False


class Summary(Struct, frozen=True, kw_only=True):
    """What is known of a snapshot without its entries; see `Snapshot`."""

    id: int
    began: int
    """By the clock, in nanoseconds since 1970."""
    label: str | None
    root: tuple[int, int]
    """Device and inode of the project's folder."""
    files: int = 0
    size: int = 0
    too_large: int = 0
    no_room: int = 0
    unreadable: int = 0
    truncated: Truncation | None = None
    end: bytes | None = None

    def is_settled(self, entry: Entry) -> bool:
        """Whether a file of this snapshot with the same status again has the same content.

        A clock ticks: what is written twice in one tick has the same time. A file that was
        written so shortly before it was read that somebody could have written it in the same
        tick afterwards is read again; a change later than that shows in its ctime, which
        nobody can set.
        """
        return bool(entry.sha256) and entry.ctime < self.began - _SLACK

    def covers(self, path: str) -> bool:
        """Whether *path* does not come behind the end."""
        return self.end is None or in_order(path) <= in_order(os.fsdecode(self.end))


def in_order(path: str) -> list[str]:
    """Return what paths are compared by."""
    return path.split("/")


class IndexWriter:
    """Writes an index into a file, which is nobody's until it is complete."""

    def __init__(self, path: Path) -> None:
        """Write into the file at *path*, whatever a life before this one left there.

        Raises:
            OSError: It cannot be opened.
        """
        self._fd = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._size = 0
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Add *entry*, which comes after the one before it.

        Raises:
            SnapshotError: It cannot be written.
        """
        self._entries.append(entry)
        if len(self._entries) == _BLOCK:
            self._flush()

    def finish(self, summary: Summary) -> None:
        """Add *summary*; the file is complete. Raises as `add`."""
        self._flush()
        self._write(msgspec.msgpack.encode(summary), _TAIL.pack(self._size))

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)

    def _flush(self) -> None:
        if self._entries:
            self._write(msgspec.msgpack.encode(self._entries))
            self._entries = []

    def _write(self, data: bytes, tail: bytes = b"") -> None:
        packed = zlib.compress(data, 1)
        block = _HEAD.pack(len(packed), zlib.crc32(packed)) + packed
        try:
            write_all(self._fd, block + tail)
        except OSError as error:
            raise unwritable(error) from error
        self._size += len(block)


_UNREADABLE = (OSError, ValueError, struct.error, zlib.error, msgspec.MsgspecError)
_T = TypeVar("_T")
_ENTRIES = msgspec.msgpack.Decoder(list[Entry])
_CONTENTS = msgspec.msgpack.Decoder(list[_Content])
_SUMMARY = msgspec.msgpack.Decoder(Summary)


class Index(NamedTuple):
    """A snapshot that is complete."""

    path: Path
    summary: Summary

    def entries(self) -> Iterator[Entry]:
        """Yield what was there, in order.

        Raises:
            SnapshotError: It is damaged, or gone.
        """
        return _read(self.path, _ENTRIES)

    def kept(self) -> Iterator[bytes]:
        """Yield the hashes of the contents that it needs; raises as `entries`."""
        for content in _read(self.path, _CONTENTS):
            if content.is_kept:
                yield content.sha256


def open_index(path: Path) -> Index:
    """Return the index at *path*; raises as `Index.entries`."""
    try:
        with open(path, "rb", buffering=0, opener=open_regular) as file:
            file.seek(-_TAIL.size, os.SEEK_END)
            (start,) = _TAIL.unpack(file.read(_TAIL.size))
            file.seek(start)
            return Index(path, _SUMMARY.decode(_unpack(file.read())))
    except _UNREADABLE as error:
        raise damaged(path) from error


def damaged(path: Path) -> SnapshotError:
    """Return the error for an index at *path* that cannot be read."""
    return SnapshotError(f"snapshot {path.name.lstrip('0')} is gone, or damaged")


def unwritable(error: OSError) -> SnapshotError:
    """Return the error for a snapshot that cannot be written because of *error*."""
    return SnapshotError(f"no snapshot can be written: {error.strerror}")


def _read(path: Path, decoder: msgspec.msgpack.Decoder[list[_T]]) -> Iterator[_T]:
    try:
        with open(path, "rb", buffering=2**18, opener=open_regular) as file:
            file.seek(-_TAIL.size, os.SEEK_END)
            (end,) = _TAIL.unpack(file.read(_TAIL.size))
            file.seek(0)
            while file.tell() < end:
                head = file.read(_HEAD.size)
                data = _unpack(head + file.read(_HEAD.unpack(head)[0]))
                yield from decoder.decode(data)
    except _UNREADABLE as error:
        raise damaged(path) from error


def _unpack(data: bytes) -> bytes:
    """Return what is packed in the block that *data* begins with."""
    size, checksum = _HEAD.unpack_from(data)
    packed = data[_HEAD.size : _HEAD.size + size]
    if len(packed) != size or zlib.crc32(packed) != checksum:
        raise ValueError("a block is not what was written")
    return zlib.decompress(packed)
