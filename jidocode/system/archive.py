"""`Archive`: the journals of sessions that are not open, as files; no host is needed.

Files are opened and locked in the app's process then, in whose main thread a signal handler may
raise at any moment (Ctrl-C). A lock that was taken just before would be nobody's to give up: for
the rest of its life the app would keep a session, or all, from itself and from other systems. So
all that opens files is done whole; what the handler has raised comes after.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import evolve

from jidocode._host.attach import place
from jidocode._host.threads import prefer_whole
from jidocode.base import log
from jidocode.base.text import quote
from jidocode.errors import (
    HostStartError,
    InvalidSessionError,
    JournalDamagedError,
    JournalError,
    ReadOnlyError,
    SessionNotFoundError,
)
from jidocode.session.admission.admission import Place
from jidocode.session.conversation.changes import Change
from jidocode.session.journal.catalogue import (
    Resumable,
    add_record,
    delete_journal,
    export_journal,
    fork_journal,
    list_journals,
    load_record,
    of_project,
    read_changes,
)
from jidocode.session.journal.ownership import Home
from jidocode.session.journal.place import check_place, journal_path
from jidocode.session.journal.writing import make_private_folder
from jidocode.session.record import Session, new_session_id, validate_session_id
from jidocode.system.settings import Settings, default_state_dir


class Archive:
    """The journals that a system with *settings* writes and finds.

    Where it looks is settled once: what the app's environment says later is for later systems.

    Attributes:
        system: The id of the system among those that have the same journals.
        private: The folder in which the systems of this user keep their secrets.
    """

    def __init__(
        self,
        settings: Settings,
        system: str | None = None,
        *,
        private: Path | None = None,
        read_only: bool = False,
    ) -> None:
        """Be the archive of *system*, of a new one by default; *read_only* changes no file."""
        self._settings = settings
        self._read_only = read_only
        self.system = uuid.uuid4().hex if system is None else system
        self.private = place.folder() if private is None else private

    @property
    def home(self) -> Home | None:
        """Where a session is at home, None in memory."""
        durability = self._settings.durability
        if durability == "memory":
            return None
        return Home(
            folder=str(self.folder),
            system=self.system,
            durability=durability,
            allow_nested=self._settings.allow_nested,
        )

    @cached_property
    def folder(self) -> Path:
        """Where they are.

        Raises:
            JournalError: There are none: such a system keeps its sessions in memory.
        """
        if self._settings.durability == "memory":
            raise JournalError("this system keeps its sessions in memory")
        folder = self._settings.state_dir
        return default_state_dir() if folder is None else Path(folder)

    def prepare(self) -> None:
        """Make the folder unless it is there, so that a start fails and not each session.

        Raises:
            HostStartError: No journal can be written there; it says where, and why.
        """
        if self._settings.durability == "memory":
            return
        where = "the home folder"
        try:
            where = f"{str(self.folder)!r:.1000}"
            make_private_folder(self.folder)
            if os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
                return
            problem = os.strerror(errno.EACCES)
        except RuntimeError:  # from `Path.home`
            problem = "there is none, neither in $HOME nor for this user"
        except OSError as error:
            problem = error.strerror or str(error)
        origin = "" if self._settings.state_dir else ", which follows $XDG_STATE_HOME, else $HOME"
        raise HostStartError(
            f"no journal can be written in {where}: {problem}. Choose another folder by "
            f"the setting state_dir{origin}"
        )

    def check_place(self, session: Session) -> None:
        """Check that the Manager of *session* could not read what is to stay closed to it.

        Raises:
            JournalError: The folder of journals lies within the project.
            InvalidSessionError: That in which the systems of this user are found does.
        """
        private = self.private
        if private.resolve().is_relative_to(Path(session.project_path).resolve()):
            reason = f"the project holds {quote(str(private))}, where systems keep their secrets"
            raise InvalidSessionError(("path_not_private",), (reason,))
        if self._settings.durability != "memory":
            check_place(journal_path(self.folder, session.id), session)

    def check_free(self, taken: Place) -> None:
        """Check that no other system is in the way of a session; see `Home.check`."""
        home = self.home
        if home is not None:
            prefer_whole(lambda: home.check(taken))

    def path(self, session_id: str) -> Path:
        """Return where the journal of a session is.

        Raises:
            InvalidSessionIdError: *session_id* is no session id.
            SessionNotFoundError: It has no journal.
            JournalError: There are no journals.
        """
        path = journal_path(self.folder, validate_session_id(session_id))
        if not path.exists():
            raise SessionNotFoundError(session_id)
        return path

    def _check_writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError

    def find_all(self, project: str | os.PathLike[str] | None = None) -> list[Resumable]:
        """Return all journals, of open sessions too, latest first; of one *project* if given."""
        folder = self.folder
        found = prefer_whole(lambda: list_journals(folder))
        return found if project is None else of_project(found, project)

    def find(self, session_id: str) -> Resumable:
        """Return what a look at one journal says; raises as `path`, if there is none."""
        self.path(session_id)
        for each in self.find_all():
            if each.session_id == session_id:
                return each
        raise SessionNotFoundError(session_id)

    def move(self, session_id: str, project_path: str | os.PathLike[str]) -> Session:
        """Have the record of a session say that its project is at *project_path*; return it.

        If the journal has none that can be read, it is a new one, which State writes down.

        Raises:
            InvalidSessionError: There is no usable folder.
            JournalLockedError: The session is open.
            JournalError: The journal cannot be read or written.
        """
        self._check_writable()
        path = self.path(session_id)

        def move() -> Session:
            try:
                record = load_record(path).move(project_path)
            except JournalDamagedError:
                return Session.new(project_path=project_path, session_id=session_id)
            self.check_place(record)
            add_record(path, record)
            return record

        return prefer_whole(move)

    def record(self, session_id: str) -> Session:
        """Return the record of a session as its journal has it."""
        path = self.path(session_id)
        return prefer_whole(lambda: load_record(path))

    def export(self, session_id: str) -> Iterator[dict[str, Any]]:
        """Yield every change of a session; see `SessionSystem.export_session`."""
        return export_journal(self.path(session_id))

    def changes_after(self, session_id: str, after_seq: int) -> list[Change]:
        """Return a page of what follows *after_seq* in a journal that nobody writes to any more.

        Nothing if there is no journal, or it cannot be read, which is logged.

        Raises:
            EventGapError: The change after *after_seq* is not there any more.
        """
        if self._settings.durability == "memory":
            return []
        path = journal_path(self.folder, session_id)
        try:
            return prefer_whole(lambda: read_changes(path, after_seq))
        except SessionNotFoundError:
            return []
        except JournalError as error:
            log.warning("what session {} has said last cannot be read: {}", session_id, error)
            return []

    def fork(self, session_id: str, *, upto_seq: int | None, name: str | None) -> Session:
        """Begin a journal with a copy of another; see `SessionSystem.fork_session`."""
        self._check_writable()
        path = self.path(session_id)

        def fork() -> Session:
            record = evolve(load_record(path), id=new_session_id())
            copy = record if name is None else record.rename(name)
            fork_journal(path, copy, upto_seq=upto_seq)
            return copy

        return prefer_whole(fork)

    def delete(self, session_id: str) -> None:
        """Delete the journal of a session, unless it is open."""
        self._check_writable()
        path = self.path(session_id)
        prefer_whole(lambda: delete_journal(path))


def list_resumable(
    state_dir: str | os.PathLike[str] | None = None,
    *,
    project: str | os.PathLike[str] | None = None,
) -> list[Resumable]:
    """Return the sessions that have a journal in *state_dir*, latest first; no system is started.

    Those that are open now are among them: `Resumable.locked_by` says by which process.

    Args:
        state_dir: As `Settings.state_dir`, with its default.
        project: The folder of one project, to list the sessions of that one only.

    Raises:
        JournalError: The folder of journals cannot be read.
    """
    return Archive(Settings(state_dir=state_dir)).find_all(project)
