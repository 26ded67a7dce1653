"""The name of a file that is about to take another's place, and where it was last.

The kernel replaces a file only by one that has a name. If a process is killed before
that name is gone, its next life has to find it without a search through the project:
so a session has one such name, and notes the folder, outside of the project, before it
uses it in another one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from jidocode.base import log
from jidocode.session.journal.opening import open_private, open_regular
from jidocode.session.project.paths import MAX_PATH_LENGTH

_NAME = re.compile(r"\.jidocode-[0-9a-f-]{32,36}\.tmp")


def is_temporary(name: str) -> bool:
    """Whether *name* is one that some session gives to files that are not finished."""
    return _NAME.fullmatch(name) is not None


class TemporaryName:
    """The one name of a session's unfinished files; of whoever has no session, a random one.

    Attributes:
        text: The name.
    """

    def __init__(self, owner: str | None = None, note: Path | None = None) -> None:
        """Name the files of *owner*, and note in the file *note* where they are.

        Args:
            owner: The id of the session.
            note: What the next life reads; None if there is none.
        """
        self.text = f".jidocode-{owner or os.urandom(16).hex()}.tmp"
        self._note = note
        self._folder: str | None = None

    def last_folder(self) -> str | None:
        """Return the folder in which the last life used the name last, None if it did not.

        Raises:
            OSError: The note cannot be read.
        """
        if self._note is None:
            return None
        try:
            with open(self._note, "rb", opener=open_regular) as file:
                noted, end, _ = file.read(MAX_PATH_LENGTH).partition(b"\0")
        except FileNotFoundError:
            return None
        self._folder = os.fsdecode(noted) if end else None
        return self._folder

    def use_in(self, folder: str) -> None:
        """Note that the name is about to be used in *folder*, a path relative to the project.

        A note that cannot be written, for its disk is full, stops no file from being
        written; a warning is logged.
        """
        if self._note is None or folder == self._folder:
            return
        try:
            # In one piece, and over the old one: who is killed here leaves one of the two.
            # What the old one had more lies behind the NUL, and is not read.
            with open(self._note, "r+b", buffering=0, opener=_open_note) as file:
                file.write(os.fsencode(folder) + b"\0")
        except OSError as error:
            log.warning("where files are being replaced cannot be noted: {}", error.strerror)
            return
        self._folder = folder

    def forget(self) -> None:
        """Drop the note: this life ends in order, and leaves nothing to be found."""
        if self._note is None:
            return
        try:
            self._note.unlink(missing_ok=True)
        except OSError as error:
            log.warning("a note of replaced files cannot be removed: {}", error.strerror)


def _open_note(path: str, flags: int) -> int:
    return open_private(path, flags | os.O_CREAT)
