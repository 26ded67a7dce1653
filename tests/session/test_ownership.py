"""Who owns an open session, without a process of a system: what the files say and do."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from limits import run_unshared

from jidocode.errors import (
    JournalError,
    JournalLockedError,
    ProjectAlreadyOpenError,
    SessionNotFoundError,
)
from jidocode.session.admission.admission import Place
from jidocode.session.journal import ownership
from jidocode.session.journal.catalogue import delete_journal
from jidocode.session.journal.ownership import Home, owned, owner_path
from jidocode.session.journal.place import journal_path
from jidocode.session.record import new_session_id

ROOT, SHOP, SRC = (1, 1), (1, 2), (1, 3)
"""Keys of folders, each inside the one before."""


class Owner:
    """A system, and what it owns."""

    def __init__(self, folder: Path, name: str, *, allow_nested: bool = False) -> None:
        self.home = Home(folder=str(folder), system=name, allow_nested=allow_nested)
        self.fds: list[int] = []

    def own(self, place: Place) -> None:
        self.fds.append(self.home.own(place))

    def let_go(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Owner]:
    """A system."""
    owner = Owner(tmp_path, "one")
    yield owner
    owner.let_go()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Owner]:
    """Another one, on the same folder."""
    owner = Owner(tmp_path, "two")
    yield owner
    owner.let_go()


def place(project: tuple[int, int], *around: tuple[int, int]) -> Place:
    return Place(new_session_id(), project, frozenset(around))


SHOP_PLACE, SRC_PLACE = place(SHOP, ROOT), place(SRC, SHOP, ROOT)
OTHER_PLACE = place((1, 9), ROOT)


@pytest.mark.parametrize("ask", ["own", "check"])
@pytest.mark.parametrize(
    ("taken", "wanted"),
    [
        (SHOP_PLACE, place(SHOP, ROOT)),
        (SHOP_PLACE, SRC_PLACE),
        (SRC_PLACE, SHOP_PLACE),
    ],
)
def test_a_project_that_another_system_has_is_refused(
    one: Owner,
    two: Owner,
    ask: str,
    taken: Place,
    wanted: Place,
) -> None:
    """Also inside or around it; it says in which session and process. Then it is free."""
    nested = taken.project != wanted.project
    one.own(taken)
    with pytest.raises(ProjectAlreadyOpenError) as error:
        getattr(two.home, ask)(wanted)
    assert (error.value.session_id, error.value.nested) == (taken.session_id, nested)
    assert error.value.pid == os.getpid()
    assert f"process {os.getpid()}" in str(error.value)
    two.own(OTHER_PLACE)
    one.let_go()
    two.own(wanted)


def test_nested_projects_are_opened_if_that_is_permitted(one: Owner, tmp_path: Path) -> None:
    """By the one who asks; the same project is not."""
    one.own(SHOP_PLACE)
    two = Owner(tmp_path, "two", allow_nested=True)
    try:
        two.own(SRC_PLACE)
        with pytest.raises(ProjectAlreadyOpenError):
            two.own(place(SHOP, ROOT))
    finally:
        two.let_go()


def test_what_is_open_in_the_same_system_is_the_registrys_to_know(one: Owner) -> None:
    """Except that a session has one owner."""
    one.own(SHOP_PLACE)
    one.home.check(SHOP_PLACE)
    one.own(place(SHOP, ROOT))
    with pytest.raises(JournalLockedError):
        one.own(SHOP_PLACE)


@pytest.mark.parametrize("ask", ["own", "check"])
def test_a_session_that_is_open_in_another_system_is_refused(
    one: Owner, two: Owner, ask: str
) -> None:
    """Whatever its project is there."""
    one.own(SHOP_PLACE)
    with pytest.raises(JournalLockedError) as error:
        getattr(two.home, ask)(Place(SHOP_PLACE.session_id, (7, 7), frozenset()))

    assert error.value.pid == os.getpid()


def test_the_journal_of_an_open_session_is_not_deleted(one: Owner, tmp_path: Path) -> None:
    """Although nobody has the journal itself open."""
    one.own(SHOP_PLACE)
    one.home.begin_journal(SHOP_PLACE.session_id)
    path = journal_path(tmp_path, SHOP_PLACE.session_id)
    with pytest.raises(JournalLockedError):
        delete_journal(path)
    one.let_go()
    delete_journal(path)

    assert not path.exists()


def test_a_session_whose_journal_is_being_changed_is_not_taken_for_the_one_that_had_it_last(
    one: Owner, tmp_path: Path
) -> None:
    """The file that a killed session left says that it is open in this system."""
    one.own(SHOP_PLACE)
    one.let_go()
    with owned(journal_path(tmp_path, SHOP_PLACE.session_id)), pytest.raises(JournalLockedError):
        one.home.check(SHOP_PLACE)


def test_a_journal_that_a_session_is_to_go_on_with_is_not_begun(one: Owner, tmp_path: Path) -> None:
    """It is there, or there is no such session."""
    one.own(SHOP_PLACE)
    with pytest.raises(SessionNotFoundError, match=SHOP_PLACE.session_id):
        one.home.require_journal(SHOP_PLACE.session_id)
    assert not journal_path(tmp_path, SHOP_PLACE.session_id).exists()
    one.home.begin_journal(SHOP_PLACE.session_id)

    one.home.require_journal(SHOP_PLACE.session_id)


def test_a_session_whose_journal_is_being_changed_is_not_opened(
    one: Owner, two: Owner, tmp_path: Path
) -> None:
    """And others are."""
    with owned(journal_path(tmp_path, SHOP_PLACE.session_id)):
        with pytest.raises(JournalLockedError):
            one.own(SHOP_PLACE)
        with pytest.raises(JournalLockedError):
            one.home.check(SHOP_PLACE)
        two.own(SRC_PLACE)
    two.let_go()
    one.own(SHOP_PLACE)


def test_what_was_left_by_the_dead_goes(one: Owner, two: Owner, tmp_path: Path) -> None:
    """Strangers' files do not."""
    one.own(SHOP_PLACE)
    left = owner_path(journal_path(tmp_path, SHOP_PLACE.session_id))
    (left.parent / "notes.txt").write_text("mine")
    one.let_go()
    assert left.exists()
    two.home.check(SRC_PLACE)

    assert [path.name for path in left.parent.iterdir()] == ["notes.txt"]


