"""Files read exactly and written back: no byte is lost, and nobody gets access by it."""

from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import os
import shutil
import stat
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import example, given, strategies as st

from jidocode.errors import (
    FileChangedError,
    FileTooLargeError,
    InvalidRequestError,
    NotTextError,
)
from jidocode.session.project import access, limits
from jidocode.session.project.boundary import Tier
from jidocode.session.project.files import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jidocode.session.project.text import Newline
    from jidocode.session.record import Session

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(params=Tier)
def project(request: pytest.FixtureRequest, session: Session) -> Iterator[Project]:
    """The project of the session, in both tiers."""
    with Project(session.project_path, tier=cast("Tier", request.param)) as pinned:
        yield pinned


@pytest.fixture
def file(folder: Path) -> Path:
    """A file in it."""
    path = folder / "file"
    path.write_bytes(b"old\n")
    return path


# ----- text -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (b"", ("", "utf-8", "")),
        (b"one", ("one", "utf-8", "")),
        ("é\nb".encode(), ("é\nb", "utf-8", "\n")),
        (b"a\r\nb\r\n", ("a\r\nb\r\n", "utf-8", "\r\n")),
        (b"a\rb", ("a\rb", "utf-8", "\r")),
        (b"a\r\nb\n", ("a\r\nb\n", "utf-8", "mixed")),
        (b"a\n\r", ("a\n\r", "utf-8", "mixed")),
        (codecs.BOM_UTF8 + b"a", ("a", "utf-8-sig", "")),
        (codecs.BOM_UTF8 * 2, ("\ufeff", "utf-8-sig", "")),
        (codecs.BOM_UTF16_LE + "é\r\n".encode("utf-16-le"), ("é\r\n", "utf-16", "\r\n")),
        (codecs.BOM_UTF16_BE + "é\n".encode("utf-16-be"), ("é\n", "utf-16", "\n")),
        (b"x" * 5000 + b"\n", ("x" * 5000 + "\n", "utf-8", "\n")),
    ],
)
def test_text_is_read_exactly_with_what_it_is(
    project: Project, file: Path, data: bytes, read: tuple[str, str, str]
) -> None:
    """However long its lines are."""
    file.write_bytes(data)
    found = project.read_text("file")

    assert (found.text, found.encoding, found.newline) == read
    assert (found.path, found.size) == ("file", len(data))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert "path" not in repr(found)
    assert "text=" not in repr(found)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"caf\xe9 au lait", "'file' is no utf-8 text: invalid continuation byte at byte 3"),
        (b"a\0b", "'file' is no utf-8 text: it holds a NUL"),
        ("a".encode("utf-16-le"), "it holds a NUL"),
        (codecs.BOM_UTF32_LE + "a".encode("utf-32-le"), "no utf-16 text: it holds a NUL"),
        (codecs.BOM_UTF16_LE + b"a", "'file' is no utf-16 text: truncated data at byte 0"),
        (codecs.BOM_UTF16_LE + b"\0\xd8", "no utf-16 text"),
        (codecs.BOM_UTF8 + b"\xff", "'file' is no utf-8-sig text: invalid start byte"),
        ("\ud800".encode(errors="surrogatepass"), "no utf-8 text"),
    ],
)
def test_what_is_no_text_is_refused_to_reader_and_writer(
    project: Project, file: Path, data: bytes, problem: str
) -> None:
    """So nobody writes back what a look at it has replaced; its bytes can be had."""
    file.write_bytes(data)
    for ask in (
        lambda: project.read_text("file"),
        lambda: project.write_file("file", "caf\ufffd au lait"),
        lambda: project.write_file("file", "caf\ufffd\r", in_place=True),
    ):
        with pytest.raises(NotTextError, match=problem):
            ask()

    assert file.read_bytes() == data == project.read_bytes("file").data
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    project.write_file("file", "new", encoding="utf-8")
    assert file.read_bytes() == mark + b"new"


def test_another_encoding_has_to_be_named_to_read_and_to_write(
    project: Project, file: Path
) -> None:
    """And is kept to; line ends are those of the old file, in its encoding."""
    file.write_bytes(b"caf\xe9\r\n")
    found = project.read_text("file", encoding="latin-1")
    project.write_file("file", "th\u00e9\n", encoding=found.encoding)

    assert (found.text, found.encoding, found.newline) == ("café\r\n", "iso8859-1", "\r\n")
    assert file.read_bytes() == b"th\xe9\r\n"
    with pytest.raises(InvalidRequestError, match="cannot be encoded as iso8859-1"):
        project.write_file("file", "€", encoding="latin-1")
    assert file.read_bytes() == b"th\xe9\r\n"


