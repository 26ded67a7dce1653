"""Undoing what was done to protected paths: what is there becomes again what was there.

Programs that change them may still run. So all is done to a name in a folder that is held
open, to which no symlink was followed: whatever they swap in the meantime, nothing outside of the
project is touched. And nothing is removed: what is there instead is moved aside. Nothing here
says what has come of it; a look afterwards does.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Generator, Iterable, Mapping
from itertools import takewhile

from jidocode.base import log
from jidocode.session.project.aside import Aside
from jidocode.session.project.boundary import Boundary, Spot
from jidocode.session.project.conditions import Condition
from jidocode.session.project.descriptors import (
    FOLDER,
    PLACE,
    READ_FOLDER,
    closing,
    names_below,
    set_mode,
    status_or_none,
)
from jidocode.session.project.fingerprints import UNSEEN, Fingerprints, Found, is_unknown
from jidocode.session.project.renaming import exchange, rename_new
from jidocode.session.project.replacement import Content, content_of


def open_ways(root: int, before: Fingerprints) -> None:
    """Give folders that lead to protected paths their permissions back, if we may not enter them.

    Args:
        root: Descriptor of the directory that all paths are relative to.
        before: What was there.
    """
    for path, was in sorted(before.items()):  # the upper ones first
        if was.kind == "way" and was.status and was.value != UNSEEN:
            with _going_on(), _spot(root, path) as spot:
                there = _status(spot)
                is_folder = there is not None and stat.S_ISDIR(there.st_mode)
                if is_folder and not os.access(
                    spot.name, os.R_OK | os.X_OK, dir_fd=spot.parent, effective_ids=True
                ):
                    _set_mode(spot, was.status[2])


def bring_back(root: int, ways: Mapping[str, int]) -> None:
    """Put folders that lead to protected paths back to where they were, if they were moved.

    What stands there now changes places with it: a whole repository cannot be made again, and
    nothing is lost that way.

    Args:
        root: Descriptor of the directory that all paths are relative to.
        ways: Descriptors of the folders, by their paths.
    """
    for path, folder in sorted(ways.items()):
        with _going_on(), _spot(root, path) as old:
            there = _status(old)
            if there is not None and os.path.samestat(there, os.fstat(folder)):
                continue
            place = names_below(root, folder)
            if not place:
                continue
            with _spot(root, "/".join(place)) as new:
                if not os.path.samestat(os.fstat(folder), _status(new) or os.fstat(root)):
                    continue
                swap = rename_new if there is None else exchange
                swap(new.parent, new.name, old.parent, old.name)


def put_back(  # noqa: PLR0913, PLR0917 - where, what was and is, what becomes of it, how long
    boundary: Boundary,
    root: int,
    before: Fingerprints,
    after: Fingerprints,
    changed: Iterable[str],
    aside: Aside,
    seconds: float,
) -> None:
    """Make what is at protected paths what it was *before*, as far as that is known.

    Programs that still run may make files faster than they are moved here: so that ends when the
    time is over.

    Args:
        boundary: Whose root is *root*.
        root: Descriptor of the directory that all paths are relative to.
        before: What was there.
        after: What is there.
        changed: The paths at which, or below which, the two differ.
        aside: Keeps what is there instead.
        seconds: How long to take away what was not there.
    """
    end = time.monotonic() + seconds
    for path in changed:
        now = after.get(path)
        if now is None or is_unknown(path, before):
            continue
        was = before.get(path)
        if was is None or was.kind != now.kind:
            with _going_on(), _spot(root, path) as spot:
                aside.take(spot)
        elif now.value == UNSEEN and now.kind == "directory":
            with _going_on(), _spot(root, path) as spot:
                _take_strangers(spot, path, before, aside, end)
    for path in sorted(before):
        was = before[path]
        if was.kind not in {"way", "other"} and not was.is_like(after.get(path)):
            with _going_on(), _spot(root, path) as spot:
                _restore(boundary, spot, path, was, after.get(path), aside)


def _restore(  # noqa: PLR0913, PLR0917 - where, what was and is, and what becomes of it
    boundary: Boundary, spot: Spot, path: str, was: Found, now: Found | None, aside: Aside
) -> None:
    """Make what is at *spot* what it *was*."""
    there = _status(spot)
    if was.kind == "directory":
        if there is None:
            os.mkdir(spot.name, 0o700, dir_fd=spot.parent)
        _set_mode(spot, was.mode)
    elif was.kind == "symlink":
        target = os.fsdecode(was.value)
        aside.swap(spot, lambda new: os.symlink(target, new.name, dir_fd=new.parent))
    elif there and there.st_nlink == 1 and now and (now.kind, now.value) == (was.kind, was.value):
        _set_mode(spot, was.mode)
    elif was.content is not None:
        fill, mode = content_of(was.content).fill, was.mode

        def make(new: Spot) -> None:
            with _file(spot) as old:  # whose owner the new one has
                boundary.replace(new, path, Content(fill, old), Condition(path, None))
            _set_mode(new, mode)

        aside.swap(spot, make)


def _take_strangers(spot: Spot, path: str, before: Fingerprints, aside: Aside, end: float) -> None:
    def is_in_time(_: object) -> bool:
        return time.monotonic() < end

    with closing(_open_folder(spot)) as folder:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in takewhile(is_in_time, entries)]
        for name in takewhile(is_in_time, names):
            if f"{path}/{name}" not in before:
                aside.take(Spot(folder, path, name))


@contextlib.contextmanager
def _file(spot: Spot) -> Generator[int | None]:
    """Hold the file at *spot*, if one is there."""
    there = _status(spot)
    if there is None or not stat.S_ISREG(there.st_mode):
        yield None
        return
    with closing(os.open(spot.name, PLACE | os.O_NOFOLLOW, dir_fd=spot.parent)) as fd:
        yield fd


def _open_folder(spot: Spot) -> int:
    _set_mode(spot, stat.S_IRWXU)
    return os.open(spot.name, READ_FOLDER, dir_fd=spot.parent)


def _set_mode(spot: Spot, mode: int) -> None:
    with closing(os.open(spot.name, PLACE | os.O_NOFOLLOW, dir_fd=spot.parent)) as fd:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            set_mode(fd, mode)


def _status(spot: Spot) -> os.stat_result | None:
    return status_or_none(spot.parent, spot.name)


@contextlib.contextmanager
def _spot(root: int, path: str) -> Generator[Spot]:
    """Hold the folder that *path* is a name in, to which no symlink leads."""
    *parts, name = path.split("/")
    here = os.open(".", FOLDER, dir_fd=root)
    try:
        for part in parts:
            below = os.open(part, FOLDER, dir_fd=here)
            os.close(here)
            here = below
        yield Spot(here, "/".join(parts) or ".", name)
    finally:
        os.close(here)


@contextlib.contextmanager
def _going_on() -> Generator[None]:
    """Let what cannot be undone be said, and go on."""
    try:
        yield
    except OSError as error:
        log.debug("a change of a protected path cannot be undone: {}", error.strerror)
