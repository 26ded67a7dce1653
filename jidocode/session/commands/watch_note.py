"""`WatchNote`: what protected paths were when commands began to run, for the next life to compare.

If the process that runs commands is killed while they run, nobody looks at what they have changed.
So it is noted beforehand how things are, outside of the project, and whether commands run.
That is one byte of the file: to set it at each command costs next to nothing.
"""

from __future__ import annotations

import hashlib
import marshal
import os
from pathlib import Path

from jidocode.base import log
from jidocode.base.closing import Closing
from jidocode.session.journal.opening import open_private
from jidocode.session.project.fingerprints import Fingerprints, Found

Noted = tuple[Fingerprints, str]
"""What the protected paths of a place are, and the name of the folder that keeps what is undone."""

_IDLE, _RUNNING = b"0", b"1"
_START = 1 + hashlib.sha256().digest_size
_LARGEST = 2**24


class WatchNote(Closing):
    """The note of one session. What goes wrong with its file is logged, and stops nobody."""

    def __init__(self, path: Path | None, scope: str) -> None:
        """Keep the note at *path*, None for nowhere; what another *scope* says is of no use."""
        self._scope = scope
        self._saved: list[Noted] | None = None
        self._fd = -1
        if path is not None:
            try:
                self._fd = open_private(path, os.O_RDWR | os.O_CREAT)
            except OSError as error:
                _complain(error)

    def close(self) -> None:
        """Let the file go."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def left_over(self) -> list[Noted]:
        """Return what was noted when the last life was killed while commands ran, else nothing."""
        if self._fd < 0:
            return []
        try:
            noted = os.pread(self._fd, _LARGEST, 0)
        except OSError as error:
            _complain(error)
            return []
        running, digest, data = noted[:1], noted[1:_START], noted[_START:]
        if running != _RUNNING or hashlib.sha256(data).digest() != digest:
            return []
        scope, places = marshal.loads(data)  # noqa: S302 - it is our own, and whole
        if scope != self._scope:
            return []
        return [
            ({path: Found(*each) for path, each in place.items()}, name) for place, name in places
        ]

    def begin(self, places: list[Noted]) -> None:
        """Note what *places* are, and that commands run now."""
        if self._fd < 0:
            return
        try:
            if self._saved != places:
                self._save(places)
            os.pwrite(self._fd, _RUNNING, 0)
        except OSError as error:
            _complain(error)

    def end(self) -> None:
        """Note that none runs any more."""
        if self._fd >= 0:
            try:
                os.pwrite(self._fd, _IDLE, 0)
            except OSError as error:
                _complain(error)

    def _save(self, places: list[Noted]) -> None:
        self._saved = None
        plain = [
            ({path: tuple(each[:3]) for path, each in place.items()}, name)
            for place, name in places
        ]
        data = marshal.dumps((self._scope, plain))
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, _IDLE + hashlib.sha256(data).digest() + data, 0)
        self._saved = places


def _complain(error: OSError) -> None:
    log.warning("what protected paths are cannot be noted: {}", error.strerror)
