"""The files of a project as text and names."""

from __future__ import annotations

import codecs
import hashlib
import os
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, strategies as st

from jidocode.errors import BoundaryError, InvalidRequestError, InvalidSessionError, NotTextError
from jidocode.session.project import files, limits, slices
from jidocode.session.project.boundary import Boundary, Entry, Tier
from jidocode.session.project.files import Project
from jidocode.session.project.slices import MAX_LINE_LENGTH, MAX_LINES, FileSlice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jidocode.session.record import Session


@pytest.fixture
def project(session: Session) -> Iterator[Project]:
    """The project of the session."""
    with Project(session.project_path, key=session.project_key) as pinned:
        yield pinned


def read(project: Project, folder: Path, data: bytes, **options: int) -> FileSlice:
    """What *project* reads from a file that holds *data*."""
    (folder / "file").write_bytes(data)
    return project.read_file("file", **options)


# ----- reading ----------------------------------------------------------------


def test_a_file_is_read_whole_and_printed_with_numbers(project: Project, folder: Path) -> None:
    """The text is exact; the numbers are for whoever prints it."""
    found = read(project, folder, b"one\r\ntwo\n\nfour")

    assert found == FileSlice(
        path="file",
        text="one\r\ntwo\n\nfour",
        first_line=1,
        total_lines=4,
        more=False,
        cut_lines=0,
        encoding="utf-8",
        size=14,
        sha256=hashlib.sha256(b"one\r\ntwo\n\nfour").hexdigest(),
    )
    assert str(found) == "     1\tone\r\n     2\ttwo\n     3\t\n     4\tfour"
    assert repr(found) == (
        "FileSlice(first_line=1, total_lines=4, more=False, cut_lines=0, encoding='utf-8', "
        f"size=14, sha256={found.sha256!r})"
    )


def test_an_empty_file_has_no_lines(project: Project, folder: Path) -> None:
    """Nothing to number."""
    found = read(project, folder, b"")

    assert (found.text, found.total_lines, found.more, str(found)) == ("", 0, False, "")


def test_a_slice_starts_at_offset_and_ends_at_limit(project: Project, folder: Path) -> None:
    """Lines count from 1; those behind are said to be there, those before are not."""
    data = b"".join(b"%d\n" % number for number in range(1, 11))
    middle = read(project, folder, data, offset=4, limit=2)
    last = read(project, folder, data, offset=9, limit=2)
    behind = read(project, folder, data, offset=10**18)

    assert (middle.text, middle.first_line, middle.more) == ("4\n5\n", 4, True)
    assert str(middle) == "     4\t4\n     5\t5"
    assert (last.text, last.total_lines, last.more) == ("9\n10\n", 10, False)
    assert (behind.text, behind.more) == ("", False)


