"""Replacing a file at one stroke, in a directory that is open already.

The new content goes into a file of its own, which then takes the place of the old one.
Readers have the old content or the new, and so has whoever comes after a crash; to
write into the old file would leave half of each.

Where the file system can, the new file has no name while it is written (O_TMPFILE):
nobody can open it, and the kernel drops it with its process. Only a file that has a name
can take another's place, so it gets one for the moment between two system calls;
elsewhere it has one from the start. What a kill leaves then is removed by the next life,
which knows the name, see `temporary.py`. The name is in the same directory: a rename
between file systems is none, and in another directory the file would be there for
people whom its own keeps out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from jidocode.session.project import access
from jidocode.session.project.conditions import Condition
from jidocode.session.project.descriptors import ALWAYS, DIRECTORY, PLACE, closing
from jidocode.session.project.paths import os_error
from jidocode.session.project.renaming import rename_new

# File systems without O_TMPFILE say the first; a kernel that does not know the flag takes
# it for a directory that is to be written, or for nonsense.
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}
# Of a file system that has no links, of a filter that denies them, and without /proc.
_NO_LINK = {errno.EOPNOTSUPP, errno.EPERM, errno.ENOENT}


class Content:
    """What a new file is to hold, and from which file it has its owner and permissions."""

    def __init__(
        self, fill: Callable[[int], None], like: int | None = None, mode: int | None = None
    ) -> None:
        """Let *fill* write it into the file whose descriptor it is given.

        Args:
            fill: It starts at the beginning of an empty file.
            like: Descriptor of the file whose owner, group, permissions and attributes the
                new one gets; None for those of the file that it replaces, if there is one.
            mode: The permissions that it gets instead.
        """
        self.fill = fill
        self.like = like
        self.mode = mode

    @property
    def is_open(self) -> bool:
        """Whether the new file gets the permissions that any new file gets."""
        return self.like is None and self.mode is None


def content_of(data: bytes) -> Content:
    """Return the content *data*."""

    def fill(fd: int) -> None:
        with os.fdopen(fd, "wb", closefd=False) as stream:
            stream.write(data)

    return Content(fill)


def replace_file(  # noqa: PLR0913, PLR0917 - what, where, and on which terms
    parent: int,
    name: str,
    content: Content,
    temporary: str,
    check: Callable[[os.stat_result], None],
    condition: Condition,
) -> None:
    """Put a new file with *content* in the place of *name*, which is no symlink, in *parent*.

    Args:
        parent: Descriptor of the directory.
        name: What the file is called in it.
        content: All of its content.
        temporary: What it may be called there meanwhile; what has that name is removed.
        check: Raises if a file with this status must not be replaced.
        condition: What the file there must be.

    Raises:
        OSError: It cannot be written; then nothing has changed. Or as *check*, or *condition*.
    """
    # Twice: here, before anything is written; and again at the last moment.
    condition.check(parent, name)
    try:
        old = os.open(name, PLACE | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        _replace(parent, name, content, temporary, condition)
        return
    with closing(old):
        check(os.fstat(old))
        _require_writable(parent, name)
        if content.like is None:
            content = Content(content.fill, old, content.mode)
        _replace(parent, name, content, temporary, condition, is_new=False)


def _require_writable(parent: int, name: str) -> None:
    """Raise OSError unless we may write into the file *name*.

    To replace it needs the right to write the directory only, but that is not what is
    meant. Whether it may be written is asked; why not, only an opening says: permissions,
    a disk that is read-only, a mark on the file. To open each file would fail for a
    program that runs, which can be replaced, and would tell whoever watches the file.
    """
    if not os.access(name, os.W_OK, dir_fd=parent, effective_ids=True, follow_symlinks=False):
        os.close(os.open(name, os.O_WRONLY | os.O_NOFOLLOW | ALWAYS, dir_fd=parent))


def _replace(  # noqa: PLR0913 - as `replace_file`
    parent: int,
    name: str,
    content: Content,
    temporary: str,
    condition: Condition,
    *,
    is_new: bool = True,
) -> None:
    _clear(parent, temporary)
    try:
        made = _make_unnamed(parent, name, temporary, content, condition, is_new=is_new)
        if made is None:
            made = _make_named(parent, temporary, content)
        if made != name:
            _put(parent, made, name, condition)
    except BaseException:
        remove_file(parent, temporary)
        raise


def _make_unnamed(  # noqa: PLR0913 - as `replace_file`
    parent: int,
    name: str,
    temporary: str,
    content: Content,
    condition: Condition,
    *,
    is_new: bool,
) -> str | None:
    """Make the file, and name it when it is complete; return its name.

    That is *name* already if there is nothing to replace. Returns None, and makes
    nothing, if the file system has no files without a name.
    """
    flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
    try:
        fd = os.open(".", flags, _mode(content), dir_fd=parent)
    except OSError as error:
        if error.errno in _NO_TMPFILE:
            return None
        raise
    with closing(fd):
        _fill(fd, content)
        try:
            if is_new and not condition.needs_file:
                # Whatever somebody else puts there meanwhile is replaced, as if it had
                # been there before; unless it is a condition that there is nothing.
                with contextlib.suppress(FileExistsError):
                    _link(fd, parent, name)
                    return name
            _link(fd, parent, temporary)
        except OSError as error:
            if error.errno in _NO_LINK:
                return None
            raise
        return temporary


def _make_named(parent: int, temporary: str, content: Content) -> str:
    """Make the file under the name *temporary*, and return that."""
    # O_EXCL: a file or link that waits there for us to write through it makes this fail.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with closing(os.open(temporary, flags, _mode(content), dir_fd=parent)) as fd:
        # What a new file gets, by umask and lists, is put aside until it is complete.
        given = stat.S_IMODE(os.fstat(fd).st_mode)
        os.fchmod(fd, 0o600)
        _fill(fd, content)
        if content.is_open:
            os.fchmod(fd, given)
    return temporary


def _mode(content: Content) -> int:
    # Nobody else can open what takes the place of a file until it is as closed as that is.
    return 0o666 if content.is_open else 0o600


def _fill(fd: int, content: Content) -> None:
    content.fill(fd)
    if content.like is not None:
        access.copy(content.like, fd)
    if content.mode is not None:
        os.fchmod(fd, content.mode)


def _link(fd: int, parent: int, name: str) -> None:
    # By /proc, for to link the descriptor itself takes a privilege on most kernels.
    os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)


def remove_file(parent: int, name: str) -> None:
    """Remove the file *name* in *parent*, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)


def _clear(parent: int, temporary: str) -> None:
    """Have nothing called *temporary* in *parent*.

    A folder of that name is none of ours: it gets another one, by which it can be seen, looked
    into and removed. To refuse would let whoever makes one keep all files from being written.
    """
    try:
        remove_file(parent, temporary)
    except IsADirectoryError:
        os.rename(
            temporary, f"{temporary}.{os.urandom(4).hex()}", src_dir_fd=parent, dst_dir_fd=parent
        )


def _put(parent: int, temporary: str, name: str, condition: Condition) -> None:
    """Give the file *temporary* its *name*: the moment in which it takes the old one's place."""
    condition.check(parent, name)
    try:
        if condition.is_absence:
            rename_new(parent, temporary, parent, name)
        else:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except FileExistsError:
        condition.check(parent, name)  # somebody has made it; which hash has it?
        raise
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
