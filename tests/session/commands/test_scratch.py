"""Scratch folders: whose they are, and who removes them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


def test_the_place_is_that_for_temporary_files(tmp_path: Path) -> None:
    """If it is one at all."""
    assert place_of_scratch({"TMPDIR": str(tmp_path)}) == str(tmp_path)
    for bad in ({}, {"TMPDIR": "relative"}, {"TMPDIR": str(tmp_path / "gone")}):
        assert place_of_scratch(bad) == "/tmp"  # noqa: S108 - as POSIX has it
