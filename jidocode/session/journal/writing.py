"""Putting journals on the disk: locks, whole files, and what an error of the disk becomes."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from jidocode.base.text import quote
from jidocode.errors import JournalLockedError, JournalWriteError
from jidocode.session.journal.format import Header, Index, JournalRecord, format_line


def lock_file(path: Path, *, create: bool) -> tuple[int, bool]:
    """Open the file at *path* for reading, locked; say whether it was created.

    Raises:
        JournalLockedError: Another process, or another journal, holds the lock.
        OSError: It cannot be opened, or does not exist and *create* is False.
    """
    while True:
        fd, created = _open_for_reading(path, create=create)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(fd, path):
                return fd, created
        except BlockingIOError as error:
            holder = lock_holders().of(os.fstat(fd))
            os.close(fd)
            raise JournalLockedError(f"the journal {quote(path.name)} is in use", holder) from error
        except OSError:
            os.close(fd)
            raise
        # A compaction replaced the file between open and lock: the lock is on the old
        # one, which nobody can reach any more, and is worth nothing.
        os.close(fd)


class LockHolders:
    """Which process holds the lock of which file, by the inode."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids

    def of(self, file: os.stat_result) -> int | None:
        """Return who holds the lock of *file*; None if nobody does, or it cannot be seen."""
        # The kernel names the device of the file system; btrfs gives each file another one.
        device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
        inode = str(file.st_ino)
        return self._pids.get(f"{device}:{inode}") or self._pids.get(inode)


def lock_holders() -> LockHolders:
    """Return who holds locks now; looking takes none, and stops nobody who wants one."""
    pids: dict[str, int] = {}
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:  # not mounted, or hidden
        lines = []
    for line in lines:
        match line.split():
            case [_, "FLOCK", _, _, pid, file, *_] if int(pid) > 0:
                pids[file] = pids[file.rpartition(":")[2]] = int(pid)
            case _:  # of another sort, waited for, or held where we cannot look
                pass
    return LockHolders(pids)


def _open_for_reading(path: Path, *, create: bool) -> tuple[int, bool]:
    flags = os.O_RDONLY | os.O_NOFOLLOW
    if create:
        try:
            return open_private(path, flags | os.O_CREAT | os.O_EXCL), True
        except FileExistsError:
            pass  # the usual case: it is opened below
    return os.open(path, flags), False


def is_at(fd: int, path: Path) -> bool:
    """Whether *path* leads to the file that is open as *fd*."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


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


PRIVATE = stat.S_IRUSR | stat.S_IWUSR


def open_private(path: str | Path, flags: int) -> int:
    """Open a file that only its owner may read, whatever the umask (an opener for `open`)."""
    fd = os.open(path, flags | os.O_NOFOLLOW, PRIVATE)
    if os.fstat(fd).st_mode & PRIVATE != PRIVATE:
        os.fchmod(fd, PRIVATE)  # else its owner could not open it again
    return fd


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
