"""What protected paths are found to be, and become again; nothing else is touched."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from jidocode.base import orphans
from jidocode.session.project import fingerprints
from jidocode.session.project.boundary import Boundary
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

    def look(self, last: Fingerprints | None = None) -> Fingerprints:
        return take_fingerprints(self.fd, TREE, last or {}, time.time_ns(), keep=True)

    def undo(self, before: Fingerprints) -> list[str]:
        """Put back what it was; return what differs still."""
        open_ways(self.fd, before)
        after = self.look(before)
        put_back(self.boundary, self.fd, before, after, differences(before, after), 10)
        return differences(before, self.look(after))


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


def test_what_makes_a_folder_too_large_is_removed(place: Place) -> None:
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


def test_a_deep_folder_is_seen_and_removed(place: Place) -> None:
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
    assert sorted(path.name for path in place.root.iterdir()) == [".git"]


def undo_late(place: Place, before: Fingerprints, swap: Callable[[], object]) -> None:
    """Put back what it was *before*, as it is seen now; *swap* is done after that look."""
    after = place.look(before)
    swap()
    put_back(place.boundary, place.fd, before, after, differences(before, after), 10)


def test_a_repository_that_is_swapped_back_while_changes_are_undone_is_kept(place: Place) -> None:
    """What was seen in its place, a symlink, is to be removed; the repository is not."""
    (place.root / ".git/HEAD").write_text("main")
    before = place.look()
    (place.root / ".git").rename(place.root / "away")
    (place.root / ".git").symlink_to("/")

    def swap() -> None:
        (place.root / ".git").unlink()
        (place.root / "away").rename(place.root / ".git")

    undo_late(place, before, swap)

    assert (place.root / ".git/HEAD").read_text() == "main"
    assert place.undo(before) == []


@pytest.mark.parametrize("where", [".vscode", ".vscode/c", ".vscode/a/b/c"])
def test_a_repository_in_a_folder_that_is_removed_is_kept(place: Place, where: str) -> None:
    """It is moved there between the look and the removal."""
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


@contextmanager
def not_root(root: Path) -> Generator[None]:
    """Be somebody whom permissions stop, and whose the project is."""
    if os.geteuid():
        yield
        return
    for path in (root, *root.rglob("*")):
        os.lchown(path, 65534, 65534)
    os.seteuid(65534)
    orphans.prctl(4, 1)  # PR_SET_DUMPABLE: or /proc/self were closed
    try:
        yield
    finally:
        os.seteuid(0)


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


def test_a_new_folder_that_is_closed_is_seen_and_removed(place: Place) -> None:
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
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        data = os.fsencode(path.readlink()) if path.is_symlink() else b""
        found[str(path.relative_to(root))] = (
            mode,
            data or path.read_bytes() if path.is_file() else data,
        )
    return found


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
        done = everything(root)
        left = place.undo(before)
        now = everything(root)
    finally:
        os.close(place.fd)
        place.boundary.close()
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