def test_a_file_is_turned_into_another_encoding(project: Project, file: Path) -> None:
    """It keeps its line ends, and the order of bytes that it has from now on."""
    file.write_bytes(b"a\r\n")
    project.write_file("file", "é\n", encoding="utf-8-sig")
    assert file.read_bytes() == codecs.BOM_UTF8 + "é\r\n".encode()
    project.write_file("file", "é\n", encoding="utf-16")
    assert file.read_bytes() == codecs.BOM_UTF16_LE + "é\r\n".encode("utf-16-le")

    file.write_bytes(codecs.BOM_UTF16_BE)
    project.write_file("file", "é", encoding="utf-16")
    assert file.read_bytes() == codecs.BOM_UTF16_BE + "é".encode("utf-16-be")
    project.write_file("file", "é", encoding="utf-8")
    assert file.read_bytes() == "é".encode()


@pytest.mark.parametrize("name", ["punycode", "idna"])
def test_an_encoding_of_host_names_is_refused(project: Project, file: Path, name: str) -> None:
    """One of them would take hours for a file that may be read."""
    file.write_bytes(b"a" * 100_000)
    with pytest.raises(InvalidRequestError, match="no encoding of files"):
        project.read_text("file", encoding=name)
    with pytest.raises(InvalidRequestError, match="no encoding of files"):
        project.write_file("file", "a", encoding=name)


@pytest.mark.parametrize("name", ["", "klingon", "hex", "undefined", "a\0b", "\ud800", 7, b"utf-8"])
def test_an_encoding_that_is_none_is_refused(project: Project, file: Path, name: object) -> None:
    """Also Python's codecs that are none of text."""
    encoding = cast("str", name)
    with pytest.raises(InvalidRequestError, match="no text encoding"):
        project.read_text("file", encoding=encoding)
    with pytest.raises(InvalidRequestError, match="no text encoding"):
        project.write_file("file", "x", encoding=encoding)

    assert file.read_bytes() == b"old\n"


@pytest.mark.parametrize(
    ("data", "name", "encoding"),
    [
        (codecs.BOM_UTF8 + b"a", "UTF8", "utf-8-sig"),
        (codecs.BOM_UTF16_BE + b"\0a", "utf-16", "utf-16"),
        (codecs.BOM_UTF16_BE + b"\0a", "utf-16-be", "utf-16"),
        (b"\0a", "utf-16-be", "utf-16-be"),
    ],
)
def test_a_byte_order_mark_is_never_part_of_the_text(
    project: Project, file: Path, data: bytes, name: str, encoding: str
) -> None:
    """Whatever the encoding is called; what it is, is said."""
    file.write_bytes(data)
    found = project.read_text("file", encoding=name)

    assert (found.text, found.encoding) == ("a", encoding)
    project.write_file("file", "a", encoding=name)
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("data", "name", "problem"),
    [
        (b"a\0", "utf-16", "no utf-16 text: it has no byte order mark"),
        (b"a", "utf-8-sig", "no utf-8-sig text: it has no byte order mark"),
        (b"+AGE-", "utf-7", "no utf-7 text: encoding it again gives other bytes"),
    ],
)
def test_text_that_could_not_be_written_back_is_refused(
    project: Project, file: Path, data: bytes, name: str, problem: str
) -> None:
    """There are encodings in which several bytes say the same."""
    file.write_bytes(data)
    with pytest.raises(NotTextError, match=problem):
        project.read_text("file", encoding=name)


ENCODINGS = [
    ("utf-8", b""),
    ("utf-8", codecs.BOM_UTF8),
    ("utf-16-le", codecs.BOM_UTF16_LE),
    ("utf-16-be", codecs.BOM_UTF16_BE),
    ("latin-1", b""),
    ("cp1252", b""),
    ("shift_jis", b""),
    ("utf-16-be", b""),
    ("utf-32-le", b""),
]
PIECES = st.sampled_from(["a", "é", "ﾊ", "𝄞", "\ufeff", "\n", "\r\n", "\r", "\u2028", "\x85", "\v"])


