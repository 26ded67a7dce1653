"""Manager: the process that holds a session's project folder.

It answers requests about the project's files; what is said in the session is
kept by its sibling, the State. It keeps nothing that a crash could lose: a
restarted Manager pins the same folder again, and fails to start when that is
gone or another stands in its place.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jidocode.base.exits import ExitReason
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult
from jidocode.session.manager.operations import OPERATIONS
from jidocode.session.project.files import Project
from jidocode.session.record import Session
from jidocode.session.requests import SESSION_OPERATIONS


class Manager(GenServer):
    """The server: one `Project`, and the record of its session.

    A refusal (`BoundaryError`, OSError, `SessionError`) goes to the caller, and
    the Manager goes on; anything else ends it, and its supervisor decides.
    """

    kind: ClassVar[str] = "manager"

    session: Session
    project: Project

    def init(self, session: Session) -> None:
        """Pin the project folder of *session* (called by the host, first).

        Raises:
            InvalidSessionError: The folder is gone, or another one stands there.
        """
        self.session = session
        self.project = Project(session.project_path, key=session.project_key)

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*."""
        return (
            OPERATIONS.answer(request, self.project)
            or SESSION_OPERATIONS.answer(request, self)
            or super().handle_call(request, caller)
        )

    def terminate(self, reason: ExitReason) -> None:
        """Let the folder go."""
        del reason
        self.project.close()
