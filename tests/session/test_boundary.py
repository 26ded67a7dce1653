"""The boundary of a project, in both tiers: what opens, what is refused, and under a racer."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import pickle
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, strategies as st
from racers import swapping

from jidocode.errors import BoundaryError
from jidocode.session.project import openat2
from jidocode.session.project.boundary import Boundary, Entry, Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOBODY = 65534
SECRET = b"secret"


@pytest.fixture(params=Tier)
def tier(request: pytest.FixtureRequest) -> Tier:
    """Both tiers, one after the other."""
    return cast("Tier", request.param)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory outside the project, with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(SECRET)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a file, a directory and a file in that."""
    folder = tmp_path / "project"
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "file").write_bytes(b"top")
    (folder / "d" / "file").write_bytes(b"below")
    return folder


@pytest.fixture
def boundary(project: Path, tier: Tier) -> Iterator[Boundary]:
    """The project's boundary; no descriptor is left behind by any test."""
    before = open_descriptors()
    with Boundary(str(project), tier=tier) as pinned:
        yield pinned
    assert open_descriptors() == before


def open_descriptors() -> set[str]:
    return {f"{fd}: {target(fd)}" for fd in os.listdir("/proc/self/fd") if target(fd)}  # noqa: PTH208 - names are what is wanted


def target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - need not exist any more
    except FileNotFoundError:
        return ""


def read(boundary: Boundary, path: str) -> bytes:
    with os.fdopen(boundary.open(path, os.O_RDONLY), "rb") as stream:
        return stream.read()


# Where a broken boundary would write, too: only ever give it paths below tmp_path.
def refusals(boundary: Boundary, path: str) -> list[type[BaseException]]:
    """What opening, writing, listing and looking at *path* raise."""
    actions: list[Callable[[], object]] = [
        lambda: read(boundary, path),
        lambda: boundary.write(path, b"changed"),
        lambda: boundary.write(path, b"changed", in_place=True),
        lambda: boundary.listdir(path),
        lambda: boundary.stat(path),
    ]
    raised: list[type[BaseException]] = []
    for action in actions:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the types are compared by the test
            action()
        raised.append(caught.type)
    return raised


# ----- what opens -------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["d/file", "./d/file", "d//file", "d/../d/file", "d/e/../file", "d/e/../../d/file"]
)
def test_paths_inside_open(boundary: Boundary, path: str) -> None:
    """Dots and double slashes are fine as long as they stay inside."""
    assert read(boundary, path) == b"below"


def test_an_absolute_path_inside_is_taken_as_relative(boundary: Boundary, project: Path) -> None:
    """Component by component, so a folder with a longer name is outside."""
    (project.parent / "project2").mkdir()

    assert read(boundary, str(project / "d" / "file")) == b"below"
    assert boundary.resolve(f"/{project}/./d//file") == "d/file"
    assert boundary.resolve(project) == "."
    with pytest.raises(BoundaryError):
        boundary.resolve(project.parent / "project2" / "file")


def test_symlinks_inside_are_followed(boundary: Boundary, project: Path) -> None:
    """To files and directories, up and down, in a chain."""
    (project / "to_d").symlink_to("d/e/..")
    (project / "d" / "e" / "up").symlink_to("../file")
    (project / "chain").symlink_to("to_d/e/up")

    assert read(boundary, "to_d/file") == b"below"
    assert read(boundary, "d/e/up") == b"below"
    assert read(boundary, "chain") == b"below"
    assert read(boundary, "to_d/../file") == b"top"
    assert boundary.stat("chain").st_size == 5


