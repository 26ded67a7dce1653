"""A session's Manager, as its app and its siblings see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from jidocode.session.manager.server import (
    GetProjectRoot,
    ListDirectory,
    ReadFile,
    ValidatePath,
    WriteFile,
)
from jidocode.session.project.files import MAX_LINES, FileSlice, Listing
from jidocode.session.requests import (
    Call,
    GetSession,
)

if TYPE_CHECKING:
    import os

    from jidocode.session.record import Session


class ManagerClient(Struct, frozen=True):
    """A Manager, as others see it. Each method asks the process and waits.

    What the project refuses is raised here: `BoundaryError`, OSError with the
    path inside the project, `InvalidRequestError`; besides that whatever the
    way to the process raises (`CallError`).
    """

    _call: Call

    def project_root(self) -> str:
        """Return the absolute path of the project, as it was at creation."""
        return self._call(GetProjectRoot())

    def session(self) -> Session:
        """Return the session's record, as the Manager has it."""
        return self._call(GetSession())

    def validate_path(self, path: str | os.PathLike[str]) -> str:
        """Return *path* as an absolute path inside the project, see `Project.validate_path`."""
        return self._call(ValidatePath(path))

    def read_file(
        self, path: str | os.PathLike[str], *, offset: int = 1, limit: int = MAX_LINES
    ) -> FileSlice:
        """Return up to *limit* lines of a text file from line *offset*, counted from 1."""
        return self._call(ReadFile(path, offset, limit))

    def write_file(self, path: str | os.PathLike[str], content: str) -> str:
        """Replace the text of a file atomically; return its path in the project."""
        return self._call(WriteFile(path, content))

    def list_directory(self, path: str | os.PathLike[str] = ".") -> Listing:
        """Return the names in a directory, sorted, with what they are."""
        return self._call(ListDirectory(path))