SAYS_NOTHING = [
    b"",
    b"{",
    b'{"system":1}',
    b"\0\0",
    b"\xff" * 100,
    b'{"system":"\xff"}',
    b'{"x":' + b"[" * 100_000,
]


@pytest.mark.parametrize("content", SAYS_NOTHING)
def test_an_owners_file_that_says_nothing_guards_its_session_and_all_projects(
    one: Owner, two: Owner, tmp_path: Path, content: bytes
) -> None:
    """It may have any of them, until it is stopped."""
    one.own(SHOP_PLACE)
    owner_path(journal_path(tmp_path, SHOP_PLACE.session_id)).write_bytes(content)
    for home in (one.home, two.home):
        for ask in (home.own, home.check):
            for wanted in (SHOP_PLACE, SRC_PLACE, OTHER_PLACE):
                with pytest.raises(JournalLockedError) as error:
                    ask(wanted)
                assert error.value.pid == os.getpid()
    one.let_go()
    two.own(OTHER_PLACE)


FULL_DISK = """
import os, subprocess, sys
from pathlib import Path
from jidocode.errors import JournalError
from jidocode.session.admission.admission import Place
from jidocode.session.journal.catalogue import delete_journal
from jidocode.session.journal.ownership import Home
from jidocode.session.journal.place import journal_path
from jidocode.session.record import new_session_id

folder = sys.argv[1]
subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder])
home, place = Home(folder=folder, system="one"), Place(new_session_id(), (1, 2), frozenset())
os.close(home.own(place))
home.begin_journal(place.session_id)
os.unlink(f"{folder}/open/{place.session_id}")  # else it goes later, and makes room
with open(f"{folder}/filler", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(512))
    except OSError:
        pass
try:
    home.own(Place(new_session_id(), (1, 3), frozenset()))
except JournalError as error:
    print(error)
print(len(os.listdir(f"{folder}/open")))
delete_journal(journal_path(folder, place.session_id))
print(sorted(os.listdir(folder)), os.listdir(f"{folder}/open"))
"""


def test_on_a_full_disk_no_session_is_opened_and_journals_are_deleted(tmp_path: Path) -> None:
    """Two systems would open one project; room has to be made somehow."""
    refusal, left, after = run_unshared(FULL_DISK, tmp_path, namespaces=["--mount"]).splitlines()
    assert "open sessions cannot be noted in " in refusal
    assert "/open': No space left on device" in refusal
    assert (left, after) == ("0", "['filler', 'open'] []")


def test_a_folder_that_is_held_by_a_stopped_process_is_an_error_soon(
    one: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names that process."""
    monkeypatch.setattr(ownership, "LOCK_PATIENCE", 0.1)
    one.own(SRC_PLACE)
    code = "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\n"
    code += "fcntl.flock(fd, fcntl.LOCK_EX)\nprint(flush=True)\nsys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "open")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    holder.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(JournalLockedError) as error:
        one.own(SHOP_PLACE)
    holder.kill()
    holder.communicate()

    assert error.value.pid == holder.pid
    assert time.monotonic() - began < 5
    one.own(SHOP_PLACE)


def test_a_folder_that_cannot_be_used_is_a_typed_error(one: Owner, tmp_path: Path) -> None:
    """A file stands where it should be."""
    (tmp_path / "open").write_text("no folder")
    with pytest.raises(JournalError, match="open sessions cannot be noted"):
        one.own(SHOP_PLACE)


def test_a_folder_that_is_removed_while_it_is_waited_for_is_made_again(
    one: Owner, two: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And held again: of the one that is gone two systems may have each another."""
    truly, folder = fcntl.flock, tmp_path / "open"

    def flock(fd: int, operation: int) -> None:
        truly(fd, operation)
        if operation & fcntl.LOCK_EX and folder.exists():
            monkeypatch.undo()
            folder.rmdir()

    monkeypatch.setattr(fcntl, "flock", flock)
    one.own(SHOP_PLACE)
    assert owner_path(journal_path(tmp_path, SHOP_PLACE.session_id)).exists()
    with pytest.raises(ProjectAlreadyOpenError):
        two.own(place(SHOP, ROOT))


@pytest.mark.parametrize("kind", ["a folder", "a link", "a link to nowhere", "a pipe"])
def test_what_is_no_file_in_the_folder_of_open_sessions_keeps_nobody_out(
    one: Owner, tmp_path: Path, kind: str
) -> None:
    """It is nobody's session; nor is what a link leads to touched."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    odd = owner_path(journal_path(tmp_path, new_session_id()))
    odd.parent.mkdir(mode=0o700)
    match kind:
        case "a folder":
            odd.mkdir()
        case "a link":
            odd.symlink_to(victim)
        case "a link to nowhere":
            odd.symlink_to(tmp_path / "nowhere")
        case _:
            os.mkfifo(odd)

    one.own(place(SHOP, ROOT))

    assert os.path.lexists(odd)
    assert victim.read_text() == "precious"
