"""Trees of files as plain data, and the snapshots of one without any process."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from jidocode.session.project.boundary import Tier
from jidocode.session.project.entries import Ground
from jidocode.session.project.files import Project
from jidocode.session.project.protection import ProtectedPathsChanged, ProtectionRules
from jidocode.session.snapshots.limits import SnapshotRules
from jidocode.session.snapshots.operations import changes_since
from jidocode.session.snapshots.results import FileChange
from jidocode.session.snapshots.store import Store
from jidocode.session.snapshots.taking import Work

P = ParamSpec("P")
R = TypeVar("R")


class Node(NamedTuple):
    """What is at a path: its kind, permissions, and bytes or target."""

    kind: str
    mode: int
    content: bytes


Tree = dict[str, Node]


def tree_of(folder: Path) -> Tree:
    """All that is in *folder*, looked at in the plainest way."""
    found: Tree = {}
    for top, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(top, name)  # noqa: PTH118 - a name need not be text
            status = os.lstat(path)
            relative = os.path.relpath(path, folder)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                found[relative] = Node("symlink", 0, os.fsencode(os.readlink(path)))  # noqa: PTH115 - idem
            elif stat.S_ISDIR(status.st_mode):
                found[relative] = Node("directory", mode, b"")
            else:
                found[relative] = Node("file", mode, Path(path).read_bytes())
    return found


def changed(before: Tree, after: Tree) -> dict[str, str]:
    """What a comparison of the two has to say of each path."""
    kinds: dict[str, str] = {}
    for path in before.keys() | after.keys():
        was, now = before.get(path), after.get(path)
        if was == now:
            continue
        if was is None or now is None:
            kinds[path] = "added" if was is None else "removed"
        elif was.kind != now.kind:
            kinds[path] = "type"
        else:
            kinds[path] = "changed" if was.content != now.content else "mode"
    return kinds


class Life:
    """A project and its snapshots, as one life of a Manager has them."""

    def __init__(  # noqa: PLR0913 - what a Manager is given
        self,
        folder: Path,
        place: Path | None,
        rules: SnapshotRules | None = None,
        *,
        tier: Tier | None = None,
        hard_links: bool = True,
        protection: ProtectionRules | None = None,
    ) -> None:
        self.folder = folder
        self.told: list[ProtectedPathsChanged] = []
        self.project = Project(
            str(folder),
            tier=tier,
            hard_links=hard_links,
            protection=protection,
            tell=self.told.append,
        )
        self.store = Store(place, rules or SnapshotRules())

    def do(
        self, operation: Callable[Concatenate[Work, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Carry *operation* out, as a Manager does."""
        with Ground(self.project.boundary) as ground:
            return operation(Work(ground, self.store, self.project.protector), *args, **kwargs)

    def changes(self, since: Any = None, *, limit: int = 1000) -> list[FileChange]:
        """All changes, a page after the other."""
        found: list[FileChange] = []
        after: str | None = None
        while True:
            page = self.do(changes_since, since, limit=limit, after=after)
            found += page.changes
            if page.truncated is None:
                return found
            assert page.after != after
            after = page.after

    def kinds(self, since: Any = None, *, limit: int = 1000) -> dict[str, str]:
        """What became of which path."""
        found = self.changes(since, limit=limit)
        assert [each.path for each in found] == sorted(
            (each.path for each in found), key=lambda path: path.split("/")
        )
        return {each.path: each.kind for each in found}

    def close(self) -> None:
        """End it."""
        self.project.close()


NewLife = Callable[..., Life]


def put(folder: Path, path: str, content: str | bytes = "") -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def contents(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "store/contents").rglob("*") if path.is_file()]


def reasons(done: Any) -> dict[str, str]:
    return {each.path: each.reason for each in done.failed}
