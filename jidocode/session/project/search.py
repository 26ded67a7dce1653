"""Operations that look for files and lines in a project: glob, grep and tree.

They change nothing, keep nothing, and answer in pages that are bounded in size and in time;
the token of a page says where the next one begins, to a restarted Manager, too. Symlinks are
named and never followed, `.git` is never looked into, and FIFOs and devices are not opened.
"""

from __future__ import annotations

import errno
import os

from attrs import evolve

from jidocode.session.arguments import require_int
from jidocode.session.project.engine import compile_pattern
from jidocode.session.project.entries import Ground, visit
from jidocode.session.project.found import (
    FoundFiles,
    Matches,
    ProjectTree,
    Skipped,
    TreeEntry,
    Truncation,
)
from jidocode.session.project.grepping import Grep, Position
from jidocode.session.project.ignoring import NO_RULES, Ignoring
from jidocode.session.project.paths import errors_about
from jidocode.session.project.questions import SECONDS, Names, begin, components_of, start_at

MAX_FILES = 10_000
"""Paths in one answer."""
MAX_MATCHES = 1000
"""Matches in one answer."""
MAX_CONTEXT = 20
"""Lines of context on each side of a match."""
MAX_TREE = 5000
"""Files and directories in one tree."""


def glob(  # noqa: PLR0913, D417 - all but two by name; the holder is not the caller's
    holder: Ground,
    pattern: str,
    *,
    path: str = ".",
    hidden: bool = True,
    ignore: bool = True,
    limit: int = 1000,
    after: str | None = None,
    seconds: float = SECONDS,
) -> FoundFiles:
    """Return the files that *pattern* names: `**` for all, `src/**/*.py`, `*.{md,rst}`.

    Symlinks are among them, and not followed; directories are not.

    Args:
        pattern: From *path* on: `*` and `?` stand for what a name may have, `**` for any
            number of directories, `[a-z]` and `[!a-z]` for characters, `{a,b}` for
            alternatives; a backslash takes the next character as it is.
        path: The directory to look in.
        hidden: Whether to name what is, or is in, something that begins with a dot.
        ignore: Whether to leave out what `.gitignore`, `.ignore` and `.git/info/exclude` say.
        limit: Paths at most; more than `MAX_FILES` are never given.
        after: What the last page has as its `after`.
        seconds: Time for all of it. What was found until then is returned.

    Raises:
        InvalidRequestError: An argument is wrong; of *pattern* it is said where.
        BoundaryError: *path* leads out of the project, or through a symlink.
        OSError: *path* cannot be listed, or is no directory.
    """
    require_int("limit", limit, least=1)
    begin(holder, seconds)
    names = Names(pattern)
    start = start_at(holder, path)
    if start.file is not None:
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), start.folder)
    offset = len(start.folder) + 1 if start.folder else 0
    paths: list[str] = []
    truncated: Truncation | None = None
    last = after
    with errors_about(start.folder or "."):
        for visited in visit(
            holder,
            start.folder,
            hidden=hidden,
            ignore=ignore,
            after=components_of(after, start),
            only=names.literal,
            depth=names.depth,
        ):
            if visited.path == after:
                continue
            last = visited.path
            if visited.kind in {"file", "symlink"} and names.match(last[offset:]):
                paths.append(last)
                if len(paths) == min(limit, MAX_FILES):
                    truncated = "limit"
                    break
            if holder.is_over():
                truncated = "time"
                break
    return FoundFiles(
        paths=tuple(paths),
        truncated=truncated,
        after=last if truncated else None,
        skipped=Skipped(unreadable=holder.unreadable),
    )


