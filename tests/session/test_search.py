"""Searches: what they find, held against a naive one; and what they do not, whatever happens."""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from racers import swapping

from jidocode.errors import BoundaryError, InvalidRequestError
from jidocode.session.project.boundary import Tier
from jidocode.session.project.engine import compile_pattern
from jidocode.session.project.entries import Ground
from jidocode.session.project.files import Project
from jidocode.session.project.found import Match, Matches, Skipped
from jidocode.session.project.limits import MAX_READ_BYTES
from jidocode.session.project.lines import Line, LineTooLongError, matching_lines
from jidocode.session.project.search import glob, grep, tree


@pytest.fixture(params=Tier)
def ground(request: pytest.FixtureRequest, folder: Path) -> Iterator[Ground]:
    """Where to search, in both tiers; every descriptor is closed at the end."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number
    with Project(str(folder), tier=request.param) as project, Ground(project.boundary) as ground:
        yield ground
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - idem


def write(folder: Path, **files: str | bytes) -> None:
    for path, content in files.items():
        put(folder, path, content)


def put(folder: Path, path: str, content: str | bytes = "") -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def all_pages(search: Callable[..., Any], *args: object, **options: Any) -> list[Any]:
    """All results of a search, a page at a time, each by a life of its own."""
    results: list[Any] = []
    after: str | None = None
    while True:
        page = search(*args, after=after, **options)
        results += page.matches if isinstance(page, Matches) else page.paths
        if page.truncated is None:
            assert page.after is None
            return results
        assert page.after != after
        after = page.after


# ----- glob -------------------------------------------------------------------

FILES = ["README.md", "a/b/c.py", "a/b.py", "a/d/.x/e.py", "main.py", "z.pyi", ".hidden", "a.d/f"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "**",
            [
                ".hidden",
                "README.md",
                "a/b/c.py",
                "a/b.py",
                "a/d/.x/e.py",
                "a.d/f",
                "main.py",
                "z.pyi",
            ],
        ),
        ("*", [".hidden", "README.md", "main.py", "z.pyi"]),
        ("*.py", ["main.py"]),
        ("./*.py", ["main.py"]),
        ("**/*.py", ["a/b/c.py", "a/b.py", "a/d/.x/e.py", "main.py"]),
        ("a/**", ["a/b/c.py", "a/b.py", "a/d/.x/e.py"]),
        ("a/**/*.py", ["a/b/c.py", "a/b.py", "a/d/.x/e.py"]),
        ("a/*.py", ["a/b.py"]),
        ("*.{py,md}", ["README.md", "main.py"]),
        ("{a/**,*}.py", ["a/b/c.py", "a/b.py", "a/d/.x/e.py", "main.py"]),
        ("**/{b,c}.py", ["a/b/c.py", "a/b.py"]),
        ("[!a-m]*", [".hidden", "README.md", "z.pyi"]),
        ("?/b.py", ["a/b.py"]),
        ("a/b.py", ["a/b.py"]),
        ("a", []),
        ("gone/**", []),
    ],
)
def test_a_pattern_names_files(
    ground: Ground, folder: Path, pattern: str, expected: list[str]
) -> None:
    """In the order of names, whole or a page at a time."""
    for path in FILES:
        put(folder, path)

    assert list(glob(ground, pattern).paths) == expected
    assert all_pages(glob, ground, pattern, limit=1) == expected
    assert all_pages(glob, ground, pattern, seconds=0) == expected


def test_rules_and_dots_can_be_left_out_of_account(ground: Ground, folder: Path) -> None:
    """`.ignore` comes before `.gitignore`; a path that is asked for is looked into."""
    write(folder, **{".gitignore": "*.log\nbuild/\n", ".ignore": "!a.log\n*.tmp\n"})
    for path in ["a.log", "b.log", "c.tmp", "build/x", "build/b.log", ".git/config", ".x/y"]:
        put(folder, path)

    assert glob(ground, "**").paths == (".gitignore", ".ignore", ".x/y", "a.log")
    assert glob(ground, "**", hidden=False).paths == ("a.log",)
    assert glob(ground, "**", ignore=False, hidden=False).paths == (
        *("a.log", "b.log", "build/b.log", "build/x", "c.tmp"),
    )
    assert glob(ground, "*", path="build").paths == ("build/x",)
    assert [match.path for match in grep(ground, "^", path="b.log").matches] == []


def test_names_that_are_no_text_or_have_line_breaks_are_found(ground: Ground, folder: Path) -> None:
    """As they are, so that they can be read; and a token of them leads on."""
    names = [b"new\nline.py", b"\xff\xfe.py", "ü.py".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("text")

    found = glob(ground, "*.py").paths
    assert {os.fsencode(path) for path in found} == set(names)
    assert all_pages(glob, ground, "?.py", limit=1) == ["ü.py"]
    assert {match.path for match in all_pages(grep, ground, "text", limit=1)} == set(found)


def test_symlinks_are_named_and_never_followed(ground: Ground, folder: Path) -> None:
    """Loops, ways out, ways in; FIFOs and devices are not even named."""
    (folder.parent / "secret").write_text("word")
    put(folder, "a/file", "word")
    (folder / "out").symlink_to(folder.parent)
    (folder / "loop").symlink_to(".")
    (folder / "in").symlink_to("a")
    (folder / "file").symlink_to("../secret")
    os.mkfifo(folder / "fifo")

    assert glob(ground, "**").paths == ("a/file", "file", "in", "loop", "out")
    assert [match.path for match in grep(ground, "word").matches] == ["a/file"]
    assert {entry.kind for entry in tree(ground).entries} == {
        *("directory", "file", "symlink", "other")
    }
    for path in ["out", "in", "in/file", "loop/a", "file", "fifo", "..", "/etc"]:
        with pytest.raises((BoundaryError, NotADirectoryError)):
            grep(ground, "word", path=path)


def test_a_tree_of_a_thousand_levels_is_searched_with_few_descriptors(
    ground: Ground, folder: Path
) -> None:
    """And what is deeper than a path can say is counted."""
    here = os.open(folder, os.O_RDONLY)
    for level in range(1100):
        if level in {500, 1000}:
            file = os.open("word", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here)
            os.write(file, b"word")
            os.close(file)
        os.mkdir("ddd", dir_fd=here)
        there = os.open("ddd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    try:
        page = grep(ground, "word", seconds=60)
        assert [match.path.count("/") for match in page.matches] == [1000, 500]
        assert page.skipped.unreadable == 1
        assert len(all_pages(glob, ground, "**/word", limit=1, seconds=60)) == 2
    finally:
        subprocess.run(["rm", "-rf", str(folder / "ddd")], check=True)


# ----- grep -------------------------------------------------------------------


def oracle(data: bytes, pattern: str) -> list[tuple[int, int, str]]:
    """Number, column and text of the lines that match, found a line at a time."""
    found: list[tuple[int, int, str]] = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1] if lines[-1] == b"" else lines, 1):
        is_last = number == len(lines)
        text = line if is_last else line.removesuffix(b"\r")
        match = re.search(pattern.encode(), text)
        if match is not None:
            column = len(text[: match.start()].decode("utf-8", "replace")) + 1
            found.append((number, column, text.decode("utf-8", "replace")))
    return found


PIECES = [
    b"a",
    b"b",
    b"ab",
    b" ",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    "ü".encode(),
    b"\xff",
    b"\xe2\x82",
]
PATTERNS = [
    "a",
    "ab",
    "^a",
    "b$",
    "^$",
    "^",
    "$",
    "a+b",
    "a.?b",
    r"\bab\b",
    "[^a]b",
    r"\s",
    "a|b$",
    "(a)(b)?$",
    r"a\s*b",
]


@pytest.mark.parametrize("seed", range(4))
def test_lines_are_found_as_a_naive_search_finds_them(
    ground: Ground, folder: Path, seed: int
) -> None:
    """Line ends of all kinds, none at the end, empty files, what is no UTF-8; in pages, too."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    contents: dict[str, bytes] = {}
    for number in range(20):
        pieces = chance.choices(PIECES, k=chance.choice([0, 1, 3, 30, 100]))
        contents[f"{number:02}"] = b"".join(pieces)
        put(folder, f"{number:02}", contents[f"{number:02}"])
    for pattern in PATTERNS:
        # A byte that is no UTF-8 matches nothing, to Python's `re` it is a byte like any other.
        skip = pattern in {"a.?b", "[^a]b", r"\bab\b"}
        expected = [
            (path, *found)
            for path, data in contents.items()
            if not (skip and not data.isascii())
            for found in oracle(data, pattern)
        ]
        page = grep(ground, pattern, limit=1000, seconds=60)
        paged = all_pages(grep, ground, pattern, limit=chance.choice([3, 7]), seconds=60)
        for matches in (page.matches, paged):
            got = [(m.path, m.line, m.column, m.text) for m in matches]
            assert [
                each for each in got if not (skip and not contents[each[0]].isascii())
            ] == expected, pattern


