"""Manager: the process that holds a session's project folder.

It answers requests about the project's files; what is said in the session is
kept by its sibling, `state.py`. It keeps nothing that a crash could lose: a
restarted Manager pins the same folder again, and fails to start when that is
gone or another stands in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.results import CallResult
from jidocode.session.project.files import MAX_LINES, FileSlice, Listing, Project
from jidocode.session.requests import (
    Answer,
    Request,
    SessionRequest,
    answer_or_refuse,
)

if TYPE_CHECKING:
    import os

    from jidocode.base.exits import ExitReason
    from jidocode.otp.server.messages import Caller
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

    hidden = ("content",)

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
            return answer_or_refuse(cast("Request[Project, object]", request), self.project)
        return super().handle_call(request, caller)

    def terminate(self, reason: ExitReason) -> None:
        """Let the folder go."""
        del reason
        self.project.close()
