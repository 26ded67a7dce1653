"""`SavedOutput`: a file outside the project that all of a command's output goes to."""

from __future__ import annotations

import contextlib
import os

from jidocode.base import log
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.commands.limits import MAX_SAVED


class SavedOutput:
    """A new file, that only its owner may read.

    Attributes:
        size: Bytes that are in it.
    """

    def __init__(self, path: object, project: str) -> None:
        """Make the file *path*, which must not lie in the folder *project*.

        Raises:
            InvalidRequestError: It is no absolute path, or in the project.
            OSError: It cannot be made; FileExistsError if something is there.
        """
        if not isinstance(path, str) or "\0" in path or not os.path.isabs(path):  # noqa: PTH117 - a str is needed
            raise InvalidRequestError(f"save_output must be an absolute path, not {quote(path)}")
        try:
            os.fsencode(path)
        except UnicodeEncodeError as error:
            raise InvalidRequestError(f"save_output cannot be encoded: {quote(path)}") from error
        folder = os.path.realpath(os.path.dirname(path))  # noqa: PTH120 - as above
        root = os.path.realpath(project)
        if os.path.commonpath([folder, root]) == root:
            raise InvalidRequestError("save_output must be outside the project")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._path = path
        self._full = False
        self.size = 0

    def write(self, data: bytes) -> None:
        """Write *data*, as far as it may be and can be; a file that is full stays as it is."""
        data = data[: MAX_SAVED - self.size]
        try:
            while data and not self._full:
                written = os.write(self._descriptor, data)
                self.size += written
                data = data[written:]
        except OSError as error:
            self._full = True
            log.warning("the output in {} ends here: {}", quote(self._path), error.strerror)

    def close(self) -> None:
        """Close the file; once."""
        os.close(self._descriptor)

    def discard(self) -> None:
        """Close the file and remove it, for the command has not started; once."""
        with contextlib.suppress(OSError):
            there, ours = os.lstat(self._path), os.fstat(self._descriptor)
            if os.path.samestat(there, ours):
                os.unlink(self._path)  # noqa: PTH108 - a str is needed
        self.close()
