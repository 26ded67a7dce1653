"""What is known of snapshots, and of what has changed since: what operations return."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.session.project.boundary import EntryKind
from jidocode.session.project.found import Truncation

ChangeKind = Literal["added", "changed", "removed", "mode", "type"]
"""What became of a path: `mode` if only the permissions differ, `type` if it is something else."""

Problem = Literal["binary", "too large", "not kept"]
"""Why two contents are not compared."""


@frozen(eq=False, repr=False, kw_only=True)
class Unkept(Record):
    """How many files a snapshot knows of, and has not the content of.

    Attributes:
        too_large: They have more bytes than are kept of one file.
        no_room: The session keeps as many bytes already as it may.
        unreadable: They, or directories, could not be read; what is in such a directory is
            no part of the snapshot.
    """

    too_large: int = 0
    no_room: int = 0
    unreadable: int = 0


@frozen(eq=False, repr=False, kw_only=True)
class Snapshot(Record):
    """What a project was at some time. Its `repr` does not show the label.

    Attributes:
        id: Its number in its session; later ones have higher numbers.
        created_at: When it was begun, in UTC.
        label: What it was called.
        files: Files, folders and symlinks in it.
        size: Bytes of the files whose contents it has.
        unkept: Of which files it has not.
        truncated: `limit` or `time` if it is not of the whole project, for there were too many
            files or too little time; what comes after `end` is no part of it then. None if it is.
        end: The last path in it, in the order of names from the root on, if it is truncated.
    """

    id: int
    created_at: datetime
    label: str | None = field(repr=False)
    files: int
    size: int
    unkept: Unkept
    truncated: Truncation | None
    end: str | None = field(repr=False)


@frozen(eq=False, repr=False, kw_only=True)
class FileState(Record):
    """What is, or was, at a path.

    Attributes:
        kind: What it is itself; symlinks are not followed.
        size: Bytes in the file; 0 for anything else.
        mode: The permissions, such as 0o644.
        sha256: Of the file's bytes, in hexadecimal; None for anything else, and for a file that
            is too large or could not be read.
    """

    kind: EntryKind
    size: int
    mode: int
    sha256: str | None


@frozen(eq=False, repr=False, kw_only=True)
class FileChange(Record):
    """What became of one path since a snapshot. Its `repr` does not show the path.

    Attributes:
        path: Relative to the project.
        kind: What became of it.
        before: What was there; None if nothing was.
        after: What is there now; None if nothing is.
        revertible: Whether the snapshot has what it takes to bring back what was there.
    """

    path: str = field(repr=False)
    kind: ChangeKind
    before: FileState | None
    after: FileState | None
    revertible: bool


@frozen(eq=False, repr=False, kw_only=True)
class Changes(Record):
    """A page of what has changed since a snapshot.

    Attributes:
        snapshot: The id of the snapshot.
        changes: In the order of names from the root on.
        truncated: `limit` or `time` if there may be more, None if these are all.
        after: What the next page is asked for with; None if there is none.
        unreadable: How many files and directories could not be read.
    """

    snapshot: int
    changes: tuple[FileChange, ...] = field(repr=False)
    truncated: Truncation | None
    after: str | None = field(repr=False)
    unreadable: int


@frozen(eq=False, repr=False, kw_only=True)
class FileDiff(Record):
    """What has changed in one file since a snapshot. Its `repr` shows neither path nor text.

    Attributes:
        path: Relative to the project.
        snapshot: The id of the snapshot.
        kind: What became of it; None if nothing did.
        text: The hunks of a unified diff, without its header. Of a symlink it is about where
            it leads.
        truncated: Whether *text* lacks something: lines beyond the first 1000, or what lines have
            beyond 500 characters.
        problem: Why there is no text although the content differs: one of the two is `binary` or
            `too large` to be compared, or was `not kept`; None if that is not so.
    """

    path: str = field(repr=False)
    snapshot: int
    kind: ChangeKind | None
    text: str = field(repr=False)
    truncated: bool
    problem: Problem | None


@frozen(eq=False, repr=False, kw_only=True)
class NotReverted(Record):
    """A path that is not what it was, and why. Its `repr` does not show the path.

    Attributes:
        path: Relative to the project.
        reason: For a person to read.
    """

    path: str = field(repr=False)
    reason: str


@frozen(eq=False, repr=False, kw_only=True)
class Reverted(Record):
    """What was done to make a project, or some of it, what it was. Its `repr` shows no path.

    Attributes:
        snapshot: The id of the snapshot that it was made after.
        before: The id of one that was taken before anything was done: `revert(to=before)` undoes
            it.
        restored: What is again as it was, and was changed or not there.
        removed: What is not there any more, as it was not.
        failed: What is not as it was, and why.
        unlisted: How many more paths these would name; each of them has 10,000 at most.
        truncated: `limit` or `time` if some was not looked at, for there were too many files or
            too little time; None if all of it was.
    """

    snapshot: int
    before: int
    restored: tuple[str, ...] = field(repr=False)
    removed: tuple[str, ...] = field(repr=False)
    failed: tuple[NotReverted, ...] = field(repr=False)
    unlisted: int
    truncated: Truncation | None
