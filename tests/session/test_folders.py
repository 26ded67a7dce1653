"""Names in a project: looked at, made, removed, moved and copied, and nothing outside touched."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import stat as modes
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from jidocode.errors import (
    BoundaryError,
    FileTooLargeError,
    FolderTooLargeError,
    InvalidRequestError,
    JidocodeError,
)
from jidocode.session.project import limits, renaming
from jidocode.session.project.boundary import Tier
from jidocode.session.project.copying import copy
from jidocode.session.project.editing import Edit
from jidocode.session.project.files import Project
from jidocode.session.project.folders import mkdir, move, remove, stat
from jidocode.session.project.rewriting import append_file, edit_file
from jidocode.session.project.temporary import TemporaryName
from jidocode.session.record import new_session_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jidocode.session.record import Session


@pytest.fixture(params=Tier)
def project(request: pytest.FixtureRequest, session: Session) -> Iterator[Project]:
    """The project of the session, in both tiers; no descriptor is left behind."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is what is wanted
    with Project(session.project_path, tier=cast("Tier", request.param)) as pinned:
        yield pinned
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - idem


@pytest.fixture
def tree(folder: Path) -> Path:
    """A folder `d` with files, a folder and links in it, and a file beside it."""
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "file").write_bytes(b"top")
    (folder / "d" / "file").write_bytes(b"below")
    (folder / "d" / "e" / "run").write_bytes(b"#!")
    (folder / "d" / "e" / "run").chmod(0o751)
    (folder / "d" / "up").symlink_to("../file")
    (folder / "d" / "out").symlink_to("/etc/passwd")
    return folder


def shape(folder: Path) -> dict[str, str]:
    """What is in *folder*, by path: what kind it is, with its permissions and content."""
    found: dict[str, str] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = f"folder {path.stat().st_mode & 0o777:o}"
        else:
            found[name] = f"file {path.stat().st_mode & 0o777:o} {path.read_bytes()!r}"
    return found


# ----- stat and mkdir -----------------------------------------------------------


def test_what_is_at_a_path_is_told(project: Project, tree: Path) -> None:
    """Of a symlink, what it is itself; of a device or FIFO, that it is something else."""
    os.mkfifo(tree / "fifo")
    found = stat(project, tree / "d" / "e" / ".." / "e" / "run")

    assert (found.path, found.kind, found.size) == ("d/e/../e/run", "file", 2)
    assert (found.mode, found.target) == (0o751, None)
    assert found.modified == (tree / "d" / "e" / "run").stat().st_mtime
    assert (stat(project, "d/").kind, stat(project, ".").kind) == ("directory", "directory")
    link = stat(project, "d/out")
    assert (link.kind, link.target) == ("symlink", "/etc/passwd")
    assert "passwd" not in repr(link)
    assert stat(project, "fifo").kind == "other"
    with pytest.raises(FileNotFoundError):
        stat(project, "gone")
    for path in ("file/", "d/up/"):
        with pytest.raises(NotADirectoryError):
            stat(project, path)


def test_a_folder_is_made_with_those_above_it(project: Project, tree: Path) -> None:
    """One that is there is fine; a file is none, nor is a link that leads out."""
    assert mkdir(project, "d/new/deep") == "d/new/deep"
    assert mkdir(project, tree / "d" / "new" / "deep") == "d/new/deep"
    assert mkdir(project, ".") == "."
    assert (tree / "d" / "new" / "deep").is_dir()
    for path in ("file", "file/x", "d/up"):
        with pytest.raises(NotADirectoryError):
            mkdir(project, path)
    with pytest.raises(BoundaryError):
        mkdir(project, "d/out/x")


# ----- remove -------------------------------------------------------------------


def test_a_name_is_removed_and_not_what_it_leads_to(project: Project, tree: Path) -> None:
    """Files, links and empty folders; one that is not empty only if that is said."""
    (tree / "d" / "empty").mkdir()
    for path in ("d/up", "d/out", "d/empty", "d/e/run"):
        assert remove(project, path) == 1
    assert (tree / "file").read_bytes() == b"top"
    with pytest.raises(OSError, match="not empty") as caught:
        remove(project, "d")
    assert caught.value.errno == errno.ENOTEMPTY
    assert remove(project, "d", recursive=True) == 3
    for path in ("file/", "gone", "gone/x"):
        with pytest.raises(OSError, match=path.rstrip("/")):
            remove(project, path)

    assert shape(tree) == {"file": f"file {(tree / 'file').stat().st_mode & 0o777:o} b'top'"}


