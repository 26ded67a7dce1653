"""What protected paths are found to be, and become again; nothing else is touched."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st
from limits import not_root

from jidocode.session.commands.emptying import empty
from jidocode.session.project import aside, fingerprints, renaming, undoing
from jidocode.session.project.aside import Aside
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.descriptors import FOLDER, closing, writable
from jidocode.session.project.fingerprints import (
    MAX_ENTRIES,
    MAX_FILE_BYTES,
    Fingerprints,
    differences,
    take_fingerprints,
)
from jidocode.session.project.protection import Protection
from jidocode.session.project.undoing import open_ways, put_back

TREE = Protection([".git/hooks", ".git/config", ".envrc", ".vscode", "a/*/x"]).tree


class Place:
    """A project, and looks at it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.boundary = Boundary(str(root))
        self.fd = self.boundary.share()
        self.aside = Aside(self.fd)

    def look(self, last: Fingerprints | None = None) -> Fingerprints:
        return take_fingerprints(self.fd, TREE, last or {}, time.time_ns(), keep=True)

    def undo(self, before: Fingerprints) -> list[str]:
        """Put back what it was; return what differs still."""
        with writable(self.fd):
            open_ways(self.fd, before)
            after = self.look(before)
            for _ in range(2):
                self.put_back(before, after, 10)
                after = self.look(after)
            return differences(before, after)

    def put_back(self, before: Fingerprints, after: Fingerprints, seconds: float) -> None:
        changed, end = differences(before, after), time.monotonic() + seconds
        put_back(self.boundary, self.fd, before, after, changed, self.aside, end)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A project with some protected paths."""
    (tmp_path / ".git/hooks").mkdir(parents=True)
    (tmp_path / ".git/hooks/a").write_text("a")
    (tmp_path / ".git/config").write_text("c")
    found = Place(tmp_path)
    yield found
    os.close(found.fd)
    found.boundary.close()


def fill(folder: Path, names: range) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}").touch()


def test_a_folder_that_is_too_large_keeps_all_that_is_in_it(place: Place) -> None:
    """However its mode, or how large it is, changes: what is in it is unknown."""
    fill(place.root / ".vscode/b", range(MAX_ENTRIES + 1))
    before = place.look()
    (place.root / ".vscode/b").chmod(0o700)
    assert differences(before, place.look(before)) == [".vscode/b"]
    assert place.undo(before) == []
    assert len(list((place.root / ".vscode/b").iterdir())) == MAX_ENTRIES + 1
    for name in range(10):
        (place.root / f".vscode/b/{name}").unlink()
    assert ".vscode/b" in place.undo(before)  # it is said that it is not as it was
    assert len(list((place.root / ".vscode/b").iterdir())) == MAX_ENTRIES - 9


def test_what_makes_a_folder_too_large_is_set_aside(place: Place) -> None:
    before = place.look()
    fill(place.root / ".git/hooks", range(MAX_ENTRIES + 1))
    (place.root / ".git/hooks/a").write_text("evil")
    assert differences(before, place.look(before))[0] == ".git/hooks"
    assert place.undo(before) == []
    assert [path.name for path in (place.root / ".git/hooks").iterdir()] == ["a"]
    assert (place.root / ".git/hooks/a").read_text() == "a"


def test_many_folders_are_not_looked_into_for_ever(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at them waits for nothing else meanwhile."""
    monkeypatch.setattr(fingerprints, "MAX_LOOK_ENTRIES", 2 * MAX_ENTRIES)
    before, folders = place.look(), 8
    for number in range(folders):
        fill(place.root / f"a/{number}/x", range(MAX_ENTRIES - 1))
    found = place.look(before)
    assert MAX_ENTRIES < len(found) < 2 * MAX_ENTRIES + 3 * folders
    assert len(differences(before, found)) == folders
    assert place.undo(before) == []
    assert place.look().keys() == before.keys() | {"a"} | {f"a/{each}" for each in range(folders)}


