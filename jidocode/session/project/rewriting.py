"""Changing a text file by what is in it: replacing some of it, adding to its end.

Both read all of the file, and put a new one in its place on the condition that it is still
the one that was read: so what another program writes meanwhile is not lost, and a crash
leaves the old file or the new.
"""

from __future__ import annotations

import errno
import os

from jidocode.base.hashes import sha256_of
from jidocode.base.text import quote
from jidocode.errors import FileTooLargeError
from jidocode.session.project import limits
from jidocode.session.project.conditions import ABSENT, Condition
from jidocode.session.project.difference import changes
from jidocode.session.project.editing import Edit, find_replacements, replaced
from jidocode.session.project.files import Project, require_type
from jidocode.session.project.reading import read_rest
from jidocode.session.project.results import EditedFile, WrittenFile
from jidocode.session.project.text import decode, encode, encode_like, in_line_ends, line_ends


def edit_file(  # noqa: D417 - clients have themselves in the place of the holder
    holder: Project,
    path: str | os.PathLike[str],
    *edits: Edit,
    encoding: str | None = None,
    if_sha256: str | None = None,
) -> EditedFile:
    r"""Make one or several *edits* in the text file at *path*: all of them at once, or none.

    Each edit is looked for in the file as it is before any of them. The file keeps its
    encoding, with the byte order mark, and its line ends; otherwise it is as `write_file`
    has it: atomic, and with the owner and permissions that it had.

    Args:
        path: Relative to the project, or absolute inside it.
        edits: What to replace by what. Where line ends in an edit are all `\n`, and those of
            the file all the same one, that one is meant; in a file with several kinds of
            them, and with a `\r` in it, an edit means just what it says.
        encoding: As for `read_text`.
        if_sha256: As for `write_file`: edit only if this is the hash of the file.

    Raises:
        EditMismatchError: An edit's text is not there as often as it says; the error shows
            where it is, or the lines that are nearest to it.
        FileChangedError: The file has another hash, or was written by somebody else
            meanwhile.
        NotTextError: As `read_text`.
        FileTooLargeError: It has more than `MAX_READ_BYTES`, or would have.
        InvalidRequestError: An edit breaks a rule, or two overlap; there is none; or they are
            too many for the size of the file, or would make it too large; or another argument
            is wrong.
        BoundaryError: It leads out of the project, or is no regular file.
        OSError: It is not there, or cannot be read or written.
    """
    relative = holder.boundary.resolve_file(path)
    data = _read(holder, relative, if_sha256)
    if data is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), relative)
    found = decode(relative, data, encoding)
    replacements = find_replacements(relative, found.text, line_ends(found.text), edits)
    text = replaced(found.text, replacements, 0, len(found.text))
    written = _write(holder, relative, encode(text, found.encoding), data)
    diff = changes(found.text, replacements)
    return EditedFile(
        path=written.path,
        size=written.size,
        sha256=written.sha256,
        replacements=len(replacements),
        diff=diff.text,
        truncated=diff.truncated,
        protected=written.protected,
    )


def append_file(  # noqa: D417 - idem
    holder: Project,
    path: str | os.PathLike[str],
    content: str,
    *,
    encoding: str | None = None,
    if_sha256: str | None = None,
) -> WrittenFile:
    r"""Add *content* at the end of the text file at *path*, or make the file if there is none.

    No line end is put between the two. If the line ends in *content* are all `\n`, they
    become those of the file, if these are all the same; encoding, owner and permissions
    stay. It is atomic, for which the whole file is written anew: a program that has it
    open, to write a log, goes on in the old one.

    Args:
        path: Relative to the project, or absolute inside it.
        content: The text.
        encoding: As for `read_text`.
        if_sha256: As for `write_file`.

    Raises:
        FileChangedError: As `write_file`; or it was written by somebody else meanwhile.
        NotTextError: As `read_text`.
        FileTooLargeError: It has more than `MAX_READ_BYTES`, or would have.
        InvalidRequestError: An argument is wrong, or *content* cannot be encoded.
        BoundaryError: As `write_file`.
        OSError: It cannot be read or written.
    """
    require_type("the content", content, str)
    relative = holder.boundary.resolve_file(path)
    old = _read(holder, relative, if_sha256)
    if not old:
        data = encode_like(relative, b"", content, encoding=encoding, newline=None)
    else:
        found = decode(relative, old, encoding)
        behind = found.encoding._replace(bom=b"")
        data = old + encode(in_line_ends(content, line_ends(found.text)), behind)
    return _write(holder, relative, data, old)


def _read(holder: Project, relative: str, if_sha256: str | None) -> bytes | None:
    """Return the bytes of the file at *relative*, None if it is not there.

    Raises:
        FileChangedError: It is not what *if_sha256* says.
    """
    condition = Condition(relative, if_sha256)
    try:
        data = read_rest(holder.boundary, relative).data
    except FileNotFoundError:
        condition.check_sha256(None)
        return None
    condition.check_sha256(sha256_of(data))
    return data


def _write(holder: Project, relative: str, data: bytes, old: bytes | None) -> WrittenFile:
    """Write *data* into the file at *relative*, if it still holds *old*, or is not there if None.

    Raises:
        FileTooLargeError: It could not be read afterwards.
    """
    if len(data) > limits.MAX_READ_BYTES:
        raise FileTooLargeError(quote(relative), len(data), limits.MAX_READ_BYTES)
    return holder.write_bytes(relative, data, if_sha256=ABSENT if old is None else sha256_of(old))
