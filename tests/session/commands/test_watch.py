"""What commands do to protected paths, as it is seen and undone while they run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jidocode.session.commands.watch import ProtectedPaths
from jidocode.session.project import undoing
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.protection import ProtectedPathsChanged, ProtectionRules


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
