"""Edits: what is replaced, what is refused, and what a refusal and a result say."""

from __future__ import annotations

import codecs
import pickle
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given, strategies as st

from jidocode.errors import (
    EditMismatchError,
    FileChangedError,
    FileTooLargeError,
    InvalidRequestError,
    NotTextError,
)
from jidocode.session.project import limits
from jidocode.session.project.difference import MAX_DIFF_LINES, changes
from jidocode.session.project.editing import Edit, find_replacements, replaced
from jidocode.session.project.files import Project
from jidocode.session.project.nearest import most_similar
from jidocode.session.project.rewriting import append_file, edit_file
from jidocode.session.project.text import Newline, line_ends

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jidocode.session.record import Session

PROGRAM = "import os\n\n\ndef total(prices):\n    result = 0\n    return result\n"


@pytest.fixture
def project(session: Session) -> Iterator[Project]:
    """The project of the session."""
    with Project(session.project_path) as pinned:
        yield pinned


@pytest.fixture
def file(folder: Path) -> Path:
    """A program in it."""
    path = folder / "file"
    path.write_text(PROGRAM)
    return path


def edited(text: str, *edits: Edit, newline: Newline | None = None) -> str:
    """Return *text* with *edits* in it."""
    ends = line_ends(text) if newline is None else newline
    return replaced(text, find_replacements("file", text, ends, edits), 0, len(text))


def mismatch(text: str, *edits: Edit) -> EditMismatchError:
    """Return why *text* cannot be edited so."""
    with pytest.raises(EditMismatchError) as caught:
        edited(text, *edits)
    return caught.value


# ----- what is replaced -------------------------------------------------------

VECTORS: list[tuple[str, list[Edit], str]] = [
    ("abc", [Edit("b", "x")], "axc"),
    ("abc", [Edit("b", "")], "ac"),
    ("abc", [Edit("abc", "")], ""),
    ("aaaa", [Edit("aa", "b", expect=2)], "bb"),
    ("ab", [Edit("a", "b"), Edit("b", "a")], "ba"),
    ("ab", [Edit("b", "a"), Edit("a", "bb")], "bba"),
    ("a.b*c", [Edit(".b*", r"\1")], r"a\1c"),
    ("é𝄞\u2028", [Edit("𝄞", "\0")], "é\0\u2028"),
    ("a\r\nb\r\n", [Edit("a\nb\n", "c\nd\n")], "c\r\nd\r\n"),
    ("a\r\nb\r\n", [Edit("\n", "\n\n", expect=2)], "a\r\n\r\nb\r\n\r\n"),
    ("a\r\nb\r\n", [Edit("a\r\n", "c\n")], "c\r\nb\r\n"),
    ("a\r\nb\r\n", [Edit("a\r\nb", "c\rd")], "c\rd\r\n"),
    ("a\rb\r", [Edit("a\nb", "c\nd")], "c\rd\r"),
    ("a\r\nb\nc", [Edit("b\nc", "d\ne")], "a\r\nd\ne"),
    ("a\r\nb\nc", [Edit("a\r\nb", "d\ne")], "d\ne\nc"),
]


@pytest.mark.parametrize(("text", "edits", "result"), VECTORS)
def test_an_edit_replaces_exactly_what_it_says(text: str, edits: list[Edit], result: str) -> None:
    """No pattern, and not what another edit has put there; line ends are the file's."""
    assert edited(text, *edits) == result


TEXT = st.text(alphabet="ab\n é", max_size=60)


@given(text=TEXT.filter(bool), new=TEXT, data=st.data())
def test_one_edit_does_what_str_replace_does(text: str, new: str, data: st.DataObject) -> None:
    """If it says how often; otherwise it says so itself."""
    start = data.draw(st.integers(0, len(text) - 1))
    old = text[start : data.draw(st.integers(start + 1, len(text)))]
    matches = text.count(old)

    assert edited(text, Edit(old, new, expect=matches)) == text.replace(old, new)
    error = mismatch(text, Edit(old, new, expect=matches + 1))
    assert (error.matches, error.expected) == (matches, matches + 1)
    lines = {
        text[:match].count("\n") + 1 for match in range(len(text)) if text.startswith(old, match)
    }
    assert set(error.lines) <= lines


@given(data=st.data())
def test_many_edits_do_what_each_does_by_itself(data: st.DataObject) -> None:
    """Each has a text of its own here, which no other one makes: then their order is nothing."""
    pieces = data.draw(st.lists(st.sampled_from(["x", "y\n", "<a>", "<b>", "<c\n>"]), max_size=30))
    text = "".join(pieces)
    olds = [old for old in ["<a>", "<b>", "<c\n>"] if old in text]
    assume(olds)
    news = {old: data.draw(st.text(alphabet="uv\n", max_size=5)) for old in olds}
    edits = [Edit(old, news[old], expect=text.count(old)) for old in olds]
    oracle = text
    for old in olds:
        oracle = oracle.replace(old, news[old])

    assert edited(text, *data.draw(st.permutations(edits))) == oracle


