"""Manager: the process that holds a session's project folder.

It answers requests about the project's files; what is said in the session is
kept by its sibling, `state.py`. It keeps nothing that a crash could lose: a
restarted Manager pins the same folder again, and fails to start when that is
gone or another stands in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from msgspec import Struct

from jidocode.otp.server import CallResult, GenServer
from jidocode.session.project import MAX_LINES, FileSlice, Listing, Project
from jidocode.session.requests import (
    Answer,
    Call,
    GetSession,
    Request,
    SessionRequest,
    answered,
)

if TYPE_CHECKING:
    import os

    from jidocode.otp.exits import ExitReason
    from jidocode.otp.server import Caller
    from jidocode.session.record import Session


class ManagerRequest(Request[Project, Answer], frozen=True):
    """A request that a Manager answers, next to every `SessionRequest`."""


class GetProjectRoot(ManagerRequest[str], frozen=True):
    """See `Project.root`."""

    def answer(self, holder: Project) -> str:
        """Return the path."""
        return holder.root


class ValidatePath(ManagerRequest[str], frozen=True):
    """See `Project.validate_path`."""

    path: str | os.PathLike[str]

    def answer(self, holder: Project) -> str:
        """Return the absolute path."""
        return holder.validate_path(self.path)


class ReadFile(ManagerRequest[FileSlice], frozen=True):
    """See `Project.read_file`."""

    path: str | os.PathLike[str]
    offset: int = 1
    limit: int = MAX_LINES

    def answer(self, holder: Project) -> FileSlice:
        """Return the lines."""
        return holder.read_file(self.path, offset=self.offset, limit=self.limit)


class WriteFile(ManagerRequest[str], frozen=True):
    """See `Project.write_file`."""

    unshown = ("content",)

    path: str | os.PathLike[str]
    content: str

    def answer(self, holder: Project) -> str:
        """Write, and return the relative path."""
        return holder.write_file(self.path, self.content)


class ListDirectory(ManagerRequest[Listing], frozen=True):
    """See `Project.list_directory`."""

    path: str | os.PathLike[str] = "."

    def answer(self, holder: Project) -> Listing:
        """Return the listing."""
        return holder.list_directory(self.path)


class Manager(GenServer):
    """The server: one `Project`, asked by `ManagerRequest` and `SessionRequest`.

    A refusal (`BoundaryError`, OSError, `SessionError`) goes to the caller, and
    the Manager goes on; anything else ends it, and its supervisor decides.
    """

    kind: ClassVar[str] = "manager"

    project: Project

    def init(self, session: Session) -> None:
        """Pin the project folder of *session* (called by the host, first).

        Raises:
            InvalidSessionError: The folder is gone, or another one stands there.
        """
        self.project = Project(session)

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*."""
        if isinstance(request, (ManagerRequest, SessionRequest)):
            return answered(cast("Request[Project, object]", request), self.project)
        return super().handle_call(request, caller)

    def terminate(self, reason: ExitReason) -> None:
        """Let the folder go."""
        del reason
        self.project.close()


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
