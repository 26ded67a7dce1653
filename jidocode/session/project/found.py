"""What searches of a project find, as users hold it."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.session.project.boundary import EntryKind

Truncation = Literal["limit", "time"]
"""Why there may be more: as much as was asked for is there, or the time was over."""


@frozen(eq=False, repr=False, kw_only=True)
class Skipped(Record):
    """How much a search has left out on this page, besides what rules ignore.

    Attributes:
        binary: Files with a NUL in their first 8 KB.
        too_large: Files of more than 16 MB, or with a line too long for the pattern.
        unreadable: Files and directories that could not be read: no permission, too
            deep, or a hard link where those are not allowed.
    """

    binary: int = 0
    too_large: int = 0
    unreadable: int = 0


@frozen(eq=False, repr=False, kw_only=True)
class FoundFiles(Record):
    """A page of the files that a pattern names. Its `repr` shows no path.

    Attributes:
        paths: Relative to the project, in the order of their names from the root on.
        truncated: `limit` or `time` if there may be more, None if these are all.
        after: What the next page is asked for with; None if there is none.
        skipped: What was left out.
    """

    paths: tuple[str, ...] = field(repr=False)
    truncated: Truncation | None
    after: str | None = field(repr=False)
    skipped: Skipped


@frozen(eq=False, repr=False, kw_only=True)
class Match(Record):
    """A line that a pattern matches. Its `repr` shows neither the path nor the text.

    Attributes:
        path: Of the file, relative to the project.
        line: Its number, counted from 1.
        column: The character at which the first match in it begins, counted from 1.
        text: The line, without its end; of a long one 500 characters around the match.
            What is no UTF-8 stands there as U+FFFD.
        is_cut: Whether *text* is a part of the line.
        before: The lines before it, each cut behind 500 characters.
        after: The lines behind it, likewise.
    """

    path: str = field(repr=False)
    line: int
    column: int
    text: str = field(repr=False)
    is_cut: bool
    before: tuple[str, ...] = field(repr=False)
    after: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.text}"


@frozen(eq=False, repr=False, kw_only=True)
class Matches(Record):
    """A page of lines that a pattern matches.

    Attributes:
        matches: In the order of paths, then of lines.
        files: How many files were searched for this page.
        truncated: `limit` or `time` if there may be more, None if these are all.
        after: What the next page is asked for with; None if there is none.
        skipped: What was left out.
    """

    matches: tuple[Match, ...] = field(repr=False)
    files: int
    truncated: Truncation | None
    after: str | None = field(repr=False)
    skipped: Skipped


@frozen(eq=False, repr=False, kw_only=True)
class TreeEntry(Record):
    """One file or directory in a `ProjectTree`. Its `repr` does not show the path.

    Attributes:
        path: Relative to the project.
        kind: What it is itself; symlinks are not followed.
        is_listed: Whether what is in it, if it is a directory, is listed completely.
    """

    path: str = field(repr=False)
    kind: EntryKind
    is_listed: bool


@frozen(eq=False, repr=False, kw_only=True)
class ProjectTree(Record):
    """What is in a directory and below. As text (`str`) it is indented, a name a line.

    Attributes:
        path: Of the directory, relative to the project.
        entries: Each directory before what is in it, sorted by name.
        truncated: `limit` or `time` if entries were left out, the deepest first.
        skipped: What could not be read.
    """

    path: str = field(repr=False)
    entries: tuple[TreeEntry, ...] = field(repr=False)
    truncated: Truncation | None
    skipped: Skipped

    def __str__(self) -> str:
        start = 0 if self.path == "." else self.path.count("/") + 1
        return "\n".join(map(lambda entry: _shown(entry, start), self.entries))  # noqa: C417 - a call


def _shown(entry: TreeEntry, start: int) -> str:
    *above, name = entry.path.split("/")[start:]
    is_directory = entry.kind == "directory"
    end = "" if not is_directory else "/" if entry.is_listed else "/ ..."
    return f"{'  ' * len(above)}{name}{end}"
