"""What is beneath a project's root, visited in order, and never beyond it.

Each directory is opened in the one above it, or from the root by a path no component of which
may be a symlink; files are opened in their directory. So a visit needs few descriptors however
deep a tree is, and whatever is swapped meanwhile leads nowhere. A path too long (4,096 bytes) is
no path of any other operation, either, and is counted as unreadable.

The order is that of names, from the root on. So the path of what came last says where to go
on, to anybody and at any time; and of a tree no more is kept than the names in the directories
above the place where a visit is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from jidocode.base.closing import Closing
from jidocode.session.project import openat2
from jidocode.session.project.aside import is_aside
from jidocode.session.project.boundary import Boundary, EntryKind, Tier, kind_of
from jidocode.session.project.descriptors import (
    ALWAYS,
    FOLDER,
    READ_FILE,
    READ_FOLDER,
    close_on_error,
    closing,
)
from jidocode.session.project.ignoring import MAX_BYTES, NO_RULES, Ignoring
from jidocode.session.project.paths import MAX_PATH_LENGTH, os_error
from jidocode.session.project.temporary import is_temporary

_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | ALWAYS
CHANGED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO}
"""What is said of what has vanished, or was swapped for something else, since it was listed."""
_REPOSITORY = ".git"


class Name(NamedTuple):
    """A name in a directory."""

    text: str
    kind: EntryKind


class Visited(NamedTuple):
    """What a visit has come to.

    It is *ignored* if it is no part of the visit; *unlisted* comes right behind a directory that
    cannot be listed, or is none any more.
    """

    path: str
    kind: EntryKind | Literal["ignored", "unlisted"]


class Ground(Closing):
    """Where one search may look: a root of its own, for some time. Close it in the end.

    It may be used in a thread while its `Boundary` goes on working, or is closed.

    Attributes:
        root: Descriptor of the place of the project.
        unreadable: How many files and directories could not be read so far.
    """

    def __init__(
        self, boundary: Boundary, *, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Share the root of *boundary*, until *should_stop* says so.

        Raises:
            OSError: It is closed.
        """
        self.boundary = boundary
        self.root = boundary.share()
        self._folder: str | None = None  # the one that was read from last
        self._folder_fd = -1
        self._should_stop = should_stop
        self._since = time.monotonic()
        self._deadline = self._since
        self.unreadable = 0

    def close(self) -> None:
        """Let the root go."""
        self._leave_folder()
        os.close(self.root)

    def allow(self, seconds: float) -> None:
        """Set the time for all of it: *seconds* since it was made."""
        self._deadline = self._since + seconds
        self.unreadable = 0

    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._deadline or self._should_stop()

    def is_stopped(self) -> bool:
        """Whether nobody waits any more for what comes of it."""
        return self._should_stop()

    def open(self, path: str, flags: int) -> int:
        """Open what is at *path*, no component of which may be a symlink.

        Raises:
            OSError: It cannot be opened; ELOOP or ENOTDIR for a symlink.
        """
        if self.boundary.tier is Tier.OPENAT2:
            flags |= os.O_NOFOLLOW
            return openat2.open_beneath(self.root, path, flags, 0, symlinks=False)
        return _open_by_steps(self.root, path, flags)

    def status(self, path: str) -> os.stat_result:
        """Return the status of what is at *path* itself, no component of which may be a symlink.

        Raises:
            OSError: It is not there, or cannot be reached.
        """
        folder, name = self._place(path)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def link_target(self, path: str) -> str:
        """Return where the symlink at *path* leads, as it says; raises as `status`."""
        folder, name = self._place(path)
        return os.readlink(name, dir_fd=folder)

    def open_file(self, path: str) -> int:
        """Open the regular file at *path* for reading; the caller closes it.

        Raises:
            OSError: It cannot be read, or is no regular file (ENXIO).
        """
        folder, name = self._place(path)
        fd = os.open(name, READ_FILE, dir_fd=folder)
        with close_on_error(fd):
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise os_error(errno.ENXIO)
            if status.st_nlink > 1:
                self.boundary.require_file(status, path)
        return fd

    def _place(self, path: str) -> tuple[int, str]:
        _require_short(path)
        folder, _, name = path.rpartition("/")
        return self._enter(folder), name

    def read(self, path: str, limit: int) -> tuple[bytes, int]:
        """Return up to *limit* bytes of the regular file at *path*, and its size.

        Raises:
            OSError: It cannot be read, or is no regular file (ENXIO).
        """
        with closing(self.open_file(path)) as fd:
            status = os.fstat(fd)
            data = os.read(fd, min(limit, status.st_size + 1))
            # One byte more than its size was asked for: files of the kernel's own have more
            # in them, others grow, and a signal may come in between.
            while len(data) != status.st_size and len(data) < limit:
                more = os.read(fd, limit - len(data))
                if not more:
                    break
                data += more
        return data, status.st_size

    def _enter(self, folder: str) -> int:
        """Return the descriptor of *folder*; it is closed when another one is entered.

        Into what is in the folder that was entered last it is one step. From any other place
        it goes from the root again: there is no way up that a racer could not lead astray.
        """
        if folder == self._folder:
            return self._folder_fd
        _require_short(folder)
        parent, _, name = folder.rpartition("/")
        if folder and parent == self._folder:
            fd = os.open(name, READ_FOLDER, dir_fd=self._folder_fd)
        else:
            fd = self.open(folder or ".", _READ_DIRECTORY)
        self._leave_folder()
        self._folder, self._folder_fd = folder, fd
        return fd

    def _leave_folder(self) -> None:
        if self._folder is not None:
            os.close(self._folder_fd)
            self._folder = None

    def note(self, error: OSError) -> None:
        """Count what could not be read; what is not there any more does not count."""
        self.unreadable += error.errno not in CHANGED

    def names(self, folder: str) -> list[Name]:
        """Return the names in *folder*, sorted, without `.git` and unfinished files.

        Raises:
            OSError: It cannot be listed.
        """
        with os.scandir(self._enter(folder)) as found:
            names = [
                Name(entry.name, kind_of(entry))
                for entry in found
                if entry.name != _REPOSITORY and not is_temporary(entry.name)
            ]
        names.sort()
        return names

    def rules(self, folder: str) -> Ignoring:
        """Return the rules that count in *folder* because of the directories above it."""
        rules = Ignoring.at_root(self._read_rules)
        *above, _ = ["", *_steps(folder)] if folder else [""]
        for parent in above:
            with contextlib.suppress(OSError):
                rules = self.rules_in(rules, parent, self.names(parent))
        return rules

    def rules_in(self, rules: Ignoring, folder: str, names: list[Name]) -> Ignoring:
        """Return what counts in *folder* with *names*, where *rules* count already."""
        if rules is NO_RULES:
            return rules
        files = {name.text for name in names if name.kind == "file"}
        return rules.below(folder, files, self._read_rules)

    def _read_rules(self, path: str) -> bytes:
        try:
            return self.read(path, MAX_BYTES)[0]
        except OSError as error:
            self.note(error)
            return b""