@given(
    lines=st.lists(st.sampled_from(["a", "bc", "é", ""]), min_size=2, max_size=10),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    bom=st.sampled_from([b"", codecs.BOM_UTF8]),
)
@example(["a", "bc"], "\r\n", b"")
def test_the_inverse_of_an_edit_gives_the_bytes_back(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], newline: str, bom: bytes
) -> None:
    """With mark and line ends, though neither was in the edit."""
    folder = tmp_path_factory.mktemp("inverse")
    data = bom + (newline.join(lines) + newline + "<end>" + newline).encode()
    (folder / "file").write_bytes(data)
    there, back = Edit("\n<end>", "1\n<2>\n3"), Edit("1\n<2>\n3", "\n<end>")
    with Project(str(folder)) as project:
        first = edit_file(project, "file", there)
        assert (folder / "file").read_bytes() != data
        edit_file(project, "file", back, if_sha256=first.sha256)

    assert (folder / "file").read_bytes() == data


# ----- what is refused --------------------------------------------------------


@pytest.mark.parametrize(
    "edits",
    [
        [],
        ["a"],
        [("a", "b")],
        [Edit("", "x")],
        [Edit("a", None)],  # type: ignore[arg-type] # on purpose
        [Edit(b"a", "")],  # type: ignore[arg-type] # on purpose
        [Edit("a", "", expect=0)],
        [Edit("a", "", expect=True)],
        [Edit("a", "", expect=10**30)],
        [Edit("a", "\ud800")],
    ],
)
def test_what_is_no_edit_changes_nothing(project: Project, file: Path, edits: Any) -> None:
    """The error is typed."""
    file.write_text("a")
    with pytest.raises(InvalidRequestError):
        edit_file(project, "file", *edits)

    assert file.read_text() == "a"


def test_edits_of_the_same_text_are_refused() -> None:
    """Which of them counts, they do not say."""
    for edits in ([Edit("b", "x"), Edit("b", "y")], [Edit("c\nd", "x"), Edit("b\nc", "y")]):
        with pytest.raises(InvalidRequestError, match=r"edits \d and \d of 'file' overlap in line"):
            edited("a\nb\nc\nd", *edits)


def test_a_refusal_says_which_edit_how_often_and_where() -> None:
    """And survives the way to the caller."""
    error = mismatch(PROGRAM, Edit("os", "sys"), Edit("result", "sum"))
    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == "edit 2 of 'file' matches 2 times, not 1"
    assert (copy.edit, copy.matches, copy.expected, copy.lines) == (2, 2, 1, (5, 6))
    assert copy.nearest == "     5\t    result = 0\n     6\t    return result"


@pytest.mark.parametrize(
    ("old", "first", "line"),
    [
        ("    return results\n", 4, "     6\t    return result"),
        ("def total(prices):\n  result = 0\n", 2, "     5\t    result = 0"),
        ("imprt os", 1, "     1\timport os"),
    ],
)
def test_a_refusal_shows_the_nearest_lines(old: str, first: int, line: str) -> None:
    """Whatever is wrong with the quotation: indentation, a letter, one line of several."""
    shown = mismatch(PROGRAM, Edit(old, "")).nearest.split("\n")

    assert shown[0].startswith(f"{first:6}\t")
    assert line in shown


def test_what_is_like_nothing_is_shown_nothing() -> None:
    """Nor is there a line for it."""
    error = mismatch(PROGRAM, Edit("%%%%%", ""))

    assert (error.lines, error.nearest) == ((), "")


def test_a_refusal_is_bounded() -> None:
    """However long lines and edits are, and however many."""
    for text, old in (
        ("x" * 10**6, "x" * 10**5 + "y"),
        ("a\n" * 10**6, "a\n" * 10**5 + "b"),
        ("abc " * 10**5, "abc"),
        ("ab\n" * 10**5, "ab"),
    ):
        before = time.monotonic()
        error = mismatch(text, Edit(old, ""))
        assert time.monotonic() - before < 10
        assert len(error.nearest) < 60 * 520
        assert len(error.lines) <= 20


@given(
    text=st.text(alphabet="ab \n\r\t", max_size=80), wanted=st.text(alphabet="abc \n", min_size=1)
)
def test_nearest_lines_are_lines_of_the_text(text: str, wanted: str) -> None:
    """With their own numbers."""
    lines = text.split("\n")
    for shown in most_similar(text, wanted).split("\n"):
        if shown:
            number, _, line = shown.partition("\t")
            assert lines[int(number) - 1].removesuffix("\r") == line


