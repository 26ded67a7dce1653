"""The bytes of a file: a bounded part of them, or all, or a refusal."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple, cast

from jidocode.base.hashes import sha256_of
from jidocode.base.text import quote
from jidocode.errors import FileTooLargeError
from jidocode.session.project import limits
from jidocode.session.project.boundary import Boundary


class Part(NamedTuple):
    """What was read of a file; *size* is that of all of it."""

    data: bytes
    size: int

    @property
    def sha256(self) -> str | None:
        """The hash of the whole file, None if this is not all of it."""
        return sha256_of(self.data) if len(self.data) == self.size else None


def read_rest(boundary: Boundary, relative: str, offset: int = 0) -> Part:
    """Return what the file at *relative* holds behind *offset*.

    Raises:
        FileTooLargeError: That is more than is read at once.
        BoundaryError: It leads out of the project, or is no regular file.
        OSError: It cannot be read.
    """
    part = read_part(boundary, relative, offset, limits.MAX_READ_BYTES)
    if offset + len(part.data) < part.size:
        raise FileTooLargeError(quote(relative), part.size, limits.MAX_READ_BYTES)
    return part


def read_part(boundary: Boundary, relative: str, offset: int, limit: int) -> Part:
    """Return up to *limit* bytes of the file at *relative* behind *offset*.

    Raises:
        BoundaryError: It leads out of the project, or is no regular file.
        OSError: It cannot be read.
    """
    with os.fdopen(boundary.open(relative, os.O_RDONLY), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if offset > size:
            return Part(b"", size)
        if offset:
            stream.seek(offset)
        # One byte more than wanted says whether that was all: files of the kernel's
        # own have more in them than their size, and others grow.
        found = cast("bytes | None", stream.read(limit + 1))
    # None comes from a file of the kernel's own that has nothing to say yet.
    if found is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), relative)
    end = offset + len(found)
    return Part(found[:limit], end if len(found) <= limit else max(size, end))
