"""Where the journals of sessions are."""

from __future__ import annotations

import os
from pathlib import Path

from jidocode.base.text import quote
from jidocode.errors import JournalError
from jidocode.session.record import Session


def journal_path(directory: str | os.PathLike[str], session_id: str) -> Path:
    """Return where the journal of a session is in *directory*."""
    return Path(directory) / f"{session_id}.jsonl"


def note_path(directory: str | os.PathLike[str], session_id: str) -> Path:
    """Return where a Manager notes what it has to clean up; it is deleted with the journal.

    The folder has nothing else in it, for a Manager may change what is there, and no journal.
    """
    return Path(directory) / "unfinished" / session_id


def watch_path(directory: str | os.PathLike[str], session_id: str) -> Path:
    """Return where it is noted what protected paths were; it is deleted with the journal."""
    return Path(directory) / f"{session_id}.jsonl.protected"


OPENING_SPEED = 2**24
"""Bytes of a journal that are read in a second when it is opened, at least, on a slow machine."""


def opening_time(path: Path) -> float:
    """Return how many seconds it may take to open the journal at *path*; 0 if there is none."""
    try:
        return path.stat().st_size / OPENING_SPEED
    except OSError:
        return 0.0


def check_place(path: Path, session: Session) -> None:
    """Check that the Manager of *session* cannot write to the journal *path*.

    Raises:
        JournalError: It lies within the project.
    """
    if path.resolve().is_relative_to(Path(session.project_path).resolve()):
        raise JournalError(
            f"the journal of a session must not be within its project "
            f"{quote(session.project_path)}: choose another state_dir"
        )
