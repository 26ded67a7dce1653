"""Whose an open session is, among all systems that keep their journals in one folder.

A session lives longer than its State: State dies and comes back, and nobody holds the
lock of the journal meanwhile. Another system could take the session then, or delete its
journal. So a session is owned by its supervisor, whose life is that of the session:
it holds a lock (flock) on a file that stands for the session, in the folder `open` beside the
journals. The lock ends with the process, however that ends.

The file says which project the session has. So two systems do not open one project
either, nor one inside another: the rule is the one that `Admission` applies within one
system. A session of which that cannot be said, for the disk is full, is not opened; and as
long as a file is locked that does not say it, for somebody cut it off, none is. A file that is
left by a process that was killed stops nobody: it is not locked, and goes when the next
session is opened.

A lock on a file that was removed keeps nobody out: whoever comes next makes another file.
Nothing stands in the way of that, so it is noticed: by State, which takes no change then.

Files are locked, and tried, only by who holds the lock of the folder itself, for a moment.
Otherwise one who only looks would be taken for an owner, and two who come at the same
time for one project could both be let in, or none.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
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
from jidocode.session.journal.opening import (
    NotRegularError,
    close_locked,
    is_at,
    lock_file,
    lock_holders,
    open_private,
    open_regular,
)
from jidocode.session.journal.place import journal_path, opening_time
from jidocode.session.journal.writing import make_private_folder, write_all
from jidocode.session.record import is_session_id

LOCK_PATIENCE = 5.0
"""Seconds to wait for the folder, which everybody holds for milliseconds only."""
_FOLDER = "open"
_MAX_SIZE = 2**20
_BEING_CHANGED = b"\0"
"""What the file of a session says whose journal is being changed. That is a hole, which needs no
room: a journal can be deleted on a full disk."""


class _Owner(Struct, frozen=True):
    """What the file of an open session says.

    Attributes:
        system: The system in which it is open.
        place: What it takes up; None if it is not open, but its journal is being changed.
    """

    system: str
    place: Place | None


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
            JournalError: The folder cannot be used, or its disk is full.
        """
        with _errors(self.folder), _folder(Path(self.folder)) as folder:
            path = folder / place.session_id
            fd, _ = lock_file(path, create=True)
            try:
                self._check(folder, place)
                with open(path, "wb", buffering=0, opener=open_private) as file:
                    write_all(file.fileno(), msgspec.json.encode(_Owner(self.system, place)))
            except BaseException:
                _drop(path, fd)
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
        with _errors(self.folder), _folder(Path(self.folder)) as folder:
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
                close_locked(fd)
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
        """Yield what other systems have open, and in which process.

        Raises:
            JournalLockedError: One has a session open whose project nobody knows.
        """
        for name in os.listdir(folder):  # noqa: PTH208 - names are all that is needed
            path = folder / name
            if name == session_id or not is_session_id(name):
                continue
            try:
                fd, _ = lock_file(path, create=False)
            except (FileNotFoundError, NotRegularError):
                continue  # what is no file is none of ours, and so nobody's session
            except JournalLockedError as error:
                owner = _read(path)
                if owner is None:
                    # It may be any: its file was written once, and then somebody cut it off.
                    problem = f"the file of session {name} does not say its project, and is in use"
                    raise JournalLockedError(problem, error.pid) from error
                if owner.place is not None and owner.system != self.system:
                    yield owner.place, error.pid
            else:
                _drop(path, fd)  # its process was killed


