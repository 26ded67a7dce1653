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

from jidocode.session.project.descriptors import FOLDER, READ_FOLDER, closing, set_mode


def empty(top: int) -> None:
    """Remove all that is in the folder *top*, as far as can be.

    What links lead to is not touched.

    Args:
        top: Its descriptor.

    Raises:
        OSError: It cannot be listed.
    """
    set_mode(top, stat.S_IRWXU)
    emptying = _Emptying(top)
    while emptying.remove_some():
        pass


class _Emptying:
    def __init__(self, top: int) -> None:
        self._top = top
        self._removed = 0

    def remove_some(self) -> bool:
        """Remove what is there now; return whether something was, so that there may be more."""
        before = self._removed
        waiting = self._clear(self._top)
        while waiting:
            name = waiting.pop()
            with contextlib.suppress(OSError):
                with closing(os.open(name, FOLDER, dir_fd=self._top)) as folder:
                    waiting += self._clear(folder)
                os.rmdir(name, dir_fd=self._top)
                self._removed += 1
        return self._removed > before

    def _clear(self, folder: int) -> list[str]:
        """Remove the files in *folder*, move the folders in it to the top; return their names."""
        folders: list[str] = []
        with (
            closing(os.open(".", READ_FOLDER, dir_fd=folder)) as reading,
            os.scandir(reading) as entries,
        ):
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    else:
                        os.unlink(entry.name, dir_fd=folder)
                        self._removed += 1
        moved: list[str] = []
        for name in folders:
            with contextlib.suppress(OSError):
                moved.append(self._move_up(folder, name))
        return moved

    def _move_up(self, parent: int, name: str) -> str:
        with closing(os.open(name, FOLDER, dir_fd=parent)) as folder:
            set_mode(folder, stat.S_IRWXU)  # or it could not be moved, either
        # What is at the top gets another name, too: a mount cannot, and is not emptied.
        new_name = os.urandom(12).hex()
        os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=self._top)
        return new_name
