"""What can go wrong with a snapshot, and on the way back to one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from racers import swapping
from snapshot_trees import Life, NewLife, contents, put, reasons, tree_of

from jidocode.errors import (
    FileChangedError,
    SnapshotError,
)
from jidocode.session.journal.writing import write_all
from jidocode.session.project import rewriting
from jidocode.session.project.descriptors import closing
from jidocode.session.project.protection import ProtectionRules
from jidocode.session.snapshots import steps, store as store_module
from jidocode.session.snapshots.operations import changes_since, diff, snapshots, take_snapshot
from jidocode.session.snapshots.reverting import revert


def test_a_full_disk_loses_nothing(
    new_life: NewLife, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typed error, what was there before is there still, and what was begun goes."""
    life = new_life()
    put(folder, "a", "1")
    life.do(take_snapshot)
    put(folder, "a", "2")
    put(folder, "b", "3")
    real = write_all
    wrote: list[bytes] = []

    def fail(fd: int, data: bytes) -> None:
        real(fd, data[:1])
        wrote.append(data)
        if len(wrote) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd, data[1:])

    asked: list[Any] = [take_snapshot, revert]
    for ask in asked:
        wrote.clear()
        monkeypatch.setattr(store_module, "write_all", fail)
        with pytest.raises(SnapshotError, match="No space left"):
            life.do(ask)
        monkeypatch.undo()
        assert [each.id for each in life.do(snapshots)] == [1]
        assert (folder / "a").read_text() == "2"
    assert life.kinds(1) == {"a": "changed", "b": "added"}
    (folder / "b").unlink()
    life.do(take_snapshot)
    assert sorted(path.read_text() for path in contents(tmp_path)) == ["1", "2"]


def test_a_limit_on_files_is_a_full_disk(tmp_path: Path) -> None:
    """The kernel's own refusal, in the middle of an index or of a content."""
    code = """
import sys, resource, signal
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from snapshot_trees import Life
from jidocode.errors import SnapshotError
from jidocode.session.snapshots.operations import *
top = Path(sys.argv[1])
life = Life(top / "p", top / "s")
life.do(take_snapshot)
for number in range(300):
    (top / "p" / f"{number}").write_text(str(number))
(top / "p" / "large").write_bytes(b"x" * 10**6)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for size in (100, 5000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        life.do(take_snapshot)
    except SnapshotError as error:
        print(error, [each.id for each in life.do(snapshots)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print(life.do(take_snapshot).files)
"""
    (tmp_path / "p").mkdir()
    support = str(Path(__file__).parents[2] / "support")
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path), support],
        capture_output=True,
        text=True,
        check=True,
    )
    refused = "no snapshot can be written: File too large [1]\n"
    assert done.stdout == f"{refused}{refused}301\n"


