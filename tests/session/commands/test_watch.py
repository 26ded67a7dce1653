"""What commands do to protected paths, as it is seen and undone while they run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from limits import not_root

from jidocode.session.commands.watch import ProtectedPaths
from jidocode.session.project import undoing
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.protection import (
    MAX_PATHS,
    ProtectedPathsChanged,
    ProtectionRules,
)


@pytest.fixture
def heard() -> list[ProtectedPathsChanged]:
    return []


@pytest.fixture
def protected(tmp_path: Path, heard: list[ProtectedPathsChanged]) -> Iterator[ProtectedPaths]:
    tmp_path.joinpath(".git/hooks").mkdir(parents=True)
    rules = ProtectionRules(changes="refuse")
    with ProtectedPaths(Boundary(str(tmp_path)), rules, heard.append) as paths:
        yield paths


def test_what_comes_while_something_is_undone_is_undone_later(
    protected: ProtectedPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that goes on writing is not faster than what undoes it."""
    hooks = tmp_path / ".git/hooks"
    names = iter(("second", "third"))
    put_back = undoing.put_back

    def put_back_slowly(*arguments: object) -> None:
        put_back(*arguments)  # type: ignore[arg-type] # as they came
        for name in names:
            hooks.joinpath(name).touch()
            break

    monkeypatch.setattr(undoing, "put_back", put_back_slowly)
    protected.begin("a")
    hooks.joinpath("first").touch()
    protected.look()
    protected.look()
    changes = protected.end("a")

    assert sorted(os.listdir(hooks)) == []  # noqa: PTH208 - names
    assert changes.paths == changes.undone
    assert {".git/hooks/second", ".git/hooks/third"} <= set(changes.paths)


def test_what_cannot_be_undone_is_told_once(
    protected: ProtectedPaths, heard: list[ProtectedPathsChanged], tmp_path: Path
) -> None:
    protected.begin("a")
    tmp_path.joinpath(".git").rename(tmp_path.parent / "elsewhere")
    for _ in range(3):
        protected.look()
    changes = protected.end("a")

    assert [event.undone for event in heard] == [()]
    assert changes.paths == heard[0].paths
    assert changes.undone == ()


# ----- a repository that was moved --------------------------------------------------

MOVES = [
    "mv .git g; mkdir .git; mv g .git/inner",
    "mkdir x; mv .git x/g; mkdir -p .git/hooks/e; chmod 555 x/g x .",
    "mkdir x; mv .git x/g; mkdir -p .git/hooks/e; chmod 0 x",
    "mv .git .vscode; chmod 0 .vscode",
]


@pytest.mark.parametrize("line", MOVES)
def test_a_repository_that_was_moved_comes_back(
    protected: ProtectedPaths, tmp_path: Path, line: str
) -> None:
    tmp_path.joinpath(".git/HEAD").write_text("main")
    protected.begin("a")
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    with not_root(tmp_path):
        changes = protected.end("a")
    assert tmp_path.joinpath(".git/HEAD").read_text() == "main"
    assert changes.paths == changes.undone != ()


def test_a_repository_that_is_not_back_is_said(protected: ProtectedPaths, tmp_path: Path) -> None:
    """Though what is protected in it is as it was."""
    protected.begin("a")
    shutil.rmtree(tmp_path / ".git")
    (tmp_path / ".git/hooks").mkdir(parents=True)
    (tmp_path / ".git/hooks/x").touch()
    changes = protected.end("a")
    assert set(changes.paths) == {".git", ".git/hooks/x"}
    assert changes.undone == (".git/hooks/x",)


def test_many_folders_hold_no_more_descriptors_than_may_be(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f".git/modules/{number}/hooks").mkdir(parents=True)
    rules = ProtectionRules(changes="refuse")
    with ProtectedPaths(Boundary(str(tmp_path)), rules, lambda _: None) as paths:
        before = psutil.Process().num_fds()
        paths.begin("a")
        assert psutil.Process().num_fds() <= before + 100
        (tmp_path / ".git/modules/299/hooks/x").touch()
        assert paths.end("a").undone == (".git/modules/299/hooks/x",)


def test_what_is_set_aside_is_named_by_its_folder_if_it_is_much(
    protected: ProtectedPaths, heard: list[ProtectedPathsChanged], tmp_path: Path
) -> None:
    protected.begin("a")
    for number in range(MAX_PATHS + 1):
        (tmp_path / f".git/hooks/{number}").touch()
    changes = protected.end("a")
    (folder,) = tmp_path.glob(".jidocode-undone-*")
    assert changes.set_aside == heard[-1].set_aside == (folder.name,)


def test_what_was_set_aside_by_a_life_that_was_killed_is_told_by_the_next(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It could not tell, and may be where somebody's sources are."""
    note = tmp_path_factory.mktemp("notes") / "note"
    heard: list[ProtectedPathsChanged] = []

    def begin_life() -> ProtectedPaths:
        rules = ProtectionRules(changes="refuse")
        return ProtectedPaths(Boundary(str(tmp_path)), rules, heard.append, note=note)

    with begin_life() as paths:
        paths.begin("a")
        (tmp_path / ".vscode").mkdir()
        paths.look()
        (kept,) = heard.pop().set_aside
    with begin_life() as paths:
        (told,) = heard
        assert (told.paths, told.set_aside) == ((), (kept,))
        paths.begin("b")
        assert paths.end("b").set_aside == ()
    with begin_life():
        assert len(heard) == 1


def test_what_was_set_aside_is_not_protected_itself(tmp_path: Path) -> None:
    """Though a pattern stands for its folder: it would be set aside again and again."""
    rules = ProtectionRules(paths=[".*"], changes="refuse")
    with ProtectedPaths(Boundary(str(tmp_path)), rules, lambda _: None) as paths:
        for _ in range(2):
            paths.begin("a")
            (tmp_path / ".envrc").touch()
            changes = paths.end("a")
            assert changes.paths == changes.undone == (".envrc",)
            (kept,) = changes.set_aside
            assert (tmp_path / kept).exists()
