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
from collections.abc import Callable, Generator, Iterable, Mapping
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
    writable,
)
from jidocode.session.project.fingerprints import UNSEEN, Fingerprints, Found, is_unknown
from jidocode.session.project.renaming import rename_new
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
                if not os.access(
                    spot.name, os.R_OK | os.X_OK, dir_fd=spot.parent, effective_ids=True
                ):
                    _set_folder_mode(spot, was.status[2])


def bring_back(root: int, ways: Mapping[str, int], aside: Aside) -> set[str]:
    """Put folders that lead to protected paths back to where they were, if they were moved.

    A whole repository cannot be made again.

    Args:
        root: Descriptor of the directory that all paths are relative to.
        ways: Descriptors of the folders, by their paths.
        aside: Keeps what stands there instead.

    Returns:
        The paths of those that are not back: they were deleted, or moved too far.
    """
    away = set(ways)
    for path, way in sorted(ways.items()):
        with _going_on(), _spot(root, path) as old:
            if not _is_at(old, way):
                _bring_back(root, old, way, aside)
            if _is_at(old, way):
                away.remove(path)
    return away


def _bring_back(root: int, old: Spot, way: int, aside: Aside) -> None:
    place = names_below(root, way)
    if place:
        with _spot(root, "/".join(place)) as now, writable(way):
            if _is_at(now, way):
                aside.swap(old, lambda new: rename_new(now.parent, now.name, new.parent, new.name))


def _is_at(spot: Spot, folder: int) -> bool:
    there = _status(spot)
    return there is not None and os.path.samestat(there, os.fstat(folder))


def put_back(  # noqa: PLR0913, PLR0917 - where, what was and is, what becomes of it, until when
    boundary: Boundary,
    root: int,
    before: Fingerprints,
    after: Fingerprints,
    changed: Iterable[str],
    aside: Aside,
    end: float,
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
        end: When its time is over, in seconds of the monotonic clock.
    """

    def is_in_time(_: object) -> bool:
        return time.monotonic() < end

    for path in takewhile(is_in_time, changed):
        now = after.get(path)
        if now is None or is_unknown(path, before):
            continue
        was = before.get(path)
        if was is None or was.kind != now.kind:
            with _going_on(), _spot(root, path) as spot:
                aside.take(spot)
        elif now.value == UNSEEN and now.kind == "directory":
            with _going_on(), _spot(root, path) as spot:
                _take_strangers(spot, path, before, aside, is_in_time)
    wrong = [
        path
        for path, was in sorted(before.items())
        if was.kind not in {"way", "other"} and not was.is_like(after.get(path))
    ]
    for path in takewhile(is_in_time, wrong):
        with _going_on(), _spot(root, path) as spot:
            _restore(boundary, spot, path, before[path], after.get(path), aside)
    for path in reversed(wrong):  # what is in a folder first: it may be closed then
        if before[path].kind == "directory":
            with _going_on(), _spot(root, path) as spot:
                _set_folder_mode(spot, before[path].mode)


def _restore(  # noqa: PLR0913, PLR0917 - where, what was and is, and what becomes of it
    boundary: Boundary, spot: Spot, path: str, was: Found, now: Found | None, aside: Aside
) -> None:
    """Make what is at *spot* what it *was*, but for the permissions of a folder."""
    if was.kind == "directory":
        there = _status(spot)
        if there is None or not stat.S_ISDIR(there.st_mode):
            mode = was.mode | stat.S_IRWXU  # others have theirs at once: we may be killed
            aside.swap(spot, lambda new: os.mkdir(new.name, mode, dir_fd=new.parent))
    elif was.kind == "symlink":
        target = os.fsdecode(was.value)
        aside.swap(spot, lambda new: os.symlink(target, new.name, dir_fd=new.parent))
    elif now and (now.kind, now.value) == (was.kind, was.value) and _set_file_mode(spot, was.mode):
        pass
    elif was.content is not None:
        fill, mode = content_of(was.content).fill, was.mode

        def make(new: Spot) -> None:
            with _file(spot) as old:  # whose owner the new one has
                boundary.replace(new, path, Content(fill, old), Condition(path, None))
            _set_file_mode(new, mode)

        aside.swap(spot, make)


def _take_strangers(
    spot: Spot,
    path: str,
    before: Fingerprints,
    aside: Aside,
    is_in_time: Callable[[object], bool],
) -> None:
    with closing(os.open(spot.name, FOLDER, dir_fd=spot.parent)) as folder, writable(folder):
        with (
            closing(os.open(".", READ_FOLDER, dir_fd=folder)) as reading,
            os.scandir(reading) as entries,
        ):
            names = [entry.name for entry in takewhile(is_in_time, entries)]
        for name in takewhile(is_in_time, names):
            if f"{path}/{name}" not in before:
                with _going_on():
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


def _set_file_mode(spot: Spot, mode: int) -> bool:
    """Give the file at *spot* its permissions, if it is one; return whether it has them.

    One that has another name is another's, too, whose permissions are not ours to set.
    """
    with closing(os.open(spot.name, PLACE | os.O_NOFOLLOW, dir_fd=spot.parent)) as fd:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            return False
        set_mode(fd, mode)
    return True


def _set_folder_mode(spot: Spot, mode: int) -> None:
    with closing(os.open(spot.name, FOLDER, dir_fd=spot.parent)) as fd:
        set_mode(fd, mode)


def _status(spot: Spot) -> os.stat_result | None:
    return status_or_none(spot.parent, spot.name)


@contextlib.contextmanager
def _spot(root: int, path: str) -> Generator[Spot]:
    """Hold the folder that *path* is a name in, to which no symlink leads, and let it be changed.

    A program may have closed it, or one above it.
    """
    *parts, name = path.split("/")
    with contextlib.ExitStack() as stack:
        here = root
        for part in (".", *parts):
            here = stack.enter_context(closing(os.open(part, FOLDER, dir_fd=here)))
            stack.enter_context(writable(here))
        yield Spot(here, "/".join(parts) or ".", name)


@contextlib.contextmanager
def _going_on() -> Generator[None]:
    """Let what cannot be undone be said, and go on."""
    try:
        yield
    except OSError as error:
        log.debug("a change of a protected path cannot be undone: {}", error.strerror)
