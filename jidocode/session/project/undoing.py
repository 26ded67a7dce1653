"""Undoing what was done to protected paths: what is there becomes again what was there.

Programs that change them may still run. So all is done to a name in a folder that is held
open, to which no symlink was followed: whatever they swap in the meantime, nothing outside of the
project is touched. Nothing here says what has come of it; a look afterwards does.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

from jidocode.base import log
from jidocode.session.project.boundary import Boundary, Spot
from jidocode.session.project.conditions import Condition
from jidocode.session.project.descriptors import ALWAYS, DIRECTORY, PLACE, closing, names_below
from jidocode.session.project.fingerprints import UNSEEN, Fingerprints, Found, is_unknown
from jidocode.session.project.renaming import exchange, rename_new
from jidocode.session.project.replacement import content_of

_ENTER = DIRECTORY | os.O_NOFOLLOW
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | ALWAYS
_OWNER_WRITES = 0o200
_Check = Callable[[], None]
"""Raises TimeoutError when the time to remove something is over."""


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


def put_back(  # noqa: PLR0913, PLR0917 - where, what was and is, and how long
    boundary: Boundary,
    root: int,
    before: Fingerprints,
    after: Fingerprints,
    changed: Iterable[str],
    seconds: float,
) -> None:
    """Make what is at protected paths what it was *before*, as far as that is known.

    Programs that still run may make files faster than they are removed here: so that ends when the
    time is over.

    Args:
        boundary: Whose root is *root*.
        root: Descriptor of the directory that all paths are relative to.
        before: What was there.
        after: What is there.
        changed: The paths at which, or below which, the two differ.
        seconds: How long to remove what was not there.
    """
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() >= end:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    for path in changed:
        now = after.get(path)
        if now is None or is_unknown(path, before):
            continue
        was = before.get(path)
        if was is None or was.kind != now.kind:
            with _going_on(), _spot(root, path) as spot:
                _remove(spot, check)
        elif now.value == UNSEEN and now.kind == "directory":
            with _going_on(), _spot(root, path) as spot:
                _remove_strangers(spot, path, before, check)
    for path in sorted(before):
        was = before[path]
        if was.kind not in {"way", "other"} and not was.is_like(after.get(path)):
            with _going_on(), _spot(root, path) as spot:
                _restore(boundary, spot, path, was, check)


def _restore(boundary: Boundary, spot: Spot, path: str, was: Found, check: _Check) -> None:
    """Make what is at *spot* what it *was*."""
    there = _status(spot)
    if was.kind == "directory":
        if there is None:
            os.mkdir(spot.name, 0o700, dir_fd=spot.parent)
        _set_mode(spot, was.mode)
    elif was.kind == "symlink":
        if there is not None:
            _remove(spot, check)
        os.symlink(os.fsdecode(was.value), spot.name, dir_fd=spot.parent)
    elif was.content is not None:
        if there is not None and stat.S_ISREG(there.st_mode) and there.st_nlink == 1:
            _set_mode(spot, was.mode | _OWNER_WRITES)  # or it could not be replaced
        elif there is not None:  # it is another file's, too, whose mode is not ours to set
            _remove(spot, check)
        boundary.replace(spot, path, content_of(was.content), Condition(path, None))
        _set_mode(spot, was.mode)


def _remove_strangers(spot: Spot, path: str, before: Fingerprints, check: _Check) -> None:
    with closing(_open_folder(spot)) as folder:
        for name in [entry.name for entry in _entries(folder, check)]:
            if f"{path}/{name}" not in before:
                _remove(Spot(folder, path, name), check)


def _remove(spot: Spot, check: _Check) -> None:
    status = _status(spot)
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(spot.name, dir_fd=spot.parent)
        return
    with closing(_open_folder(spot)) as top:
        _empty(top, check)
    os.rmdir(spot.name, dir_fd=spot.parent)


def _empty(top: int, check: _Check) -> None:
    """Remove all that is in the folder *top*.

    However deep it is, no path is too long, and no descriptor is wanted for each level: what
    is in a folder within it is moved up into *top* itself.
    """
    numbers = itertools.count()
    while folders := _unlink_files(top, check):
        for name in folders:
            check()
            with closing(_open_folder(Spot(top, ".", name))) as folder:
                for inner in _unlink_files(folder, check):
                    _move_up(folder, inner, top, numbers)
            os.rmdir(name, dir_fd=top)


def _unlink_files(folder: int, check: _Check) -> list[str]:
    """Remove what is no folder in *folder*, and return the names of the folders."""
    entries = _entries(folder, check)
    found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        check()
        if not is_folder:
            os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


def _entries(folder: int, check: _Check) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            check()
            yield entry


def _move_up(folder: int, name: str, top: int, numbers: Iterator[int]) -> None:
    _set_mode(Spot(folder, ".", name), stat.S_IRWXU)  # or its `..` could not be changed
    for number in numbers:
        with contextlib.suppress(FileExistsError):
            rename_new(folder, name, top, f"{number}")
            return


def _open_folder(spot: Spot) -> int:
    _set_mode(spot, stat.S_IRWXU)
    return os.open(spot.name, _READ_DIRECTORY, dir_fd=spot.parent)


def _set_mode(spot: Spot, mode: int) -> None:
    with closing(os.open(spot.name, PLACE | os.O_NOFOLLOW, dir_fd=spot.parent)) as fd:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - of what the descriptor stands for


def _status(spot: Spot) -> os.stat_result | None:
    try:
        return os.stat(spot.name, dir_fd=spot.parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _spot(root: int, path: str) -> Generator[Spot]:
    """Hold the folder that *path* is a name in, to which no symlink leads."""
    *parts, name = path.split("/")
    here = os.open(".", _ENTER, dir_fd=root)
    try:
        for part in parts:
            below = os.open(part, _ENTER, dir_fd=here)
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