def test_a_deep_folder_is_seen_and_set_aside(place: Place) -> None:
    """Deeper than Python's stack, and than any path may be."""
    before = place.look()
    here = os.open(place.root, os.O_RDONLY)
    for name in [".vscode", *["d" * 200] * 1500]:
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("0", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.mkdir("1", dir_fd=here)
    os.close(here)
    assert differences(before, place.look(before)) == [".vscode"]
    assert place.undo(before) == []
    assert not (place.root / ".vscode").exists()
    (kept,) = place.aside.kept
    with closing(os.open(place.root / kept, FOLDER)) as top:
        empty(top)


def undo_late(place: Place, before: Fingerprints, swap: Callable[[], object]) -> None:
    """Put back what it was *before*, as it is seen now; *swap* is done after that look."""
    after = place.look(before)
    swap()
    place.put_back(before, after, 10)


def test_a_repository_that_is_swapped_back_while_changes_are_undone_is_kept(place: Place) -> None:
    """What was seen in its place is a symlink."""
    (place.root / ".git/HEAD").write_text("main")
    before = place.look()
    (place.root / ".git").rename(place.root / "away")
    (place.root / ".git").symlink_to("/")

    def swap() -> None:
        (place.root / ".git").unlink()
        (place.root / "away").rename(place.root / ".git")

    undo_late(place, before, swap)

    (head,) = place.root.rglob("HEAD")
    assert head.read_text() == "main"


@pytest.mark.parametrize("where", [".vscode", ".vscode/c", ".vscode/a/b/c"])
def test_a_repository_in_a_folder_that_is_set_aside_is_kept(place: Place, where: str) -> None:
    """It is moved there after the look."""
    (place.root / ".git/HEAD").write_text("main")
    before = place.look()
    (place.root / ".vscode/a/b").mkdir(parents=True)

    def swap() -> None:
        if where == ".vscode":
            shutil.rmtree(place.root / where)
        (place.root / ".git").rename(place.root / where)

    undo_late(place, before, swap)

    (head,) = place.root.rglob("HEAD")
    assert head.read_text() == "main"


def without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(renaming, "_renameat2", refuse)


@pytest.mark.parametrize("calls", ["with renameat2", "without"])
def test_what_is_moved_to_a_protected_path_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch, calls: str
) -> None:
    """Nobody can tell it from what was made there."""
    if calls == "without":
        without_renameat2(monkeypatch)
    for path in (".git/objects/ab/c", "src/main.py", "run.py", "other.py", "last.py"):
        (place.root / path).parent.mkdir(parents=True, exist_ok=True)
        (place.root / path).write_text(path)
    (place.root / ".envrc").write_text("old")
    before = place.look()
    (place.root / ".vscode/src").mkdir(parents=True)
    (place.root / ".git/objects").rename(place.root / ".vscode/objects")
    (place.root / "src").rename(place.root / ".git/hooks/src")
    (place.root / "run.py").rename(place.root / ".envrc")
    (place.root / "other.py").rename(place.root / ".git/hooks/a")
    (place.root / "last.py").rename(place.root / ".vscode/src/last.py")

    assert place.undo(before) == []

    assert (place.root / ".envrc").read_text() == "old"
    found = {path.read_text() for path in place.root.rglob("*") if path.is_file()}
    assert found >= {".git/objects/ab/c", "src/main.py", "run.py", "other.py", "last.py"}
    for path in place.aside.kept:
        assert (place.root / path).exists()
        assert Path(path).parts[0].startswith(".jidocode-undone-")
    assert place.undo(before) == []
    assert not list(place.root.rglob(".jidocode-[0-9a-f]*"))


