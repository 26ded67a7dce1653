"""Putting journals on the disk: whole files, and what an error of the disk becomes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from jidocode.base.text import quote
from jidocode.errors import JournalWriteError
from jidocode.session.journal.format import Header, Index, JournalRecord, format_line
from jidocode.session.journal.opening import open_private


class WriteErrors:
    """A context that turns an OSError into a `JournalWriteError` for the journal at *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise JournalWriteError(
                f"the journal {quote(self._path.name)} cannot be written: {error.strerror}"
            ) from error


class WholeFile(Struct, frozen=True):
    """A file that was written from the first byte to the last.

    Attributes:
        index: Where its records are.
        size: Bytes.
        readable_after: The number after which there are no gaps.
    """

    index: Index
    size: int
    readable_after: int


def write_file(
    path: Path, seqs: Sequence[int], last_seq: int, records: Iterable[JournalRecord]
) -> WholeFile:
    """Write a file with *records*, which have the numbers *seqs*; the disk has it then.

    *last_seq* is the last number given out; the next record gets the one after it.
    """
    index = Index()
    header = Header(*_last_gap(seqs, last_seq))
    with open(path, "wb", buffering=2**20, opener=open_private) as file:
        size = file.write(header.line())
        for record in records:
            line = format_line(*record)
            index.add(record.seq, size, len(line))
            size += file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return WholeFile(index, size, header.seq)


def _last_gap(seqs: Sequence[int], last_seq: int) -> tuple[int, int]:
    """Return the number after which no gap comes up to *last_seq*, and how many are up to it."""
    place, expected = len(seqs), last_seq
    while place and seqs[place - 1] == expected:
        place -= 1
        expected -= 1
    return expected, place


def create_file(path: Path, seqs: Sequence[int], records: Iterable[JournalRecord]) -> None:
    """Create the file of a journal with *records*, which have the numbers *seqs*.

    Raises:
        JournalWriteError: It could not be written, or there is one already; nothing is left.
    """
    new = new_path(path)
    with WriteErrors(path):
        try:
            write_file(new, seqs, seqs[-1], records)
            os.link(new, path)  # unlike a rename it replaces nothing
        finally:
            new.unlink(missing_ok=True)
        sync_directory(path.parent)


def new_path(path: Path) -> Path:
    """Return where a file is written that is to take the place of the one at *path*."""
    return path.with_name(f"{path.name}.new")


def write_all(fd: int, data: bytes) -> None:
    """Write *data*, in as many pieces as the kernel takes it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def make_private_folder(path: Path) -> None:
    """Make a folder, and what is missing above it, for its owner alone, whatever the umask.

    Raises:
        OSError: It cannot be made; none if it is there.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_private_folder(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)


def sync_directory(path: Path) -> None:
    """Have the disk know what files are in the directory at *path*."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
