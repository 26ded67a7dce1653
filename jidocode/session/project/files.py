"""The files of a project, as text and names, for people and models.

`Project` says what is asked of a project folder; that nothing outside the
folder can be reached is the business of its `Boundary`. No process, no session:
the Manager puts it into one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Self, cast

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import BoundaryError, InvalidRequestError, InvalidSessionError
from jidocode.session.arguments import require_int
from jidocode.session.project.boundary import Boundary, Entry, Tier
from jidocode.session.project.locate import ProjectKey, unusable_project

MAX_LINES = 2000
"""Lines in one answer."""
MAX_LINE_LENGTH = 2000
"""Characters of a line; the rest is cut."""
MAX_READ_BYTES = 16 * 2**20
"""Bytes of a file that are looked at; what lies behind is out of reach."""
MAX_ENTRIES = 10_000
"""Names in one listing."""
_BINARY_PROBE = 8192
_BLOCK = 65_536


@frozen(eq=False, repr=False, kw_only=True)
class FileSlice(Record):
    """Some lines of a text file. As text (`str`) it is numbered, like `cat -n`.

    Its `repr` shows neither the path nor the lines.

    Attributes:
        path: Relative to the project.
        text: The lines with their line ends; bytes that are not UTF-8 are
            replaced by U+FFFD.
        first_line: Number of the first line, counted from 1.
        total_lines: Lines in the file, None if it has more than `MAX_READ_BYTES`.
        truncated: Whether more lines follow, or a line was cut.
    """

    path: str = field(repr=False)
    text: str = field(repr=False)
    first_line: int
    total_lines: int | None
    truncated: bool

    def __str__(self) -> str:
        lines = self.text.removesuffix("\n").split("\n") if self.text else []
        return "\n".join(
            f"{number:6}\t{line}" for number, line in enumerate(lines, self.first_line)
        )


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
        self, root: str, *, key: ProjectKey | None = None, tier: Tier | None = None
    ) -> None:
        """Pin the folder at *root*; *key* and *tier* as for `Boundary`.

        Raises:
            InvalidSessionError: With one code: `path_not_found` (it is gone),
                `project_path_changed` (another one stands there),
                `path_permission_denied`.
        """
        try:
            self._boundary = Boundary(root, key=key, tier=tier)
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
        self._boundary.close()

    @property
    def root(self) -> str:
        """Absolute path of the folder, as it was when it was pinned."""
        return self._boundary.root

    @property
    def tier(self) -> Tier:
        """How the boundary is enforced."""
        return self._boundary.tier

    def validate_path(self, path: str | os.PathLike[str]) -> str:
        """Return the absolute form of *path*, which may be a file yet to be written.

        This is an answer for people. To be safe use the path given: it is
        checked when it is opened, and only that counts.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be reached.
        """
        relative = self._boundary.resolve(path)
        # What is not there yet may be written, if nothing on the way leads out.
        with contextlib.suppress(FileNotFoundError):
            self._boundary.stat(relative)
        return os.path.normpath(os.path.join(self.root, relative))  # noqa: PTH118 - the path is text throughout

    def read_file(
        self, path: str | os.PathLike[str], *, offset: int = 1, limit: int = MAX_LINES
    ) -> FileSlice:
        """Return up to *limit* lines of the text file at *path*.

        Args:
            path: Relative to the project, or absolute inside it.
            offset: Number of the first line, counted from 1.
            limit: Lines at most; more than `MAX_LINES` are never given.

        Raises:
            InvalidRequestError: It is binary (a NUL in the first 8 KB), or
                *offset* or *limit* is not a positive int.
            BoundaryError: It leads out of the project, or is no regular file.
            OSError: It cannot be read.
        """
        require_int("offset", offset, least=1)
        require_int("limit", limit, least=1)
        relative = self._boundary.resolve(path)
        with os.fdopen(self._boundary.open(relative, os.O_RDONLY), "rb") as stream:
            # None comes from a file of the kernel's own that has nothing to say yet.
            data = cast("bytes | None", stream.read(MAX_READ_BYTES + 1))
        if data is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), relative)
        if b"\0" in data[:_BINARY_PROBE]:
            raise InvalidRequestError(f"{quote(relative)} is a binary file")
        return _slice(relative, data, offset, min(limit, MAX_LINES))

    def write_file(self, path: str | os.PathLike[str], content: str) -> str:
        """Make *content* the text of the file at *path*, and return its relative path.

        UTF-8, atomic; missing directories are made, see `Boundary.write`.

        Raises:
            InvalidRequestError: *content* is no text.
            BoundaryError: It leads out of the project, or is no regular file.
            OSError: It cannot be written.
        """
        return self._boundary.write(path, _encoded(content))

    def list_directory(self, path: str | os.PathLike[str] = ".") -> Listing:
        """Return what the directory at *path* holds.

        Raises:
            BoundaryError: It leads out of the project.
            OSError: It cannot be listed, or is no directory.
        """
        relative = self._boundary.resolve(path)
        entries = self._boundary.listdir(relative)
        return Listing(
            path=relative,
            entries=tuple(entries[:MAX_ENTRIES]),
            truncated=len(entries) > MAX_ENTRIES,
        )


def _encoded(content: object) -> bytes:
    if not isinstance(content, str):
        raise InvalidRequestError(f"the content of a file must be a str, not {quote(content)}")
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError("the content of a file cannot be encoded as UTF-8") from error


def _slice(path: str, data: bytes, offset: int, limit: int) -> FileSlice:
    complete = len(data) <= MAX_READ_BYTES
    data = data[:MAX_READ_BYTES]
    lines: list[str] = []
    position, was_cut = _line_start(data, offset), False
    while len(lines) < limit and position < len(data):
        end = data.find(b"\n", position) + 1 or len(data)
        line = data[position:end].decode("utf-8", "replace")
        position = end
        if len(line.removesuffix("\n")) > MAX_LINE_LENGTH:
            line, was_cut = f"{line[:MAX_LINE_LENGTH]}\n", True
        lines.append(line)
    return FileSlice(
        path=path,
        text="".join(lines),
        first_line=offset,
        total_lines=data.count(b"\n") + (data[-1:] not in {b"", b"\n"}) if complete else None,
        truncated=was_cut or position < len(data) or not complete,
    )


def _line_start(data: bytes, number: int) -> int:
    """Return where line *number* starts, the end of *data* if there is none."""
    position, newlines = 0, number - 1
    # Whole blocks first: to count newlines is far cheaper than to find each.
    while (count := data.count(b"\n", position, position + _BLOCK)) < newlines:
        position, newlines = position + _BLOCK, newlines - count
        if position >= len(data):
            return len(data)
    for _ in range(newlines):
        position = data.find(b"\n", position) + 1
        if not position:
            return len(data)
    return position