@pytest.mark.parametrize("prank", ["removed", "a link", "a file", "closed"])
def test_what_is_done_to_what_was_set_aside_keeps_nothing_from_being_undone(
    place: Place, tmp_path_factory: pytest.TempPathFactory, prank: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    before = place.look()
    (place.root / ".envrc").write_text("one")
    assert place.undo(before) == []
    (folder,) = place.root.glob(".jidocode-undone-*")
    if prank == "closed":
        folder.chmod(0)
    else:
        shutil.rmtree(folder)
    if prank == "a link":
        folder.symlink_to(outside)
    elif prank == "a file":
        folder.touch()
    (place.root / ".envrc").write_text("two")
    with not_root(place.root):
        assert place.undo(before) == []
    assert (place.root / place.aside.kept[-1]).read_text() == "two"
    assert list(outside.iterdir()) == []


def test_what_was_there_is_set_aside_if_no_folder_can_be_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full."""
    mkdir = os.mkdir

    def full(path: str, *arguments: Any, **options: Any) -> None:
        if str(path).startswith(".jidocode-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        mkdir(path, *arguments, **options)

    before = place.look()
    (place.root / ".envrc").write_text("one")
    (place.root / ".git/config").write_text("two")
    monkeypatch.setattr(os, "mkdir", full)
    assert place.undo(before) == []
    assert sorted((place.root / path).read_text() for path in place.aside.kept) == ["one", "two"]


def test_what_cannot_be_moved_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what would have been put there is no file of anybody's."""

    def other_file_system(*_: object) -> NoReturn:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    before = place.look()
    (place.root / ".envrc").write_text("one")
    (place.root / ".git/config").write_text("two")
    monkeypatch.setattr(aside, "rename_new", other_file_system)
    monkeypatch.setattr(aside, "exchange", other_file_system)
    assert place.undo(before) == [".envrc", ".git/config"]
    assert (place.root / ".git/config").read_text() == "two"
    assert place.aside.kept == []
    assert list(place.root.glob(".jidocode-*/*-*")) == []


def test_a_look_that_fails_is_none(place: Place) -> None:
    """What is taken for gone, or for new, would be made, or removed."""
    plenty = [os.dup(0) for _ in range(8)]
    limit = os.dup(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            place.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in (*plenty, limit):
            os.close(each)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_could_not_be_read_is_not_removed_when_it_can_be(place: Place) -> None:
    folder = place.root / ".vscode"
    fill(folder, range(3))
    folder.chmod(0)
    before = place.look()
    folder.chmod(0o755)
    assert place.undo(before) == []
    folder.chmod(0o755)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("mode", [0, 0o100, 0o400, 0o600])
@pytest.mark.parametrize("folder", [".git", ".git/hooks"])
def test_what_a_closed_folder_hides_is_seen_and_undone(
    place: Place, folder: str, mode: int
) -> None:
    before, was = place.look(), everything(place.root)
    (place.root / ".git/hooks/a").write_text("evil")
    (place.root / ".git/hooks/b").write_text("evil")
    (place.root / folder).chmod(mode)
    with not_root(place.root):
        assert differences(before, place.look(before))
        assert place.undo(before) == []
    assert everything(place.root) == was


@pytest.mark.parametrize("mode", [0, 0o500, 0o555])
@pytest.mark.parametrize(
    "closed",
    [["."], [".git"], [".git/hooks"], [".vscode/d", ".vscode"], [".git/hooks", ".git", "."]],
)
def test_a_folder_that_is_closed_keeps_nothing_from_being_undone(
    place: Place, closed: list[str], mode: int
) -> None:
    """As one that may not be written, above what was changed."""
    fill(place.root / ".vscode/d", range(2))
    before, was = place.look(), everything(place.root)
    for path in (".git/hooks/new", ".git/hooks/a", ".git/config", ".envrc", ".vscode/d/new"):
        (place.root / path).write_text("evil")
    modes = {path: (place.root / path).stat().st_mode for path in closed}
    for path in closed:
        (place.root / path).chmod(mode)
    with not_root(place.root):
        assert place.undo(before) == []
    for path in closed:
        if path == "." or (path == ".git" and mode):  # they are protected no more than before
            assert (place.root / path).stat().st_mode & 0o777 == mode
            (place.root / path).chmod(modes[path] & 0o777)
    assert everything(place.root) == was


def test_the_mode_of_what_has_another_name_outside_stays(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Here a folder that was too large to be looked into is a file."""
    outside = tmp_path_factory.mktemp("outside") / "file"
    outside.touch(0o600)
    fill(place.root / ".vscode", range(MAX_ENTRIES + 1))
    before = place.look()
    shutil.rmtree(place.root / ".vscode")
    (place.root / ".vscode").hardlink_to(outside)
    place.undo(before)
    assert outside.stat().st_mode & 0o777 == 0o600


def test_undoing_that_is_cut_off_leaves_no_folder_closed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that comes back has its permissions from the beginning."""
    before = place.look()
    mode = (place.root / ".git/hooks").stat().st_mode
    shutil.rmtree(place.root / ".git/hooks")
    monkeypatch.setattr(undoing, "_set_folder_mode", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        place.undo(before)
    assert (place.root / ".git/hooks").stat().st_mode == mode


def test_a_folder_that_became_a_file_among_many_is_one_again(place: Place) -> None:
    fill(place.root / ".git/hooks/d", range(2))
    before = place.look()
    shutil.rmtree(place.root / ".git/hooks/d")
    fill(place.root / ".git/hooks", range(MAX_ENTRIES))
    (place.root / ".git/hooks/d").write_text("evil")
    assert place.undo(before) == []
    assert len(list((place.root / ".git/hooks/d").iterdir())) == 2


def test_what_is_known_stays_protected_if_there_is_more_than_is_looked_at(place: Place) -> None:
    """Of a wildcard: else to make many folders would switch it off."""
    (place.root / "a/one").mkdir(parents=True)
    (place.root / "a/one/x").write_text("x")
    before = place.look()
    fill(place.root / "a", range(MAX_ENTRIES + 1))
    later = place.look(before)
    assert differences(before, later) == ["a"]
    (place.root / "a/one/x").write_text("evil")
    assert differences(later, place.look(later)) == ["a/one/x"]
    assert place.undo(later) == []
    assert (place.root / "a/one/x").read_text() == "x"


def test_a_program_may_put_its_own_where_something_is_about_to_be(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is not removed when it does not work out."""

    def fail(parent: int, name: str, *_: object) -> NoReturn:
        os.rename(name, "made", src_dir_fd=parent, dst_dir_fd=place.fd)
        os.rename("precious", name, src_dir_fd=place.fd, dst_dir_fd=parent)
        raise FileNotFoundError(errno.ENOENT, "gone")

    before = place.look()
    (place.root / ".git/config").write_text("evil")
    (place.root / "precious").write_text("mine")
    monkeypatch.setattr(aside, "exchange", fail)
    place.undo(before)
    (kept,) = place.root.glob(".jidocode-undone-*/*-*")
    assert kept.read_text() == "mine"


def test_undoing_ends_when_its_time_is_over(place: Place) -> None:
    before = place.look()
    (place.root / ".git/config").write_text("evil")
    (place.root / ".envrc").write_text("evil")
    after = place.look(before)
    place.put_back(before, after, 0)
    assert differences(before, place.look(after)) == [".envrc", ".git/config"]


def test_a_new_folder_that_is_closed_is_seen_and_set_aside(place: Place) -> None:
    before = place.look()
    fill(place.root / ".vscode", range(3))
    (place.root / ".vscode").chmod(0o600)
    with not_root(place.root):
        assert differences(before, place.look(before)) == [".vscode"]
        assert place.undo(before) == []
    assert not (place.root / ".vscode").exists()


def test_a_lease_neither_hides_a_file_nor_keeps_it_from_being_undone(place: Place) -> None:
    before = place.look()
    handler = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        with (place.root / ".git/config").open("w") as file:
            file.write("evil")
            file.flush()
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            assert differences(before, place.look(before)) == [".git/config"]
            assert place.undo(before) == []
    finally:
        signal.signal(signal.SIGIO, handler)
    assert (place.root / ".git/config").read_text() == "c"


def test_a_large_file_is_told_by_its_status(place: Place) -> None:
    large = place.root / ".envrc"
    large.write_bytes(bytes(MAX_FILE_BYTES + 1))
    before = place.look()
    assert differences(before, place.look(before)) == []
    large.write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    assert place.undo(before) == [".envrc"]


# ----- whatever happens ------------------------------------------------------------

Change = Callable[[Path], object]


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for each in path.iterdir():
            remove(each)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def make(kind: str) -> Change:
    def change(path: Path) -> None:
        remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.write_text("evil")
        elif kind == "program":
            path.write_text("evil")
            path.chmod(0o755)
        elif kind == "folder":
            (path / "a/b").mkdir(parents=True)
        elif kind == "link":
            path.symlink_to("elsewhere")
        elif kind == "fifo":
            os.mkfifo(path)

    return change


PROTECTED = (
    ".git/hooks .git/hooks/a .git/hooks/b .git/config .envrc .vscode .vscode/d/e a/1/x a/2/x"
)
OTHERS = "a/2/y Makefile .git/HEAD"
KINDS = ["file", "program", "folder", "link", "fifo", "nothing"]
changes = st.lists(
    st.tuples(st.sampled_from(f"{PROTECTED} {OTHERS}".split()), st.sampled_from(KINDS)), max_size=5
)


def apply(root: Path, todo: list[tuple[str, str]]) -> None:
    for path, kind in todo:
        try:
            make(kind)(root / path)
        except (FileExistsError, NotADirectoryError, FileNotFoundError):
            continue  # something else stands on the way


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return what is in a project, but for what was set aside."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(root.rglob("*")):
        if path.relative_to(root).parts[0].startswith(".jidocode-undone-"):
            continue
        mode = path.lstat().st_mode
        data = os.fsencode(path.readlink()) if path.is_symlink() else b""
        found[str(path.relative_to(root))] = (
            mode,
            data or path.read_bytes() if path.is_file() else data,
        )
    return found


def nodes(root: Path) -> dict[int, Path]:
    """Return all that is in a project, by what it is and stays under each name."""
    return {path.lstat().st_ino: path.relative_to(root) for path in root.rglob("*")}


@given(start=changes, todo=changes)
def test_whatever_is_done_is_undone_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
    start: list[tuple[str, str]],
    todo: list[tuple[str, str]],
) -> None:
    root = tmp_path_factory.mktemp("project")
    (root / ".git/hooks").mkdir(parents=True)
    (root / "a").mkdir()
    apply(root, start)
    place = Place(root)
    try:
        before, was = place.look(), everything(root)
        apply(root, todo)
        changed = differences(before, place.look(before))
        done, made = everything(root), nodes(root)
        left = place.undo(before)
        now, kept = everything(root), nodes(root)
    finally:
        os.close(place.fd)
        place.boundary.close()
    assert made.keys() <= kept.keys(), made  # nothing was removed
    protection = Protection([".git/hooks", ".git/config", ".envrc", ".vscode", "a/*/x"])
    for path in was.keys() | done.keys() | now.keys():
        if not protection.touches(path):
            assert now.get(path) == done.get(path), path
    # A FIFO cannot be made again, nor what was in a folder on the way that is gone.
    if not any(found.kind == "other" for found in before.values()) and all(
        (root / path).is_dir() for path, found in before.items() if found.kind == "way"
    ):
        assert left == [], (changed, was, done, now)
        assert {p: now.get(p) for p in before} == {p: was.get(p) for p in before}
