"""Manager: the process that holds a session's project folder.

It answers requests about the project's files; what is said in the session is
kept by its sibling, the State. It keeps nothing that a crash could lose: a
restarted Manager pins the same folder again, wherever that is by now. If it was deleted,
the Manager refuses all that is about it. What it does there, it does confined by the kernel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jidocode.base import log
from jidocode.base.exits import Crashed, ExitReason
from jidocode.errors import ConfinementError
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.loop import crash_reason
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply
from jidocode.session.commands.limits import SandboxMode
from jidocode.session.idle import HowIdle, Use
from jidocode.session.journal.place import note_path, snapshots_path
from jidocode.session.journal.writing import make_private_folder
from jidocode.session.manager.operations import OPERATIONS, SEARCHES
from jidocode.session.manager.searches import Searches
from jidocode.session.manager.snapshots import Snapshots
from jidocode.session.project.entries import Ground
from jidocode.session.project.files import Project
from jidocode.session.project.holding import open_held
from jidocode.session.project.protection import ProtectionRules
from jidocode.session.project.temporary import TemporaryName
from jidocode.session.record import Session
from jidocode.session.requests import SESSION_OPERATIONS
from jidocode.session.snapshots.limits import SnapshotRules


class Manager(GenServer):
    """The server: one `Project`, and the record of its session.

    A refusal (`BoundaryError`, OSError, `SessionError`) goes to the caller, and
    the Manager goes on; anything else ends it, and its supervisor decides.
    """

    kind: ClassVar[str] = "manager"

    session: Session
    project: Project
    searches: Searches[Ground]
    snapshots: Snapshots

    def init(  # noqa: PLR0913, PLR0917 - a spec's arguments go by place
        self,
        session: Session,
        journal_dir: str | None = None,
        hard_links: bool = True,  # noqa: FBT001, FBT002 - idem
        sandbox: SandboxMode = "off",
        protection: ProtectionRules | None = None,
        snapshots: SnapshotRules | None = None,
    ) -> None:
        """Pin the project folder of *session*, and be confined to it (called by the host, first).

        Args:
            session: The record.
            journal_dir: Where the session has its journal. Beside it stands, as long as
                there may be something to clean up in the project, in which folder; and the
                folder of its snapshots. None if nothing is written to disk.
            hard_links: Whether a file may have more than one.
            sandbox: Whether this process is confined, for good; see `Settings.sandbox`. It is not
                by default, for a server may be tried in a process that has other things to do.
            protection: Which paths are protected, and how. Their changes are announced, as
                `ProtectedPathsChanged`.
            snapshots: How much its snapshots may be.

        Raises:
            InvalidSessionError: The folder is not there, and the session's supervisor has none.
            ConfinementError: It cannot be confined as *sandbox* requires.
        """
        # Imported here because the app has this module, too, and never needs that.
        from jidocode.session.manager.confining import confine  # noqa: PLC0415 - see above

        self.session = session
        self._use = Use()
        note = None if journal_dir is None else _place_of_note(journal_dir, session.id)
        self.project = Project(
            session.project_path,
            key=session.project_key,
            temporary=TemporaryName(session.id, note),
            hard_links=hard_links,
            protection=protection,
            tell=self.announce,
            elsewhere=lambda: open_held(self, session.project_key),
        )
        snapshots_folder = None if journal_dir is None else snapshots_path(journal_dir, session.id)
        self.snapshots = Snapshots(
            self.project,
            snapshots_folder,
            snapshots or SnapshotRules(),
            answer=self._answer,
            fail=self._fail,
        )
        folders = [] if note is None else [str(note.parent)]
        folders += [] if snapshots_folder is None else [str(snapshots_folder)]
        confine(self.project.boundary, folders, sandbox)
        self.searches = Searches(
            self.project.boundary,
            SEARCHES,
            lambda ground: ground,
            threads=2,
            answer=self._answer,
            fail=self._fail,
        )

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer *request*; searches are answered later, by a thread."""
        if isinstance(request, HowIdle):
            if self.searches.busy or self.snapshots.busy:
                self._use.note()
            return Reply(self._use.idle_seconds())
        self._use.note()
        answer = SESSION_OPERATIONS.answer(request, self)
        if answer is not None:
            return answer
        gone = self.project.boundary.gone()
        if gone is not None:
            return Refuse(gone)
        try:
            if self.searches.start(request, caller) or self.snapshots.start(request, caller):
                return NoReply()
        except OSError as error:
            return Refuse(error)
        answer = OPERATIONS.answer(request, self.project)
        if answer is None:
            return super().handle_call(request, caller)
        return self._unless_gone(answer) if isinstance(answer, Refuse) else answer

    def _problem(self) -> str | None:
        gone = self.project.boundary.gone()
        return None if gone is None else gone.message

    def _unless_gone(self, outcome: Reply | Refuse) -> Reply | Refuse:
        """Return *outcome*, unless the project was deleted meanwhile: then that is said."""
        gone = self.project.boundary.gone()
        return outcome if gone is None else Refuse(gone)

    def terminate(self, reason: ExitReason) -> None:
        """Let the folder go."""
        del reason
        self.searches.close()
        self.snapshots.close()
        self.project.close()

    def _fail(self, error: Exception) -> None:
        self.stop(crash_reason(error))

    def _answer(self, caller: Caller, outcome: Reply | Refuse) -> None:
        self._use.note()  # the time without any use begins now
        match self._unless_gone(outcome):
            case Reply(value=value):
                self.reply(caller, value)
            case Refuse(error=error):
                self.refuse(caller, error)


def confinement_refusal(cause: ExitReason) -> ConfinementError | None:
    """Return the error of a start that failed for *cause*, if a Manager could not be confined."""
    name = f"{ConfinementError.__module__}.{ConfinementError.__qualname__}: "
    if isinstance(cause, Crashed) and cause.error.startswith(name):
        return ConfinementError(cause.error.removeprefix(name))
    return None


def _place_of_note(journal_dir: str, session_id: str) -> Path:
    """Return where the note is to be, and see that there is a folder for it."""
    note = note_path(journal_dir, session_id)
    try:
        make_private_folder(note.parent)
    except OSError as error:  # it is needed by who is killed, and then by the next life only
        log.warning("there is no folder for notes of a Manager: {}", error.strerror)
    return note
