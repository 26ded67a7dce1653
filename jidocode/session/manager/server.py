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
from jidocode.otp.server.loop import crash_reason
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply
from jidocode.session.idle import HowIdle, Use
from jidocode.session.journal.place import note_path
from jidocode.session.manager.operations import OPERATIONS
from jidocode.session.manager.searches import Searches
from jidocode.session.project.files import Project
from jidocode.session.project.temporary import TemporaryName
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
    searches: Searches

    def init(
        self,
        session: Session,
        journal_dir: str | None = None,
        hard_links: bool = True,  # noqa: FBT001, FBT002 - a spec's arguments go by place
    ) -> None:
        """Pin the project folder of *session* (called by the host, first).

        Args:
            session: The record.
            journal_dir: Where the session has its journal. Beside it stands, as long as
                there may be something to clean up in the project, in which folder.
            hard_links: Whether a file may have more than one.

        Raises:
            InvalidSessionError: The folder is gone, or another one stands there.
        """
        self.session = session
        self._use = Use()
        note = None if journal_dir is None else note_path(journal_dir, session.id)
        self.project = Project(
            session.project_path,
            key=session.project_key,
            temporary=TemporaryName(session.id, note),
            hard_links=hard_links,
        )
        self.searches = Searches(
            self.project.boundary,
            answer=self._answer,
            fail=lambda error: self.stop(crash_reason(error)),
        )

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*; searches are answered later, by a thread."""
        if isinstance(request, HowIdle):
            return Reply(self._use.idle_seconds())
        self._use.note()
        try:
            if self.searches.start(request, caller):
                return NoReply()
        except OSError as error:
            return Refuse(error)
        return (
            OPERATIONS.answer(request, self.project)
            or SESSION_OPERATIONS.answer(request, self)
            or super().handle_call(request, caller)
        )

    def terminate(self, reason: ExitReason) -> None:
        """Let the folder go."""
        del reason
        self.searches.close()
        self.project.close()

    def _answer(self, caller: Caller, outcome: Reply | Refuse) -> None:
        if isinstance(outcome, Reply):
            self.reply(caller, outcome.value)
        else:
            self.refuse(caller, outcome.error)
