"""Replacing a file at one stroke, in a directory that is open already.

The new content goes into a file of its own beside the old one, which the rename then
puts in its place: in the same directory, for a rename between file systems is none.
Readers have the old content or the new, and so has whoever comes after a crash; to
write into the old file would leave half of each.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets

from jidocode.session.project import access
from jidocode.session.project.descriptors import DIRECTORY, PLACE, closing, require_file
from jidocode.session.project.paths import os_error


def replace_file(parent: int, name: str, data: bytes, relative: str) -> None:
    """Put a new file with *data* in the place of *name*, which is no symlink, in *parent*.

    A crash may leave a file `.jidocode-*.tmp` in *parent*. *relative* is what errors
    call it.

    Raises:
        BoundaryError: There is something that is no regular file.
        OSError: It cannot be written; then nothing has changed.
    """
    try:
        old = os.open(name, PLACE | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        _replace(parent, name, data, None)
        return
    with closing(old):
        require_file(os.fstat(old), relative)
        # To replace it needs the right to write the directory only, but that is not what
        # is meant.
        if not os.access(name, os.W_OK, dir_fd=parent, effective_ids=True, follow_symlinks=False):
            raise os_error(errno.EACCES)
        _replace(parent, name, data, old)


def _replace(parent: int, name: str, data: bytes, old: int | None) -> None:
    # A name that nobody can guess, and O_EXCL: a file or link that waits there for us to
    # write through it makes the opening fail.
    temporary = f".jidocode-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Nobody else can open what takes the place of a file until it is as closed as that is.
    fd = os.open(temporary, flags, 0o666 if old is None else 0o600, dir_fd=parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            if old is not None:
                access.copy(old, fd)
        _rename(parent, temporary, name)
    except BaseException:
        os.unlink(temporary, dir_fd=parent)
        raise


def _rename(parent: int, temporary: str, name: str) -> None:
    try:
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError as error:
        # What a container has mounted on a file; between file systems it can only be that,
        # too, for both names are in the same directory.
        if error.errno not in {errno.EBUSY, errno.EXDEV}:
            raise
        problem = "a mount point cannot be replaced, only be written in_place"
        raise OSError(errno.EBUSY, problem) from error


def make_directory(parent: int, name: str) -> int:
    """Make the directory *name* in *parent*, unless it is there; return its descriptor."""
    with contextlib.suppress(FileExistsError):  # somebody else made it meanwhile
        os.mkdir(name, dir_fd=parent)
    # What stands there now may be a link that somebody put in its place.
    return os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def require_names(parts: list[str], parent: int) -> None:
    """Raise OSError if one of *parts*, all in a directory missing in *parent*, is no name.

    So a path that cannot be made fails before its first directory is made.
    """
    if ".." in parts:  # out of a directory that is not there
        raise os_error(errno.ENOENT)
    for part in set(parts):
        # What is too long, the file system knows.
        with contextlib.suppress(FileNotFoundError):
            os.stat(part, dir_fd=parent, follow_symlinks=False)
