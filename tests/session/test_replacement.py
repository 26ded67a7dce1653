"""Replacing a file: nobody else sees it half, and a kill at any instant leaves nothing."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from limits import limited

from jidocode.errors import BoundaryError
from jidocode.session.project import access
from jidocode.session.project.boundary import Tier
from jidocode.session.project.copying import copy
from jidocode.session.project.editing import Edit
from jidocode.session.project.files import Project
from jidocode.session.project.folders import remove
from jidocode.session.project.rewriting import append_file, edit_file
from jidocode.session.project.temporary import TemporaryName
from jidocode.session.record import new_session_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jidocode.session.record import Session


@pytest.fixture
def project(session: Session) -> Iterator[Project]:
    """The project of the session."""
    with Project(session.project_path) as pinned:
        yield pinned


@pytest.fixture
def file(folder: Path) -> Path:
    """A file in it."""
    path = folder / "file"
    path.write_bytes(b"old")
    return path


def without_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a file system on which every file has a name."""
    truly = os.open

    def refusing(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return truly(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refusing)


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one on which a file without a name stays without."""

    def refusing(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refusing)


# ----- who can open it --------------------------------------------------------


def names_while_written(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, int]]:
    """Replace *file*; return what else its folder holds when the content is there, with modes."""
    found: list[tuple[str, int]] = []
    truly = access.copy

    def copy(old: int, new: int) -> None:
        found.extend(
            (path.name, stat.S_IMODE(path.stat().st_mode))
            for path in file.parent.iterdir()
            if path != file
        )
        found.extend(
            ("listed", 0)
            for entry in project.list_directory().entries
            if entry.name.startswith(".jidocode-")
        )
        truly(old, new)

    monkeypatch.setattr(access, "copy", copy)
    project.write_bytes("file", b"new")
    assert file.read_bytes() == b"new"
    assert [path.name for path in file.parent.iterdir()] == ["file"]
    return found


def test_a_file_has_no_name_while_it_is_written(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody can open it, whatever its permissions."""
    file.chmod(0o644)

    assert names_while_written(project, file, monkeypatch) == []


def test_where_it_must_have_a_name_it_is_closed_and_not_listed(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is as closed as the old one."""
    file.chmod(0o644)
    without_tmpfile(monkeypatch)
    ((name, mode),) = names_while_written(project, file, monkeypatch)

    assert (name[:10], mode) == (".jidocode-", 0o600)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_new_file_with_a_name_is_closed_until_it_is_complete(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it has the permissions that any new file has, by umask and list."""
    (folder / "other").touch()
    without_tmpfile(monkeypatch)
    seen: list[int] = []
    truly: Callable[..., Any] = os.fdopen

    def fdopen(fd: int, *args: Any, **options: Any) -> Any:
        seen.append(stat.S_IMODE(os.fstat(fd).st_mode))
        return truly(fd, *args, **options)

    monkeypatch.setattr(os, "fdopen", fdopen)
    project.write_bytes("new", b"x")

    assert seen == [0o600]
    assert (folder / "new").stat().st_mode == (folder / "other").stat().st_mode


@pytest.mark.parametrize("lack", [without_tmpfile, without_links])
def test_file_systems_that_lack_something_can_be_written(
    project: Project,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    lack: Callable[[pytest.MonkeyPatch], None],
) -> None:
    """What is there is replaced, what is not is made."""
    lack(monkeypatch)
    project.write_bytes("file", b"new")
    project.write_bytes("d/made", b"made")

    assert file.read_bytes() == b"new"
    assert (file.parent / "d" / "made").read_bytes() == b"made"
    assert sorted(path.name for path in file.parent.rglob("*")) == ["d", "file", "made"]


def test_a_file_that_somebody_makes_meanwhile_is_replaced(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had been there before."""
    truly = os.link

    def link(source: str, name: str, **options: Any) -> None:
        if name == "file":
            (folder / "file").write_bytes(b"theirs")
        truly(source, name, **options)

    monkeypatch.setattr(os, "link", link)
    project.write_bytes("file", b"ours")

    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("file", b"ours")]


# ----- kills ------------------------------------------------------------------

# Forks, for as many interpreters would take their time. A life is killed between the two
# system calls, or anywhere.
KILLED = """
import errno, os, random, signal, sys, time
from pathlib import Path
from jidocode.session.project.copying import copy
from jidocode.session.project.editing import Edit
from jidocode.session.project.files import Project
from jidocode.session.project.rewriting import append_file, edit_file
from jidocode.session.project.temporary import TemporaryName

folder, note, owner, named, instant, change = sys.argv[1:]
size, there = 2**20, 0

def unsupported(path, flags, *args, truly=os.open, **options):
    if flags & os.O_TMPFILE == os.O_TMPFILE:
        raise OSError(errno.EOPNOTSUPP, "unsupported")
    return truly(path, flags, *args, **options)

def life():
    if named == "named":
        os.open = unsupported
    if instant == "rename":
        os.rename = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)
    with Project(folder, temporary=TemporaryName(owner, Path(note))) as project:
        os.write(ready, b"x")
        while True:
            for path in ("file", "a/b/file"):
                changes[change](project, path)

def edit(project, path):
    one, other = b"ab" if project.read_bytes(path, limit=1).data == b"a" else b"ba"
    edit_file(project, path, Edit(chr(one) * size, chr(other) * size))

changes = {
    "write": lambda project, path: project.write_bytes(path, random.choice([b"a", b"b"]) * size),
    "edit": edit,
    "append": lambda project, path: append_file(project, path, ""),
    "copy": lambda project, path: copy(project, random.choice("cd"), path, overwrite=True),
}

kept = {"file"}
if change == "copy":
    kept = {"file", "c", "d"}
    Path(folder, "c").write_bytes(b"a" * size)
    Path(folder, "d").write_bytes(b"b" * size)
for path in ("file", "a/b/file"):
    Path(folder, path).write_bytes(b"a" * size)
for _ in range(5 if instant == "rename" else 20):
    wait, ready = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            life()
        finally:
            os._exit(1)
    os.close(ready)
    os.read(wait, 1)
    os.close(wait)
    if instant == "anywhere":
        time.sleep(random.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    names = {name for *_, files in os.walk(folder) for name in files}
    there += names != kept
    with Project(folder, temporary=TemporaryName(owner, Path(note))):
        left = [name for *_, files in os.walk(folder) for name in files]
        assert sorted(left) == sorted([*kept, "file"]), left
    for path in ("file", "a/b/file"):
        content = Path(folder, path).read_bytes()
        assert len(content) == size and len(set(content)) == 1
print(there)
"""


@pytest.mark.parametrize("change", ["write", "edit", "append", "copy"])
@pytest.mark.parametrize("named", ["named", "unnamed"])
@pytest.mark.parametrize("instant", ["rename", "anywhere"])
def test_a_kill_leaves_the_old_file_or_the_new_and_no_other_once_the_next_life_begins(
    folder: Path, tmp_path: Path, named: str, instant: str, change: str
) -> None:
    """Wherever in the project it was; and in the worst instant there is one to remove."""
    (folder / "a" / "b").mkdir(parents=True)
    done = subprocess.run(
        [
            *(sys.executable, "-c", KILLED, str(folder), str(tmp_path / "note")),
            *(new_session_id(), named, instant, change),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stderr == ""
    if instant == "rename":
        assert int(done.stdout) == 5
    elif named == "named" and change == "write":
        assert int(done.stdout) > 0


MOVED = """
import os, random, signal, sys, time
from pathlib import Path
from jidocode.session.project.files import Project
from jidocode.session.project.folders import move, remove

folder = sys.argv[1]

def life():
    with Project(folder) as project:
        os.write(ready, b"x")
        while True:
            there = Path(folder, "one").exists()
            move(project, "one" if there else "a/two", "a/two" if there else "one")

Path(folder, "one").mkdir()
Path(folder, "one", "file").write_bytes(b"x")
for _ in range(30):
    wait, ready = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            life()
        finally:
            os._exit(1)
    os.close(ready)
    os.read(wait, 1)
    os.close(wait)
    time.sleep(random.uniform(0, 0.01))
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert len(files) == 1, files
"""


def test_a_kill_leaves_what_is_moved_in_one_place(folder: Path) -> None:
    """In the old one or the new, whole."""
    done = subprocess.run(
        [sys.executable, "-c", MOVED, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stderr == ""


def test_a_full_disk_changes_nothing(project: Project, file: Path) -> None:
    """Nothing is left of what could not be written, and the next change is made."""
    file.write_text("old\n" * 100)
    (file.parent / "d").mkdir()
    (file.parent / "d" / "small").write_text("x")
    (file.parent / "d" / "large").write_text("x" * 600)
    before = sorted(file.parent.rglob("*"))
    changes: list[Callable[[], object]] = [
        lambda: project.write_file("file", "x" * 600),
        lambda: project.write_file("new", "x" * 600, if_sha256="absent"),
        lambda: edit_file(project, "file", Edit("old", "x" * 6, expect=100)),
        lambda: append_file(project, "file", "x" * 200),
        lambda: copy(project, "d/large", "new"),
        lambda: copy(project, "d/large", "file", overwrite=True),
        lambda: copy(project, "d", "new", recursive=True),
    ]
    with limited(resource.RLIMIT_FSIZE, 500):
        for change in changes:
            with pytest.raises(OSError, match="File too large"):
                change()
        assert edit_file(project, "file", Edit("old", "n", expect=100)).size == 200

    assert sorted(file.parent.rglob("*")) == before
    assert file.read_text() == "n\n" * 100


def test_without_a_note_the_next_write_into_the_folder_removes_what_is_left(
    folder: Path,
) -> None:
    """It has the name that the session has for it."""
    temporary = TemporaryName(new_session_id())
    left = folder / temporary.text
    left.write_bytes(b"half")
    with Project(str(folder), temporary=temporary) as project:
        assert project.list_directory().entries == ()
        project.write_bytes("file", b"x")

    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_folder_with_the_name_of_an_unfinished_file_stops_no_file(
    folder: Path, file: Path
) -> None:
    """It is not lost, and can be removed."""
    temporary = TemporaryName(new_session_id())
    (folder / temporary.text).mkdir()
    (folder / temporary.text / "inner").write_text("mine")
    with Project(str(folder), temporary=temporary) as project:
        for text in ("one", "two"):
            project.write_file("file", text)
            assert file.read_text() == text
        (found,) = [each for each in project.list_directory().entries if each.kind == "directory"]
        assert project.read_text(f"{found.name}/inner").text == "mine"
        assert remove(project, found.name, recursive=True) == 2


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("path", ["{}", "d/{}", "{}/file", "d/{}/file", "link"])
def test_the_names_of_unfinished_files_are_nobody_elses(
    folder: Path, path: str, *, in_place: bool
) -> None:
    """What had one would be hidden, and removed by the next write."""
    temporary = TemporaryName(new_session_id())
    (folder / "link").symlink_to(temporary.text)
    with Project(str(folder), temporary=temporary) as project:
        for name in (temporary.text, TemporaryName(new_session_id()).text):
            with pytest.raises(BoundaryError, match="kept for unfinished files"):
                project.write_file(path.format(name), "x", in_place=in_place)
            with pytest.raises(BoundaryError, match="kept for unfinished files"):
                project.write_bytes(path.format(name), b"x", in_place=in_place)
        project.write_file(".jidocode.tmp", "x")

    assert {each.name for each in folder.iterdir()} == {"link", ".jidocode.tmp"}


def test_a_note_leads_nowhere_outside(folder: Path, tmp_path: Path) -> None:
    """The folder may have been replaced by a link in the meantime."""
    temporary = TemporaryName(new_session_id(), tmp_path / "note")
    (folder / "d").mkdir()
    temporary.use_in("d")
    (folder / "d").rmdir()
    (folder / "d").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    outside = tmp_path / "outside" / temporary.text
    outside.touch()
    with Project(str(folder), temporary=TemporaryName(temporary.text[10:-4], tmp_path / "note")):
        assert outside.exists()


@pytest.mark.parametrize("noted", [b"", b"d", b"\0", b"gone\0", b"../..\0", b"x" * 10_000])
def test_a_note_that_says_nothing_stops_no_life(folder: Path, tmp_path: Path, noted: bytes) -> None:
    """Half of one, one of a folder that is gone, or of something else."""
    (tmp_path / "note").write_bytes(noted)
    with Project(str(folder), temporary=TemporaryName(None, tmp_path / "note")) as project:
        project.write_bytes("d/file", b"x")

        assert (tmp_path / "note").read_bytes()[:2] == b"d\0"
        assert stat.S_IMODE((tmp_path / "note").stat().st_mode) & 0o700 == 0o600
    assert not (tmp_path / "note").exists()


def test_a_note_that_cannot_be_written_stops_no_file(folder: Path, tmp_path: Path) -> None:
    """It is only for the next life."""
    with Project(str(folder), temporary=TemporaryName(None, tmp_path / "gone" / "note")) as project:
        project.write_bytes("file", b"x")

    assert (folder / "file").read_bytes() == b"x"


# ----- what is refused --------------------------------------------------------


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("path", ["file/", "file/.", "new/", "new//", "d/new/", "link/", "./"])
def test_a_path_of_a_directory_is_no_files(folder: Path, file: Path, tier: Tier, path: str) -> None:
    """Nothing is read or written under another name than the one that was given."""
    (folder / "link").symlink_to("file")
    before = sorted(path.name for path in folder.rglob("*"))
    with Project(str(folder), tier=tier) as project:
        actions: list[Callable[[], object]] = [
            lambda: project.write_file(path, "x"),
            lambda: project.write_bytes(path, b"x"),
            lambda: project.write_bytes(path, b"x", in_place=True),
            lambda: project.read_file(path),
            lambda: project.read_text(path),
            lambda: project.read_bytes(path),
        ]
        for action in actions:
            with pytest.raises(IsADirectoryError) as caught:
                action()
            assert caught.value.filename == path

    assert sorted(path.name for path in folder.rglob("*")) == before
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize("tier", Tier)
def test_a_link_to_a_file_as_a_directory_leads_to_no_file(
    folder: Path, file: Path, tier: Tier
) -> None:
    """In both tiers."""
    (folder / "link").symlink_to("file/")
    with Project(str(folder), tier=tier) as project:
        with pytest.raises(NotADirectoryError):
            project.read_bytes("link")
        with pytest.raises(OSError, match="directory"):
            project.write_bytes("link", b"x")

    assert file.read_bytes() == b"old"


READ_ONLY = """
import subprocess, sys
from jidocode.errors import InvalidSessionError
from jidocode.session.project.files import Project
from jidocode.session.project.locate import locate_project

folder = sys.argv[1]
subprocess.run(["mount", "--bind", folder, folder], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
with Project(folder) as project:
    for path in ("file", "new", "d/new"):
        for in_place in (False, True):
            try:
                project.write_bytes(path, b"x", in_place=in_place)
            except OSError as error:
                print(type(error).__name__, error)
try:
    locate_project(folder)
except InvalidSessionError as error:
    print(error.codes, str(error).rpartition(" ")[0][-20:], str(error)[-21:])
"""


def test_a_read_only_disk_is_called_one(folder: Path, file: Path) -> None:
    """It is no want of permission, which somebody could give."""
    unshare = [shutil.which("unshare") or "", "--user", "--map-root-user", "--mount"]
    if not unshare[0] or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no mounts without privileges here")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", READ_ONLY, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    *errors, located = done.stdout.splitlines()

    assert done.stderr == ""
    assert errors == [
        f"OSError [Errno 30] Read-only file system: '{path}'"
        for path in ("file", "file", "new", "new", "d/new", "d/new")
    ]
    assert "path_read_only" in located
    assert "Read-only file system" in located
    assert file.read_bytes() == b"old"


@pytest.mark.parametrize("tier", Tier)
def test_a_file_with_more_than_one_hard_link_is_refused_if_so_told(
    folder: Path, file: Path, tmp_path: Path, tier: Tier
) -> None:
    """The other one may be outside; otherwise it is a file as any other."""
    (tmp_path / "outside").write_bytes(b"outside")
    (folder / "link").hardlink_to(tmp_path / "outside")
    with Project(str(folder), tier=tier, hard_links=False) as project:
        actions: list[Callable[[], object]] = [
            lambda: project.read_file("link"),
            lambda: project.read_bytes("link"),
            lambda: project.write_file("link", "x"),
            lambda: project.write_bytes("link", b"x"),
            lambda: project.write_bytes("link", b"x", in_place=True),
        ]
        for action in actions:
            with pytest.raises(BoundaryError, match="'link' has 2 hard links"):
                action()
        project.write_bytes("file", b"new")
    with Project(str(folder), tier=tier) as project:
        assert project.read_bytes("link").data == b"outside"

    assert file.read_bytes() == b"new"
    assert (tmp_path / "outside").read_bytes() == b"outside"