class Hold:
    """What keeps a session its system's, as State sees it: a file that has to stay as it is.

    State looks at it before each change, because whoever removed the file may have given the
    session to another system, which then has the same project open, or has deleted the journal
    between two lives of State. Nor does a file that was cut off, or written to, say any more
    what is open. It costs a microsecond or two, as does the look at the journal.
    """

    def __init__(self, journal: Path, system: str) -> None:
        """Find the file for the session of *journal*, which *system* has open.

        Raises:
            JournalLostError: It is not there, says nothing, or is another system's.
        """
        self._path = str(owner_path(journal))
        try:
            self._identity = os.lstat(self._path)
        except OSError as error:
            raise self._lost() from error
        owner = _read(Path(self._path))
        if owner is None or owner.system != system:
            raise self._lost()

    def check(self) -> None:
        """Raise `JournalLostError` unless the file is where it should be, and as long as it was."""
        try:
            status = os.lstat(self._path)
        except OSError as error:
            raise self._lost() from error
        if not os.path.samestat(status, self._identity) or status.st_size != self._identity.st_size:
            raise self._lost()

    def _lost(self) -> JournalLostError:
        name = os.path.basename(self._path)  # noqa: PTH119 - a text, as it is looked at each time
        return JournalLostError(
            f"session {quote(name)} is not kept for its system any more: its file, or the whole "
            f"folder {_FOLDER!r}, was removed or changed. Stop the session, and resume it"
        )


@contextmanager
def owned(journal: Path) -> Generator[None]:
    """A context in which no process but this one may open the session of *journal*, or change it.

    Raises:
        JournalLockedError: It is open.
        JournalError: The folder cannot be used.
    """
    with ExitStack() as stack:
        with _errors(journal.parent), _folder(journal.parent) as folder:
            path = folder / journal.stem
            fd, _ = lock_file(path, create=True)
            stack.callback(_drop, path, fd)
            os.truncate(path, 0)  # whoever had it open last, and was killed, has it no more
            os.truncate(path, len(_BEING_CHANGED))
        yield


def refusal(cause: ExitReason, session_id: str) -> JournalError | None:
    """Return the error of a start that failed for *cause*, if the `Home` of a session refused it.

    By whom it was refused is not in it, for it is a text.
    """
    if not isinstance(cause, Crashed):
        return None
    name, _, text = cause.error.partition(": ")
    taken, unusable = (JournalLockedError, ProjectAlreadyOpenError), (JournalError,)
    if name in map(_full_name, taken):
        problem = f"session {session_id}, or its project, was in use a moment ago"
        return JournalLockedError(problem)
    return JournalError(text) if name in map(_full_name, unusable) else None


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def owner_path(journal: Path) -> Path:
    """Return the file that is locked while the session of *journal* is open."""
    return journal.parent / _FOLDER / journal.stem


def _read(path: Path) -> _Owner | None:
    """Return what the file of a session says; None if that is nothing, or it is none."""
    try:
        with open(path, "rb", opener=open_regular) as file:
            content = file.read(_MAX_SIZE)
        if content == _BEING_CHANGED:
            return _Owner("", None)
        return msgspec.json.decode(content, type=_Owner)
    except (FileNotFoundError, NotRegularError):
        return None
    except (
        ValueError,
        RecursionError,
    ) as error:  # msgspec's own, and of what is no UTF-8, too deep
        log.warning("{} says nothing of an open session: {}", quote(path.name), error)
        return None


def _drop(path: Path, fd: int) -> None:
    """Remove the file at *path*, which is open as *fd* and locked: nobody has the session."""
    try:
        path.unlink(missing_ok=True)
    finally:
        close_locked(fd)


@contextmanager
def _errors(journals: str | Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        folder = quote(os.path.join(journals, _FOLDER))  # noqa: PTH118 - only to be said
        raise JournalError(
            f"open sessions cannot be noted in {folder}: {error.strerror}"
        ) from error


@contextmanager
def _folder(journals: Path) -> Generator[Path]:
    """Hold the folder of open sessions beside *journals*."""
    folder = journals / _FOLDER
    fd = _open_locked(folder)
    try:
        yield folder
    finally:
        close_locked(fd)


def _open_locked(folder: Path) -> int:
    """Return a descriptor that holds *folder*, which is made if need be."""
    while True:
        make_private_folder(folder)
        # A link would never be found to be what was opened.
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _lock(fd)
            if is_at(fd, folder):
                return fd
        except BaseException:
            close_locked(fd)
            raise
        close_locked(fd)  # it was removed meanwhile: others hold another one of that name


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