def test_a_file_can_be_created_with_its_mode_and_is_closed_on_exec(boundary: Boundary) -> None:
    """`open` takes the flags of `os.open`."""
    fd = boundary.open("new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(fd, "wb"):
        assert not os.get_inheritable(fd)
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o640

    with pytest.raises(FileExistsError):
        boundary.open("new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def test_a_dangling_symlink_creates_its_target_inside_only(
    boundary: Boundary, project: Path, outside: Path
) -> None:
    """O_CREAT follows links, but not out."""
    (project / "dangling").symlink_to("d/new")
    (project / "trap").symlink_to(f"../{outside.name}/new")
    os.close(boundary.open("dangling", os.O_WRONLY | os.O_CREAT))

    assert (project / "d" / "new").exists()
    with pytest.raises(BoundaryError):
        boundary.open("trap", os.O_WRONLY | os.O_CREAT)
    assert not (outside / "new").exists()


def test_the_root_works_on_after_it_was_renamed(boundary: Boundary, project: Path) -> None:
    """The directory is pinned, not its path."""
    project.rename(project.with_name("elsewhere"))
    project.mkdir()
    boundary.write("file", b"new")

    assert (project.with_name("elsewhere") / "file").read_bytes() == b"new"
    assert list(project.iterdir()) == []


def test_a_directory_is_listed_sorted_with_kinds(boundary: Boundary, project: Path) -> None:
    """Symlinks are told as what they are."""
    (project / "b_link").symlink_to("d")
    os.mkfifo(project / "a_fifo")

    assert boundary.listdir() == [
        Entry("a_fifo", "other"),
        Entry("b_link", "symlink"),
        Entry("d", "directory"),
        Entry("file", "file"),
    ]
    assert boundary.listdir("b_link") == [Entry("e", "directory"), Entry("file", "file")]


def test_a_name_that_is_no_text_can_be_listed_and_opened(boundary: Boundary, project: Path) -> None:
    """Names come and go as the file system has them."""
    name = os.fsdecode(b"caf\xe9")
    (project / name).write_bytes(b"x")

    assert Entry(name, "file") in boundary.listdir()
    assert read(boundary, name) == b"x"


# ----- what is refused --------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/file",
        "../project/file",
        "d/../../outside/file",
        "d/../../project/file",
        "{outside}",
        "{outside}/file",
        "/{outside}/file",
        "/proc/self/root/{outside}/file",
    ],
)
def test_paths_that_lead_out_are_refused(boundary: Boundary, outside: Path, path: str) -> None:
    """Also those that would come back in."""
    assert refusals(boundary, path.format(outside=outside)) == [BoundaryError] * 5
    assert (outside / "file").read_bytes() == SECRET