@example(encoded=("utf-16-be", b""), pieces=["\ufeff"], in_place=False)
@given(encoded=st.sampled_from(ENCODINGS), pieces=st.lists(PIECES), in_place=st.booleans())
def test_reading_and_writing_the_same_text_gives_the_same_bytes(
    project: Project, file: Path, encoded: tuple[str, bytes], pieces: list[str], *, in_place: bool
) -> None:
    """In all encodings, with all line ends."""
    codec, mark = encoded
    data = mark + "".join(pieces).encode(codec, "ignore")
    file.write_bytes(data)
    named = None if mark or codec == "utf-8" else codec
    found = project.read_text("file", encoding=named)
    project.write_file("file", found.text, encoding=named, in_place=in_place)
    assert file.read_bytes() == data

    project.write_file("file", found.text, encoding=found.encoding, newline=found.newline)
    assert file.read_bytes() == data


@given(
    data=st.binary(max_size=50), name=st.sampled_from([None, "utf-8", "utf-16", "gb18030", "utf-7"])
)
@example(b"\xff\xfe", None)
def test_any_bytes_are_read_exactly_or_refused(
    project: Project, file: Path, data: bytes, name: str | None
) -> None:
    """Nothing in between."""
    file.write_bytes(data)
    with contextlib.suppress(NotTextError):
        found = project.read_text("file", encoding=name)
        project.write_file("file", found.text, encoding=name)

    assert file.read_bytes() == data == project.read_bytes("file").data


@pytest.mark.parametrize(
    ("old", "write", "written"),
    [
        (b"a\r\n", ("b\nc\n", None), b"b\r\nc\r\n"),
        (b"a\r", ("b\nc\n", None), b"b\rc\r"),
        (b"a\n", ("b\nc\n", None), b"b\nc\n"),
        (b"a\nb\r\n", ("b\nc\n", None), b"b\nc\n"),
        (b"", ("b\nc\n", None), b"b\nc\n"),
        (b"a\n", ("b\r\nc\r\n", None), b"b\r\nc\r\n"),
        (b"a\r\n", ("b\nc\r\n", None), b"b\nc\r\n"),
        (b"a\r\n", ("b\nc\n", "\n"), b"b\nc\n"),
        (b"a\r\n", ("b\nc\n", ""), b"b\nc\n"),
        (b"a\r\n", ("b\nc\n", "mixed"), b"b\nc\n"),
        (b"a\n", ("b\nc\r\nd\r", "\r\n"), b"b\r\nc\r\nd\r\n"),
    ],
)
def test_line_ends_are_kept_unless_content_or_caller_says_otherwise(
    project: Project, file: Path, old: bytes, write: tuple[str, Newline | None], written: bytes
) -> None:
    """Plain content takes those of the file that it replaces."""
    content, newline = write
    file.write_bytes(old)
    project.write_file("file", content, newline=newline)

    assert file.read_bytes() == written


@pytest.mark.parametrize("newline", ["\n\n", "x", 7, [], b"\n"])
def test_a_line_end_that_is_none_is_refused(project: Project, file: Path, newline: object) -> None:
    """Before anything is written."""
    with pytest.raises(InvalidRequestError, match="no line end"):
        project.write_file("file", "x\n", newline=cast("Newline", newline))

    assert file.read_bytes() == b"old\n"


@pytest.mark.parametrize(("encoding", "mark"), [(None, b""), ("utf-8-sig", codecs.BOM_UTF8)])
def test_the_encoding_of_a_new_file_is_utf_8_or_what_is_named(
    project: Project, folder: Path, encoding: str | None, mark: bytes
) -> None:
    """So are its line ends."""
    project.write_file("d/new", "é\n", encoding=encoding, newline="\r\n")

    assert (folder / "d" / "new").read_bytes() == mark + "é\r\n".encode()


# ----- size, and bytes --------------------------------------------------------


