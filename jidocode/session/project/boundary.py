"""The project root: every file of a session is opened beneath it, or not at all.

Checking a path and then opening it leaves a moment in which a directory can be
swapped for a symlink. Here nothing is checked beforehand: the root is pinned
by a descriptor, and the opening itself cannot leave it. Two tiers do that:

- `openat2(2)` with RESOLVE_BENEATH (Linux 5.6): the kernel refuses each step
  that would leave.
- A walk that opens one component at a time without following symlinks, and
  resolves those inside the project by hand.

Both mean the same by a path: `..` is fine as long as it stays inside; absolute
symlinks are refused, even if they point inside; so are loops and the magic
links of /proc. An absolute path to something inside the project is taken as
relative, component by component. Hard links cannot be told from files: who
may create one in the project may already write the file it stands for.

Escapes, and whatever is neither file nor directory, raise `BoundaryError`.
Other failures raise the OSError that `open` would, with the path inside the
project.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
import secrets
import stat
import sys
from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Literal, Self, cast

from msgspec import Struct

from jidocode.base.text import quote
from jidocode.errors import BoundaryError

if TYPE_CHECKING:
    from collections.abc import Generator

    from jidocode.session.project.locate import ProjectKey

MAX_PATH_LENGTH = 4096
"""Bytes in a path."""
MAX_LINKS = 40
"""Symlinks in one path (Linux: MAXSYMLINKS)."""

Kind = Literal["file", "directory", "symlink", "other"]

# Elsewhere than on Linux a descriptor to stand on must be one to read from.
_STAND: int = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_CLOEXEC
_STAND_ON_DIRECTORY = _STAND | os.O_DIRECTORY
# A FIFO must not hang us, a terminal must not become ours.
_ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Tier(enum.Enum):
    """How a boundary is enforced."""

    OPENAT2 = "openat2"
    """By the kernel."""
    WALK = "walk"
    """By opening one component at a time."""


class Entry(Struct, frozen=True):
    """One name in a directory.

    Attributes:
        name: Without its directory.
        kind: What it is itself; symlinks are not followed.
    """

    name: str
    kind: Kind


class Boundary:
    """A pinned project root. Close it, or use it as a context manager.

    It goes on working when the root is renamed. It is not thread-safe.
    """

    def __init__(
        self, root: str, *, key: ProjectKey | None = None, tier: Tier | None = None
    ) -> None:
        """Pin the directory *root*.

        Args:
            root: Absolute path; symlinks in it are followed, now and never again.
            key: `(st_dev, st_ino)` that the directory must have, None for any.
            tier: The best that the kernel has by default.

        Raises:
            BoundaryError: Another directory stands there now.
            OSError: It is gone or no directory, or the kernel lacks *tier*.
        """
        self.root = root
        """Where the root was when it was pinned."""
        self._fd = os.open(root, _STAND_ON_DIRECTORY)
        with _closed_on_error(self._fd):
            _require_key(os.fstat(self._fd), key, root)
            self.tier = tier or _best_tier(self._fd)
            """Which tier is in force."""
            os.close(self._open_at(".", _STAND_ON_DIRECTORY))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the root go; closing twice is fine."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def resolve(self, path: str | os.PathLike[str]) -> str:
        """Return *path* relative to the root, `.` for the root, without opening anything.

        A lexical answer: what may be opened is decided by opening it.

        Raises:
            BoundaryError: It is no path, or leads out of the project at first sight.
            OSError: It is too long (ENAMETOOLONG).
        """
        text = _path_text(path)
        parts = _components(text)
        if text.startswith("/"):
            root = _components(self.root)
            if parts[: len(root)] != root:
                raise BoundaryError(f"path {quote(text)} is outside the project")
            parts = parts[len(root) :]
        depth = 0
        for part in parts:
            depth += -1 if part == ".." else 1
            if depth < 0:
                raise BoundaryError(f"path {quote(text)} leads out of the project")
        return "/".join(parts) or "."

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
        """Open the regular file at *path*; the caller closes the descriptor.

        Args:
            path: Relative to the root, or absolute inside it.
            flags: As for `os.open`. O_CLOEXEC and O_NONBLOCK are added.
            mode: Permissions of a file that O_CREAT creates, before the umask.

        Raises:
            BoundaryError: It leads out of the project, or is no regular file.
            OSError: It cannot be opened.
        """
        relative = self.resolve(path)
        with _translated(relative):
            fd = self._open_at(relative, flags | _ALWAYS, mode)
            with _closed_on_error(fd):
                _require_file(os.fstat(fd), relative)
            return fd

    def stat(self, path: str | os.PathLike[str]) -> os.stat_result:
        """Return the status of *path*; symlinks are followed inside the project.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be reached.
        """
        relative = self.resolve(path)
        with _translated(relative), _closing(self._open_at(relative, _STAND)) as fd:
            return os.fstat(fd)

    def listdir(self, path: str | os.PathLike[str] = ".") -> list[Entry]:
        """Return what the directory *path* holds, sorted by name.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be listed, or is no directory.
        """
        relative = self.resolve(path)
        flags = os.O_RDONLY | os.O_DIRECTORY | _ALWAYS
        with (
            _translated(relative),
            _closing(self._open_at(relative, flags)) as fd,
            os.scandir(fd) as entries,
        ):
            found = [Entry(entry.name, _kind(entry)) for entry in entries]
        return sorted(found, key=lambda entry: entry.name)

    def write(self, path: str | os.PathLike[str], data: bytes) -> str:
        """Make *data* the content of the file at *path*, and return its relative path.

        Atomic: readers, and whoever comes after a crash, find the old content
        or the new. A crash may leave a file `.jidocode-*.tmp` beside it. Missing
        parent directories are made. A symlink inside the project is followed.
        The permissions of an existing file are kept; its owner and its other
        hard links are not.

        Raises:
            BoundaryError: It leads out of the project, or is no regular file.
            OSError: It cannot be written, or is a directory.
        """
        relative = self.resolve(path)
        with _translated(relative):
            self._make_parents(relative)
            parent, name = self._open_parent(relative)
            with _closing(parent):
                _replace(parent, name, data, relative)
        return relative

    def _make_parents(self, relative: str) -> None:
        """Create the directories that are missing above *relative*; none if a name is wrong."""
        *parts, name = relative.split("/")
        missing = range(1, len(parts) + 1)
        there = bisect_left(missing, x=True, key=lambda n: not self._is_there("/".join(parts[:n])))
        here = self._open_at("/".join(parts[:there]) or ".", _STAND_ON_DIRECTORY)
        if parts[there:]:
            with _closed_on_error(here):
                _require_names([*parts[there:], name], here)
        for part in parts[there:]:
            with _closing(here):
                here = _make_directory(here, part)
        os.close(here)

    def _is_there(self, directory: str) -> bool:
        try:
            os.close(self._open_at(directory, _STAND_ON_DIRECTORY))
        except FileNotFoundError:
            return False
        return True

    def _open_parent(self, relative: str) -> tuple[int, str]:
        """Open the directory that holds the file at *relative*, itself no symlink.

        Returns the directory's descriptor and the name in it.
        """
        for _ in range(MAX_LINKS):
            head, _, name = relative.rpartition("/")
            if name in {"", ".", ".."}:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            parent = self._open_at(head or ".", _STAND_ON_DIRECTORY)
            with _closed_on_error(parent):
                target = _link_target(parent, name)
            if target is None:
                return parent, name
            os.close(parent)
            relative = f"{head}/{target}" if head else target
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _open_at(self, relative: str, flags: int, mode: int = 0) -> int:
        if self.tier is Tier.OPENAT2:
            return _openat2(self._fd, relative, flags, mode)
        return _walk(self._fd, relative, flags, mode)


# ----- paths and errors -------------------------------------------------------


def _path_text(path: object) -> str:
    text = os.fspath(cast("os.PathLike[str]", path)) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise BoundaryError(f"a path must be a str and not empty, not {quote(text)}")
    if len(text) >= MAX_PATH_LENGTH or len(_encoded(text)) >= MAX_PATH_LENGTH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), f"{text[:40]}...")
    return text


def _encoded(text: str) -> bytes:
    # A C function would take a NUL for the end of the path.
    if "\0" in text:
        raise BoundaryError(f"path {quote(text)} holds a NUL")
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as error:
        raise BoundaryError(f"path {quote(text)} cannot be encoded") from error


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


@contextlib.contextmanager
def _translated(relative: str) -> Generator[None]:
    """Turn refusals of the kernel into `BoundaryError`, and name *relative* in the rest."""
    try:
        yield
    except BoundaryError:
        raise
    except OSError as error:
        if error.errno in {errno.EXDEV, errno.ELOOP}:
            raise BoundaryError(f"path {quote(relative)} leads out of the project") from error
        if error.errno in {errno.ENXIO, errno.ENODEV}:
            raise BoundaryError(f"{quote(relative)} is no regular file") from error
        raise OSError(error.errno, error.strerror, relative) from error


@contextlib.contextmanager
def _closing(fd: int) -> Generator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _closed_on_error(fd: int) -> Generator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def _require_file(status: os.stat_result, relative: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise BoundaryError(f"{quote(relative)} is no regular file")


def _require_key(status: os.stat_result, key: ProjectKey | None, root: str) -> None:
    if key not in {None, (status.st_dev, status.st_ino)}:
        raise BoundaryError(f"another directory stands at {quote(root)} now")


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


# ----- writing ----------------------------------------------------------------


def _require_names(parts: list[str], parent: int) -> None:
    """Refuse *parts*, all below a directory that is missing in *parent*, if one is no name."""
    if ".." in parts:  # out of a directory that is not there
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for part in set(parts):
        # What is too long, the file system knows.
        with contextlib.suppress(FileNotFoundError):
            os.stat(part, dir_fd=parent, follow_symlinks=False)


def _make_directory(parent: int, name: str) -> int:
    """Make the directory *name* in *parent* and return its descriptor."""
    with contextlib.suppress(FileExistsError):  # somebody else made it meanwhile
        os.mkdir(name, dir_fd=parent)
    return os.open(name, _STAND_ON_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def _link_target(parent: int, name: str) -> str | None:
    """Return where the symlink *name* leads, None if it is none or not there."""
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return None
        raise
    if target.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return target


def _replace(parent: int, name: str, data: bytes, relative: str) -> None:
    """Put a new file with *data* in the place of *name* in *parent*."""
    permissions = _permissions(parent, name, relative)
    temporary = f".jidocode-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o666, dir_fd=parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            if permissions is not None:
                os.fchmod(fd, permissions)
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        os.unlink(temporary, dir_fd=parent)
        raise


def _permissions(parent: int, name: str, relative: str) -> int | None:
    """Return the permissions of the file *name* in *parent*, None if there is none.

    Raises:
        PermissionError: The file may not be written. Replacing it needs the
            right to write the directory only, but that is not what is meant.
    """
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _require_file(status, relative)
    if not os.access(name, os.W_OK, dir_fd=parent, effective_ids=True, follow_symlinks=False):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return status.st_mode & 0o777


# ----- the tier of openat2 ----------------------------------------------------

_SYS_OPENAT2 = 437  # the same on all architectures that share the new numbers
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_RETRIES = 1000


class _OpenHow(ctypes.Structure):
    """struct open_how, openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def _openat2(root: int, relative: str, flags: int, mode: int) -> int:
    # A mode without O_CREAT is an error to openat2.
    mode = mode if flags & os.O_CREAT else 0
    how = _OpenHow(flags, mode, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    number, name, size = ctypes.c_long(_SYS_OPENAT2), _encoded(relative), ctypes.sizeof(how)
    for _ in range(_RETRIES):
        fd: int = _libc.syscall(number, root, name, ctypes.byref(how), ctypes.c_size_t(size))
        if fd >= 0:
            return fd
        # EAGAIN: something was renamed while ".." was resolved. errno is stale on success.
        code = ctypes.get_errno()
        if code not in {errno.EAGAIN, errno.EINTR}:
            raise OSError(code, os.strerror(code))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _best_tier(root: int) -> Tier:
    if sys.platform != "linux":
        return Tier.WALK
    try:
        os.close(_openat2(root, ".", _STAND_ON_DIRECTORY, 0))
    except OSError as error:
        # An old kernel; a seccomp filter that does not know the call.
        if error.errno in {errno.ENOSYS, errno.EPERM}:
            return Tier.WALK
        raise
    return Tier.OPENAT2


# ----- the tier of the walk ---------------------------------------------------


def _walk(root: int, relative: str, flags: int, mode: int) -> int:
    """Open *relative* beneath *root*, one component at a time."""
    todo = deque(_components(relative))
    trail: list[int] = []  # the directories between the root and where we stand
    links = 0
    try:
        while todo:
            name = todo.popleft()
            if name == "..":
                # By the trail: on disk ".." is wherever the directory was moved to.
                _leave(trail)
                continue
            wanted = _STAND_ON_DIRECTORY if todo else flags
            step = _step(trail[-1] if trail else root, name, wanted, mode)
            if isinstance(step, str):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                todo.extendleft(reversed(_components(step)))
            elif todo:
                trail.append(step)
            else:
                return step
        return os.open(".", flags, mode, dir_fd=trail[-1] if trail else root)
    finally:
        for fd in trail:
            os.close(fd)


def _leave(trail: list[int]) -> None:
    if not trail:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    os.close(trail.pop())


def _step(here: int, name: str, flags: int, mode: int) -> int | str:
    """Open *name* in *here*; return where it leads instead if it is a symlink."""
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=here)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        target = _link_target(here, name)
        if target is None:
            raise
        return target
    with _closed_on_error(fd):
        # O_PATH opens the symlink itself.
        target = _link_target(fd, "") if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    if target is None:
        return fd
    os.close(fd)
    return target
