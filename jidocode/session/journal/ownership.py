"""Whose an open session is, among all systems that keep their journals in one folder.

A session lives longer than its State: State dies and comes back, and nobody holds the
lock of the journal meanwhile. Another system could take the session then, or delete its
journal. So a session is owned by its supervisor, whose life is that of the session:
it holds a lock (flock) on a file that stands for the session, in the folder `open` beside the
journals. The lock ends with the process, however that ends.

The file says which project the session has. So two systems do not open one project
either, nor one inside another: the rule is the one that `Admission` applies within one
system. A file that is left by a process that was killed stops nobody: it is not
locked, and goes when the next session is opened.

A lock on a file that was removed keeps nobody out: whoever comes next makes another file.
Nothing stands in the way of that, so it is noticed: by State, which takes no change then.

Files are locked, and tried, only by who holds the lock of the folder itself, for a moment.
Otherwise one who only looks would be taken for an owner, and two who come at the same
time for one project could both be let in, or none.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from jidocode.base import log
from jidocode.base.exits import Crashed, ExitReason
from jidocode.base.text import quote
from jidocode.errors import (
    JournalError,
    JournalLockedError,
    JournalLostError,
    ProjectAlreadyOpenError,
    SessionNotFoundError,
)
from jidocode.session.admission.admission import Place, refuse_overlap
from jidocode.session.journal.file import Durability, Journal
from jidocode.session.journal.place import journal_path, opening_time
from jidocode.session.journal.writing import (
    is_at,
    lock_file,
    lock_holders,
    make_private_folder,
    open_private,
    write_all,
)
from jidocode.session.record import is_session_id

LOCK_PATIENCE = 5.0
"""Seconds to wait for the folder, which everybody holds for milliseconds only."""
_FOLDER = "open"
_MAX_SIZE = 2**20


class _Owner(Struct, frozen=True):
    """What the file of an open session says.

    Attributes:
        system: The system in which it is open.
        place: What it takes up.
    """

    system: str
    place: Place


class Home(Struct, frozen=True, kw_only=True):
    """Where the sessions of a system keep their journals, beside those of other systems.

    Attributes:
        folder: The folder of the journals.
        system: An id that no other system has; what is open in it is its registry's to know.
        durability: What the journals survive.
        allow_nested: Whether a project may lie inside one that another system has open.
    """

    folder: str
    system: str
    durability: Durability = "process"
    allow_nested: bool = False

    def own(self, place: Place) -> int:
        """Have this process own a session; return the descriptor that holds the lock.

        Raises:
            JournalLockedError: The session is open, or its journal is being changed.
            ProjectAlreadyOpenError: Another system has its project open, or one around
                it or inside it.
            JournalError: The folder cannot be used.
        """
        with _errors(), _folder(Path(self.folder)) as folder:
            fd, _ = lock_file(folder / place.session_id, create=True)
            try:
                self._check(folder, place)
                self._write(folder / place.session_id, place)
            except BaseException:
                os.close(fd)
                raise
            return fd

    def begin_journal(self, session_id: str) -> None:
        """Have a journal for a session that this process owns; one that is there is left alone.

        After that nobody creates one for it: a State that finds none knows that it was lost.

        Raises:
            JournalError: It cannot be written.
        """
        path = journal_path(self.folder, session_id)
        if not path.exists():
            Journal.open(path, durability=self.durability, create=True).close()

    def require_journal(self, session_id: str) -> None:
        """Check that a session that this process owns, and is to go on, still has its journal.

        Whoever wanted it to go on saw one, but owned nothing yet: it may be deleted since. To
        begin one then would give back an empty session, and say that nothing is wrong with it.

        Raises:
            SessionNotFoundError: It has none.
        """
        if not journal_path(self.folder, session_id).exists():
            raise SessionNotFoundError(session_id)

    def opening_time(self, session_id: str) -> float:
        """Return how many seconds it may take to open the journal of a session."""
        return opening_time(journal_path(self.folder, session_id))

    def check(self, place: Place) -> None:
        """Check that no other system is in the way of a session; raises as `own`.

        An app that has dropped its privileges may not be able to look. Then nothing is
        said here: the session's own process can, and is refused by `own` if need be.
        """
        if not os.access(Path(self.folder) / _FOLDER, os.R_OK | os.X_OK, effective_ids=True):
            return
        with _errors(), _folder(Path(self.folder)) as folder:
            mine = folder / place.session_id
            try:
                fd, _ = lock_file(mine, create=False)
            except FileNotFoundError:
                pass
            except JournalLockedError:
                owner = _read(mine)
                if owner is None or owner.system != self.system:
                    raise
            else:
                os.close(fd)
            self._check(folder, place)

    def _check(self, folder: Path, place: Place) -> None:
        others = list(self._others(folder, place.session_id))
        try:
            refuse_overlap(place, (other for other, _ in others), allow_nested=self.allow_nested)
        except ProjectAlreadyOpenError as error:
            pids = {other.session_id: pid for other, pid in others}
            pid = pids[error.session_id]
            raise ProjectAlreadyOpenError(error.session_id, error.nested, pid) from None

    def _others(self, folder: Path, session_id: str) -> Iterator[tuple[Place, int | None]]:
        """Yield what other systems have open, and in which process."""
        for name in os.listdir(folder):  # noqa: PTH208 - names are all that is needed
            path = folder / name
            if name == session_id or not is_session_id(name):
                continue
            try:
                if not stat.S_ISREG(path.lstat().st_mode):
                    continue  # no file of ours, and so nobody's session
                fd, _ = lock_file(path, create=False)
            except FileNotFoundError:
                continue
            except JournalLockedError as error:
                owner = _read(path)
                if owner is not None and owner.system != self.system:
                    yield owner.place, error.pid
            else:
                path.unlink()  # its process was killed
                os.close(fd)

    def _write(self, path: Path, place: Place) -> None:
        """Say what is open; a disk that is full does not keep a session from being resumed."""
        try:
            with open(path, "wb", buffering=0, opener=open_private) as file:
                write_all(file.fileno(), msgspec.json.encode(_Owner(self.system, place)))
        except OSError as error:
            log.warning(
                "other systems cannot be told that session {} has its project open: {}",
                place.session_id,
                error.strerror,
            )


class Hold:
    """What keeps a session its system's, as State sees it: a file that has to stay in its place.

    State looks at it before each change, because whoever removed the file may have given the
    session to another system, which then has the same project open, or has deleted the journal
    between two lives of State. It costs a microsecond or two, as does the look at the journal.
    """

    def __init__(self, journal: Path, system: str) -> None:
        """Find the file for the session of *journal*, which *system* has open.

        Raises:
            JournalLostError: It is not there, or another system's.
        """
        self._path = str(owner_path(journal))
        try:
            self._identity = os.lstat(self._path)
        except OSError as error:
            raise self._lost() from error
        owner = _read(Path(self._path)) if stat.S_ISREG(self._identity.st_mode) else None
        if owner is not None and owner.system != system:
            raise self._lost()

    def check(self) -> None:
        """Raise `JournalLostError` unless the file is where it should be."""
        try:
            status = os.lstat(self._path)
        except OSError as error:
            raise self._lost() from error
        if not os.path.samestat(status, self._identity):
            raise self._lost()

    def _lost(self) -> JournalLostError:
        name = os.path.basename(self._path)  # noqa: PTH119 - a text, as it is looked at each time
        return JournalLostError(
            f"session {quote(name)} is not kept for its system any more: its file, or the whole "
            f"folder {_FOLDER!r}, was removed. Stop the session, and resume it"
        )


@contextmanager
def owned(journal: Path) -> Generator[None]:
    """A context in which no process but this one may open the session of *journal*, or change it.

    Raises:
        JournalLockedError: It is open.
        JournalError: The folder cannot be used.
    """
    with _errors(), _folder(journal.parent) as folder:
        path = folder / journal.stem
        fd, _ = lock_file(path, create=True)
    try:
        with _errors():
            os.truncate(path, 0)  # whoever had it open last, and was killed, has it no more
        yield
    finally:
        path.unlink(missing_ok=True)
        fcntl.flock(fd, fcntl.LOCK_UN)  # a fork of the app may have a copy
        os.close(fd)


def was_taken(cause: ExitReason) -> bool:
    """Whether *cause*, of what failed in a start, is that somebody else had the session."""
    refusals = (JournalLockedError, ProjectAlreadyOpenError)
    names = tuple(f"{cls.__module__}.{cls.__qualname__}: " for cls in refusals)
    return isinstance(cause, Crashed) and cause.error.startswith(names)


def owner_path(journal: Path) -> Path:
    """Return the file that is locked while the session of *journal* is open."""
    return journal.parent / _FOLDER / journal.stem


def _read(path: Path) -> _Owner | None:
    """Return what the file of an open session says; None if it is being written, or is none."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_SIZE), type=_Owner)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.warning("{} says nothing of an open session: {}", quote(path.name), error)
        return None


@contextmanager
def _errors() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(f"open sessions cannot be noted: {error.strerror}") from error


@contextmanager
def _folder(journals: Path) -> Generator[Path]:
    """Hold the folder of open sessions beside *journals*."""
    folder = journals / _FOLDER
    fd = _open_locked(folder)
    try:
        yield folder
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # a fork of the app may have a copy
        os.close(fd)


def _open_locked(folder: Path) -> int:
    """Return a descriptor that holds *folder*, which is made if need be."""
    while True:
        make_private_folder(folder)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock(fd)
            if is_at(fd, folder):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # it was removed meanwhile: others hold another one of that name


def _lock(fd: int) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = lock_holders().of(os.fstat(fd))
                raise JournalLockedError("the folder of open sessions is held", holder) from None
            time.sleep(0.001)
        else:
            return
