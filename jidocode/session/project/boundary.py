"""The project root: every file of a session is opened beneath it, or not at all.

Checking a path and then opening it leaves a moment in which a directory can be
swapped for a symlink. Here nothing is checked beforehand: the root is pinned
by a descriptor, and the opening itself cannot leave it. Two tiers do that:

- `openat2`: the kernel refuses each step that would leave (Linux 5.6).
- `walk`: one component at a time is opened without following symlinks, and
  those inside the project are resolved by hand.

Both mean the same by a path: `..` is fine as long as it stays inside; absolute
symlinks are refused, even if they point inside; so are loops and the magic
links of /proc. An absolute path to something inside the project is taken as
relative, component by component. A path that ends in `/` names a directory.

Which of a file's hard links came first, nobody can tell: one in the project may
be to a file outside, which whoever made it may or may not write. They are
allowed unless the boundary is told to refuse files that have more than one.

Escapes, and whatever is neither file nor directory, raise `BoundaryError`.
Other failures raise the OSError that `open` would, with the path inside the
project.
"""

from __future__ import annotations

import enum
import errno
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Literal, NamedTuple

from attrs import field, frozen

from jidocode.base import log
from jidocode.base.closing import Closing
from jidocode.base.records import Record
from jidocode.base.text import clip, quote
from jidocode.errors import BoundaryError, ProjectGoneError
from jidocode.session.project import openat2, walk
from jidocode.session.project.conditions import Condition
from jidocode.session.project.descriptors import (
    ALWAYS,
    DIRECTORY,
    PLACE,
    close_on_error,
    closing,
    key_of,
    link_target,
    names_below,
    require_file,
)
from jidocode.session.project.locate import ProjectKey
from jidocode.session.project.paths import (
    MAX_LINKS,
    components,
    errors_about,
    os_error,
    path_text,
)
from jidocode.session.project.replacement import (
    Content,
    content_of,
    make_directory,
    remove_file,
    replace_file,
    require_names,
)
from jidocode.session.project.temporary import TemporaryName, is_temporary

EntryKind = Literal["file", "directory", "symlink", "other"]


class Tier(enum.Enum):
    """How a boundary is enforced."""

    OPENAT2 = "openat2"
    """By the kernel."""
    WALK = "walk"
    """By opening one component at a time."""


@frozen(eq=False, repr=False)
class Entry(Record):
    """One name in a directory.

    Attributes:
        name: Without its directory. A project's own text, so it is not printed.
        kind: What it is itself; symlinks are not followed.
    """

    name: str = field(repr=False)
    kind: EntryKind


class Spot(NamedTuple):
    """Where a name is: what it stands for is whatever has the name, itself."""

    parent: int
    """Descriptor of the directory that holds it."""
    folder: str
    """That directory's path, relative to the root."""
    name: str
    """The name in it."""


