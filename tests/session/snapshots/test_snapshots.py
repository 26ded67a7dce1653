"""Snapshots: what is in one, what is not, what is read for it, and what is asked wrongly."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace
from snapshot_trees import Life, NewLife, contents, put, reasons, tree_of

from jidocode.errors import (
    BoundaryError,
    InvalidRequestError,
    NoSnapshotError,
    SnapshotError,
)
from jidocode.otp.server.results import Refuse, Reply
from jidocode.session.project.entries import Ground
from jidocode.session.requests import Request
from jidocode.session.snapshots.index import Entry, Summary, open_index
from jidocode.session.snapshots.operations import changes_since, diff, snapshots, take_snapshot
from jidocode.session.snapshots.reverting import SNAPSHOTS, revert


def test_without_a_snapshot_it_says_so(life: Life) -> None:
    """A typed error, whatever is asked; a number that is none is another."""
    asked: list[Any] = [changes_since, revert]
    for ask in asked:
        with pytest.raises(NoSnapshotError, match="no snapshot was taken") as caught:
            life.do(ask)
        assert caught.value.snapshot is None
    with pytest.raises(NoSnapshotError):
        life.do(diff, "a")
    assert life.do(snapshots) == []
    life.do(take_snapshot)
    with pytest.raises(NoSnapshotError, match="no snapshot 7"):
        life.do(changes_since, 7)


def test_in_memory_there_are_none(folder: Path) -> None:
    """And nothing is written anywhere."""
    life = Life(folder, None)
    asked: list[Any] = [take_snapshot, snapshots, changes_since, revert]
    for ask in asked:
        with pytest.raises(SnapshotError, match="memory"):
            life.do(ask)
    life.close()


@pytest.mark.parametrize(
    ("operation", "args", "options"),
    [
        (take_snapshot, ["x" * 201], {}),
        (take_snapshot, ["a\nb"], {}),
        (take_snapshot, [7], {}),
        (take_snapshot, [], {"seconds": 601}),
        (take_snapshot, [], {"seconds": "soon"}),
        (changes_since, ["first"], {}),
        (changes_since, [True], {}),
        (changes_since, [0], {}),
        (changes_since, [], {"limit": 0}),
        (changes_since, [], {"after": ""}),
        (changes_since, [], {"after": 7}),
        (revert, ["a"], {}),
        (revert, [7], {}),
        (revert, [], {"to": "first"}),
        (diff, [".git/config"], {}),
    ],
)
def test_wrong_arguments_change_nothing(
    new_life: NewLife, folder: Path, operation: Any, args: list[Any], options: dict[str, Any]
) -> None:
    """Each is refused before anything is done."""
    life = new_life()
    put(folder, "a")
    put(folder, ".git/config")
    life.do(take_snapshot)
    with pytest.raises(InvalidRequestError):
        life.do(operation, *args, **options)
    assert [each.id for each in life.do(snapshots)] == [1]


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.text(max_size=3)
    | st.sampled_from(["src", "/", "..", 2**70, float("nan"), b"x", "\ud800", "\0"])
)


@given(
    name=st.sampled_from(list(SNAPSHOTS.by_name)),
    args=st.lists(VALUES | st.lists(VALUES, max_size=2), max_size=3).map(tuple),
    kwargs=st.dictionaries(
        st.sampled_from(["label", "seconds", "limit", "after", "since", "to", "path", "x"]), VALUES
    ),
)
def test_no_request_ends_a_manager(
    new_life: NewLife, folder: Path, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Whatever is asked, it is answered or refused."""
    put(folder, "src/a", "1")
    asked: Request[Any] = Request(name, args, kwargs)
    outcome = new_life().do(lambda work: SNAPSHOTS.answer(asked, work))
    assert isinstance(outcome, (Reply, Refuse))


def test_paths_that_lead_out_are_refused(life: Life, folder: Path) -> None:
    """Before a snapshot is taken."""
    put(folder, "a", "1")
    life.do(take_snapshot)
    for path in ("../a", "/etc/passwd"):
        with pytest.raises(BoundaryError):
            life.do(revert, [path])
        with pytest.raises(BoundaryError):
            life.do(diff, path)
    assert len(life.do(snapshots)) == 1


def test_what_is_ignored_is_no_part_of_it(life: Life, folder: Path, tmp_path: Path) -> None:
    """Nor is a `.git`: neither looked at, nor kept, nor touched by a way back."""
    put(folder, ".gitignore", "node_modules\n*.log\n")
    put(folder, "node_modules/x/y.js", "module")
    put(folder, "a.log", "log")
    put(folder, ".git/HEAD", "head")
    put(folder, "sub/.git/HEAD", "inner head")
    put(folder, "kept", "kept")
    snapshot = life.do(take_snapshot)
    assert len(contents(tmp_path)) == 2

    put(folder, "node_modules/z.js", "more")
    put(folder, "a.log", "longer log")
    put(folder, ".git/HEAD", "other head")
    assert life.changes() == []
    put(folder, "kept", "changed")
    before = tree_of(folder)
    assert life.do(revert).restored == ("kept",)
    assert tree_of(folder) == before | {"kept": before["kept"]._replace(content=b"kept")}
    with pytest.raises(InvalidRequestError, match="no part of snapshot"):
        life.do(diff, "a.log", snapshot)
    assert reasons(life.do(revert, ["a.log", "gone"], to=snapshot)) == {
        "a.log": "it is no part of the snapshot",
        "gone": "it is no part of the snapshot",
    }


