"""Descriptors of files and directories: how they are opened, and that they are closed.

Whatever happens between two steps of a path is done by descriptor, never by path: a
path may lead elsewhere by the time it is used again, a descriptor cannot.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Generator

from jidocode.base.text import quote
from jidocode.errors import BoundaryError
from jidocode.session.project.paths import components, os_error

# O_PATH stands for a place in the tree and opens nothing: a FIFO does not wait for its
# partner, a device is not touched, and a file need not be readable to be looked at.
PLACE = os.O_PATH | os.O_CLOEXEC
"""Flags for a descriptor of whatever is there."""
DIRECTORY = PLACE | os.O_DIRECTORY
"""Flags for a descriptor of a directory, to open things in."""
FOLDER = DIRECTORY | os.O_NOFOLLOW
"""The same, for one that must not be behind a symlink."""
# A FIFO must not hang us, a terminal must not become ours.
ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Flags that everything is opened with that is read or written."""
READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | ALWAYS
"""Flags for a file that is read, and no symlink."""
READ_FOLDER = READ_FILE | os.O_DIRECTORY
"""Flags for a directory that is listed, and no symlink."""

FolderKey = tuple[int, int]
"""Which directory it is, under all its names and wherever it is moved: `(st_dev, st_ino)`."""


@contextlib.contextmanager
def closing(fd: int) -> Generator[int]:
    """Close *fd* at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def close_on_error(fd: int) -> Generator[None]:
    """Close *fd* if something goes wrong."""
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def set_mode(fd: int, mode: int) -> None:
    """Give what *fd* stands for the permissions *mode*; it must be no symlink.

    It may be a descriptor of a place, which `fchmod` does not take.
    """
    os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - it is no path of anybody's


@contextlib.contextmanager
def writable(folder: int) -> Generator[None]:
    """Let its owner list, enter and change *folder* meanwhile, whatever its permissions are.

    Of somebody else's folder nothing is changed.
    """
    mode = stat.S_IMODE(os.fstat(folder).st_mode)
    if mode & stat.S_IRWXU == stat.S_IRWXU:
        yield
        return
    with contextlib.suppress(OSError):
        set_mode(folder, mode | stat.S_IRWXU)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            set_mode(folder, mode)


def key_of(status: os.stat_result) -> FolderKey:
    """Return the key of the directory whose *status* it is."""
    return status.st_dev, status.st_ino


def status_or_none(parent: int, name: str) -> os.stat_result | None:
    """Return the status of *name* itself in the directory *parent*, None if nothing is there."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def require_file(status: os.stat_result, relative: str, *, hard_links: bool) -> None:
    """Raise unless *status*, of what is at *relative*, is that of a regular file.

    Nor may it have more than one name, unless *hard_links* are allowed.
    """
    if stat.S_ISDIR(status.st_mode):
        raise os_error(errno.EISDIR)
    if not stat.S_ISREG(status.st_mode):
        raise BoundaryError(f"{quote(relative)} is no regular file")
    if not hard_links and status.st_nlink > 1:
        raise BoundaryError(f"{quote(relative)} has {status.st_nlink} hard links, and may have one")


def link_target(parent: int, name: str) -> str | None:
    """Return where the symlink *name* in *parent* leads, None if it is none or not there.

    Without a name it is that of *parent*, which is the descriptor of a symlink then.

    Raises:
        OSError: EXDEV if it is absolute. It counts as a way out even if it leads back
            in: where it leads depends on what stands above the project, and may change.
    """
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return None
        raise
    if target.startswith("/"):
        raise os_error(errno.EXDEV)
    return target


def names_below(root: int, directory: int) -> list[str] | None:
    """Return the names that lead from *root* to *directory* now, None if it is not below it."""
    above, place = (
        components(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - paths are text throughout
        for fd in (root, directory)
    )
    if not os.fstat(directory).st_nlink or place[: len(above)] != above:  # it may be removed
        return None
    return place[len(above) :]
