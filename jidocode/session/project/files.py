"""The files of a project, as text, bytes and names, for people, models and programs.

`Project` says what is asked of a project folder; that nothing outside the
folder can be reached is the business of its `Boundary`. No process, no session:
the Manager puts it into one.

There are two ways to read. `read_file` is for whoever looks at a file: it shows what
can be shown. `read_text` and `read_bytes` are for whoever changes it: they give all of
it exactly, or raise. `write_file` replaces no file that `read_text` would not read, so
what a look at a file left out or replaced cannot be written back unnoticed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from typing import NamedTuple, Self, cast

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import (
    BoundaryError,
    FileTooLargeError,
    InvalidRequestError,
    InvalidSessionError,
)
from jidocode.session.arguments import require_int
from jidocode.session.project.boundary import Boundary, Entry, Tier
from jidocode.session.project.locate import ProjectKey, unusable_project
from jidocode.session.project.slices import MAX_LINES, FileSlice, cut_slice
from jidocode.session.project.temporary import TemporaryName
from jidocode.session.project.text import Newline, decode, encode_like, line_ends

MAX_READ_BYTES = 16 * 2**20
"""Bytes of a file that are read at once."""
MAX_ENTRIES = 10_000
"""Names in one listing."""


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


class _Part(NamedTuple):
    """What was read of a file; *size* is that of all of it."""

    data: bytes
    size: int


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


class Project:
    """A project's folder, pinned. Close it, or use it as a context manager."""

    def __init__(
        self,
        root: str,
        *,
        key: ProjectKey | None = None,
        tier: Tier | None = None,
        temporary: TemporaryName | None = None,
        hard_links: bool = True,
    ) -> None:
        """Pin the folder at *root*; the arguments are those of `Boundary`.

        Raises:
            InvalidSessionError: With one code: `path_not_found` (it is gone),
                `project_path_changed` (another one stands there),
                `path_permission_denied`.
        """
        try:
            self.boundary = Boundary(
                root, key=key, tier=tier, temporary=temporary, hard_links=hard_links
            )
        except BoundaryError as error:
            raise InvalidSessionError(("project_path_changed",), (error.message,)) from error
        except OSError as error:
            raise unusable_project(root, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the folder go; closing twice is fine."""
        self.boundary.close()

    @property
    def root(self) -> str:
        """Absolute path of the folder, as it was when it was pinned."""
        return self.boundary.root

    @property
    def tier(self) -> Tier:
        """How the boundary is enforced."""
        return self.boundary.tier

    def validate_path(self, path: str | os.PathLike[str]) -> str:
        """Return the absolute form of *path*, which may be a file yet to be written.

        This is an answer for people. To be safe use the path given: it is
        checked when it is opened, and only that counts.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be reached.
        """
        relative = self.boundary.resolve(path)
        # What is not there yet may be written, if nothing on the way leads out.
        with contextlib.suppress(FileNotFoundError):
            self.boundary.stat(relative)
        return os.path.normpath(os.path.join(self.root, relative))  # noqa: PTH118 - the path is text throughout

    def read_file(
        self, path: str | os.PathLike[str], *, offset: int = 1, limit: int = MAX_LINES
    ) -> FileSlice:
        """Return up to *limit* lines of the text file at *path*, to be looked at.

        Long lines are cut, what cannot be decoded is replaced, and what lies behind
        the first `MAX_READ_BYTES` is out of reach. To change a file, use `read_text`.

        Args:
            path: Relative to the project, or absolute inside it.
            offset: Number of the first line, counted from 1.
            limit: Lines at most; more than `MAX_LINES` are never given.

        Raises:
            NotTextError: It is binary (a NUL in the first 8 KB).
            InvalidRequestError: *offset* or *limit* is not a positive int.
            BoundaryError: It leads out of the project, or is no regular file.
            OSError: It cannot be read.
        """
        require_int("offset", offset, least=1)
        require_int("limit", limit, least=1)
        relative = self.boundary.resolve_file(path)
        start = self._read(relative, 0, MAX_READ_BYTES)
        return cut_slice(relative, start.data, size=start.size, offset=offset, limit=limit)

    def read_text(self, path: str | os.PathLike[str], *, encoding: str | None = None) -> TextFile:
        """Return the text of the file at *path*, exactly and whole.

        To write the same text back with `write_file`, in the same encoding, gives the
        same bytes.

        Args:
            path: Relative to the project, or absolute inside it.
            encoding: The encoding, by a name that Python knows. By default it is what
                the file's byte order mark says, UTF-8 or UTF-16, and UTF-8 without one.
                `utf-8-sig` and `utf-16` are those with a mark.

        Raises:
            NotTextError: It cannot be decoded, or only to what would be other bytes
                when written; or it holds a NUL in the first 8 KB, and no encoding is
                named. `read_bytes` reads it.
            FileTooLargeError: It has more than `MAX_READ_BYTES`.
            InvalidRequestError: There is no such encoding.
            BoundaryError: It leads out of the project, or is no regular file.
            OSError: It cannot be read.
        """
        relative = self.boundary.resolve_file(path)
        whole = self._read_rest(relative, 0)
        text, found = decode(relative, whole.data, encoding)
        return TextFile(
            path=relative,
            text=text,
            encoding=found.name,
            newline=line_ends(text),
            size=whole.size,
            sha256=hashlib.sha256(whole.data).hexdigest(),
        )

    def read_bytes(
        self, path: str | os.PathLike[str], *, offset: int = 0, limit: int | None = None
    ) -> FileBytes:
        """Return the bytes of the file at *path*, exactly: all, or a part of them.

        Args:
            path: Relative to the project, or absolute inside it.
            offset: How many bytes to leave out.
            limit: Bytes at most, and not more than `MAX_READ_BYTES`; None for the rest.

        Raises:
            FileTooLargeError: The rest has more than `MAX_READ_BYTES`, and there is no *limit*.
            InvalidRequestError: *offset* or *limit* is not an int of 0 or more.
            BoundaryError: It leads out of the project, or is no regular file.
            OSError: It cannot be read.
        """
        require_int("offset", offset, least=0)
        relative = self.boundary.resolve_file(path)
        if limit is None:
            part = self._read_rest(relative, offset)
        else:
            require_int("limit", limit, least=0)
            part = self._read(relative, offset, min(limit, MAX_READ_BYTES))
        is_whole = len(part.data) == part.size
        return FileBytes(
            path=relative,
            data=part.data,
            offset=offset,
            size=part.size,
            sha256=hashlib.sha256(part.data).hexdigest() if is_whole else None,
        )

    def write_file(
        self,
        path: str | os.PathLike[str],
        content: str,
        *,
        encoding: str | None = None,
        newline: Newline | None = None,
        in_place: bool = False,
    ) -> str:
        r"""Make *content* the text of the file at *path*, and return its relative path.

        A file that is replaced keeps its encoding, with the byte order mark, and its
        line ends; a new one is UTF-8. Missing directories are made. It is atomic, and
        keeps permissions, see `Boundary.write`.

        Args:
            path: Relative to the project, or absolute inside it.
            content: The text.
            encoding: The encoding to write in, whatever the old one was. It has to be
                named if the file there is not one that `read_text` reads by itself.
                A byte order mark that belongs to it stays.
            newline: The line end that all line ends in *content* become; empty or
                `mixed` to write it as it is. By default content in which every line ends
                in `\n` gets the line end of the file there, if that has one kind only;
                content that has a `\r` in it is written as it is.
            in_place: Write into the file that is there, instead of replacing it. For
                what cannot be replaced, such as a mount point. Not atomic: readers see
                half of it, and a crash or a full disk leaves half of it.

        Raises:
            NotTextError: The file there is no text, and no encoding is named.
            FileTooLargeError: The file there has more than `MAX_READ_BYTES`, and no
                encoding is named.
            InvalidRequestError: *content* is no text, or not one that the encoding can
                say; or there is no such encoding or line end.
            BoundaryError: It leads out of the project, is no regular file, or has a name that
                is kept for unfinished files (`.jidocode-<session id>.tmp`).
            OSError: It cannot be read or written; EBUSY if it is a mount point.
        """
        _require_type("the content", content, str)
        relative = self.boundary.resolve_file(path)
        old = self._read_old(relative, encoding)
        data = encode_like(relative, old, content, encoding=encoding, newline=newline)
        return self.boundary.write(relative, data, in_place=in_place)

    def write_bytes(
        self, path: str | os.PathLike[str], data: bytes, *, in_place: bool = False
    ) -> str:
        """Make *data* the content of the file at *path*, and return its relative path.

        As `write_file`, but whatever the file was before.

        Args:
            path: Relative to the project, or absolute inside it.
            data: The bytes.
            in_place: As for `write_file`.

        Raises:
            InvalidRequestError: *data* is no bytes.
            BoundaryError: It leads out of the project, is no regular file, or has a name that
                is kept for unfinished files (`.jidocode-<session id>.tmp`).
            OSError: It cannot be written; EBUSY if it is a mount point.
        """
        _require_type("the data", data, bytes)
        return self.boundary.write(path, data, in_place=in_place)

    def list_directory(self, path: str | os.PathLike[str] = ".") -> Listing:
        """Return what the directory at *path* holds.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be listed, or is no directory.
        """
        relative = self.boundary.resolve(path)
        entries = self.boundary.listdir(relative)
        return Listing(
            path=relative,
            entries=tuple(entries[:MAX_ENTRIES]),
            truncated=len(entries) > MAX_ENTRIES,
        )

    def _read_old(self, relative: str, encoding: str | None) -> bytes:
        """Return what `write_file` is about to replace; nothing if that does not matter."""
        try:
            return self._read_rest(relative, 0).data
        except FileNotFoundError:
            return b""
        except FileTooLargeError:
            if encoding is None:
                raise
            return b""

    def _read_rest(self, relative: str, offset: int) -> _Part:
        part = self._read(relative, offset, MAX_READ_BYTES)
        if offset + len(part.data) < part.size:
            raise FileTooLargeError(quote(relative), part.size, MAX_READ_BYTES)
        return part

    def _read(self, relative: str, offset: int, limit: int) -> _Part:
        with os.fdopen(self.boundary.open(relative, os.O_RDONLY), "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if offset > size:
                return _Part(b"", size)
            if offset:
                stream.seek(offset)
            # One byte more than wanted says whether that was all: files of the kernel's
            # own have more in them than their size, and others grow.
            found = cast("bytes | None", stream.read(limit + 1))
        # None comes from a file of the kernel's own that has nothing to say yet.
        if found is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), relative)
        end = offset + len(found)
        return _Part(found[:limit], end if len(found) <= limit else max(size, end))


def _require_type(what: str, value: object, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise InvalidRequestError(f"{what} of a file must be {wanted.__name__}, not {quote(value)}")
