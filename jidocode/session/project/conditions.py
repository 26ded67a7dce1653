"""What a file must be before it is written: nobody overwrites what he has not read.

Time passes between reading a file and writing it, and others write it meanwhile. So
whoever reads gets the hash of the bytes, and may ask that the file still has it when it
is written.

The kernel replaces no file on condition of its content. So it is looked at right before
the one system call that replaces it: who writes between the two, some microseconds, is
not seen. That a file must not be there is a condition that the kernel knows, and there
is nothing in between.
"""

from __future__ import annotations

import os

from jidocode.base.hashes import sha256_of
from jidocode.base.text import quote
from jidocode.errors import FileChangedError, FileTooLargeError, InvalidRequestError
from jidocode.session.arguments import is_sha256
from jidocode.session.project import limits
from jidocode.session.project.descriptors import READ_FILE, require_file

ABSENT = "absent"
"""Given in place of a hash: there must be no file."""


class Condition:
    """What must be true of the file at a path for it to be written.

    Attributes:
        is_absence: Whether there must be none.
        needs_file: Whether there must be one.
    """

    def __init__(self, path: str, if_sha256: str | None) -> None:
        """Let the file at *path*, relative to the project, have *if_sha256*.

        Args:
            path: What errors call the file.
            if_sha256: The hash of its bytes in hexadecimal; `absent` if there must be no
                file; None if anything may be there.

        Raises:
            InvalidRequestError: *if_sha256* is none of these.
        """
        self._path = path
        self._sha256 = _require_sha256(if_sha256)
        self.is_absence = if_sha256 == ABSENT
        self.needs_file = if_sha256 is not None and not self.is_absence

    def __bool__(self) -> bool:
        """Whether it is a condition at all."""
        return self._sha256 is not None

    def check(self, parent: int, name: str) -> None:
        """Raise unless *name* in the directory *parent*, which is no symlink, is as it must be.

        Raises:
            FileChangedError: It is not.
            FileTooLargeError: It has more bytes than are read at once.
            OSError: It cannot be read.
        """
        if not self:
            return
        try:
            fd = os.open(name, READ_FILE, dir_fd=parent)
        except FileNotFoundError:
            self.check_sha256(None)
            return
        try:
            self.check_file(fd)
        finally:
            os.close(fd)

    def check_file(self, fd: int) -> None:
        """Raise unless the file *fd*, of which nothing has been read, is as it must be.

        Raises:
            FileChangedError: It is not.
            FileTooLargeError: It has more bytes than are read at once.
        """
        if not self:
            return
        status = os.fstat(fd)
        require_file(status, self._path, hard_links=True)
        with os.fdopen(fd, "rb", closefd=False) as stream:
            data = stream.read(limits.MAX_READ_BYTES + 1)
        if len(data) > limits.MAX_READ_BYTES:
            size = max(status.st_size, len(data))
            raise FileTooLargeError(quote(self._path), size, limits.MAX_READ_BYTES)
        self.check_sha256(sha256_of(data))

    def check_sha256(self, sha256: str | None) -> None:
        """Raise unless a file with this hash, or none, is as it must be.

        Raises:
            FileChangedError: It is not.
        """
        if self and sha256 != (None if self.is_absence else self._sha256):
            raise FileChangedError(quote(self._path), sha256)


def _require_sha256(value: object) -> str | None:
    if value is None:
        return None
    if is_sha256(value) or (isinstance(value, str) and value == ABSENT):
        return value
    raise InvalidRequestError(
        f"if_sha256 must be 64 hexadecimal digits in lower case, or {ABSENT!r}, not {quote(value)}"
    )