def test_a_folder_too_large_is_refused_whole(
    project: Project, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For copies, too; and the limit itself has one."""
    before = shape(tree)
    for change in (
        lambda: remove(project, "d", recursive=True, limit=4),
        lambda: copy(project, "d", "new/d", recursive=True, limit=4),
    ):
        with pytest.raises(FolderTooLargeError, match="'d' holds more than 4 files") as caught:
            change()
        assert caught.value.limit == 4
    for limit in (-1, True, "1", limits.MOST_FOLDER + 1):
        with pytest.raises(InvalidRequestError, match="limit must be"):
            remove(project, "d", recursive=True, limit=cast("int", limit))
        with pytest.raises(InvalidRequestError, match="limit must be"):
            copy(project, "d", "x", recursive=True, limit=cast("int", limit))
    monkeypatch.setattr(limits, "MAX_COPY_BYTES", 4)
    for path in ("d", "d/file"):
        with pytest.raises(FileTooLargeError, match="at most 4 are taken at once"):
            copy(project, path, "new/x", recursive=True)
    assert shape(tree) == before

    assert remove(project, "d", recursive=True, limit=5) == 6


def test_a_history_is_removed_only_by_its_own_path(project: Project, tree: Path) -> None:
    """That of the project, and of one that is in it."""
    for git in (tree / ".git", tree / "d" / "e" / ".git"):
        (git / "objects").mkdir(parents=True)
    before = shape(tree)
    with pytest.raises(InvalidRequestError, match=r"'d/e/\.git' has to be removed by its own path"):
        remove(project, "d", recursive=True)
    assert shape(tree) == before

    assert remove(project, "d/e/.git", recursive=True) == 2
    assert remove(project, "d", recursive=True) == 6
    assert remove(project, ".git", recursive=True) == 2


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_what_is_neither_file_nor_folder_is_left_alone(
    project: Project, tree: Path, kind: str
) -> None:
    """Nor is a folder touched in which there is such a thing."""
    if kind == "fifo":
        os.mkfifo(tree / "d" / "odd")
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tree / "d" / "odd"))
    names = set(tree.rglob("*"))
    for change in (
        lambda: remove(project, "d/odd"),
        lambda: remove(project, "d", recursive=True),
        lambda: move(project, "d/odd", "new"),
        lambda: move(project, "file", "d/odd", overwrite=True),
        lambda: copy(project, "d/odd", "new"),
        lambda: copy(project, "d", "new", recursive=True),
        lambda: copy(project, "file", "d/odd", overwrite=True),
    ):
        with pytest.raises(BoundaryError, match="is no regular file"):
            change()

    assert set(tree.rglob("*")) == names


# ----- move ---------------------------------------------------------------------


def test_things_are_moved_as_what_they_are(project: Project, tree: Path) -> None:
    """Into folders that are made for them; nothing is replaced unasked."""
    assert move(project, "d/up", "new/place/up") == "new/place/up"
    assert (tree / "new" / "place" / "up").readlink().name == "file"
    assert move(project, "d/e", "new/e/") == "new/e"
    assert move(project, "file", tree / "new" / "file") == "new/file"
    for source in ("new/file", "d/out", "new/e"):
        with pytest.raises(FileExistsError):
            move(project, source, "d/file")
    assert (tree / "d" / "file").read_bytes() == b"below"
    move(project, "new/file", "d/file", overwrite=True)
    assert (tree / "d" / "file").read_bytes() == b"top"
    for source, destination, code in [
        ("d/file", "new/e", errno.EISDIR),
        ("new", "d/file", errno.ENOTDIR),
        ("d", "d/e/f", errno.EINVAL),
        ("d/file", "d/x/", errno.ENOTDIR),
        ("gone", "d/x", errno.ENOENT),
        ("d/file", "d/file/x", errno.EINVAL),
    ]:
        before = shape(tree)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is compared
            move(project, source, destination, overwrite=True)
        assert caught.value.errno == code, (source, destination)
        assert shape(tree) == before


def test_a_hard_link_moved_over_another_is_gone_from_its_old_place(
    project: Project, tree: Path
) -> None:
    """The kernel would do nothing; over itself it stays."""
    (tree / "other").hardlink_to(tree / "file")
    move(project, "other", "file", overwrite=True)
    assert not (tree / "other").exists()
    (tree / "other").hardlink_to(tree / "file")
    move(project, "file", "d/../file", overwrite=True)

    assert (tree / "file").read_bytes() == b"top"


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_without_the_call_for_it_nothing_is_replaced_either(
    project: Project, tree: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Not every file system has it, nor every C library."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(renaming, "_renameat2", refuse)
    with pytest.raises(FileExistsError):
        move(project, "file", "d/file")
    with pytest.raises(FileExistsError):
        move(project, "d/e", "d/file")
    move(project, "d/out", "out")
    move(project, "file", "f")
    move(project, "d", "g")
    with pytest.raises(OSError, match="into itself"):
        move(project, "g", "g/h")

    assert {path.name for path in tree.iterdir()} == {"out", "f", "g"}
    assert {path.name for path in (tree / "g").iterdir()} == {"e", "file", "up"}


# ----- copy ---------------------------------------------------------------------


def test_a_folder_is_copied_with_all_that_is_in_it(project: Project, tree: Path) -> None:
    """Links as links; permissions stay, also those that close a folder."""
    (tree / "d" / "e").chmod(0o555)
    (tree / "d" / TemporaryName(new_session_id()).text).touch()
    assert copy(project, "d", "new/copy", recursive=True) == "new/copy"
    (tree / "d" / "e").chmod(0o755)
    (tree / "new" / "copy" / "e").chmod(0o755)
    original = shape(tree / "d")

    assert shape(tree / "new" / "copy") == {
        name: what for name, what in original.items() if not name.startswith(".jidocode-")
    }
    with pytest.raises(IsADirectoryError):
        copy(project, "d", "again")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError):
            copy(project, "d", "new", recursive=True, overwrite=overwrite)
        with pytest.raises(OSError, match="into itself"):
            copy(project, "d", "d/e/copy", recursive=True, overwrite=overwrite)


def test_a_file_is_copied_and_replaces_only_a_file_and_if_asked(
    project: Project, tree: Path
) -> None:
    """It has the permissions of the one that it was made from."""
    (tree / "file").chmod(0o600)
    copy(project, "d/e/run", "new/run")
    assert (tree / "new" / "run").read_bytes() == b"#!"
    assert modes.S_IMODE((tree / "new" / "run").stat().st_mode) == 0o751
    copy(project, "d/up", "new/up")
    assert (tree / "new" / "up").is_symlink()
    with pytest.raises(FileExistsError):
        copy(project, "d/e/run", "file")
    assert copy(project, "d/e/run", "file", overwrite=True) == "file"
    assert (tree / "file").read_bytes() == b"#!"
    assert modes.S_IMODE((tree / "file").stat().st_mode) == 0o751
    with pytest.raises(IsADirectoryError):
        copy(project, "file", "d", overwrite=True)
    with pytest.raises(BoundaryError, match="no regular file"):
        copy(project, "file", "d/out", overwrite=True)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError):
            copy(project, "d/up", "file", overwrite=overwrite)
        with pytest.raises(FileNotFoundError):
            copy(project, "gone", "new/gone", overwrite=overwrite)


def test_a_copy_that_fails_leaves_nothing(
    project: Project, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, in the middle of a folder."""
    truly = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        found = truly(fd, size, offset)
        if found == b"#!":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return found

    before = shape(tree)
    monkeypatch.setattr(os, "pread", pread)
    for path in ("d", "d/e/run"):
        with pytest.raises(OSError, match="No space left"):
            copy(project, path, "copy", recursive=True)

    assert shape(tree) == before


def test_a_file_of_a_hundred_megabytes_is_copied_in_bounded_memory_and_time(
    project: Project, tree: Path
) -> None:
    """And moved, looked at and removed; it is too large to be edited."""
    with (tree / "big").open("wb") as stream:
        for number in range(100):
            stream.write(bytes([number]) * 2**20)
    before = time.monotonic()
    copy(project, "big", "copy")
    move(project, "copy", "moved")
    assert time.monotonic() - before < 20
    with (tree / "moved").open("rb") as stream, (tree / "big").open("rb") as original:
        assert (
            hashlib.file_digest(stream, "sha256").digest()
            == hashlib.file_digest(original, "sha256").digest()
        )
    assert stat(project, "moved").size == 100 * 2**20
    assert project.read_bytes("moved", offset=2**20, limit=1).data == b"\1"
    for change in (
        lambda: edit_file(project, "moved", Edit("a", "b")),
        lambda: append_file(project, "moved", "a"),
        lambda: project.write_bytes("moved", b"", if_sha256="absent"),
    ):
        with pytest.raises(FileTooLargeError):
            change()
    assert remove(project, "moved") == 1


# ----- the boundary -------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["..", "../x", "/etc", "d/out/x", ".", "d/..", "", "a\0b", "x" * 5000]
)
def test_no_name_outside_is_reached(project: Project, tree: Path, path: str) -> None:
    """Nor the project itself, which has no name in itself."""
    before = shape(tree)
    for change in (
        lambda: remove(project, path, recursive=True),
        lambda: move(project, path, "new"),
        lambda: move(project, "file", path, overwrite=True),
        lambda: copy(project, path, "new", recursive=True),
        lambda: copy(project, "file", path, overwrite=True),
    ):
        with pytest.raises((BoundaryError, OSError)):
            change()

    assert shape(tree) == before