class _Level(NamedTuple):
    """A directory that a visit is in: what is to come, the next one last."""

    folder: str
    names: list[Name]
    rules: Ignoring
    after: list[str]
    """Components of the path after which to go on, the first of them in here."""
    only: list[str]
    """Components of the path that alone is visited, the first of them in here."""


def visit(  # noqa: PLR0913 - what a visit is
    ground: Ground,
    folder: str,
    *,
    hidden: bool,
    ignore: bool,
    after: list[str],
    only: list[str],
    depth: int | None = None,
) -> Iterator[Visited]:
    """Yield all that is in *folder* and below, in order; directories before what is in them.

    What cannot be read is counted, and left out.

    Args:
        ground: Where to look.
        folder: Path of the directory, empty for the root.
        hidden: Whether to visit what has a name that begins with a dot.
        ignore: Whether the project's rules count, and what was undone is left out.
        after: Components, from *folder* on, of the path that came last before this visit.
            If it is a file, it comes first now; a directory, or those above, do not.
        only: Components of a path: other directories and files are not visited until there.
        depth: How many names a path may have below *folder*.

    Raises:
        OSError: *folder* itself cannot be listed.
    """
    rules = ground.rules(folder) if ignore else NO_RULES
    levels = [_level(ground, folder, rules, after, only)]
    while levels:
        here = levels[-1]
        if not here.names:
            levels.pop()
            continue
        name, kind = here.names.pop()
        path = f"{here.folder}/{name}" if here.folder else name
        comes_after = here.after[1:] if here.after[:1] == [name] else []
        if (
            (name.startswith(".") and not hidden)
            or (ignore and is_aside(path))
            or here.rules.ignores(path, is_directory=kind == "directory")
        ):
            yield Visited(path, "ignored")
            continue
        is_on_the_way = kind == "directory" and here.after[:1] == [name]
        if not is_on_the_way:
            yield Visited(path, kind)
        if kind == "directory" and (depth is None or len(levels) < depth):
            try:
                levels.append(_level(ground, path, here.rules, comes_after, here.only[1:]))
            except OSError as error:
                ground.note(error)
                yield Visited(path, "unlisted")


def _level(
    ground: Ground, folder: str, rules: Ignoring, after: list[str], only: list[str]
) -> _Level:
    names = ground.names(folder)
    rules = ground.rules_in(rules, folder, names)
    names = [
        name
        for name in names
        if (not only or name.text == only[0]) and (not after or name.text >= after[0])
    ]
    names.reverse()
    return _Level(folder, names, rules, after, only)


def _require_short(path: str) -> None:
    """Raise what the kernel would if it were given all of *path*."""
    if len(path) >= MAX_PATH_LENGTH // 4 and len(os.fsencode(path)) >= MAX_PATH_LENGTH:
        raise os_error(errno.ENAMETOOLONG)


def _steps(folder: str) -> list[str]:
    """Return the paths of the directories from the root to *folder*."""
    parts = folder.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _open_by_steps(root: int, path: str, flags: int) -> int:
    *parents, name = path.split("/")
    here = root
    try:
        for parent in parents:
            there = os.open(parent, FOLDER, dir_fd=here)
            if here != root:
                os.close(here)
            here = there
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=here)
    finally:
        if here != root:
            os.close(here)