class Boundary(Closing):
    """A pinned project root. Close it, or use it as a context manager.

    It goes on working when the root is moved or renamed. Of its methods only `share`,
    `open_below`, `replace`, `require_file` and `gone` may be called in another thread.
    """

    def __init__(  # noqa: PLR0913 - most are keywords
        self,
        root: str,
        *,
        key: ProjectKey | None = None,
        tier: Tier | None = None,
        temporary: TemporaryName | None = None,
        hard_links: bool = True,
        elsewhere: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Pin the directory *root*, and remove what a killed life of ours left in it.

        Args:
            root: Absolute path; symlinks in it are followed, now and never again.
            key: `(st_dev, st_ino)` that the directory must have, None for any.
            tier: The best that the kernel has by default.
            temporary: The name of files that are not finished; a random one by default.
            hard_links: Whether a file may have more than one.
            elsewhere: Called if it is not at *root*; returns a descriptor of it, which this
                closes, or None.

        Raises:
            BoundaryError: Another directory stands there now.
            OSError: It is gone or no directory, or the kernel lacks *tier*.
        """
        self._name = root
        self._temporary = temporary or TemporaryName()
        self._hard_links = hard_links
        self._replacing = threading.Lock()  # the temporary name is one file's at a time
        self._fd = _pin(root, key, elsewhere)
        with close_on_error(self._fd):
            self.tier = tier or _best_tier(self._fd)
            """Which tier is in force."""
            os.close(self._open_at(".", DIRECTORY))
            self._remove_left_over()

    @property
    def root(self) -> str:
        """Where the root is: by the path it was pinned by, or if that leads there no more, now."""
        status = os.fstat(self._fd)
        with suppress(OSError):
            if os.path.samestat(os.stat(self._name), status):  # noqa: PTH116 - the path is text throughout
                return self._name
        if not status.st_nlink:
            return self._name
        return os.readlink(f"/proc/self/fd/{self._fd}")  # noqa: PTH115 - idem

    def gone(self) -> ProjectGoneError | None:
        """Return the error that says that the root was deleted, None if it is there."""
        try:
            if os.fstat(self._fd).st_nlink:
                return None
        except OSError as error:
            if error.errno != errno.ESTALE:  # from the server of a network file system
                return None
        return ProjectGoneError(self._name, os.path.exists(self._name))  # noqa: PTH110 - idem

    def close(self) -> None:
        """Let the root go, when no thread replaces a file any more; closing twice is fine."""
        with self._replacing:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)
                self._temporary.forget()

    def share(self) -> int:
        """Return a descriptor of the root for a search, which closes it.

        Raises:
            OSError: The boundary is closed (EBADF).
        """
        return os.open(".", DIRECTORY, dir_fd=self._fd)

    def resolve(self, path: str | os.PathLike[str]) -> str:
        """Return *path* relative to the root, `.` for the root, without opening anything.

        A lexical answer: what may be opened is decided by opening it.

        Raises:
            BoundaryError: It is no path, or leads out of the project at first sight.
            OSError: It is too long (ENAMETOOLONG).
        """
        text = path_text(path)
        parts = components(text)
        if text.startswith("/"):
            root = components(self.root)
            if parts[: len(root)] != root:
                raise BoundaryError(f"path {quote(text)} is outside the project")
            parts = parts[len(root) :]
        depth = 0
        for part in parts:
            depth += -1 if part == ".." else 1
            if depth < 0:
                raise BoundaryError(f"path {quote(text)} leads out of the project")
        return "/".join(parts) or "."

    def resolve_file(self, path: str | os.PathLike[str]) -> str:
        """Return *path*, which is to be a file's, relative to the root; as `resolve`.

        Raises:
            OSError: It ends as only a directory's does (EISDIR); or as `resolve`.
        """
        relative = self.resolve(path)
        if path_text(path).rpartition("/")[2] in {"", "."}:
            raise OSError(errno.EISDIR, "the path is that of a directory", clip(path_text(path)))
        return relative

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
        relative = self.resolve_file(path)
        with errors_about(relative):
            fd = self._open_at(relative, flags | ALWAYS, mode)
            with close_on_error(fd):
                self.require_file(os.fstat(fd), relative)
            return fd

    def stat(self, path: str | os.PathLike[str]) -> os.stat_result:
        """Return the status of *path*; symlinks are followed inside the project.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be reached.
        """
        relative = self.resolve(path)
        with errors_about(relative), closing(self._open_at(relative, PLACE)) as fd:
            return os.fstat(fd)

    def open_directory(self, path: str | os.PathLike[str]) -> int:
        """Return a descriptor of the place of the directory *path*; the caller closes it.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be reached, or is no directory.
        """
        relative = self.resolve(path)
        with errors_about(relative):
            return self._open_at(relative, DIRECTORY)

    def listdir(self, path: str | os.PathLike[str] = ".") -> list[Entry]:
        """Return what the directory *path* holds, sorted by name.

        Files that a session has not finished are not among it.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be listed, or is no directory.
        """
        relative = self.resolve(path)
        flags = os.O_RDONLY | os.O_DIRECTORY | ALWAYS
        with (
            errors_about(relative),
            closing(self._open_at(relative, flags)) as fd,
            os.scandir(fd) as entries,
        ):
            found = [
                Entry(entry.name, kind_of(entry))
                for entry in entries
                if not is_temporary(entry.name)
            ]
        return sorted(found, key=lambda entry: entry.name)

    def write(
        self,
        path: str | os.PathLike[str],
        data: bytes,
        *,
        in_place: bool = False,
        if_sha256: str | None = None,
    ) -> str:
        """Make *data* the content of the file at *path*, and return its relative path.

        Atomic: readers, and whoever comes after a crash, find the old content
        or the new. A kill at a bad moment may leave a file `.jidocode-*.tmp` beside it,
        which the next boundary with the same `TemporaryName` removes. Missing
        parent directories are made. A symlink inside the project is followed.
        An existing file's owner, group, permissions, access control list and `user.*`
        attributes are kept as far as the kernel lets us; its other hard links are not.

        Args:
            path: Relative to the root, or absolute inside it.
            data: All of the new content.
            in_place: Write into the file that is there, if there is one. That keeps
                all of it, other hard links too, and is not atomic.
            if_sha256: What the file there must be, see `Condition`.

        Raises:
            InvalidRequestError: *if_sha256* is no hash.
            FileChangedError: The file is not what it must be.
            FileTooLargeError: It is too large to tell.
            BoundaryError: It leads out of the project, is no regular file, or has a name
                that is kept for unfinished files.
            OSError: It cannot be written, or is a directory; EBUSY if something is
                mounted on it, so that it can be written in place only.
        """
        relative = self.resolve_file(path)
        condition = Condition(relative, if_sha256)
        _require_lasting(relative)
        with errors_about(relative):
            if in_place and self._overwrite(relative, data, condition):
                return relative
            if not condition.needs_file:
                self._make_parents(relative)
            try:
                spot = self._follow(relative)
            except FileNotFoundError:
                condition.check_sha256(None)
                raise
            with closing(spot.parent):
                self.replace(spot, relative, content_of(data), condition)
        return relative

    @contextmanager
    def spot(self, path: str | os.PathLike[str]) -> Generator[Spot]:
        """Hold the directory that *path* is a name in; a symlink of that name is not followed.

        The name may be one of nothing yet.

        Raises:
            BoundaryError: It leads out of the project, or is the root, which has no name in it;
                or it is a name that is kept for unfinished files.
            OSError: The directory cannot be reached.
        """
        relative = self.resolve(path)
        _require_lasting(relative)
        head, _, name = relative.rpartition("/")
        if name in {".", ".."}:
            raise BoundaryError(f"path {quote(relative)} ends in no name")
        with errors_about(relative):
            parent = self._open_at(head or ".", DIRECTORY)
        # What goes wrong with the name, its own operation says.
        with closing(parent):
            yield Spot(parent, head or ".", name)

    def make_parents(self, path: str | os.PathLike[str]) -> str:
        """Make the directories that are missing above *path*, and return its relative path.

        None is made if a name in it is wrong.

        Raises:
            BoundaryError: It leads out of the project, or has a name in it that is kept for
                unfinished files.
            OSError: They cannot be made.
        """
        relative = self.resolve(path)
        _require_lasting(relative)
        with errors_about(relative):
            self._make_parents(relative)
        return relative

    def true_path(self, path: str | os.PathLike[str], *, follow: bool) -> str:
        """Return where *path* leads now, without the symlinks on the way; it need not be there.

        Where it cannot be told, because nothing can be opened there, it is *path* as `resolve`
        has it.

        Args:
            path: Relative to the root, or absolute inside it.
            follow: Whether a symlink that is there itself is followed.

        Raises:
            BoundaryError, OSError: As `resolve`.
        """
        given = relative = self.resolve(path)
        try:
            for _ in range(MAX_LINKS):
                *parts, name = relative.split("/")
                if name in {".", ".."}:
                    parts, name = [*parts, name], ""
                here, missing = self._open_existing(parts)
                with closing(here):
                    target = link_target(here, name) if follow and name and not missing else None
                    if target is None:
                        place = names_below(self._fd, here)
                        if place is None:  # one of the two is being moved
                            break
                        return "/".join([*place, *missing, name]).strip("/") or "."
                relative = "/".join([*parts, target])
        except OSError:
            pass
        return given

    def replace(self, spot: Spot, relative: str, content: Content, condition: Condition) -> None:
        """Put a new file with *content* at *spot*, in the place of the file that is there.

        Raises:
            FileChangedError: The file there is not as *condition* has it.
            BoundaryError: What is there is no regular file, which *relative* is called; or its
                name is kept for unfinished files.
            OSError: It cannot be written, or is a directory; EBADF if the boundary is closed.
        """
        _require_lasting(spot.name)  # a link may have led to such a name
        with self._replacing:
            if self._fd < 0:  # nobody would find what a kill leaves from now on
                raise os_error(errno.EBADF)
            self._temporary.use_in(spot.folder)
            replace_file(
                spot.parent,
                spot.name,
                content,
                self._temporary.text,
                lambda status: self.require_file(status, relative),
                condition,
            )

    def require_file(self, status: os.stat_result, relative: str) -> None:
        """Raise unless *status*, of what is at *relative*, is of a file that may be changed.

        Raises:
            BoundaryError: It is no regular file, or has more hard links than it may have.
            IsADirectoryError: It is a directory.
        """
        require_file(status, relative, hard_links=self._hard_links)

    def _remove_left_over(self) -> None:
        """Remove the unfinished file that a life before this one left, if it did."""
        try:
            folder = self._temporary.last_folder()
            if folder is not None:
                with closing(self._open_at(folder, DIRECTORY)) as parent:
                    remove_file(parent, self._temporary.text)
        except OSError as error:
            log.warning("an unfinished file cannot be looked for: {}", error.strerror)

    def _overwrite(self, relative: str, data: bytes, condition: Condition) -> bool:
        """Write *data* into the file at *relative*; return whether there is one."""
        try:
            fd = self._open_at(relative, (os.O_RDWR if condition else os.O_WRONLY) | ALWAYS)
        except FileNotFoundError:
            return False
        with os.fdopen(fd, "wb") as stream:
            self.require_file(os.fstat(fd), relative)
            condition.check_file(fd)
            stream.seek(0)
            stream.write(data)
            stream.truncate()
        return True

    def _make_parents(self, relative: str) -> None:
        """Create the directories that are missing above *relative*; none if a name is wrong.

        Each is made in the descriptor of the one before it. To make them by path would
        follow whatever link is put there meanwhile, and make directories outside.
        """
        *parts, name = relative.split("/")
        here, missing = self._open_existing(parts)
        if missing:
            with close_on_error(here):
                require_names([*missing, name], here)
        for part in missing:
            with closing(here):
                here = make_directory(here, part)
        os.close(here)

    def _open_existing(self, parts: list[str]) -> tuple[int, list[str]]:
        """Return the last directory that is there on the way of *parts*, and the rest of them."""
        # The first that is missing is sought by halves, for each look walks from the root.
        missing = range(1, len(parts) + 1)
        there = bisect_left(missing, x=True, key=lambda n: not self._is_there("/".join(parts[:n])))
        return self._open_at("/".join(parts[:there]) or ".", DIRECTORY), parts[there:]

    def _is_there(self, directory: str) -> bool:
        try:
            os.close(self._open_at(directory, DIRECTORY))
        except FileNotFoundError:
            return False
        return True

    def _follow(self, relative: str) -> Spot:
        """Return the spot of the file at *relative*, itself no symlink; the caller closes it.

        A rename does not follow a symlink at its end, it replaces it: so the link is
        followed here, and what it leads to is looked up beneath the root again.
        """
        for _ in range(MAX_LINKS):
            head, _, name = relative.rpartition("/")
            if name in {"", ".", ".."}:
                raise os_error(errno.EISDIR)
            parent = self._open_at(head or ".", DIRECTORY)
            with close_on_error(parent):
                target = link_target(parent, name)
            if target is None:
                return Spot(parent, head or ".", name)
            os.close(parent)
            relative = f"{head}/{target}" if head else target
        raise os_error(errno.ELOOP)

    def open_below(self, folder: int, relative: str, flags: int) -> int:
        """Open *relative* below the directory *folder*, which cannot be left either.

        Raises:
            OSError: As `openat2.open_beneath`.
        """
        return self._open_at(relative, flags, root=folder)

    def _open_at(self, relative: str, flags: int, mode: int = 0, *, root: int | None = None) -> int:
        root = self._fd if root is None else root
        if self.tier is Tier.OPENAT2:
            return openat2.open_beneath(root, relative, flags, mode)
        return walk.open_beneath(root, relative, flags, mode)


def _require_lasting(path: str) -> None:
    """Raise `BoundaryError` if what is at *path* would be hidden, and removed by a write."""
    for name in path.split("/"):
        if is_temporary(name):
            raise BoundaryError(f"the name {quote(name)} is kept for unfinished files of sessions")


def _best_tier(root: int) -> Tier:
    return Tier.OPENAT2 if openat2.is_available(root) else Tier.WALK


def _pin(root: str, key: ProjectKey | None, elsewhere: Callable[[], int | None]) -> int:
    try:
        fd = os.open(root, DIRECTORY)
        with close_on_error(fd):
            _require_key(os.fstat(fd), key, root)
    except OSError:
        found = elsewhere()
        if found is None:
            raise
        return found
    return fd


def _require_key(status: os.stat_result, key: ProjectKey | None, root: str) -> None:
    if key not in {None, key_of(status)}:
        raise BoundaryError(f"another directory stands at {quote(root)} now")


def kind_of(entry: os.DirEntry[str]) -> EntryKind:
    """Return what *entry* is itself."""
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    return "file" if entry.is_file(follow_symlinks=False) else "other"
