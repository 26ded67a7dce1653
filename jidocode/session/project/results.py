"""What is known of a file or folder once it was read or changed: what operations return."""

from __future__ import annotations

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.session.project.boundary import Entry, EntryKind
from jidocode.session.project.text import Newline


@frozen(eq=False, repr=False, kw_only=True)
class TextFile(Record):
    """A text file as it is, whole. Its `repr` shows neither the path nor the text.

    Attributes:
        path: Relative to the project.
        text: All of it, with the line ends that it has; without a byte order mark.
        encoding: `utf-8`, `utf-8-sig` (it has a byte order mark), `utf-16` (idem), or
            the one that was asked for, by Python's name.
        newline: The line ends: all the same one, `mixed`, or empty if there is none.
        size: Bytes in the file.
        sha256: Of these bytes, in hexadecimal.
    """

    path: str = field(repr=False)
    text: str = field(repr=False)
    encoding: str
    newline: Newline
    size: int
    sha256: str


@frozen(eq=False, repr=False, kw_only=True)
class FileBytes(Record):
    """A file as it is, or a part of it. Its `repr` shows neither the path nor the bytes.

    Attributes:
        path: Relative to the project.
        data: The bytes.
        offset: How many bytes of the file come before them.
        size: Bytes in the whole file.
        sha256: Of the whole file, in hexadecimal; None if these are not all its bytes.
    """

    path: str = field(repr=False)
    data: bytes = field(repr=False)
    offset: int
    size: int
    sha256: str | None


@frozen(eq=False, repr=False, kw_only=True)
class Listing(Record):
    """What a directory holds.

    Its `repr` shows how many entries of which kind, but neither path nor names.

    Attributes:
        path: Relative to the project.
        entries: Sorted by name.
        truncated: Whether names beyond the first `MAX_ENTRIES` were left out.
    """

    path: str = field(repr=False)
    entries: tuple[Entry, ...]
    truncated: bool


@frozen(eq=False, repr=False, kw_only=True)
class WrittenFile(Record):
    """A file that was written. Its `repr` does not show the path.

    Attributes:
        path: Relative to the project.
        size: Bytes in it.
        sha256: Of these bytes, in hexadecimal.
        protected: Whether it is one that other programs execute later (`Settings.protected_paths`).
    """

    path: str = field(repr=False)
    size: int
    sha256: str
    protected: bool = False


@frozen(eq=False, repr=False, kw_only=True)
class EditedFile(Record):
    """A file that was edited. Its `repr` shows neither the path nor what was changed.

    Attributes:
        path: Relative to the project.
        size: Bytes in it.
        sha256: Of these bytes, in hexadecimal.
        replacements: How many places were replaced, by all edits together.
        diff: What was changed: the hunks of a unified diff, without its header.
        truncated: Whether *diff* lacks something: lines beyond the first 200, or what
            lines have beyond 500 characters.
        protected: As of a `WrittenFile`.
    """

    path: str = field(repr=False)
    size: int
    sha256: str
    replacements: int
    diff: str = field(repr=False)
    truncated: bool
    protected: bool = False


@frozen(eq=False, repr=False, kw_only=True)
class PathStatus(Record):
    """What is at a path. Its `repr` shows neither the path nor where a symlink leads.

    Attributes:
        path: Relative to the project.
        kind: What it is itself; a symlink is not followed.
        size: Bytes in the file.
        mode: The permissions, such as 0o644.
        modified: When its content changed last, in seconds since 1970.
        target: Where the symlink leads, as it says; None if it is none.
    """

    path: str = field(repr=False)
    kind: EntryKind
    size: int
    mode: int
    modified: float
    target: str | None = field(repr=False)