def test_context_limits_and_case(ground: Ground, folder: Path) -> None:
    """Each says what it means."""
    write(folder, x="1\n2\nThree\n4\n5\n", y="three three\nthree", z="no")

    (match,) = grep(ground, "T", context=2).matches
    assert match == Match(
        path="x", line=3, column=1, text="Three", is_cut=False, before=("1", "2"), after=("4", "5")
    )
    assert str(match) == "x:3:1: Three"
    assert "Three" not in repr(match)
    assert len(grep(ground, "three", ignore_case=True).matches) == 3
    assert [m.line for m in all_pages(grep, ground, "three", per_file=1, limit=1)] == [1]
    assert [m.path for m in grep(ground, "three|no", glob="[x-y]").matches] == ["y", "y"]
    assert [m.path for m in grep(ground, "no", path="z").matches] == ["z"]


def test_what_is_binary_too_large_or_not_to_be_read_is_counted(
    ground: Ground, folder: Path
) -> None:
    """And UTF-16 with a byte order mark is text."""
    write(folder, binary=b"word\0", utf16="word ü".encode("utf-16"), bom=b"\xef\xbb\xbfword")
    with (folder / "large").open("wb") as file:
        file.write(b"word\n")
        file.truncate(MAX_READ_BYTES + 1)
        file.seek(0)
        file.write(b"word\n" * 2000)

    page = grep(ground, "^word")

    assert [(m.path, m.text) for m in page.matches] == [("bom", "word"), ("utf16", "word ü")]
    assert page.skipped == Skipped(binary=1, too_large=1)


