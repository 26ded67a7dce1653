"""Protected paths: which they are, and that every operation on files heeds them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, strategies as st

from jidocode import Edit, ProtectedPathError, ProtectedPathsChanged, ProtectionRules
from jidocode.errors import BoundaryError
from jidocode.session.project.boundary import Tier
from jidocode.session.project.copying import copy
from jidocode.session.project.files import Project
from jidocode.session.project.folders import mkdir, move, remove
from jidocode.session.project.protection import DEFAULT_PATHS, Protection, is_pattern
from jidocode.session.project.rewriting import append_file, edit_file

# ----- which paths --------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        ".git/hooks",
        ".git/hooks/pre-commit",
        ".git/config",
        ".GIT/Config",
        "vendor/lib/.git/hooks/deep/down",
        ".git",
        "vendor/lib/.git",
        ".git/modules",
        ".git/modules/lib",
        ".git/modules/lib/config",
        ".envrc",
        "sub/.envrc",
        ".vscode/tasks.json",
    ],
)
def test_what_others_execute_is_touched(path: str) -> None:
    assert Protection(DEFAULT_PATHS).touches(path)


@pytest.mark.parametrize(
    "path",
    [
        ".",
        "Makefile",
        "package.json",
        ".gitignore",
        ".github/workflows/ci.yml",
        ".git/HEAD",
        ".git/objects/ab/cdef",
        ".git/modules/lib/HEAD",
        "git/hooks/pre-commit",
        "hooks/pre-commit",
        "my.envrc",
        ".envrc.example",
    ],
)
def test_what_somebody_names_is_not(path: str) -> None:
    assert not Protection(DEFAULT_PATHS).touches(path)
    assert not Protection(()).touches(path)


_names = st.sampled_from(["a", "b", "ab", ".git", "hooks", "*", "a*", "?", "[ab]"])
_patterns = st.lists(st.lists(_names, min_size=1, max_size=3).map("/".join), max_size=3)
_paths = st.lists(
    st.sampled_from(["a", "b", "ab", ".git", "hooks", "c"]), min_size=1, max_size=5
).map("/".join)


@given(_patterns, _paths)
def test_touching_is_what_pathlib_says(patterns: list[str], path: str) -> None:
    whole = PurePosixPath(path)
    below = any(each.match(p) for p in patterns for each in (whole, *whole.parents))
    above = any(
        whole.match("/".join(p.split("/")[:count]))
        for p in patterns
        for count in range(1, p.count("/") + 1)
    )
    assert Protection(patterns).touches(path) is (below or above)


@pytest.mark.parametrize(
    "value", ["", "/etc", "a//b", "a/", ".", "a/../b", "**/a", "a/**", "a\0", 7, None]
)
def test_what_is_no_pattern(value: object) -> None:
    assert not is_pattern(value)


def test_the_defaults_are_patterns_and_a_short_one_makes_longer_ones_needless() -> None:
    assert all(map(is_pattern, DEFAULT_PATHS))
    assert Protection(["a/b/c", "a/b", "d"]).tree == {"a": {"b": {}}, "d": {}}


# ----- operations on files --------------------------------------------------------

Told = list[ProtectedPathsChanged]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a repository and a symlink to it."""
    root = tmp_path / "shop"
    (root / ".git/hooks").mkdir(parents=True)
    (root / ".git/config").write_text("[core]\n")
    (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (root / ".git/hooks/pre-commit").write_text("#!/bin/sh\n")
    (root / "link").symlink_to(".git")
    (root / "conf").symlink_to(".git/config")
    (root / "src/.vscode").mkdir(parents=True)
    (root / "src/.vscode/tasks.json").write_text("{}\n")
    (root / "main.py").write_text("pass\n")
    return root


@pytest.fixture(params=Tier)
def open_project(
    root: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[ProtectionRules], tuple[Project, Told]]]:
    """Opens the project, and collects what it tells."""
    opened: list[Project] = []

    def open_it(rules: ProtectionRules) -> tuple[Project, Told]:
        told: Told = []
        project = Project(str(root), tier=request.param, protection=rules, tell=told.append)
        opened.append(project)
        return project, told

    yield open_it
    for each in opened:
        each.close()


Open = Callable[[ProtectionRules], tuple[Project, Told]]
REFUSE = ProtectionRules(changes="refuse")
REPORT = ProtectionRules()