# ----- what is said of it -----------------------------------------------------


def patched(text: str, diff: str) -> str:
    """Apply a unified diff without a header; only for texts that end with a line end."""
    old, new, at = text.removesuffix("\n").split("\n") if text else [], list[str](), 0
    for line in diff.split("\n") if diff else []:
        if line.startswith("@@"):
            first, _, count = line.split()[1][1:].partition(",")
            begin = int(first) - (1 if int(count) else 0)
            new += old[at:begin]
            at = begin
        elif line[0] in " -":
            assert old[at] == line[1:]
            at += 1
        if line[0] in " +" and not line.startswith("@@"):
            new.append(line[1:])
    return "".join(f"{line}\n" for line in [*new, *old[at:]])


@given(data=st.data())
def test_a_diff_turns_the_old_text_into_the_new(data: st.DataObject) -> None:
    """Whatever was replaced, as long as it is not too much to be shown."""
    plain = st.sampled_from(["x\n", "y\n", "\n"])
    marks = ["<a>\n", "<b>", "<c>\n\n"]
    pieces = data.draw(st.lists(plain | st.sampled_from(marks), max_size=60))
    text = "".join(pieces) + "\n"
    news = st.text(alphabet="xy\n", max_size=6)
    edits = [Edit(old, data.draw(news), expect=text.count(old)) for old in marks if old in text]
    assume(edits)
    found = find_replacements("file", text, "\n", edits)
    new = replaced(text, found, 0, len(text))
    diff = changes(text, found)

    assert not diff.truncated
    assert patched(text, diff.text) == new or not new.endswith("\n")


def test_an_edit_says_what_it_has_done(project: Project, file: Path) -> None:
    """How much, with which hash, and a diff."""
    done = edit_file(project, "file", Edit("result", "sum", expect=2), Edit("import os\n", ""))

    assert (done.path, done.replacements, done.truncated) == ("file", 3, False)
    assert (done.size, done.sha256) == (file.stat().st_size, project.read_text("file").sha256)
    assert done.diff.split("\n") == [
        *("@@ -1,6 +1,5 @@", "-import os", " ", " ", " def total(prices):"),
        *("-    result = 0", "-    return result", "+    sum = 0", "+    return sum"),
    ]
    assert "sum" not in repr(done)


def test_a_diff_is_bounded(project: Project, file: Path) -> None:
    """In lines, and in the length of a line."""
    file.write_text("a\n" * 1000 + "b" * 10_000)
    done = edit_file(project, "file", Edit("a", "c", expect=1000))
    assert done.truncated
    assert done.diff.count("\n") < MAX_DIFF_LINES

    done = edit_file(project, "file", Edit("bb", "dd", expect=5000))
    assert done.truncated
    assert len(done.diff) < 2000


def test_an_insertion_into_a_long_quotation_is_shown_as_that(project: Project, file: Path) -> None:
    """What lies behind the lines that are compared is not said to be gone."""
    lines = [f"line {number}\n" for number in range(1000)]
    file.write_text("".join(lines))
    new = [*lines[:10], "new\n", *lines[10:]]
    done = edit_file(project, "file", Edit("".join(lines), "".join(new)))

    assert done.truncated
    assert [line for line in done.diff.split("\n") if line[0] in "+-"] == ["+new"]


# ----- the file ---------------------------------------------------------------


def test_an_edit_keeps_what_the_file_is(project: Project, file: Path) -> None:
    """Encoding, mark, line ends, permissions; also one whose encoding is named."""
    file.chmod(0o751)
    file.write_bytes(codecs.BOM_UTF16_BE + "é\r\nb\r\n".encode("utf-16-be"))
    edit_file(project, "file", Edit("é\n", "à\nc\n"))
    assert file.read_bytes() == codecs.BOM_UTF16_BE + "à\r\nc\r\nb\r\n".encode("utf-16-be")
    assert file.stat().st_mode & 0o777 == 0o751

    file.write_bytes(b"caf\xe9\n")
    with pytest.raises(NotTextError):
        edit_file(project, "file", Edit("é", "e"))
    edit_file(project, "file", Edit("é", "è"), encoding="latin-1")
    assert file.read_bytes() == b"caf\xe8\n"
    with pytest.raises(InvalidRequestError, match="cannot be encoded as iso8859-1"):
        edit_file(project, "file", Edit("è", "€"), encoding="latin-1")


def test_an_edit_that_does_not_fit_leaves_the_file_alone(project: Project, file: Path) -> None:
    """The first edit is not made if the second cannot be."""
    before = file.stat()
    with pytest.raises(EditMismatchError):
        edit_file(project, "file", Edit("os", "sys"), Edit("nowhere", ""))

    assert file.read_text() == PROGRAM
    assert file.stat().st_ino == before.st_ino