def test_other_rules_later_remove_nothing(life: Life, folder: Path) -> None:
    """What was left out then is not "added" now; what is left out now is not "removed"."""
    put(folder, ".gitignore", "build\n")
    put(folder, "build/out", "built")
    put(folder, "secret", "s")
    first = life.do(take_snapshot)
    put(folder, ".gitignore", "secret\n")
    assert life.kinds() == {".gitignore": "changed"}
    second = life.do(take_snapshot)
    put(folder, "secret", "changed")
    assert life.kinds(first) == {".gitignore": "changed", "secret": "changed"}
    assert life.kinds(second) == {}

    done = life.do(revert, to=first)
    assert set(done.restored) == {".gitignore", "secret"}
    assert (folder / "build/out").read_text() == "built"
    assert (folder / "secret").read_text() == "s"
    # It kept what rules leave out, for it was about to replace it.
    life.do(revert, to=done.before)
    assert (folder / "secret").read_text() == "changed"


def test_a_folder_that_is_left_out_now_loses_nothing(life: Life, folder: Path) -> None:
    """Nor after two ways: what came into it is not known, and so not removed."""
    put(folder, "out/known", "1")
    first = life.do(take_snapshot)
    put(folder, ".gitignore", "out\n")
    put(folder, "out/new", "2")
    done = life.do(revert, to=first)
    assert done.removed == (".gitignore",)
    assert (folder / "out/new").read_text() == "2"
    life.do(revert, to=done.before)
    assert (folder / "out/new").read_text() == "2"
    (folder / ".gitignore").unlink()
    assert life.do(revert, to=done.before).removed == ()
    assert (folder / "out/new").read_text() == "2"


