"""How a file in the folder of journals is opened, locked, and let go: one way each.

Whoever may write to that folder can put anything there under any name. To open a pipe waits
until somebody else opens it, for ever as a rule, and the lock of a folder may be held meanwhile.
So everything is opened without waiting, and is a regular file or refused.

A lock (flock) belongs to what was opened, and not to the process: a fork has it too, and
closing the descriptor leaves the lock to the fork, for as long as that lives. Apps fork while
another of their threads is at a journal. So every lock is given up expressly.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from jidocode.base.text import quote
from jidocode.errors import JournalLockedError

PRIVATE = stat.S_IRUSR | stat.S_IWUSR
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """What stands under a name is no regular file; *strerror* says what it is."""


def open_regular(path: str | Path, flags: int = os.O_RDONLY) -> int:
    """Open the regular file at *path*, without waiting for anything (an opener for `open`).

    Raises:
        NotRegularError: It is something else.
        OSError: It cannot be opened.
    """
    flags |= os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, PRIVATE)
    except OSError:  # a link, a socket and a pipe without a reader each say something else
        with suppress(FileNotFoundError):
            _require_regular(os.lstat(path))
        raise
    try:
        _require_regular(os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_regular(status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "something unknown")
        raise NotRegularError(errno.EINVAL, f"there is {what} in its place")


def open_private(path: str | Path, flags: int) -> int:
    """Open a regular file that only its owner may read, whatever the umask (an opener for `open`).

    Raises as `open_regular`.
    """
    fd = open_regular(path, flags)
    try:
        if os.fstat(fd).st_mode & PRIVATE != PRIVATE:
            os.fchmod(fd, PRIVATE)  # else its owner could not open it again
    except BaseException:
        os.close(fd)
        raise
    return fd


def lock_file(path: Path, *, create: bool) -> tuple[int, bool]:
    """Open the file at *path* for reading, locked; say whether it was created.

    Raises:
        JournalLockedError: Another process, or another journal, holds the lock.
        NotRegularError: It is no regular file.
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
        except BaseException:
            close_locked(fd)
            raise
        # A compaction replaced the file between open and lock: the lock is on the old
        # one, which nobody can reach any more, and is worth nothing.
        close_locked(fd)


def close_locked(fd: int) -> None:
    """Give up the lock that *fd* holds, in forks of this process too, and close it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _open_for_reading(path: Path, *, create: bool) -> tuple[int, bool]:
    if create:
        try:
            return open_private(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL), True
        except (FileExistsError, NotRegularError):
            pass  # the usual case: it is opened below
    return open_regular(path), False


def is_at(fd: int, path: Path) -> bool:
    """Whether *path* leads to the file that is open as *fd*."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


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