def test_a_file_that_is_not_the_one_that_was_read_is_not_edited(
    project: Project, file: Path
) -> None:
    """Though the edit would fit."""
    seen = project.read_file("file", limit=1).sha256
    file.write_text(PROGRAM + "\n")
    now = project.read_file("file").sha256
    with pytest.raises(FileChangedError) as caught:
        edit_file(project, "file", Edit("os", "sys"), if_sha256=seen)
    assert caught.value.sha256 == now

    edit_file(project, "file", Edit("os", "sys"), if_sha256=caught.value.sha256)
    file.unlink()
    with pytest.raises(FileChangedError, match="'file' is not there"):
        edit_file(project, "file", Edit("os", "sys"), if_sha256=now)
    with pytest.raises(FileNotFoundError):
        edit_file(project, "file", Edit("os", "sys"))
    with pytest.raises(FileNotFoundError):
        edit_file(project, "file", Edit("os", "sys"), if_sha256="absent")


def test_what_is_written_during_an_edit_is_not_lost(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets to know, whether it has given a hash or not."""
    truly = Project.write_bytes

    def write(*args: Any, **options: Any) -> Any:
        file.write_text("theirs")
        return truly(*args, **options)

    monkeypatch.setattr(Project, "write_bytes", write)
    for change in (
        lambda: edit_file(project, "file", Edit("t", "x", expect=PROGRAM.count("t"))),
        lambda: append_file(project, "file", "x"),
        lambda: append_file(project, "new/../file", "x"),
    ):
        file.write_text(PROGRAM)
        with pytest.raises((FileChangedError, FileNotFoundError)):
            change()


def test_text_is_appended_as_what_the_file_is(project: Project, file: Path) -> None:
    """A file that is not there is made, with its folders."""
    file.write_bytes(codecs.BOM_UTF8 + b"a\r\n")
    done = append_file(project, "file", "é\nb")
    assert file.read_bytes() == codecs.BOM_UTF8 + "a\r\né\r\nb".encode()
    assert (done.path, done.size) == ("file", 11)
    with pytest.raises(FileChangedError):
        append_file(project, "file", "x", if_sha256="absent")
    append_file(project, "file", "\r", if_sha256=done.sha256)
    assert file.read_bytes().endswith(b"b\r")

    append_file(project, "d/new", "é\n", encoding="utf-16")
    append_file(project, "d/new", "b\n")
    assert (file.parent / "d" / "new").read_text("utf-16") == "é\nb\n"
    file.write_bytes(b"\xff")
    with pytest.raises(NotTextError):
        append_file(project, "file", "x")
    with pytest.raises(InvalidRequestError):
        append_file(project, "file", b"x")  # type: ignore[arg-type] # on purpose


# ----- load -------------------------------------------------------------------


def test_ten_thousand_edits_are_one_step_in_bounded_time(project: Project, file: Path) -> None:
    """All of them, or none."""
    lines = [f"L{number};" for number in range(10_000)]
    file.write_text("\n".join(lines))
    edits = [Edit(line, line[::-1]) for line in lines]
    random.Random(18).shuffle(edits)  # noqa: S311 - an order
    before = time.monotonic()
    done = edit_file(project, "file", *edits)

    assert time.monotonic() - before < 20
    assert done.replacements == 10_000
    assert file.read_text() == "\n".join(line[::-1] for line in lines)


def test_what_would_take_too_long_is_refused_before_it_begins(
    project: Project, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many edits for the size of the file, too many places, too large a result or file."""
    monkeypatch.setattr(limits, "MAX_EDIT_SEARCH", 2 * len(PROGRAM))
    with pytest.raises(
        InvalidRequestError, match="3 edits of a file of 64 characters are too many"
    ):
        edit_file(project, "file", *[Edit("os", "sys")] * 3)
    monkeypatch.setattr(limits, "MAX_REPLACEMENTS", 1)
    with pytest.raises(InvalidRequestError, match="at most 1 places"):
        edit_file(project, "file", Edit("result", "x", expect=2))
    monkeypatch.setattr(limits, "MAX_READ_BYTES", len(PROGRAM))
    with pytest.raises(InvalidRequestError, match="would have 65 characters"):
        edit_file(project, "file", Edit("os", "sys"))
    with pytest.raises(FileTooLargeError):
        edit_file(project, "file", Edit("os", "éé"))
    with pytest.raises(FileTooLargeError):
        append_file(project, "file", "x")
    monkeypatch.setattr(limits, "MAX_READ_BYTES", len(PROGRAM) - 1)
    with pytest.raises(FileTooLargeError):
        edit_file(project, "file", Edit("os", "sy"))

    assert file.read_text() == PROGRAM
