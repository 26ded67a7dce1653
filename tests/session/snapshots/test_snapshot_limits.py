"""How much a snapshot may be, how long it may take, and how many there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from snapshot_trees import NewLife, contents, put, reasons, tree_of

from jidocode.errors import (
    NoSnapshotError,
)
from jidocode.session.snapshots.limits import MAX_HASHED, SnapshotRules
from jidocode.session.snapshots.operations import changes_since, diff, snapshots, take_snapshot
from jidocode.session.snapshots.reverting import revert


def test_what_is_too_large_is_known_but_not_kept(new_life: NewLife, folder: Path) -> None:
    """A change of it is seen and said; nothing of it is lost by a way back."""
    life = new_life(SnapshotRules(file_size=10))
    put(folder, "large", "x" * 11)
    put(folder, "small", "x" * 10)
    snapshot = life.do(take_snapshot)
    assert (snapshot.unkept.too_large, snapshot.size) == (1, 10)
    put(folder, "large", "y" * 11)
    put(folder, "small", "z" * 12)
    put(folder, "added", "w" * 12)
    found = {each.path: (each.kind, each.revertible) for each in life.changes()}
    assert found == {
        "added": ("added", True),
        "large": ("changed", False),
        "small": ("changed", True),
    }
    assert life.do(diff, "large").problem == "not kept"

    kept = "what is there could not be kept: name its path to give it up"
    done = life.do(revert, to=snapshot)
    assert reasons(done) == {
        "added": kept, "large": "what was there was not kept", "small": kept
    }  # fmt: skip
    assert tree_of(folder)["small"].content == b"z" * 12
    done = life.do(revert, ["small", "added", "large"], to=snapshot)
    assert (done.restored, done.removed) == (("small",), ("added",))
    assert reasons(done) == {"large": "what was there was not kept"}
    assert tree_of(folder)["small"].content == b"x" * 10


def test_a_session_keeps_as_many_bytes_as_it_may(
    new_life: NewLife, folder: Path, tmp_path: Path
) -> None:
    """What is beyond is known; when snapshots go, there is room again."""
    life = new_life(SnapshotRules(size=25, kept=2))
    put(folder, "a", "a" * 10)
    put(folder, "b", "b" * 10)
    put(folder, "c", "c" * 10)
    first = life.do(take_snapshot)
    assert (first.size, first.unkept.no_room) == (20, 1)
    put(folder, "c", "C" * 10)
    assert life.kinds() == {"c": "changed"}
    for number in range(4):
        put(folder, "a", f"{number}" * 10)
        life.do(take_snapshot)
        assert sum(path.stat().st_size for path in contents(tmp_path)) <= 25
    (folder / "b").unlink()
    (folder / "c").unlink()
    for _ in range(2):
        life.do(take_snapshot)
    snapshot = life.do(take_snapshot)
    assert (snapshot.size, snapshot.unkept.no_room) == (10, 0)


def test_too_many_files_are_a_snapshot_of_some(new_life: NewLife, folder: Path) -> None:
    """It says where it ends, and nothing behind that is compared, or touched."""
    life = new_life(SnapshotRules(files=3))
    for name in "abcde":
        put(folder, name, name)
    snapshot = life.do(take_snapshot)
    assert (snapshot.truncated, snapshot.end, snapshot.files) == ("limit", "c", 3)
    put(folder, "b", "changed")
    (folder / "d").unlink()
    put(folder, "f", "new")
    assert life.kinds() == {"b": "changed"}
    done = life.do(revert)
    assert (done.restored, done.removed, done.truncated) == (("b",), (), "limit")
    assert sorted(tree_of(folder)) == ["a", "b", "c", "e", "f"]


def test_time_that_is_over_makes_progress(new_life: NewLife, folder: Path) -> None:
    """A snapshot of what was seen; the next one goes on; pages of changes reach the end."""
    life = new_life()
    for name in "abc":
        put(folder, name, name)
    snapshot = life.do(take_snapshot, seconds=0)
    assert (snapshot.truncated, snapshot.end) == ("time", "a")
    assert life.do(take_snapshot).truncated is None
    for name in "abc":
        put(folder, name, "new")
    found: list[str] = []
    after: str | None = None
    while True:
        page = life.do(changes_since, seconds=0, after=after)
        found += [each.path for each in page.changes]
        after = page.after
        if page.truncated is None:
            break
    assert found == ["a", "b", "c"]
    done = life.do(revert, seconds=0)
    assert (done.restored, done.truncated) == ((), "time")
    assert tree_of(folder)["a"].content == b"new"


def test_old_ones_go_with_what_they_alone_needed(
    new_life: NewLife, folder: Path, tmp_path: Path
) -> None:
    """The one that is gone back to does not, until the way is over."""
    life = new_life(SnapshotRules(kept=3))
    for number in range(20):
        put(folder, "a", f"content {number}")
        life.do(take_snapshot)
        kept = [each.id for each in life.do(snapshots)]
        assert kept == list(range(max(1, number - 1), number + 2))
        assert len(contents(tmp_path)) <= 3 + 10
    with pytest.raises(NoSnapshotError):
        life.do(revert, to=1)
    done = life.do(revert, to=18)
    assert (done.restored, done.before) == (("a",), 21)
    assert (folder / "a").read_text() == "content 17"
    life = new_life(SnapshotRules(kept=1))
    life.do(take_snapshot)
    assert len(contents(tmp_path)) <= 4
    life = new_life(SnapshotRules(kept=1))
    assert life.do(revert).restored == ()
    life.do(take_snapshot)
    assert [each.id for each in life.do(snapshots)] == [24]


def test_a_file_that_is_too_large_is_not_read_at_all(
    new_life: NewLife, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten of them, all holes, would take seconds each time."""
    os.truncate(put(folder, "large"), MAX_HASHED + 1)
    life = new_life()
    read: list[int] = []
    real = os.pread

    def note(fd: int, size: int, at: int) -> bytes:
        read.append(at)
        return real(fd, size, at)

    monkeypatch.setattr(os, "pread", note)
    assert life.do(take_snapshot).unkept.too_large == 1
    assert life.do(changes_since).changes == ()
    assert read == []
