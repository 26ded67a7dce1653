"""How much a session's snapshots may be, and how long it may take to make or to use one."""

from __future__ import annotations

from attrs import frozen

from jidocode.base.records import Record
from jidocode.session.project.limits import MAX_READ_BYTES

MAX_FILE_SIZE = MAX_READ_BYTES
"""Bytes of a file whose content may be kept: it is read at once."""
MAX_HASHED = 2**28
"""Bytes of a file that is hashed; of a larger one only its status is noted."""
MAX_LABEL = 200
"""Characters of a label."""
MAX_CHANGES = 10_000
"""Changes on one page, and paths that one answer names."""
MOST_SECONDS = 600.0
"""How long one request may take, whatever is asked for."""
TAKE_SECONDS = 60.0
"""How long it may take by default to take a snapshot, or to go back to one."""
LOOK_SECONDS = 10.0
"""How long it may take by default to find changes."""


@frozen(eq=False, repr=False, kw_only=True)
class SnapshotRules(Record):
    """What the settings say about snapshots; see `Settings`.

    Attributes:
        kept: How many of a session's snapshots are kept.
        size: Bytes of contents that are kept for a session.
        file_size: Bytes of a file whose content is kept.
        files: Files, folders and symlinks in a snapshot.
    """

    kept: int = 30
    size: int = 2**30
    file_size: int = MAX_FILE_SIZE
    files: int = 200_000