@pytest.mark.parametrize("offset", [1, 2, 3, 8, 9, 10, 11, 99, 100, 101])
def test_a_line_is_found_across_blocks(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """Wherever the blocks end, in which lines are counted."""
    monkeypatch.setattr(slices, "_BLOCK", 10)
    lines = [f"{'x' * (number % 13)}{number}\n" for number in range(1, 101)]
    found = read(project, folder, "".join(lines).encode(), offset=offset)

    assert found.text == "".join(lines[offset - 1 :])


@given(data=st.lists(st.sampled_from([b"a", b"\n", b"\r", "é".encode()]), max_size=20))
def test_pages_of_any_text_make_up_the_whole(
    project: Project, folder: Path, data: list[bytes]
) -> None:
    """Reading two lines at a time neither repeats nor skips."""
    text = b"".join(data).decode()
    whole = read(project, folder, text.encode())
    pages = [project.read_file("file", offset=offset, limit=2) for offset in range(1, 24, 2)]

    assert "".join(page.text for page in pages) == text
    assert whole.total_lines == len(text.split("\n")) - (text.endswith("\n") or not text)


def test_a_file_that_would_have_to_be_waited_for_is_an_os_error(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the kernel's files block, for all that they are regular; a pipe stands for one."""
    reading, writing = os.pipe2(os.O_NONBLOCK)

    def open_pipe(*_: object) -> int:
        return reading

    monkeypatch.setattr(Boundary, "open", open_pipe)
    with pytest.raises(BlockingIOError, match="trace_pipe"):
        project.read_file("trace_pipe")

    os.close(writing)


def test_long_lines_are_cut_and_many_lines_are_paged(project: Project, folder: Path) -> None:
    """Whatever is asked for, an answer has at most 2000 lines of 2000 characters."""
    long = read(project, folder, b"x" * MAX_LINE_LENGTH + b"\n" + "é".encode() * 2001 + b"\nend")
    many = read(project, folder, b"x\n" * (MAX_LINES + 1), limit=10**9)

    assert [len(line) for line in long.text.split("\n")] == [2000, 2000, 3]
    assert (long.cut_lines, long.more) == (1, False)
    assert (many.text.count("\n"), many.total_lines) == (2000, 2001)
    assert (many.cut_lines, many.more) == (0, True)


def test_what_lies_behind_the_bound_is_out_of_reach_and_said_so(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A huge file costs a bounded amount; its lines are not counted."""
    monkeypatch.setattr(limits, "MAX_READ_BYTES", 4)
    found = read(project, folder, b"a\nb\nc\n")

    assert (found.text, found.total_lines, found.more) == ("a\nb\n", None, True)
    assert (found.size, found.sha256) == (6, None)


def test_a_sparse_file_of_a_terabyte_does_no_harm(project: Project, folder: Path) -> None:
    """Only the first bytes are looked at."""
    with (folder / "big").open("wb") as stream:
        stream.write(b"text\n" * 2000)
        stream.truncate(2**40)

    assert project.read_file("big", limit=1).text == "text\n"


def test_bytes_that_are_no_utf8_are_replaced(project: Project, folder: Path) -> None:
    """A latin-1 file can be looked at, and that it is not all there is said."""
    found = read(project, folder, b"caf\xe9\n")

    assert (found.text, found.encoding) == ("caf\ufffd\n", None)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF8])
def test_a_file_with_a_byte_order_mark_is_shown_as_what_it_is(
    project: Project, folder: Path, mark: bytes
) -> None:
    """Without the mark; UTF-16 is no binary file."""
    codec, name = {
        codecs.BOM_UTF16_LE: ("utf-16-le", "utf-16"),
        codecs.BOM_UTF16_BE: ("utf-16-be", "utf-16"),
        codecs.BOM_UTF8: ("utf-8", "utf-8-sig"),
    }[mark]
    data = mark + "Ċne\ntwo\n".encode(codec)
    found = read(project, folder, data, limit=1)

    assert (found.text, found.more, found.total_lines) == ("Ċne\n", True, 2)
    assert (found.encoding, found.size) == (name, len(data))


def test_a_binary_file_is_refused(project: Project, folder: Path) -> None:
    """A NUL in the first 8 KB tells; one later does not."""
    with pytest.raises(NotTextError, match="'file' is no utf-8 text: it holds a NUL"):
        read(project, folder, b"x" * 8191 + b"\0")

    assert read(project, folder, b"x\n" * 4096 + b"\0\n").total_lines == 4097


@pytest.mark.parametrize("value", [0, -1, None, "1", 1.0, True])
def test_offset_and_limit_must_be_positive_ints(project: Project, value: object) -> None:
    """Told before the file is opened."""
    number = cast("int", value)
    with pytest.raises(InvalidRequestError, match="offset must be an int of 1 or more"):
        project.read_file("gone", offset=number)
    with pytest.raises(InvalidRequestError, match="limit must be an int of 1 or more"):
        project.read_file("gone", limit=number)


# ----- the rest ---------------------------------------------------------------


def test_what_was_written_is_read(project: Project, folder: Path) -> None:
    """Parents are made; the path in the project comes back."""
    assert project.write_file(folder / "new" / "file.txt", "é\n").path == "new/file.txt"
    assert (folder / "new" / "file.txt").read_bytes() == "é\n".encode()
    assert project.read_file("new/file.txt").text == "é\n"


@pytest.mark.parametrize("content", [None, b"bytes", 7, "\ud800"])
def test_what_is_no_text_is_not_written(project: Project, folder: Path, content: object) -> None:
    """Nothing is made, not even the parents."""
    with pytest.raises(InvalidRequestError):
        project.write_file("new/file", cast("str", content))

    assert list(folder.iterdir()) == []


def test_a_listing_is_sorted_and_bounded(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first names, and whether there are more."""
    monkeypatch.setattr(files, "MAX_ENTRIES", 2)
    (folder / "c").mkdir()
    (folder / "b").touch()
    whole = project.list_directory()
    (folder / "a").symlink_to("b")
    cut = project.list_directory(folder)

    assert whole.entries == (Entry("b", "file"), Entry("c", "directory"))
    assert (whole.path, whole.truncated) == (".", False)
    assert cut.entries == (Entry("a", "symlink"), Entry("b", "file"))
    assert cut.truncated
    assert repr(cut) == (
        "Listing(entries=(Entry(kind='symlink'), Entry(kind='file')), truncated=True)"
    )


def test_a_path_is_validated_whether_it_is_there_or_not(project: Project, folder: Path) -> None:
    """Relative ones are joined to the root, absolute ones inside are fine."""
    (folder / "d").mkdir()
    (folder / "trap").symlink_to("../..")

    assert project.validate_path("d/../d/new") == str(folder / "d" / "new")
    assert project.validate_path(folder / "d") == str(folder / "d")
    assert project.validate_path(".") == str(folder)
    for path in ["../x", "/etc", "trap", "trap/x", "d/../../x"]:
        with pytest.raises(BoundaryError):
            project.validate_path(path)


def test_the_tier_in_force_is_told(session: Session) -> None:
    """An embedder may want to know how strong the boundary is."""
    with Project(session.project_path, tier=Tier.WALK) as project:
        assert project.tier is Tier.WALK
        assert project.root == session.project_path


@pytest.mark.parametrize(
    ("replacement", "code"), [("", "path_not_found"), ("folder", "project_path_changed")]
)
def test_a_folder_gone_or_replaced_is_a_typed_error(
    session: Session, folder: Path, replacement: str, code: str
) -> None:
    """The session is of that folder, and of no other."""
    folder.rename(folder.with_name("elsewhere"))
    if replacement:
        folder.mkdir()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is what is wanted
    with pytest.raises(InvalidSessionError) as caught:
        Project(session.project_path, key=session.project_key)

    assert caught.value.codes == (code,)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - idem