WAYS: list[tuple[str, Callable[[Project], object], str]] = [
    ("write", lambda p: p.write_file(".git/hooks/pre-push", "x"), ".git/hooks/pre-push"),
    ("write over", lambda p: p.write_file(".git/config", "x"), ".git/config"),
    ("by its absolute path", lambda p: p.write_file(f"{p.root}/.envrc", "x"), ".envrc"),
    ("bytes", lambda p: p.write_bytes(".envrc", b"x"), ".envrc"),
    ("in place", lambda p: p.write_bytes(".git/config", b"x", in_place=True), ".git/config"),
    ("by dots", lambda p: p.write_file("src/../.git/config", "x"), ".git/config"),
    ("by a folder's link", lambda p: p.write_file("link/config", "x"), ".git/config"),
    ("by a link, deep", lambda p: p.write_file("link/hooks/new/x", "x"), ".git/hooks/new/x"),
    ("by a file's link", lambda p: p.write_file("conf", "x"), ".git/config"),
    ("append", lambda p: append_file(p, ".git/config", "x"), ".git/config"),
    ("edit", lambda p: edit_file(p, ".git/config", Edit("core", "user")), ".git/config"),
    ("mkdir", lambda p: mkdir(p, ".idea/x"), ".idea/x"),
    ("mkdir by a link", lambda p: mkdir(p, "link/hooks/x"), ".git/hooks/x"),
    ("remove", lambda p: remove(p, ".git/hooks/pre-commit"), ".git/hooks/pre-commit"),
    ("remove what holds it", lambda p: remove(p, ".git", recursive=True), ".git"),
    (
        "remove a folder around it",
        lambda p: remove(p, "src", recursive=True),
        "src/.vscode",
    ),
    ("move away", lambda p: move(p, ".git/config", "c"), ".git/config"),
    ("move what holds it", lambda p: move(p, ".git", "g"), ".git"),
    ("move there", lambda p: move(p, "main.py", ".envrc"), ".envrc"),
    ("move over", lambda p: move(p, "main.py", ".git/config", overwrite=True), ".git/config"),
    ("move by a link", lambda p: move(p, "main.py", "link/hooks/x"), ".git/hooks/x"),
    ("a folder becomes one", lambda p: move(p, "src", "lib/.git"), "lib/.git"),
    ("copy there", lambda p: copy(p, "main.py", ".git/hooks/x"), ".git/hooks/x"),
    ("copy a link", lambda p: copy(p, "conf", ".envrc"), ".envrc"),
    ("copy a folder", lambda p: copy(p, "src", ".idea", recursive=True), ".idea"),
    (
        "copy a folder around it",
        lambda p: copy(p, "src", "new", recursive=True),
        "new/.vscode",
    ),
    ("a file that is a folder", lambda p: p.write_file("lib/.git", "gitdir: x\n"), "lib/.git"),
]


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    """What is in *root*: kinds, permissions and contents."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = b""
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = os.fsencode(path.readlink())
        found[str(path.relative_to(root))] = (status.st_mode, content)
    return found


@pytest.mark.parametrize(("_name", "way", "path"), WAYS, ids=[name for name, *_ in WAYS])
def test_each_way_to_change_one_is_refused_before_anything_changes(
    open_project: Open, root: Path, _name: str, way: Callable[[Project], object], path: str
) -> None:
    project, told = open_project(REFUSE)
    before = everything(root)

    with pytest.raises(ProtectedPathError) as caught:
        way(project)

    assert everything(root) == before
    assert caught.value.path == repr(path)
    assert told == []


@pytest.mark.parametrize(("_name", "way", "path"), WAYS, ids=[name for name, *_ in WAYS])
def test_each_way_to_change_one_is_told(
    open_project: Open, root: Path, _name: str, way: Callable[[Project], object], path: str
) -> None:
    project, told = open_project(REPORT)
    before = everything(root)

    result = way(project)

    assert everything(root) != before
    assert path in told[0].paths
    assert told[0].commands == told[0].undone == ()
    assert path not in repr(told)
    if hasattr(result, "sha256"):
        assert getattr(result, "protected")  # noqa: B009 - of several classes


OTHERS: list[tuple[str, Callable[[Project], object]]] = [
    ("write", lambda p: p.write_file("Makefile", "all:\n")),
    ("write into the repository", lambda p: p.write_file(".git/HEAD", "x")),
    ("edit", lambda p: edit_file(p, "main.py", Edit("pass", "..."))),
    ("mkdir what is there", lambda p: mkdir(p, ".git/hooks")),
    ("remove a link to one", lambda p: remove(p, "link")),
    ("move a link to one", lambda p: move(p, "conf", "conf2")),
    ("copy one away", lambda p: copy(p, ".git/config", "config.bak")),
]


@pytest.mark.parametrize(("_name", "way"), OTHERS, ids=[name for name, _ in OTHERS])
def test_what_changes_none_is_neither_refused_nor_told(
    open_project: Open, _name: str, way: Callable[[Project], object]
) -> None:
    project, told = open_project(REFUSE)
    way(project)
    assert told == []


@pytest.mark.parametrize("changes", ["refuse", "report"])
def test_without_paths_nothing_is_protected(open_project: Open, changes: str) -> None:
    project, told = open_project(ProtectionRules(paths=(), changes=changes))  # type: ignore[arg-type]
    assert not project.write_file(".git/hooks/x", "x").protected
    assert not project.is_protected(".git/hooks/x")
    assert told == []


def test_a_failed_change_is_not_told(open_project: Open) -> None:
    project, told = open_project(REPORT)
    with pytest.raises(FileNotFoundError):
        remove(project, ".envrc")
    with pytest.raises(BoundaryError):
        project.write_file("../.envrc", "x")
    assert told == []


def test_one_may_ask_beforehand(open_project: Open) -> None:
    project, _ = open_project(REPORT)
    assert project.is_protected("link/hooks/x")
    assert project.is_protected("conf")
    assert not project.is_protected("src/x")
    with pytest.raises(BoundaryError):
        project.is_protected("../.envrc")
