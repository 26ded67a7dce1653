"""Opening and locking in the folder of journals: whatever stands there, and whoever forks."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jidocode.errors import JournalError, ProjectAlreadyOpenError
from jidocode.session.admission.admission import Place
from jidocode.session.journal.catalogue import (
    add_record,
    delete_journal,
    export_journal,
    fork_journal,
    list_journals,
    load_record,
)
from jidocode.session.journal.file import Journal
from jidocode.session.journal.opening import open_regular
from jidocode.session.journal.ownership import Home, owner_path
from jidocode.session.journal.place import journal_path
from jidocode.session.journal.writing import new_path
from jidocode.session.project.temporary import TemporaryName
from jidocode.session.record import Session, new_session_id

Ask = Callable[[Path, Session], object]


@pytest.fixture
def path(tmp_path: Path, session: Session) -> Path:
    """A journal, closed, with one record."""
    path = journal_path(tmp_path / "state", session.id)
    Journal.open(path, create=True).close()
    add_record(path, session)
    return path


def home(path: Path, system: str = "one") -> Home:
    return Home(folder=str(path.parent), system=system)


def place_of(session: Session) -> Place:
    return Place(session.id, (1, 2), frozenset())


# ----- what is no file ----------------------------------------------------------------------

KINDS = ["a pipe", "a socket", "a directory", "a symbolic link"]


def put(kind: str, path: Path) -> None:
    """Have something that is no file at *path*."""
    path.parent.mkdir(exist_ok=True)
    match kind:
        case "a pipe":
            os.mkfifo(path)
        case "a socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
        case "a directory":
            path.mkdir()
        case _:
            path.symlink_to(path.with_name("nowhere"))


def own(path: Path, session: Session) -> None:
    os.close(home(path).own(place_of(session)))


WAYS: dict[str, Ask] = {
    "open": lambda path, _: Journal.open(path),
    "open or create": lambda path, _: Journal.open(path, create=True),
    "load": lambda path, _: load_record(path),
    "add": add_record,
    "export": lambda path, _: list(export_journal(path)),
    "fork": lambda path, session: fork_journal(
        path, Session.new(project_path=session.project_path)
    ),
    "delete": lambda path, _: delete_journal(path),
}
OWNING: dict[str, Ask] = {
    "own": own,
    "check": lambda path, session: home(path).check(place_of(session)),
    "add": add_record,
    "delete": lambda path, _: delete_journal(path),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_journal_that_is_no_file_is_refused_at_once(
    path: Path, session: Session, kind: str, way: str
) -> None:
    """Whatever is wanted of it; it is said what it is."""
    path.unlink()
    put(kind, path)
    if (kind, way) == ("a symbolic link", "add"):  # to nowhere: there is no such session
        path.unlink()
        path.symlink_to(path.parent)
    with pytest.raises(JournalError, match=f"there is {kind} in its place"):
        WAYS[way](path, session)

    assert not stat.S_ISREG(path.lstat().st_mode)
    own(path, session)  # nothing is locked


@pytest.mark.timeout(30)
@pytest.mark.parametrize("way", OWNING)
@pytest.mark.parametrize("kind", KINDS)
def test_an_owners_file_that_is_no_file_is_refused_at_once(
    path: Path, session: Session, kind: str, way: str
) -> None:
    """And holds up no other session."""
    put(kind, owner_path(path))
    with pytest.raises(JournalError, match=f"there is {kind} in its place"):
        OWNING[way](path, session)
    own(path, Session.new(project_path=session.project_path))

    assert [each.session_id for each in list_journals(path.parent)] == [session.id]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("way", ["own", "add", "delete"])  # who only looks, looks if it can
@pytest.mark.parametrize("kind", ["a pipe", "a file", "a link to a folder"])
def test_a_folder_of_open_sessions_that_is_none_is_refused_at_once(
    path: Path, session: Session, kind: str, way: str
) -> None:
    """And hides no journal."""
    folder = owner_path(path).parent
    shutil.rmtree(folder, ignore_errors=True)
    match kind:
        case "a pipe":
            os.mkfifo(folder)
        case "a file":
            folder.touch()
        case _:
            folder.symlink_to(path.parent)
    with pytest.raises(JournalError, match="open sessions cannot be noted"):
        OWNING[way](path, session)

    assert [each.session_id for each in list_journals(path.parent)] == [session.id]
    assert load_record(path) == session


@pytest.mark.timeout(30)
def test_a_pipe_where_a_new_file_is_to_be_written_makes_a_compaction_fail(path: Path) -> None:
    """The old file stays."""
    journal = Journal.open(path)
    try:
        os.mkfifo(new_path(path))
        with pytest.raises(JournalError):
            journal.compact([])
        assert journal.append(b"{}") == journal.last_seq
    finally:
        journal.close()


@pytest.mark.timeout(30)
def test_a_pipe_in_place_of_a_note_does_not_hold_up_who_reads_or_writes_it(tmp_path: Path) -> None:
    """It is no note."""
    os.mkfifo(tmp_path / "note")
    name = TemporaryName("a", tmp_path / "note")
    with pytest.raises(OSError, match="a pipe"):
        name.last_folder()
    name.use_in("src")


def test_a_file_that_may_not_be_opened_says_so(tmp_path: Path) -> None:
    """It is a file, after all."""
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        open_regular(tmp_path / "file" / "below")


# ----- forks --------------------------------------------------------------------------------


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Copies of all that is locked, such as a fork by another thread would have."""
    truly, copies = fcntl.flock, list[int]()

    def flock(fd: int, operation: int) -> None:
        truly(fd, operation)
        if operation & fcntl.LOCK_EX:
            copies.append(os.dup(fd))

    monkeypatch.setattr(fcntl, "flock", flock)
    yield copies
    for fd in copies:
        os.close(fd)


def leave_another(path: Path) -> None:
    """Have the file there of a session whose process was killed."""
    other = new_session_id()
    owner_path(path).parent.mkdir(exist_ok=True)
    owner_path(path.with_name(f"{other}.jsonl")).touch()


def be_refused(path: Path, session: Session) -> None:
    other = home(path, "another").own(place_of(Session.new(project_path=session.project_path)))
    with pytest.raises(ProjectAlreadyOpenError):
        home(path).own(place_of(session))
    with pytest.raises(ProjectAlreadyOpenError):
        home(path).check(place_of(session))
    fcntl.flock(other, fcntl.LOCK_UN)
    os.close(other)


def open_damaged(path: Path, session: Session) -> None:
    content = path.read_bytes()
    path.write_bytes(b"nothing of ours\n" * 9)
    with pytest.raises(JournalError):
        Journal.open(path)
    path.write_bytes(content)
    add_record(path, session)


def compact(path: Path, _: Session) -> None:
    journal = Journal.open(path)
    journal.compact([])
    journal.close()


LOCKING: dict[str, Ask] = {
    **OWNING,
    "be refused": be_refused,
    "compact": compact,
    "open a damaged one": open_damaged,
}
del LOCKING["own"]  # until its process ends, with all that it has forked


@pytest.mark.parametrize("way", LOCKING)
def test_a_fork_keeps_no_lock_that_was_given_up(
    path: Path, session: Session, copies: list[int], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """However long it lives."""
    leave_another(path)
    own(path, session)
    for fd in copies:
        os.close(fd)
    copies.clear()
    LOCKING[way](path, session)
    monkeypatch.undo()

    assert copies
    for fd in copies:
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        try:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(again)