def test_names_of_unfinished_files_are_not_there(project: Project, tree: Path) -> None:
    """Nobody sees them, makes them or moves them; with their folder they go."""
    name = TemporaryName(new_session_id()).text
    (tree / "d" / name).write_bytes(b"half")
    for change in (
        lambda: stat(project, f"d/{name}"),
        lambda: mkdir(project, f"d/{name}"),
        lambda: mkdir(project, f"d/{name}/x"),
        lambda: remove(project, f"d/{name}"),
        lambda: move(project, f"d/{name}", "x"),
        lambda: move(project, "file", name),
        lambda: copy(project, f"d/{name}", "x"),
        lambda: copy(project, "file", f"d/x/{name}"),
    ):
        with pytest.raises(BoundaryError, match="kept for unfinished files"):
            change()

    assert remove(project, "d", recursive=True) == 7


def test_whatever_is_wrong_is_a_typed_error(project: Project, tree: Path) -> None:
    """Paths that are none."""
    wrong: list[object] = [None, 7, b"file", [], "\ud800"]
    for path in wrong:
        for change in (
            lambda: stat(project, cast("Any", path)),  # noqa: B023 - called at once
            lambda: mkdir(project, cast("Any", path)),  # noqa: B023 - idem
            lambda: remove(project, cast("Any", path)),  # noqa: B023 - idem
            lambda: move(project, cast("Any", path), "x"),  # noqa: B023 - idem
            lambda: copy(project, "file", cast("Any", path)),  # noqa: B023 - idem
        ):
            with pytest.raises((JidocodeError, OSError)):
                change()

    assert (tree / "file").read_bytes() == b"top"