def test_a_file_too_large_is_refused_whole_and_read_in_parts(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says how large it is, and what is the limit."""
    monkeypatch.setattr(limits, "MAX_READ_BYTES", 4)
    file.write_bytes(b"12345")
    asks: list[Callable[[], object]] = [
        lambda: project.read_text("file"),
        lambda: project.read_bytes("file"),
        lambda: project.write_file("file", "new"),
    ]
    for ask in asks:
        with pytest.raises(FileTooLargeError, match="'file' has 5 bytes, and at most 4") as caught:
            ask()
        assert (caught.value.size, caught.value.limit) == (5, 4)

    first, second = project.read_bytes("file", limit=99), project.read_bytes("file", offset=4)
    assert (first.data, first.size, first.sha256) == (b"1234", 5, None)
    assert (second.data, second.offset, second.size, second.sha256) == (b"5", 4, 5, None)
    project.write_file("file", "new", encoding="utf-8")
    assert project.read_text("file").text == "new"


@pytest.mark.parametrize(
    ("offset", "limit", "data"),
    [(0, None, b"old\n"), (0, 4, b"old\n"), (1, 2, b"ld"), (4, None, b""), (2**70, 1, b"")],
)
def test_bytes_are_read_from_offset_to_limit(
    project: Project, file: Path, offset: int, limit: int | None, data: bytes
) -> None:
    """With the digest if that is all of them."""
    del file
    found = project.read_bytes("file", offset=offset, limit=limit)

    assert (found.path, found.data, found.offset, found.size) == ("file", data, offset, 4)
    assert found.sha256 == (hashlib.sha256(b"old\n").hexdigest() if len(data) == 4 else None)
    assert "old" not in repr(found)


def test_a_file_of_the_kernel_is_larger_than_it_says() -> None:
    """What is read of it is its size."""
    with Project("/proc/self") as project:
        found = project.read_text("status")

    assert found.size == len(found.text.encode()) > 0


def test_bytes_are_written_whatever_was_there(project: Project, file: Path) -> None:
    """Nothing is made of line ends or encodings."""
    file.write_bytes(b"caf\xe9\r\n")
    assert project.write_bytes("file", b"\0\n\xff").path == "file"
    assert file.read_bytes() == b"\0\n\xff"
    for data in [None, "text", bytearray(b"x"), 7]:
        with pytest.raises(InvalidRequestError, match="must be bytes"):
            project.write_bytes("file", cast("bytes", data))


# ----- who may do what --------------------------------------------------------


@as_root
def test_owner_group_and_mode_are_kept(project: Project, file: Path) -> None:
    """And what users have noted on the file; set-user-id is not for a new content."""
    os.chown(file, NOBODY, 1234)
    file.chmod(0o4751)
    os.setxattr(file, "user.note", b"x")
    project.write_file("file", "new")
    status = file.stat()

    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, 1234, 0o751)
    assert os.getxattr(file, "user.note") == b"x"
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_new_content_is_never_open_to_more_people(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Until everything is right, the file has the mode of a secret one."""
    file.chmod(mode)
    seen: list[tuple[int, int]] = []
    truly = {name: getattr(os, name) for name in ("open", "fchown", "fchmod", "rename")}

    def spy(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            for path in file.parent.glob(".jidocode-*"):
                status = path.stat()
                seen.append((stat.S_IMODE(status.st_mode), status.st_size))
            return truly[name](*args, **options)

        return call

    for name in truly:
        monkeypatch.setattr(os, name, spy(name))
    project.write_file("file", "secret")

    assert {found for found, _ in seen[:-1]} <= {0o600}
    assert seen[-1] == (mode, len("secret"))


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@as_root
def test_the_rights_of_a_group_are_not_given_to_another(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the kernel does not let us keep the group, its bits are dropped."""
    os.chown(file, -1, 1234)
    file.chmod(0o664)
    monkeypatch.setattr(os, "fchown", refuse)
    project.write_file("file", "new")
    status = file.stat()

    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (os.getegid(), 0o604)


@as_root
def test_a_group_is_kept_where_the_owner_cannot_be(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user who may write the file of somebody else."""
    os.chown(file, NOBODY, 1234)
    file.chmod(0o664)
    truly = os.fchown

    def fchown(fd: int, owner: int, group: int) -> None:
        if owner != -1:
            refuse()
        truly(fd, owner, group)

    monkeypatch.setattr(os, "fchown", fchown)
    project.write_file("file", "new")
    status = file.stat()

    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 1234, 0o664)


def acl(*, group: int, user: int) -> bytes:
    """A list that gives the owner everything, user 1234 and the group these rights."""
    nobody = 0xFFFFFFFF
    entries = [
        (1, 6, nobody),
        (2, user, 1234),
        (4, group, nobody),
        (16, 6, nobody),
        (32, 0, nobody),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def set_acl(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("no access control lists on this file system")


def test_an_access_control_list_is_kept(project: Project, file: Path) -> None:
    """It says more than the mode."""
    set_acl(file, ACCESS, acl(group=0, user=6))
    before = os.getxattr(file, ACCESS)
    project.write_file("file", "new")

    assert os.getxattr(file, ACCESS) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o660


def test_a_list_that_cannot_be_kept_opens_the_file_to_no_group(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bits of the group were those of the list, which kept the group out."""
    set_acl(file, ACCESS, acl(group=0, user=6))
    monkeypatch.setattr(os, "setxattr", refuse)
    project.write_file("file", "new")

    assert ACCESS not in os.listxattr(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_without_a_list_does_not_get_that_of_its_directory(
    project: Project, file: Path
) -> None:
    """A directory's list is for new files; this one was closed to user 1234."""
    set_acl(file.parent, DEFAULT, acl(group=4, user=6))
    file.chmod(0o664)
    project.write_file("file", "replaced")
    project.write_file("new", "new")

    assert ACCESS not in os.listxattr(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o664
    assert ACCESS in os.listxattr(file.parent / "new")


def test_a_mode_that_cannot_be_set_changes_nothing(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is a file left behind."""

    def copy(old: int, new: int) -> None:
        del old, new
        refuse()

    monkeypatch.setattr(access, "copy", copy)
    with pytest.raises(PermissionError):
        project.write_file("file", "new")

    assert [path.name for path in file.parent.iterdir()] == ["file"]
    assert file.read_bytes() == b"old\n"


# ----- in place ---------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "new", "longer than before\n"])
def test_a_file_is_written_in_place_if_the_caller_says_so(
    project: Project, file: Path, content: str
) -> None:
    """It is the same file then, under all its names."""
    (file.parent / "link").hardlink_to(file)
    before = file.stat()
    project.write_file("file", content, in_place=True)

    assert (file.parent / "link").read_text() == content
    assert (file.stat().st_ino, file.stat().st_mode) == (before.st_ino, before.st_mode)


def test_what_is_not_there_is_made_in_place_too(project: Project, folder: Path) -> None:
    """Also behind a link that hangs in the air."""
    (folder / "dangling").symlink_to("target")
    project.write_bytes("d/new", b"x", in_place=True)
    project.write_bytes("dangling", b"y", in_place=True)

    assert (folder / "d" / "new").read_bytes() == b"x"
    assert (folder / "target").read_bytes() == b"y"


MOUNTED = """
import subprocess, sys
from jidocode.session.project.boundary import Tier
from jidocode.session.project.files import Project

folder, tier = sys.argv[1:]
subprocess.run(["mount", "--bind", folder + "/outer", folder + "/file"], check=True)
with Project(folder, tier=Tier(tier)) as project:
    try:
        project.write_file("file", "new")
    except OSError as error:
        print(error)
    project.write_file("file", "new", in_place=True)
    names = [entry.name for entry in project.list_directory().entries]
    print(project.read_text("file").text, names)
"""


@pytest.mark.parametrize("tier", Tier)
def test_a_mount_point_is_refused_and_can_be_written_in_place(file: Path, tier: Tier) -> None:
    """What a container mounts on a file cannot be renamed over."""
    unshare = [shutil.which("unshare") or "", "--user", "--map-root-user", "--mount"]
    if not unshare[0] or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no mounts without privileges here")
    (file.parent / "outer").write_bytes(b"outer")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", MOUNTED, str(file.parent), tier.value],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "[Errno 16] a mount point cannot be replaced, only be written in_place: 'file'",
        "new ['file', 'outer']",
    ]
    assert (file.parent / "outer").read_bytes() == b"new"
    assert file.read_bytes() == b"old\n"


# ----- on condition -----------------------------------------------------------


def test_whoever_reads_gets_the_hash_of_the_whole_file(project: Project, file: Path) -> None:
    """However little of it is shown; also of a file that is no text."""
    for data in (b"old\nmore\n", b"caf\xe9\n", b""):
        file.write_bytes(data)
        expected = hashlib.sha256(data).hexdigest()
        assert project.read_file("file", offset=2, limit=1).sha256 == expected
        assert project.read_bytes("file").sha256 == expected
        assert project.write_bytes("file", data, if_sha256=expected).sha256 == expected


@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_is_written_only_if_it_is_the_one_that_was_read(
    project: Project, file: Path, *, in_place: bool
) -> None:
    """The refusal says which it is now; nothing is changed, and no directory is made."""
    seen = project.read_text("file").sha256
    done = project.write_file("file", "new\n", if_sha256=seen, in_place=in_place)
    assert (done.path, done.size) == ("file", 4)
    assert done.sha256 == project.read_text("file").sha256
    with pytest.raises(FileChangedError) as caught:
        project.write_file("file", "x", if_sha256=seen, in_place=in_place)
    assert (caught.value.path, caught.value.sha256) == ("'file'", done.sha256)
    assert str(caught.value) == f"'file' is not what it was: its SHA-256 is {done.sha256} now"
    assert file.read_bytes() == b"new\n"
    for path in ("gone", "d/gone", "file/../d/gone"):
        with pytest.raises((FileChangedError, NotADirectoryError)):
            project.write_bytes(path, b"x", if_sha256=seen, in_place=in_place)
    with pytest.raises(FileChangedError, match="'gone' is not there") as caught:
        project.write_file("gone", "x", if_sha256=seen, in_place=in_place)
    assert caught.value.sha256 is None

    assert [path.name for path in file.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_is_made_only_if_there_is_none(
    project: Project, file: Path, *, in_place: bool
) -> None:
    """Nor something else: a directory, or a link to a file."""
    (file.parent / "link").symlink_to("file")
    (file.parent / "dangling").symlink_to("made")
    (file.parent / "d").mkdir()
    project.write_file("new/file", "x", if_sha256="absent", in_place=in_place)
    project.write_file("dangling", "y", if_sha256="absent", in_place=in_place)
    for path in ("new/file", "link", "made"):
        with pytest.raises(FileChangedError) as caught:
            project.write_file(path, "z", if_sha256="absent", in_place=in_place)
        assert caught.value.sha256 == project.read_text(path).sha256
    with pytest.raises(IsADirectoryError):
        project.write_file("d", "z", if_sha256="absent", in_place=in_place)

    assert (file.parent / "new" / "file").read_text() == "x"
    assert (file.parent / "made").read_text() == "y"
    assert file.read_text() == "old\n"


@pytest.mark.parametrize("value", ["", "x" * 64, "A" * 64, "a" * 63, "ABSENT", 7, b"absent", []])
def test_a_condition_that_is_none_is_refused(project: Project, file: Path, value: object) -> None:
    """A typing error must not write."""
    with pytest.raises(InvalidRequestError, match="if_sha256 must be 64 hexadecimal digits"):
        project.write_file("file", "x", if_sha256=cast("str", value))
    with pytest.raises(InvalidRequestError, match="if_sha256 must be 64 hexadecimal digits"):
        project.write_bytes("file", b"x", if_sha256=cast("str", value))

    assert file.read_bytes() == b"old\n"


@pytest.mark.parametrize("condition", ["absent", hashlib.sha256(b"old\n").hexdigest()])
def test_what_is_written_until_the_last_moment_is_seen(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    """The condition is looked at when the new file is complete, or by the kernel itself."""
    if condition == "absent":
        file.unlink()
    truly = os.link

    def link(*args: Any, **options: Any) -> None:
        file.write_bytes(b"theirs")
        truly(*args, **options)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(FileChangedError) as caught:
        project.write_bytes("file", b"new", if_sha256=condition)

    assert caught.value.sha256 == hashlib.sha256(b"theirs").hexdigest()
    assert [(path.name, path.read_bytes()) for path in file.parent.iterdir()] == [
        ("file", b"theirs")
    ]


def test_a_file_too_large_to_be_hashed_is_not_written_on_condition(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has its hash has it from elsewhere."""
    monkeypatch.setattr(limits, "MAX_READ_BYTES", 3)
    sha256 = hashlib.sha256(b"old\n").hexdigest()
    for condition in (sha256, "absent"):
        for in_place in (False, True):
            with pytest.raises(FileTooLargeError):
                project.write_bytes("file", b"new", if_sha256=condition, in_place=in_place)

    assert project.read_file("file").sha256 is None
    assert file.read_bytes() == b"old\n"