def test_a_folder_that_cannot_be_listed_loses_nothing(
    life: Life, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it is not known then, and so neither removed now nor later."""
    put(folder, "locked/file", "1")
    real = os.scandir

    def fail(place: Any) -> Any:
        if "/locked" in os.readlink(f"/proc/self/fd/{place}"):  # noqa: PTH115 - a descriptor
            raise OSError(errno.EACCES, "no")
        return real(place)

    monkeypatch.setattr(os, "scandir", fail)
    blind = life.do(take_snapshot)
    assert (blind.unkept.unreadable, blind.files) == (1, 1)
    monkeypatch.undo()
    assert life.changes() == []
    assert life.do(revert).removed == ()
    seeing = life.do(take_snapshot)
    monkeypatch.setattr(os, "scandir", fail)
    assert life.changes(seeing) == []
    assert (folder / "locked/file").exists()


def test_nothing_else_than_files_folders_and_links_is_touched(life: Life, folder: Path) -> None:
    """A FIFO, a socket: seen, said, left alone."""
    put(folder, "a", "1")
    os.mkfifo(folder / "fifo")
    life.do(take_snapshot)
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    (folder / "fifo").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))
    assert life.kinds() == {"a": "type", "fifo": "removed", "socket": "added"}
    assert reasons(life.do(revert)) == {
        "a": "what is there is neither file, folder nor symlink",
        "fifo": "what was there is neither file, folder nor symlink",
        "socket": "what is there is neither file, folder nor symlink",
    }
    assert stat.S_ISSOCK((folder / "socket").stat().st_mode)


def test_contents_are_shared_private_and_each_in_a_file(
    life: Life, folder: Path, tmp_path: Path
) -> None:
    """Named by their hashes; what is the same is there once."""
    for name in ("a", "b", "c/d"):
        put(folder, name, "the same")
    life.do(take_snapshot, "first")
    put(folder, "e", "other")
    second = life.do(take_snapshot)
    assert sorted(path.read_text() for path in contents(tmp_path)) == ["other", "the same"]
    assert second.size == 3 * 8 + 5
    for path in (tmp_path / "store").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert [(each.id, each.label) for each in life.do(snapshots)] == [(1, "first"), (2, None)]


def test_what_has_not_changed_is_not_read_again(
    new_life: NewLife, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is old enough that its time says so; in the next life, too."""
    life = new_life()
    put(folder, "old", "1")
    put(folder, "new", "2")
    later = (folder / "new").stat().st_ctime_ns + 10 * 10**9
    monkeypatch.setattr("time.time_ns", lambda: later)
    life.do(take_snapshot)
    read: list[str] = []
    real = Ground.open_file

    def watched(ground: Ground, path: str) -> int:
        read.append(path)
        return real(ground, path)

    monkeypatch.setattr(Ground, "open_file", watched)
    put(folder, "new", "3")
    life = new_life()
    assert life.kinds() == {"new": "changed"}
    assert [path for path in read if ".git" not in path] == ["new"]


def test_a_file_that_was_written_in_the_same_tick_is_read_again(
    life: Life, folder: Path, tmp_path: Path
) -> None:
    """The times of a file say nothing if it was written just before it was read.

    The clock of the file system is too fine here for that to happen, so its index is made up:
    another content than there is, with the status that there is.
    """
    file = put(folder, "a", "now")
    life.do(take_snapshot)
    path = tmp_path / "store/index/00000001"
    index = open_index(path)
    (entry,) = index.entries()
    status = file.stat()
    before = replace(entry, sha256=b"\1" * 32)
    assert before.ctime == status.st_ctime_ns

    def pretend(began: int) -> None:
        number, writer = life.store.begin()
        writer.add(before)
        writer.finish(replace(index.summary, id=number, began=began))
        writer.close()
        life.store.commit(number)

    pretend(status.st_ctime_ns + 10**9)
    assert life.kinds() == {"a": "changed"}
    pretend(status.st_ctime_ns + 3 * 10**9)
    assert life.kinds() == {}


def test_another_folder_is_not_taken_for_the_one_before(new_life: NewLife, folder: Path) -> None:
    """A project that was moved to another folder is read again."""
    life = new_life()
    put(folder, "a", "1")
    life.do(take_snapshot)
    summary: Summary = life.store.find(None).summary
    assert summary.root == (folder.stat().st_dev, folder.stat().st_ino)
    folder.rename(folder.with_name("old"))
    folder.mkdir()
    put(folder, "a", "2")
    life = new_life()
    assert life.kinds() == {"a": "changed"}
    life.do(revert)
    assert (folder / "a").read_text() == "1"


def test_entries_say_whether_anything_was_written() -> None:
    """By all that the kernel says, the time included that nobody can set."""
    one = Entry(kind="file", size=1, inode=2, mtime=3, ctime=4)
    assert one.has_status(replace(one, mode=0o600))
    for change in ({"size": 0}, {"inode": 0}, {"mtime": 0}, {"ctime": 0}):
        assert not one.has_status(replace(one, **change))


def test_memory_does_not_grow_with_the_project(
    new_life: NewLife, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds no more than a block of entries needs the same for three times as many."""
    life = new_life()
    later = time.time_ns() + 10**12
    monkeypatch.setattr("time.time_ns", lambda: later)
    peaks: list[int] = []
    for count in (25, 75):
        for part in range(40):
            for number in range(count):
                put(folder, f"{part}/{number}", f"{number}")
        life.do(take_snapshot)
        tracemalloc.start()
        life.do(take_snapshot)
        assert life.do(changes_since).changes == ()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 2000 entries more take more than half a megabyte.
    assert peaks[1] - peaks[0] < 250_000


def test_a_diff_is_text_or_says_why_not(life: Life, folder: Path) -> None:
    """Bounded, with line ends that differ, of links, of what was added and removed."""
    put(folder, "a", "one\ntwo\nthree\n")
    put(folder, "crlf", "a\nb\n")
    put(folder, "binary", b"\0\1")
    put(folder, "gone", "was\n")
    put(folder, "same", "same\n")
    (folder / "link").symlink_to("a")
    snapshot = life.do(take_snapshot)
    put(folder, "a", "one\n2\nthree")
    put(folder, "crlf", "a\r\nb\r\n")
    put(folder, "binary", b"\0\2")
    put(folder, "large", "x\n" * 2**20 + "y")
    (folder / "gone").unlink()
    put(folder, "new", "is\n")
    (folder / "link").unlink()
    (folder / "link").symlink_to("b")
    (folder / "same").chmod(0o600)

    found = life.do(diff, "a", snapshot)
    assert (found.kind, found.problem, found.truncated, found.snapshot) == (
        "changed", None, False, 1
    )  # fmt: skip
    assert found.text.splitlines() == [
        "@@ -1,3 +1,3 @@", " one", "-two", "-three", "+2", "+three", "\\ No newline at end of file"
    ]  # fmt: skip
    assert life.do(diff, "crlf").text.count("\n") == 4
    assert life.do(diff, "binary").problem == "binary"
    assert life.do(diff, "large").problem == "too large"
    assert life.do(diff, "gone").text == "@@ -1,1 +0,0 @@\n-was"
    assert life.do(diff, "new").text == "@@ -0,0 +1,1 @@\n+is"
    assert life.do(diff, "link").text.splitlines()[1] == "-a"
    assert (life.do(diff, "same").kind, life.do(diff, "same").text) == ("mode", "")
    with pytest.raises(FileNotFoundError):
        life.do(diff, "nowhere")