def test_a_deep_tree_is_copied_and_removed(project: Project, tree: Path) -> None:
    """Depth costs neither stack nor descriptors."""
    path = "deep" + "/a" * 400
    mkdir(project, path)
    project.write_bytes(f"{path}/file", b"x")
    copy(project, "deep", "copy", recursive=True)

    assert (tree / ("copy" + "/a" * 400) / "file").read_bytes() == b"x"
    assert remove(project, "deep", recursive=True) == 402
    assert remove(project, "copy", recursive=True) == 402


MOUNTED = """
import subprocess, sys
from jidocode.session.project.copying import copy
from jidocode.session.project.boundary import Tier
from jidocode.session.project.files import Project
from jidocode.session.project.folders import move, remove

folder, tier = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder + "/d/e"], check=True)
with Project(folder, tier=Tier(tier)) as project:
    project.write_bytes("d/e/kept", b"kept")
    for change in (
        lambda: remove(project, "d", recursive=True),
        lambda: copy(project, "d", "x", recursive=True),
        lambda: move(project, "d/e/kept", "x"),
        lambda: move(project, "file", "d/e/kept", overwrite=True),
    ):
        try:
            change()
        except OSError as error:
            print(error)
    copy(project, "d/e/kept", "copied")
    print(project.read_bytes("copied").data, project.read_bytes("d/e/kept").data)
"""


@pytest.mark.parametrize("tier", Tier)
def test_what_is_mounted_in_a_folder_is_left_alone_and_said_so(tree: Path, tier: Tier) -> None:
    """Between file systems a file is copied, not moved."""
    unshare = [shutil.which("unshare") or "", "--user", "--map-root-user", "--mount"]
    if not unshare[0] or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no mounts without privileges here")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", MOUNTED, str(tree), tier.value],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[Errno 16] a file system is mounted there: 'd'",
        "[Errno 16] a file system is mounted there: 'd'",
        "[Errno 18] it is on another file system: copy, and remove the old one: 'x'",
        "[Errno 18] it is on another file system: copy, and remove the old one: 'd/e/kept'",
        "b'kept' b'kept'",
    ]
    assert (tree / "d" / "file").exists()
