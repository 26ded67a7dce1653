"""The scratch folder of a session: homes, caches and temporary files of its commands.

It is outside the project, in the folder for temporary files, and nobody else's to read. Its
server removes it in its `terminate`. One that is killed cannot: what it leaves, the next
server removes that starts anywhere on the machine for the same user, while it does its work: a
command may have left a million files. By a lock, which the kernel lets go with the process, it
knows whose owner is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from jidocode.base import log
from jidocode.session.commands.emptying import empty
from jidocode.session.commands.environment import FOLDERS
from jidocode.session.project.descriptors import FOLDER, closing

DEFAULT_PLACE = "/tmp"  # noqa: S108 - no name in it is one that others could know beforehand
PREFIX = "jidocode-scratch-"


class Scratch:
    """A folder that is there until `remove`.

    Attributes:
        path: Where it is.
    """

    def __init__(self, place: str) -> None:
        """Make one in the folder *place*.

        Raises:
            OSError: It cannot be made.
        """
        while True:
            self.path = os.path.join(place, f"{PREFIX}{os.urandom(12).hex()}")  # noqa: PTH118 - a str is needed
            os.mkdir(self.path, 0o700)  # noqa: PTH102 - as above
            lock = _lock(self.path)
            if lock is not None:
                break
        self._lock = lock
        for folder in FOLDERS.values():
            Path(self.path, folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove it with all that is in it, and let it go."""
        _remove(self.path)
        os.close(self._lock)


def place_of_scratch(variables: dict[str, str] | os._Environ[str]) -> str:
    """Return the folder for temporary files that *variables* name."""
    place = variables.get("TMPDIR", "")
    return place if os.path.isabs(place) and os.path.isdir(place) else DEFAULT_PLACE  # noqa: PTH112, PTH117 - it may be no path


def _lock(path: str) -> int | None:
    """Return the lock of a new folder; None if another one took it for abandoned before."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_EX)  # whoever removes it has it until then
    if os.path.lexists(path):
        return lock
    os.close(lock)
    return None


def remove_abandoned(place: str) -> None:
    """Remove the scratch folders in *place* that are this user's, and whose owners are gone."""
    try:
        with os.scandir(place) as entries:
            found = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
    except OSError as error:
        log.warning("abandoned scratch folders cannot be looked for: {}", error.strerror)
        return
    for path in found:
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            lock = os.open(path, flags)
        except OSError:  # another one is at it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            _remove(path)
        finally:
            os.close(lock)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        with closing(os.open(path, FOLDER)) as top:
            empty(top)
        os.rmdir(path)  # noqa: PTH106 - a str, as everywhere here
    if os.path.lexists(path):
        log.warning("a scratch folder cannot be removed whole")