def test_symlinks_that_lead_out_are_refused(
    boundary: Boundary, project: Path, outside: Path
) -> None:
    """As the last component, in the middle, relative, absolute, in a chain, even back in."""
    links = {
        "file_out": "../outside/file",
        "dir_out": "../outside",
        "absolute": str(outside / "file"),
        "absolute_dir": str(outside),
        "absolute_in": str(project / "file"),
        "chain": "dir_out/file",
        "back_in": "../project/file",
        "above": str(outside.parent),
    }
    for name, leads_to in links.items():
        (project / name).symlink_to(leads_to)
    paths = [*links, "dir_out/file", "dir_out/new", "absolute_dir/file", "above/outside/file"]

    assert {path: refusals(boundary, path) for path in paths} == dict.fromkeys(
        paths, [BoundaryError] * 5
    )
    assert [file.name for file in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == SECRET


def test_missing_parents_are_not_made_outside(
    boundary: Boundary, project: Path, outside: Path
) -> None:
    """A write through a link out makes no directory there."""
    (project / "dir_out").symlink_to("../outside")
    with pytest.raises(BoundaryError):
        boundary.write("dir_out/a/b/new", b"x")

    assert [file.name for file in outside.iterdir()] == ["file"]


def test_loops_are_refused(boundary: Boundary, project: Path) -> None:
    """A link to itself, a ring, a chain that is too long."""
    (project / "self").symlink_to("self")
    (project / "ping").symlink_to("pong")
    (project / "pong").symlink_to("ping")
    for number in range(50):
        (project / f"chain{number}").symlink_to(f"chain{number + 1}")

    for path in ["self", "ping", "chain0", "self/file"]:
        assert refusals(boundary, path) == [BoundaryError] * 5


@pytest.mark.parametrize("path", ["root/etc/hostname", "cwd", "exe", "fd/0", "self/root"])
def test_magic_links_are_refused(tier: Tier, path: str) -> None:
    """The links of /proc jump anywhere, without a path."""
    with Boundary("/proc/self", tier=tier) as boundary, pytest.raises(OSError) as caught:  # noqa: PT011 - which one is asserted below
        boundary.open(path, os.O_RDONLY)

    assert caught.type in {BoundaryError, FileNotFoundError}


def test_what_is_no_regular_file_is_refused_without_waiting(
    boundary: Boundary, project: Path
) -> None:
    """A FIFO without a partner would hang a plain open; sockets and directories are told."""
    os.mkfifo(project / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(project / "d" / "s"))

        for path in ["fifo", "d/s"]:
            for flags in [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT]:
                with pytest.raises(BoundaryError, match="no regular file"):
                    boundary.open(path, flags)
            for in_place in [False, True]:
                with pytest.raises(BoundaryError, match="no regular file"):
                    boundary.write(path, b"x", in_place=in_place)
    assert stat.S_ISFIFO((project / "fifo").lstat().st_mode)


def test_directories_are_no_files(boundary: Boundary) -> None:
    """Neither to read nor to write; nor is a file a directory."""
    for path in ["d", ".", "d/e/..", "d/"]:
        with pytest.raises(IsADirectoryError):
            read(boundary, path)
        for in_place in [False, True]:
            with pytest.raises(IsADirectoryError):
                boundary.write(path, b"x", in_place=in_place)
    with pytest.raises(NotADirectoryError):
        boundary.listdir("file")
    with pytest.raises(NotADirectoryError):
        read(boundary, "file/x")
    with pytest.raises(NotADirectoryError):
        boundary.write("file/x", b"x")


def test_a_device_is_refused(tier: Tier) -> None:
    """Not even /dev/null."""
    with Boundary("/dev", tier=tier) as boundary, pytest.raises(BoundaryError):
        boundary.open("null", os.O_RDONLY)


@pytest.mark.parametrize("path", ["", "d/file\0x", "\ud800", None, 7, b"file", ["file"]])
def test_what_is_no_path_is_refused(boundary: Boundary, path: object) -> None:
    """A NUL would end the path early, and open another file."""
    assert refusals(boundary, cast("str", path)) == [BoundaryError] * 5


def test_a_path_too_long_is_refused(boundary: Boundary) -> None:
    """In all, in a component, in bytes; the message stays short."""
    for path in ["x" * 300, "x/" * 2048, "x" * 1_000_000, "é" * 2048, "\ud800" * 1_000_000]:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - told by errno
            boundary.open(path, os.O_RDONLY)

        assert caught.value.errno == errno.ENAMETOOLONG
        assert len(str(caught.value)) < 400


def test_a_missing_file_is_told_by_its_path_in_the_project(
    boundary: Boundary, project: Path
) -> None:
    """The error is what `open` raises, and pickles."""
    with pytest.raises(FileNotFoundError) as caught:
        read(boundary, str(project / "d" / "gone"))
    copy = pickle.loads(pickle.dumps(caught.value))

    assert (copy.filename, copy.errno, type(copy)) == ("d/gone", errno.ENOENT, FileNotFoundError)
    assert str(project) not in str(caught.value)


@given(path=st.text(alphabet="./ad\0é") | st.text())
def test_any_text_gives_a_file_of_the_project_or_an_os_error(boundary: Boundary, path: str) -> None:
    """Nothing else gets through."""
    try:
        content = read(boundary, path)
    except OSError:
        return

    assert content in {b"top", b"below"}


PARTS = st.sampled_from(["..", ".", "d", "e", "file", "gone", "in", "up", "out", "abs", "loop"])


@given(parts=st.lists(PARTS, min_size=1, max_size=6))
def test_both_tiers_mean_the_same(project: Path, outside: Path, parts: list[str]) -> None:
    """The same file or the same error, whatever the path goes through."""
    for name, leads_to in {
        "in": "d/e",
        "d/up": "../d",
        "out": "../outside",
        "abs": str(outside),
        "d/loop": "loop",
    }.items():
        if not (project / name).is_symlink():
            (project / name).symlink_to(leads_to)
    results: list[object] = []
    for tier in Tier:
        with Boundary(str(project), tier=tier) as boundary:
            try:
                results.append(boundary.stat("/".join(parts)).st_ino)
            except OSError as error:
                results.append((type(error), str(error)))

    assert results[0] == results[1]


# ----- the pin ----------------------------------------------------------------


def test_a_root_that_is_gone_or_no_directory_cannot_be_pinned(tier: Tier, project: Path) -> None:
    """The errors are those of `open`."""
    with pytest.raises(FileNotFoundError):
        Boundary(str(project / "gone"), tier=tier)
    with pytest.raises(NotADirectoryError):
        Boundary(str(project / "file"), tier=tier)


def test_another_directory_at_the_path_is_refused(tier: Tier, project: Path) -> None:
    """The key of the session's project must match; no descriptor stays."""
    status = project.stat()
    before = open_descriptors()
    with pytest.raises(BoundaryError, match="another directory"):
        Boundary(str(project), key=(status.st_dev, status.st_ino + 1), tier=tier)

    assert open_descriptors() == before
    Boundary(str(project), key=(status.st_dev, status.st_ino), tier=tier).close()


def test_a_root_behind_a_symlink_stays_what_it_was(
    tier: Tier, project: Path, outside: Path
) -> None:
    """The link may be turned later; the pin does not move."""
    link = project.with_name("link")
    link.symlink_to(project)
    with Boundary(str(link), tier=tier) as boundary:
        link.unlink()
        link.symlink_to(outside)

        assert read(boundary, "file") == b"top"


def test_a_closed_boundary_opens_nothing(boundary: Boundary) -> None:
    """Closing twice is fine."""
    boundary.close()
    boundary.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        boundary.open("file", os.O_RDONLY)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_without_openat2_the_walk_takes_over(
    project: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """An old kernel lacks it, a seccomp filter may deny it."""

    def denied(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(openat2, "open_beneath", denied)
    with Boundary(str(project)) as boundary:
        assert boundary.tier is Tier.WALK
        assert read(boundary, "d/file") == b"below"
    with pytest.raises(OSError, match=os.strerror(code)):
        Boundary(str(project), tier=Tier.OPENAT2)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINTR])
def test_an_interrupted_openat2_is_tried_again_but_not_for_ever(
    project: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """EAGAIN means that something was renamed meanwhile, somewhere on the machine."""
    failures = itertools.chain(range(5))
    syscall = openat2._libc.syscall

    def failing(*args: object) -> int:
        if next(failures, None) is not None:
            ctypes.set_errno(code)
            return -1
        return cast("int", syscall(*args))

    with Boundary(str(project), tier=Tier.OPENAT2) as boundary:
        monkeypatch.setattr(openat2, "_libc", SimpleNamespace(syscall=failing))

        assert read(boundary, "d/file") == b"below"
        failures = itertools.chain(itertools.count())
        with pytest.raises(BlockingIOError):
            read(boundary, "d/file")


# ----- writing ----------------------------------------------------------------


def test_a_write_makes_the_file_and_its_parents(boundary: Boundary, project: Path) -> None:
    """What is made has the permissions of the umask; nothing else is left."""
    assert boundary.write("d/../a/c/new", b"x") == "d/../a/c/new"
    assert (project / "a" / "c" / "new").read_bytes() == b"x"
    assert [file.name for file in (project / "a" / "c").iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("gone/../x", errno.ENOENT),
        ("gone/also/..", errno.ENOENT),
        ("gone/also/" + "x" * 300, errno.ENAMETOOLONG),
        ("gone/also/" + "x" * 300 + "/even/this/file", errno.ENAMETOOLONG),
    ],
)
def test_a_path_that_cannot_be_written_makes_no_directory(
    boundary: Boundary, project: Path, path: str, code: int
) -> None:
    """Its names are looked at before the first one is made."""
    with pytest.raises(OSError, match=path[:4]) as caught:
        boundary.write(path, b"x")

    assert caught.value.errno == code
    assert sorted(file.name for file in project.iterdir()) == ["d", "file"]


def test_a_write_replaces_the_content_and_keeps_the_permissions(
    boundary: Boundary, project: Path
) -> None:
    """Whoever has the old file open goes on reading the old content."""
    (project / "file").chmod(0o751)
    with (project / "file").open("rb") as before:
        boundary.write(project / "file", b"new")

        assert before.read() == b"top"
    assert (project / "file").read_bytes() == b"new"
    assert stat.S_IMODE((project / "file").stat().st_mode) == 0o751


def test_a_write_follows_symlinks_inside(boundary: Boundary, project: Path) -> None:
    """The link stays a link, also one that hangs in the air."""
    (project / "link").symlink_to("d/e/up")
    (project / "d" / "e" / "up").symlink_to("../../file")
    (project / "dangling").symlink_to("d/new")
    boundary.write("link", b"through")
    boundary.write("dangling", b"made")

    assert (project / "file").read_bytes() == b"through"
    assert (project / "link").is_symlink()
    assert (project / "d" / "new").read_bytes() == b"made"


def test_a_failed_write_changes_nothing_and_leaves_nothing(
    boundary: Boundary, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary file goes when the rename fails."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        boundary.write("file", b"new")

    assert sorted(file.name for file in project.iterdir()) == ["d", "file"]
    assert (project / "file").read_bytes() == b"top"


def test_a_file_that_may_not_be_written_is_not_replaced(boundary: Boundary, project: Path) -> None:
    """Its directory could be written, but that is not what read-only means."""
    uid = os.geteuid()
    (project / "file").chmod(0o444)
    if uid == 0:
        os.chown(project, NOBODY, -1)
        os.chown(project / "file", NOBODY, -1)
    try:
        if uid == 0:
            os.seteuid(NOBODY)
        with pytest.raises(PermissionError) as caught:
            boundary.write("file", b"new")
        boundary.write("other", b"new")
    finally:
        os.seteuid(uid)

    assert not isinstance(caught.value, BoundaryError)
    assert (project / "file").read_bytes() == b"top"


def test_a_path_of_five_hundred_directories_can_be_made(boundary: Boundary) -> None:
    """Depth costs no stack."""
    path = "/".join(["a"] * 500)
    boundary.write(path + "/file", b"deep")

    assert read(boundary, path + "/file") == b"deep"


# ----- under a racer ----------------------------------------------------------


@pytest.fixture
def racer(project: Path, outside: Path) -> Iterator[None]:
    """A process that swaps the project's directory "d" for a link to *outside* and back."""
    (project / "trap").symlink_to(f"../{outside.name}")
    with swapping(project):
        yield


@pytest.mark.usefixtures("racer")
def test_no_read_escapes_while_a_racer_swaps_directories(boundary: Boundary) -> None:
    """Inside or refused, 5,000 times."""
    seen: set[bytes] = set()
    for _ in range(5000):
        try:
            seen.add(read(boundary, "d/file"))
        except OSError as error:
            assert isinstance(error, (BoundaryError, FileNotFoundError, NotADirectoryError))  # noqa: PT017 - either outcome is fine

    assert seen <= {b"below"}


@pytest.mark.usefixtures("racer")
def test_no_write_escapes_while_a_racer_swaps_directories(
    boundary: Boundary, outside: Path
) -> None:
    """Neither files nor directories appear outside, in 1,500 tries each."""
    for number in range(1500):
        for path in ["d/file", f"d/new{number % 7}", f"d/made{number}/new"]:
            try:
                boundary.write(path, b"below", in_place=number % 2 == 1)
            except OSError as error:
                assert isinstance(error, (BoundaryError, FileNotFoundError, NotADirectoryError))  # noqa: PT017 - either outcome is fine

    assert [file.name for file in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == SECRET


@pytest.mark.usefixtures("racer")
def test_no_listing_escapes_while_a_racer_swaps_directories(
    boundary: Boundary, outside: Path
) -> None:
    """The names outside are never seen, in 3,000 tries."""
    (outside / "file").rename(outside / "private")
    seen: set[str] = set()
    for _ in range(3000):
        try:
            seen |= {entry.name for entry in boundary.listdir("d")}
        except OSError as error:
            assert isinstance(error, (BoundaryError, FileNotFoundError, NotADirectoryError))  # noqa: PT017 - either outcome is fine

    assert "private" not in seen
