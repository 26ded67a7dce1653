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
import os
from collections.abc import Callable

from jidocode.base.closing import Closing
from jidocode.base.hashes import sha256_of
from jidocode.base.text import quote
from jidocode.errors import (
    BoundaryError,
    FileTooLargeError,
    InvalidRequestError,
    InvalidSessionError,
)
from jidocode.session.arguments import require_int
from jidocode.session.project import limits
from jidocode.session.project.boundary import Boundary, Tier
from jidocode.session.project.locate import ProjectKey, unusable_project
from jidocode.session.project.protection import ProtectionRules, Tell
from jidocode.session.project.protector import Protector
from jidocode.session.project.reading import read_part, read_rest
from jidocode.session.project.results import FileBytes, Listing, TextFile, WrittenFile
from jidocode.session.project.slices import MAX_LINES, FileSlice, cut_slice
from jidocode.session.project.temporary import TemporaryName
from jidocode.session.project.text import Newline, decode, encode_like, line_ends

MAX_ENTRIES = 10_000
"""Names in one listing."""


class Project(Closing):
    """A project's folder, pinned. Close it, or use it as a context manager."""

    def __init__(  # noqa: PLR0913 - most are keywords of a boundary's
        self,
        root: str,
        *,
        key: ProjectKey | None = None,
        tier: Tier | None = None,
        temporary: TemporaryName | None = None,
        hard_links: bool = True,
        protection: ProtectionRules | None = None,
        tell: Tell = lambda _: None,
        elsewhere: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Pin the folder at *root*; most arguments are those of `Boundary`.

        Args:
            root: Its path.
            key: As for `Boundary`, and so are the next three.
            tier: Idem.
            temporary: Idem.
            hard_links: Idem.
            protection: Which paths are protected, and how; the defaults if not given.
            tell: Hears which protected paths were changed.
            elsewhere: As for `Boundary`.

        Raises:
            InvalidSessionError: With one code: `path_not_found` (it is gone),
                `project_path_changed` (another one stands there),
                `path_permission_denied`.
        """
        try:
            self.boundary = Boundary(
                root,
                key=key,
                tier=tier,
                temporary=temporary,
                hard_links=hard_links,
                elsewhere=elsewhere,
            )
            """Through which everything in the folder is reached."""
        except BoundaryError as error:
            raise InvalidSessionError(("project_path_changed",), (error.message,)) from error
        except OSError as error:
            raise unusable_project(root, error) from error
        self.protector = Protector(self.boundary, protection or ProtectionRules(), tell)
        """Before whatever changes something."""

    def close(self) -> None:
        """Let the folder go; closing twice is fine."""
        self.boundary.close()

    @property
    def root(self) -> str:
        """Absolute path of the folder; see `Boundary.root`."""
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

    def true_path(self, path: str | os.PathLike[str]) -> str:
        """Return the path of what *path* leads to now: relative, without `..` and symlinks.

        Two paths that lead to one file have the same one, and it need not be there yet. Where it
        cannot be told, because nothing can be opened there, it is *path* as it was given.

        Raises:
            BoundaryError: It leads out of the project at first sight.
            OSError: It is too long.
        """
        return self.boundary.true_path(path, follow=True)

    def is_protected(self, path: str | os.PathLike[str]) -> bool:
        """Whether to write the file at *path* would change a protected path.

        That is one that other programs execute later, such as a git hook; see
        `Settings.protected_paths`. *path* may lead to one by a symlink.

        Raises:
            BoundaryError: It leads out of the project.
        """
        return self.protector.protects(path)

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
        start = read_part(self.boundary, relative, 0, limits.MAX_READ_BYTES)
        return cut_slice(
            relative, start.data, start.sha256, size=start.size, offset=offset, limit=limit
        )

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
        whole = read_rest(self.boundary, relative)
        text, found = decode(relative, whole.data, encoding)
        return TextFile(
            path=relative,
            text=text,
            encoding=found.name,
            newline=line_ends(text),
            size=whole.size,
            sha256=sha256_of(whole.data),
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
            part = read_rest(self.boundary, relative, offset)
        else:
            require_int("limit", limit, least=0)
            part = read_part(self.boundary, relative, offset, min(limit, limits.MAX_READ_BYTES))
        return FileBytes(
            path=relative,
            data=part.data,
            offset=offset,
            size=part.size,
            sha256=part.sha256,
        )

    def write_file(  # noqa: PLR0913 - four of them are seldom given
        self,
        path: str | os.PathLike[str],
        content: str,
        *,
        encoding: str | None = None,
        newline: Newline | None = None,
        in_place: bool = False,
        if_sha256: str | None = None,
    ) -> WrittenFile:
        r"""Make *content* the text of the file at *path*.

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
            if_sha256: Write only if this is the hash of the file there, as whoever read it
                got it; or `absent`: only if there is none. What somebody else wrote in the
                meantime is not lost then, except in the moment between a last look at the
                file and the call that replaces it. By default whatever is there is replaced.

        Raises:
            FileChangedError: The file there has another hash, or is not there; or, for
                `absent`, there is one.
            NotTextError: The file there is no text, and no encoding is named.
            FileTooLargeError: The file there has more than `MAX_READ_BYTES`, and no
                encoding is named, or *if_sha256* is given.
            InvalidRequestError: *content* is no text, or not one that the encoding can
                say; or there is no such encoding or line end, or *if_sha256* is no hash.
            ProtectedPathError: It is protected, and changes are refused.
            BoundaryError: It leads out of the project, is no regular file, or has a name that
                is kept for unfinished files (`.jidocode-<session id>.tmp`).
            OSError: It cannot be read or written; EBUSY if it is a mount point.
        """
        require_type("the content", content, str)
        relative = self.boundary.resolve_file(path)
        old = self._read_old(relative, encoding)
        data = encode_like(relative, old, content, encoding=encoding, newline=newline)
        return self.write_bytes(relative, data, in_place=in_place, if_sha256=if_sha256)

    def write_bytes(
        self,
        path: str | os.PathLike[str],
        data: bytes,
        *,
        in_place: bool = False,
        if_sha256: str | None = None,
    ) -> WrittenFile:
        """Make *data* the content of the file at *path*.

        As `write_file`, but whatever the file was before.

        Args:
            path: Relative to the project, or absolute inside it.
            data: The bytes.
            in_place: As for `write_file`.
            if_sha256: As for `write_file`.

        Raises:
            FileChangedError: As `write_file`.
            FileTooLargeError: The file there has more than `MAX_READ_BYTES`, and
                *if_sha256* is given.
            InvalidRequestError: *data* is no bytes, or *if_sha256* no hash.
            ProtectedPathError: It is protected, and changes are refused.
            BoundaryError: It leads out of the project, is no regular file, or has a name that
                is kept for unfinished files (`.jidocode-<session id>.tmp`).
            OSError: It cannot be written; EBUSY if it is a mount point.
        """
        require_type("the data", data, bytes)
        with self.protector.change(path, follow=True) as protected:
            relative = self.boundary.write(path, data, in_place=in_place, if_sha256=if_sha256)
        return WrittenFile(
            path=relative, size=len(data), sha256=sha256_of(data), protected=protected
        )

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
            return read_rest(self.boundary, relative).data
        except FileNotFoundError:
            return b""
        except FileTooLargeError:
            if encoding is None:
                raise
            return b""


def require_type(what: str, value: object, wanted: type) -> None:
    """Raise InvalidRequestError unless *value*, *what* of a file, is of the type *wanted*."""
    if not isinstance(value, wanted):
        raise InvalidRequestError(f"{what} of a file must be {wanted.__name__}, not {quote(value)}")
