"""Snapshots held against plain copies of trees, whatever happens to the tree."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from snapshot_trees import Life, Node, Tree, changed, tree_of

from jidocode.session.project.boundary import Tier
from jidocode.session.snapshots.operations import take_snapshot
from jidocode.session.snapshots.reverting import revert

NAMES = ["a", "b", "a.x", "A", "é", os.fsdecode(b"\xff\xfe"), "a-b"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
# Of one size, so that only the content tells; and some of others.
CONTENTS = st.sampled_from([b"one", b"two", b"six", b"", b"\0\xff", b"longer"])
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o400, 0o777])


class Trees(RuleBasedStateMachine):
    """A project that is changed at random, by no means through a Manager."""

    @initialize(tier=st.sampled_from(Tier))
    def begin(self, tier: Tier) -> None:
        self.top = Path(tempfile.mkdtemp())
        self.folder = self.top / "project"
        self.folder.mkdir()
        self.tier = tier
        self.life = Life(self.folder, self.top / "snapshots", tier=tier)
        self.trees: dict[int, Tree] = {}

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.close()
            shutil.rmtree(self.top)

    def _clear(self, path: str) -> Path:
        """The place of *path*, with nothing there, and folders above."""
        here = self.folder
        *parents, name = path.split("/")
        for parent in parents:
            here /= parent
            if here.is_symlink() or here.is_file():
                here.unlink()
            here.mkdir(exist_ok=True)
        here /= name
        if here.is_dir() and not here.is_symlink():
            shutil.rmtree(here)
        elif here.is_symlink() or here.exists():
            here.unlink()
        return here

    @rule(path=PATHS, content=CONTENTS, mode=MODES)
    def make_file(self, path: str, content: bytes, mode: int) -> None:
        place = self._clear(path)
        place.write_bytes(content)
        place.chmod(mode)

    @rule(data=st.data(), content=CONTENTS, quietly=st.booleans())
    def write(self, data: st.DataObject, content: bytes, quietly: bool) -> None:  # noqa: FBT001 - drawn
        """Into a file that is there; *quietly*, its mtime is what it was."""
        path = self._some(data, "file")
        if path is None:
            return
        status = path.stat()
        path.write_bytes(content)
        if quietly:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    @rule(data=st.data(), mode=MODES)
    def set_mode(self, data: st.DataObject, mode: int) -> None:
        path = self._some(data, "file", "directory")
        if path is not None:
            path.chmod(mode)

    @rule(path=PATHS, mode=MODES)
    def make_folder(self, path: str, mode: int) -> None:
        place = self._clear(path)
        place.mkdir()
        place.chmod(mode)

    @rule(path=PATHS, leads=st.sampled_from(["a", "/etc/passwd", "../..", "nowhere"]))
    def make_link(self, path: str, leads: str) -> None:
        self._clear(path).symlink_to(leads)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        path = self._some(data, "file", "directory", "symlink")
        if path is not None:
            self._clear(os.path.relpath(path, self.folder))

    @rule(data=st.data(), path=PATHS)
    def move(self, data: st.DataObject, path: str) -> None:
        source = self._some(data, "file", "directory", "symlink")
        if source is None:
            return
        aside = self.top / "aside"
        source.rename(aside)
        aside.rename(self._clear(path))

    def _some(self, data: st.DataObject, *kinds: str) -> Path | None:
        paths = sorted(path for path, node in tree_of(self.folder).items() if node.kind in kinds)
        return self.folder / data.draw(st.sampled_from(paths)) if paths else None

    @rule()
    def take(self) -> None:
        snapshot = self.life.do(take_snapshot)
        assert snapshot.truncated is None
        self.trees[snapshot.id] = tree_of(self.folder)

    @rule()
    def restart(self) -> None:
        """Another life of the Manager."""
        self.life.close()
        self.life = Life(self.folder, self.top / "snapshots", tier=self.tier)

    @precondition(lambda self: bool(getattr(self, "trees", None)))
    @rule(data=st.data(), limit=st.sampled_from([1, 2, 1000]))
    def look(self, data: st.DataObject, limit: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.trees)))
        expected = changed(self.trees[number], tree_of(self.folder))
        assert self.life.kinds(number, limit=limit) == expected

    @precondition(lambda self: bool(getattr(self, "trees", None)))
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.trees)))
        before = tree_of(self.folder)
        done = self.life.do(revert, to=number)
        assert (done.failed, done.truncated) == ((), None)
        assert tree_of(self.folder) == self.trees[number]
        assert set(done.restored) | set(done.removed) == set(changed(before, self.trees[number]))
        self.trees[done.before] = before

    @precondition(lambda self: bool(getattr(self, "trees", None)))
    @rule(data=st.data())
    def go_back_with_some(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.trees)))
        before, wanted = tree_of(self.folder), self.trees[number]
        paths = sorted(before.keys() | wanted.keys())
        if not paths:
            return
        path = data.draw(st.sampled_from(paths))
        done = self.life.do(revert, [path], to=number)
        after = tree_of(self.folder)
        self.trees[done.before] = before
        if done.failed:
            # Above it something else stands now, which was not named.
            assert any(_kind(before, above) != _kind(wanted, above) for above in _above(path))
            return
        for each in before.keys() | wanted.keys() | after.keys():
            if each == path or each.startswith(f"{path}/"):
                assert after.get(each) == wanted.get(each)
            elif each not in _above(path):
                assert after.get(each) == before.get(each)

    @invariant()
    def nothing_is_left(self) -> None:
        if hasattr(self, "folder"):
            assert not [name for name in tree_of(self.folder) if ".jidocode" in name]


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _kind(tree: Tree, path: str) -> Any:
    node: Node | None = tree.get(path)
    return node and node.kind


Trees.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
test_trees = Trees.TestCase