def grep(  # noqa: PLR0913, D417 - all but two by name; the holder is not the caller's
    holder: Ground,
    pattern: str,
    *,
    path: str = ".",
    glob: str | None = None,
    context: int = 0,
    ignore_case: bool = False,
    hidden: bool = True,
    ignore: bool = True,
    limit: int = 100,
    per_file: int | None = None,
    after: str | None = None,
    seconds: float = SECONDS,
) -> Matches:
    r"""Return the lines that the regular expression *pattern* matches, in text files.

    The syntax is RE2's: Python's without references back (`\1`) and looking around
    (`(?=...)`), so that no pattern takes for ever; `\d`, `\w` and `\b` are about ASCII. A
    match is within one line, `^` and `$` are its ends, and bytes that are no UTF-8 match
    nothing. UTF-16 with a byte order mark is read, too.

    Args:
        pattern: The regular expression.
        path: The directory or file to search.
        glob: Only files with such names: without a slash in any directory (`*.py`),
            with one from *path* on, as `glob` takes it.
        context: Lines before and behind each match, at most `MAX_CONTEXT`.
        ignore_case: Whether capital and small letters are the same.
        hidden: As for `glob`.
        ignore: As for `glob`.
        limit: Matches at most; more than `MAX_MATCHES` are never given.
        per_file: Matches at most in one file; 1 to see which files have any.
        after: What the last page has as its `after`.
        seconds: Time for all of it. What was found until then is returned.

    Raises:
        InvalidRequestError: An argument is wrong; of *pattern* it is said where, if the
            engine tells.
        BoundaryError: *path* leads out of the project, through a symlink, or is neither
            directory nor regular file.
        OSError: *path* cannot be read.
    """
    require_int("limit", limit, least=1)
    require_int("context", context, least=0)
    if per_file is not None:
        require_int("per_file", per_file, least=1)
    begin(holder, seconds)
    search = Grep(
        holder,
        compile_pattern(pattern, ignore_case=ignore_case),
        context=min(context, MAX_CONTEXT),
        limit=min(limit, MAX_MATCHES),
        per_file=per_file,
        position=Position.of(after),
    )
    names = None if glob is None else Names(glob, anywhere=True)
    start = start_at(holder, path)
    offset = len(start.folder) + 1 if start.folder else 0
    only = [start.file] if start.file else names.literal if names else []
    with errors_about(start.folder or "."):
        for visited in visit(
            holder,
            start.folder,
            hidden=hidden or start.file is not None,
            ignore=ignore and start.file is None,
            after=components_of(search.position.path, start),
            only=only,
        ):
            if visited.path == search.position.path and search.position.line is None:
                continue  # it was searched for the last page
            if visited.kind == "file" and (names is None or names.match(visited.path[offset:])):
                search.search(visited.path)
            else:
                search.position = Position(visited.path)
            if search.truncated is None and holder.is_over():
                search.truncated = "time"
            if search.truncated:
                break
    return search.page()


def tree(  # noqa: PLR0913, D417 - all but two by name; the holder is not the caller's
    holder: Ground,
    path: str = ".",
    *,
    depth: int = 3,
    hidden: bool = True,
    ignore: bool = True,
    limit: int = 500,
    seconds: float = SECONDS,
) -> ProjectTree:
    """Return what is in the directory *path* and below it, to be looked at.

    If there is more than *limit*, what is nearest to the top is shown.

    Args:
        path: The directory.
        depth: How many names a path may have below it.
        hidden: As for `glob`.
        ignore: As for `glob`.
        limit: Files and directories at most; more than `MAX_TREE` are never given.
        seconds: Time for all of it. What was found until then is returned.

    Raises:
        InvalidRequestError: An argument is wrong.
        BoundaryError: *path* leads out of the project, or through a symlink.
        OSError: *path* cannot be listed, or is no directory.
    """
    require_int("limit", limit, least=1)
    require_int("depth", depth, least=1)
    begin(holder, seconds)
    start = start_at(holder, path)
    if start.file is not None:
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), start.path)
    with errors_about(start.path):
        rules = holder.rules(start.folder) if ignore else NO_RULES
        growing = _Tree(holder, hidden=hidden, limit=min(limit, MAX_TREE))
        level = growing.list(start.folder, rules)
    while level and depth > 1 and not growing.truncated:
        depth -= 1
        level = [each for folder, rules in level for each in growing.list_below(folder, rules)]
    return ProjectTree(
        path=start.path,
        entries=growing.entries(),
        truncated=growing.truncated,
        skipped=Skipped(unreadable=holder.unreadable),
    )


class _Tree:
    """A tree that grows a level at a time."""

    def __init__(self, ground: Ground, *, hidden: bool, limit: int) -> None:
        self._ground, self._hidden, self._limit = ground, hidden, limit
        self._found: list[TreeEntry] = []
        self._listed: set[str] = set()
        self.truncated: Truncation | None = None

    def list_below(self, folder: str, rules: Ignoring) -> list[tuple[str, Ignoring]]:
        """List what is in *folder*, as `list`, unless it cannot be read or is too much."""
        if self.truncated:
            return []
        try:
            return self.list(folder, rules)
        except OSError as error:
            self._ground.note(error)
            return []

    def list(self, folder: str, rules: Ignoring) -> list[tuple[str, Ignoring]]:
        """List what is in *folder*; return the directories in it, and the rules in them.

        Raises:
            OSError: It cannot be listed.
        """
        names = self._ground.names(folder)
        rules = self._ground.rules_in(rules, folder, names)
        below: list[tuple[str, Ignoring]] = []
        for name, kind in names:
            path = f"{folder}/{name}" if folder else name
            if name.startswith(".") and not self._hidden:
                continue
            if rules.ignores(path, is_directory=kind == "directory"):
                continue
            if len(self._found) == self._limit:
                self.truncated = "limit"
            elif self._ground.is_over():
                self.truncated = "time"
            if self.truncated:
                return below
            self._found.append(TreeEntry(path=path, kind=kind, is_listed=False))
            if kind == "directory":
                below.append((path, rules))
        self._listed.add(folder)
        return below

    def entries(self) -> tuple[TreeEntry, ...]:
        """Return all that was found, each directory before what is in it."""
        found = sorted(self._found, key=lambda entry: entry.path.split("/"))
        return tuple(
            evolve(entry, is_listed=True) if entry.path in self._listed else entry
            for entry in found
        )
