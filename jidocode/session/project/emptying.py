"""Emptying a folder that programs have filled: however deep, wide and locked it is.

What recurses fails for a tree that is deeper than functions may call each other, than a path
may be long, or than files may be open. So nothing goes down here: a folder within another one is
moved to the top, and its turn comes there. Programs may still run, and swap what is there for
something else: all is done to names in folders that are held open, to which no symlink led.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Container

from jidocode.session.project.descriptors import (
    FOLDER,
    READ_FOLDER,
    FolderKey,
    closing,
    key_of,
    set_mode,
)


def empty(
    top: int, is_over: Callable[[], bool] = lambda: False, spared: Container[FolderKey] = ()
) -> None:
    """Remove all that is in the folder *top*, as far as can be.

    What links lead to is not touched.

    Args:
        top: Its descriptor.
        is_over: Whether the time for it is over: programs may make files faster than they are
            removed.
        spared: Folders that keep what is in them, if they are *top* or are moved into it.

    Raises:
        OSError: It cannot be listed.
    """
    if key_of(os.fstat(top)) in spared:
        return
    set_mode(top, stat.S_IRWXU)
    emptying = _Emptying(top, is_over, spared)
    while emptying.remove_some():
        pass


class _Emptying:
    def __init__(self, top: int, is_over: Callable[[], bool], spared: Container[FolderKey]) -> None:
        self._top, self._is_over, self._spared = top, is_over, spared
        self._removed = 0

    def remove_some(self) -> bool:
        """Remove what is there now; return whether something was, so that there may be more."""
        before = self._removed
        waiting = self._clear(self._top)
        while waiting and not self._is_over():
            name = waiting.pop()
            with contextlib.suppress(OSError):
                with closing(os.open(name, FOLDER, dir_fd=self._top)) as folder:
                    waiting += self._clear(folder)
                os.rmdir(name, dir_fd=self._top)
                self._removed += 1
        return self._removed > before and not self._is_over()

    def _clear(self, folder: int) -> list[str]:
        """Remove the files in *folder*, move the folders in it to the top; return their names."""
        moved: list[str] = []
        if key_of(os.fstat(folder)) in self._spared:
            return moved
        with (
            closing(os.open(".", READ_FOLDER, dir_fd=folder)) as reading,
            os.scandir(reading) as entries,
        ):
            for entry in entries:
                if self._is_over():
                    break
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        moved.append(self._move_up(folder, entry.name))
                    else:
                        os.unlink(entry.name, dir_fd=folder)
                        self._removed += 1
        return moved

    def _move_up(self, parent: int, name: str) -> str:
        with closing(os.open(name, FOLDER, dir_fd=parent)) as folder:
            if key_of(os.fstat(folder)) not in self._spared:
                set_mode(folder, stat.S_IRWXU)  # or it could not be moved, either
        if parent == self._top:
            return name
        new_name = os.urandom(12).hex()
        os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=self._top)
        return new_name
