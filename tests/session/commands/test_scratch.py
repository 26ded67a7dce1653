"""Scratch folders: whose they are, and who removes them."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from limits import run_unshared

from jidocode.session.commands.environment import FOLDERS
from jidocode.session.commands.scratch import PREFIX, Scratch, place_of_scratch, remove_abandoned


def test_many_begin_at_once_and_none_removes_another(tmp_path: Path) -> None:
    """Each removes what is abandoned, and those that begin just now are not."""
    with ThreadPoolExecutor(16) as pool:
        scratches = list(pool.map(Scratch, [str(tmp_path)] * 200))
    for scratch in scratches:
        assert all(Path(scratch.path, folder).is_dir() for folder in FOLDERS.values())
        scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_abandoned_goes_and_nothing_else(tmp_path: Path) -> None:
    """Nothing that a link leads to, and no file that has such a name."""
    place, outside = tmp_path / "place", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    abandoned = place / f"{PREFIX}1"
    (abandoned / "locked").mkdir(parents=True)
    (abandoned / "locked" / "file").touch()
    (abandoned / "link").symlink_to(outside)
    (abandoned / "locked").chmod(0o500)
    (place / f"{PREFIX}2").symlink_to(outside)
    (place / f"{PREFIX}3").touch()
    owned = Scratch(str(place))
    remove_abandoned(str(place))
    assert {path.name for path in place.iterdir()} == {
        f"{PREFIX}2",
        f"{PREFIX}3",
        os.path.basename(owned.path),  # noqa: PTH119 - a str
    }
    assert (outside / "file").read_text() == "mine"
    owned.remove()


def test_however_deep_it_is_and_whatever_may_be_done_in_it(tmp_path: Path) -> None:
    """Deeper than functions can call each other, than paths can be, and than files can be open."""
    scratch = Scratch(str(tmp_path))
    here = os.open(scratch.path, os.O_RDONLY)
    locked: list[int] = []
    for depth in range(3000):
        os.mkdir("d", dir_fd=here)
        os.close(os.open("file", os.O_CREAT, dir_fd=here))
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        if depth % 1000:
            os.close(here)
        else:
            locked.append(here)
        here = below
    for folder in (*locked, here):
        os.fchmod(folder, 0)
        os.close(folder)
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_may_not_be_listed_has_scratch_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is abandoned in it stays."""
    (tmp_path / f"{PREFIX}1").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", Mock(side_effect=PermissionError(errno.EACCES, "no")))
        scratch = Scratch(str(tmp_path))
        remove_abandoned(str(tmp_path))
    scratch.remove()
    assert [path.name for path in tmp_path.iterdir()] == [f"{PREFIX}1"]


def test_the_place_is_that_for_temporary_files(tmp_path: Path) -> None:
    """If it is one at all."""
    assert place_of_scratch({"TMPDIR": str(tmp_path)}) == str(tmp_path)
    for bad in ({}, {"TMPDIR": "relative"}, {"TMPDIR": str(tmp_path / "gone")}):
        assert place_of_scratch(bad) == "/tmp"  # noqa: S108 - as POSIX has it


MOUNTED = """
import os, subprocess, sys
from jidocode.session.commands.scratch import Scratch

place, precious = sys.argv[1:]
scratch = Scratch(place)
for folder in ("home", "tmp"):
    subprocess.run(["mount", "--bind", precious, f"{scratch.path}/{folder}"], check=True)
scratch.remove()
print(os.listdir(precious))
"""


def test_what_is_mounted_into_it_is_not_emptied(tmp_path: Path) -> None:
    """As by a command without a sandbox."""
    place, precious = tmp_path / "place", tmp_path / "precious"
    place.mkdir()
    precious.mkdir()
    (precious / "file").touch()
    told = run_unshared(MOUNTED, place, precious, namespaces=["--mount"])
    assert told == "['file']\n"
    remove_abandoned(str(place))
    assert list(place.iterdir()) == []