def test_a_long_line_is_cut_around_the_match(ground: Ground, folder: Path) -> None:
    """In characters, wherever it is."""
    put(folder, "x", "ü" * 1_000_000 + "word" + "ü" * 1_000_000 + "\nword")

    first, second = grep(ground, "word", context=1).matches
    assert (first.line, first.column, len(first.text), first.is_cut) == (1, 1_000_001, 500, True)
    assert first.text.startswith("ü" * 100 + "word")
    assert second.before == ("ü" * 500,)


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": "("}, {"pattern": ""}, {"pattern": 7}, {"pattern": "a{5000}"},
        {"pattern": "x" * 5000}, {"pattern": r"(a)\1"}, {"pattern": "(?:.{0,100}){0,9}Q"},
        {"pattern": "\ud800"},
        {"limit": 0}, {"context": -1}, {"per_file": 0}, {"seconds": -1}, {"seconds": 1e9},
        {"after": "x"}, {"after": 7}, {"after": "1:2:"}, {"after": "9" * 5000 + ":0:x"},
        {"glob": ""}, {"glob": "../*"}, {"glob": "/x"}, {"glob": "[a"}, {"glob": "{a"},
        {"glob": "a\\"}, {"glob": "a\0"}, {"glob": "[[:no:]]"}, {"path": ".git"},
        {"path": "a/.git/x"},
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused(ground: Ground, folder: Path, options: dict[str, Any]) -> None:
    """With a text that is bounded."""
    put(folder, "x", "y")

    with pytest.raises(InvalidRequestError) as caught:
        grep(ground, **dict[str, Any]({"pattern": "y", **options}))
    assert len(str(caught.value)) < 1500


def test_it_is_said_where_a_pattern_is_wrong(ground: Ground) -> None:
    """In regular expressions and in wildcards."""
    with pytest.raises(InvalidRequestError, match="wrong at 3: invalid escape"):
        grep(ground, "abc\\Zd")
    with pytest.raises(InvalidRequestError, match="wrong at 2: a \\[ is not closed"):
        glob(ground, "ab[c")


# Patterns that keep a backtracking engine, or this one's slow path, busy.
HOSTILE = [
    *["(x+x+)+y", "(a|a)*Q", "(?:x?){50}x{50}y", ".*.*.*.*.*=", "(?:.{0,100}){0,4}Q", "(.*)*$Q"],
    *["(?:a|b)*a(?:a|b){200}z", "(?:a.{200}|b.{150})*z"],
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_patterns_end_in_time(ground: Ground, folder: Path, pattern: str) -> None:
    """Soon after the seconds that they have."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    for number in range(3):
        lines = ("".join(chance.choices("ab", k=999)) for _ in range(500))
        put(folder, f"f{number}", "\n".join(["x" * 999, *lines]))
    since = time.monotonic()

    page = grep(ground, pattern, seconds=0.3)

    assert time.monotonic() - since < 5
    assert page.matches == ()


def test_a_line_too_long_for_a_large_pattern_is_not_begun() -> None:
    """For it cannot be parted, and the engine cannot be stopped."""
    pattern = compile_pattern("(?:.{0,100}){0,4}Q", ignore_case=False)
    with pytest.raises(LineTooLongError):
        list(matching_lines(pattern, b"x" * 5_000_000, behind=0, context=0))
    (line,) = matching_lines(pattern, b"x" * 100 + b"Q", behind=0, context=0)
    assert isinstance(line, Line)


@pytest.mark.parametrize("pattern", ["*a" * 40 + "b", "**/" * 40 + "b", "{a,b}" * 40])
def test_hostile_wildcards_end_in_time(ground: Ground, folder: Path, pattern: str) -> None:
    """Asked for, and in the project's own rules."""
    write(folder, **{"a" * 200: "", ".gitignore": f"{pattern}\n" * 100, "seen": ""})
    since = time.monotonic()

    assert glob(ground, pattern).paths == ()
    assert "seen" in glob(ground, "**").paths
    assert time.monotonic() - since < 5


# ----- tree -------------------------------------------------------------------


def test_a_tree_shows_what_is_nearest_to_the_top(ground: Ground, folder: Path) -> None:
    """As text, indented; what is not listed is marked."""
    for path in ["a/b/c/d", "a/x", "z", ".gitignore", "e/f"]:
        put(folder, path)

    assert str(tree(ground, depth=2)) == ".gitignore\na/\n  b/ ...\n  x\ne/\n  f\nz"
    few = tree(ground, limit=5)
    assert few.truncated == "limit"
    assert str(few) == ".gitignore\na/ ...\n  b/ ...\ne/ ...\nz"
    assert str(tree(ground, "a", depth=9)) == "b/\n  c/\n    d\nx"
    assert tree(ground, seconds=0).truncated == "time"
    with pytest.raises(NotADirectoryError):
        tree(ground, "z")
    with pytest.raises(FileNotFoundError):
        tree(ground, "gone")


# ----- while others change it --------------------------------------------------


def test_no_search_escapes_while_a_racer_swaps_directories(ground: Ground, folder: Path) -> None:
    """What is outside is neither named nor read, in 400 searches of each kind."""
    outside = folder.parent / "outside"
    put(outside, "private", "word outside")
    put(outside, "file", "word outside")
    put(outside, ".gitignore", "*")
    put(folder, "d/file", "word inside")
    (folder / "trap").symlink_to("../outside")
    found: set[str] = set()
    with swapping(folder):
        for _ in range(400):
            found |= set(glob(ground, "**").paths)
            found |= {match.text for match in grep(ground, "word").matches}
            found |= {entry.path for entry in tree(ground).entries}

    assert "word inside" in found
    assert found <= {"d", "trap", "d/file", "trap/file", "word inside"}


def test_files_that_vanish_and_change_do_not_disturb(ground: Ground, folder: Path) -> None:
    """Between the listing and the reading, and half-way through the pages."""
    for number in range(20):
        put(folder, f"d/{number:02}", "word\n" * 3)
    first = grep(ground, "word", limit=4)
    (folder / "d/01").unlink()
    (folder / "d/02").unlink()
    (folder / "d/02").mkdir()
    put(folder, "d/02/x", "word")

    rest = grep(ground, "word", after=first.after, limit=1000)

    assert {m.path for m in first.matches} == {"d/00", "d/01"}
    assert rest.matches[0].path == "d/02/x"
    assert len(rest.matches) == 17 * 3 + 1
    assert rest.skipped == Skipped()
