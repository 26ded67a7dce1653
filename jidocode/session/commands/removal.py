"""Removal of a folder that programs have filled: however deep, wide and locked it is.

What recurses fails for a tree that is deeper than functions may call each other (`shutil` does,
until Python 3.13), or than files may be open. So nothing goes down here: a folder within another
one is moved to the top, and its turn comes there.
"""

from __future__ import annotations

import contextlib
import os

_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(path: str) -> bool:
    """Remove the folder *path* with all that is in it, as far as can be; return whether it is gone.

    What links lead to is not touched. The user must own the folders in it.
    """
    with contextlib.suppress(OSError):
        top = os.open(path, _PLACE)
        try:
            _dissolve(top)
        finally:
            os.close(top)
        os.rmdir(path)  # noqa: PTH106 - a str, as everywhere here
    return not os.path.lexists(path)


def _dissolve(top: int) -> None:
    _unlock(top)
    waiting = _clear(top, top)
    while waiting:
        name = waiting.pop()
        with contextlib.suppress(OSError):
            folder = os.open(name, _PLACE, dir_fd=top)
            try:
                waiting += _clear(folder, top)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _clear(folder: int, top: int) -> list[str]:
    """Remove the files in *folder*, move the folders in it to *top*; return their names there."""
    moved: list[str] = []
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        with os.scandir(reading) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.name, dir_fd=folder)
                        continue
                    _unlock_in(folder, entry.name)  # or it could not be moved, either
                    name = entry.name
                    if folder != top:
                        name = os.urandom(12).hex()
                        os.rename(entry.name, name, src_dir_fd=folder, dst_dir_fd=top)
                    moved.append(name)
    finally:
        os.close(reading)
    return moved


def _unlock_in(parent: int, name: str) -> None:
    folder = os.open(name, _PLACE, dir_fd=parent)
    try:
        _unlock(folder)
    finally:
        os.close(folder)


def _unlock(folder: int) -> None:
    """Let its owner do everything in *folder*: caches of modules often may not be changed."""
    os.chmod(f"/proc/self/fd/{folder}", 0o700)  # noqa: PTH101 - a place has no fchmod