def test_a_way_back_that_is_cut_off_leaves_no_folder_closed(
    life: Life, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder has the permissions that it is to have from the beginning."""
    put(folder, "a/b/c", "1")
    before = tree_of(folder)
    life.do(take_snapshot)
    shutil.rmtree(folder / "a")

    monkeypatch.setattr(steps, "set_mode", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        life.do(revert)
    assert tree_of(folder) == before


@pytest.mark.parametrize("place", ["end", "middle", "empty"])
def test_a_damaged_index_is_noticed(
    new_life: NewLife, folder: Path, tmp_path: Path, place: str
) -> None:
    """It is not used for anything, and the others are."""
    life = new_life()
    for number in range(1100):
        put(folder, f"{number:04}", str(number))
    life.do(take_snapshot)
    life.do(take_snapshot)
    path = tmp_path / "store/index/00000002"
    data = bytearray(path.read_bytes())
    data[{"end": -20, "middle": 1000, "empty": 0}[place]] ^= 1
    path.write_bytes(data if place != "empty" else b"")
    put(folder, "0000", "changed")
    with pytest.raises(SnapshotError, match="snapshot 2 is gone, or damaged"):
        life.do(changes_since, 2)
    if place == "middle":
        (folder / "0000").unlink()
        return
    assert [each.id for each in life.do(snapshots)] == [1]
    assert life.kinds() == {"0000": "changed"}
    assert life.do(take_snapshot).id == 3


def test_a_damaged_content_is_not_brought_back(life: Life, folder: Path, tmp_path: Path) -> None:
    """It is said, and everything else is done."""
    put(folder, "a", "1")
    put(folder, "b", "2")
    put(folder, "c", "3")
    life.do(take_snapshot)
    one, two, three = sorted(contents(tmp_path), key=lambda path: path.read_text())
    one.write_text("X")
    two.unlink()
    del three
    shutil.rmtree(folder)
    folder.mkdir()
    life.close()
    life = Life(folder, tmp_path / "store")
    done = life.do(revert)
    assert done.restored == ("c",)
    assert reasons(done) == {
        "a": "what was kept is damaged",
        "b": "what was kept is gone: No such file or directory",
    }
    life.close()


def test_what_cannot_be_put_back_is_said(life: Life, folder: Path) -> None:
    """A folder that holds what is no part of it is not removed, and nothing in it is."""
    put(folder, ".gitignore", "*.tmp\n")
    put(folder, "a", "file")
    life.do(take_snapshot)
    (folder / "a").unlink()
    put(folder, "a/x.tmp", "ignored")
    put(folder, "a/y", "added")
    put(folder, "new/.git/HEAD", "head")
    done = life.do(revert)
    assert done.removed == ("a/y",)
    assert reasons(done) == dict.fromkeys(["new", "a"], "it holds what is no part of snapshots")
    assert (folder / "a/x.tmp").exists()
    assert (folder / "new/.git/HEAD").exists()


def test_what_somebody_writes_meanwhile_is_not_lost(
    life: Life, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the snapshot before and the step: the file stays, and it is said."""
    for name in ("added", "changed", "removed"):
        put(folder, name, "old")
    (folder / "added").unlink()
    first = life.do(take_snapshot)
    put(folder, "added", "new")
    put(folder, "changed", "new")
    (folder / "removed").unlink()
    real = life.store.prune

    def interfere(spared: Any = ()) -> None:
        real(spared)
        for name in ("added", "changed", "removed"):
            put(folder, name, "somebody's")

    monkeypatch.setattr(life.store, "prune", interfere)
    done = life.do(revert, to=first)
    assert (done.restored, done.removed) == ((), ())
    assert reasons(done) == dict.fromkeys(
        ["added", "changed", "removed"], "somebody has changed it meanwhile"
    )
    assert {node.content for node in tree_of(folder).values()} == {b"somebody's"}


def test_permissions_come_back_with_everything(life: Life, folder: Path) -> None:
    """Also of what nobody may write, and never more than those: no set-user-id."""
    put(folder, "d/program", "#!").chmod(0o4755)
    put(folder, "d/secret", "s").chmod(0o600)
    put(folder, "d/fixed", "f").chmod(0o400)
    (folder / "d").chmod(0o500)
    life.do(take_snapshot)
    (folder / "d").chmod(0o700)
    (folder / "d/program").unlink()
    (folder / "d/secret").chmod(0o644)
    (folder / "d/fixed").chmod(0o600)
    put(folder, "d/fixed", "changed").chmod(0o440)
    put(folder, "d/new", "n")
    assert life.do(revert).failed == ()
    modes = {path: node.mode for path, node in tree_of(folder).items()}
    assert modes == {"d": 0o500, "d/program": 0o755, "d/secret": 0o600, "d/fixed": 0o400}
    assert tree_of(folder)["d/fixed"].content == b"f"


@pytest.mark.parametrize("changes", ["report", "refuse"])
def test_protected_paths_are_told_or_left_alone(
    new_life: NewLife, folder: Path, changes: Any
) -> None:
    """As whatever else changes them: once for all of one way back."""
    life = new_life(protection=ProtectionRules(changes=changes))
    put(folder, ".vscode/tasks.json", "old")
    put(folder, ".envrc", "old")
    put(folder, "a", "old")
    life.do(take_snapshot)
    put(folder, ".vscode/tasks.json", "new")
    put(folder, ".vscode/more.json", "new")
    put(folder, ".husky/pre-commit", "new")
    (folder / ".envrc").unlink()
    put(folder, "a", "new")
    done = life.do(revert)
    touched = [".envrc", ".husky", ".husky/pre-commit", ".vscode/more.json", ".vscode/tasks.json"]
    if changes == "report":
        assert done.failed == ()
        assert [sorted(each.paths) for each in life.told] == [touched]
    else:
        assert done.restored == ("a",)
        assert life.told == []
        assert reasons(done) == dict.fromkeys(
            touched, "it is protected, and changes of it are refused"
        )
        assert (folder / ".vscode/tasks.json").read_text() == "new"


def test_hard_links_may_be_refused(new_life: NewLife, folder: Path, tmp_path: Path) -> None:
    """Then such a file is not read; and one that has become such is not replaced."""
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    put(folder, "a", "1")
    life = new_life(hard_links=False)
    life.do(take_snapshot)
    (folder / "a").unlink()
    os.link(outside, folder / "a")
    assert life.kinds() == {"a": "changed"}
    assert _hash_now(life) is None
    assert "could not be kept" in reasons(life.do(revert, to=1))["a"]
    assert "no regular file that may be changed" in reasons(life.do(revert, ["a"], to=1))["a"]
    assert outside.read_text() == "theirs"


def _hash_now(life: Life) -> str | None:
    after = life.changes()[0].after
    return None if after is None else after.sha256


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a while")
def test_what_may_not_be_read_is_said() -> None:
    """A file and a folder of somebody else's."""
    code = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from snapshot_trees import Life
from jidocode.session.snapshots.operations import *
from jidocode.session.snapshots.reverting import revert
top = Path(sys.argv[1])
os.setegid(65534); os.seteuid(65534)
life = Life(top / "project", top / "store")
print(life.do(take_snapshot).unkept)
(top / "project" / "mine").unlink()
(top / "project" / "locked").chmod(0o600)
(top / "project" / "locked").write_text("changed")
(top / "project" / "locked").chmod(0o400)
print(life.kinds())
done = life.do(revert)
print(done.restored, done.removed, [(each.path, each.reason) for each in done.failed])
print((top / "project" / "locked").read_text())
os.seteuid(0); os.setegid(0)  # what measures coverage writes at the end
"""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top, "project")
        put(folder, "mine", "1")
        put(folder, "locked", "l").chmod(0o400)
        put(folder, "theirs", "2").chmod(0o600)
        put(folder, "closed/file", "3")
        (folder / "closed").chmod(0o700)
        Path(top, "store").mkdir()
        for path in ("project", "project/mine", "project/locked", "store", "."):
            os.chown(Path(top, path), 65534, 65534)
        support = str(Path(__file__).parents[2] / "support")
        done = subprocess.run(
            [sys.executable, "-I", "-c", code, top, support],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "Unkept(too_large=0, no_room=0, unreadable=2)",
        "{'locked': 'changed', 'mine': 'removed'}",
        "('locked', 'mine') () []",
        "l",
    ]


def test_nothing_outside_is_read_or_touched(life: Life, folder: Path, tmp_path: Path) -> None:
    """A folder and a symlink that leads out are swapped all the time."""
    outside = tmp_path / "outside"
    put(outside, "file", "theirs")
    put(outside, "added", "theirs")
    put(folder, "d/file", "ours")
    (folder / "trap").symlink_to(outside)
    first = life.do(take_snapshot)
    restored = removed = 0
    with closing(os.open(folder / "d", os.O_RDONLY)) as inside, swapping(folder):
        for number in range(150):
            for name in ("file", "added"):
                with open(
                    name, "w", opener=lambda path, flags: os.open(path, flags, dir_fd=inside)
                ) as file:
                    file.write(f"{number}")
            # By their names, for otherwise the symlink itself is replaced, which ends the swapping.
            done = life.do(revert, ["d/file", "d/added"], to=first)
            restored += "d/file" in done.restored
            removed += "d/added" in done.removed
            life.do(changes_since, first)
            with suppress(OSError):  # there is no file there, but for moments
                life.do(diff, "trap/file", first)
            assert (outside / "file").read_text() == "theirs"
            assert (outside / "added").read_text() == "theirs"
    assert restored
    assert removed
    assert b"theirs" not in {path.read_bytes() for path in contents(tmp_path)}
    assert sorted(os.listdir(outside)) == ["added", "file"]  # noqa: PTH208 - names


def test_a_manager_that_ends_lets_no_file_be_half_replaced(
    new_life: NewLife, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the one that is being replaced, and lets no other begin."""
    life = new_life()
    for number in range(10):
        put(folder, f"{number}", "old")
    life.do(take_snapshot)
    for number in range(10):
        put(folder, f"{number}", "new")
    begun, closing_begins = threading.Event(), threading.Event()
    real = os.rename

    def rename(*args: Any, **options: Any) -> None:
        if options and not begun.is_set():
            begun.set()
            closing_begins.wait(10)
            time.sleep(0.1)  # for close to come, if it does not wait
        real(*args, **options)

    monkeypatch.setattr(os, "rename", rename)
    outcomes: list[Any] = []
    thread = threading.Thread(target=lambda: outcomes.append(life.do(revert)))
    thread.start()
    begun.wait(10)
    closing_begins.set()
    life.close()
    at_the_end = tree_of(folder)
    thread.join()
    assert tree_of(folder) == at_the_end
    assert sorted(at_the_end) == [f"{number}" for number in range(10)]
    (done,) = outcomes
    back = [path for path, node in at_the_end.items() if node.content == b"old"]
    assert sorted(back) == sorted(done.restored) != []
    assert set(reasons(done).values()) <= {os.strerror(errno.EBADF)}


def test_a_manager_may_write_meanwhile(life: Life, folder: Path) -> None:
    """Its edits and the way back do not take each other's unfinished file."""
    for number in range(200):
        put(folder, f"{number}", "old")
    first = life.do(take_snapshot)
    for number in range(200):
        put(folder, f"{number}", "new")
    failures: list[BaseException] = []
    stop = threading.Event()

    def edit() -> None:
        count = 0
        try:
            while not stop.is_set():
                count += 1
                with contextlib.suppress(FileChangedError):  # the way back removes it, if it saw it
                    rewriting.append_file(life.project, "log", f"{count}\n")
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failures.append(error)

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        done = life.do(revert, to=first)
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert len(done.restored) == 200
    lines = (folder / "log").read_text().split() if (folder / "log").exists() else []
    assert lines == sorted(lines, key=int)
    assert not [name for name in tree_of(folder) if ".jidocode" in name]


def test_several_names_of_one_file_go_and_come_back(life: Life, folder: Path) -> None:
    """What is done to the first changes the ctime of the others; nobody has written to them."""
    put(folder, "a", "1")
    (folder / "b").hardlink_to(folder / "a")
    life.do(take_snapshot)
    put(folder, "a", "22")
    put(folder, "c", "3")
    (folder / "d").hardlink_to(folder / "c")
    reverted = life.do(revert)
    assert reasons(reverted) == {}
    assert (reverted.restored, reverted.removed) == (("a", "b"), ("c", "d"))
    assert [(folder / name).read_text() for name in "ab"] == ["1", "1"]
