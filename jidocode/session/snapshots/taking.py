"""Taking a snapshot: all that is in a project, as an index, and the contents that are new."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import replace

from jidocode.errors import SnapshotError
from jidocode.session.project.descriptors import key_of
from jidocode.session.project.entries import Ground
from jidocode.session.project.found import Truncation
from jidocode.session.project.paths import errors_about
from jidocode.session.project.protector import Protector
from jidocode.session.snapshots.index import UNSEEN, Entry, Index, IndexWriter, Summary
from jidocode.session.snapshots.results import Snapshot, Unkept
from jidocode.session.snapshots.sighting import Eye, sightings
from jidocode.session.snapshots.store import Store


class Work(NamedTuple):
    """What a request about snapshots is carried out with."""

    ground: Ground
    store: Store
    protector: Protector


def take(
    work: Work, label: str | None, *, covered: Index | None = None, spared: Iterable[int] = ()
) -> Index:
    """Take a snapshot, until the time of the ground is over.

    Args:
        work: Where, and where to.
        label: What it is called.
        covered: A snapshot whose paths are looked at, too, where rules leave them out by now.
        spared: Ids of snapshots that do not go for it.

    Raises:
        SnapshotError: It cannot be written; then there is none.
        OSError: The project cannot be listed.
    """
    store, root = work.store, os.fstat(work.ground.root)
    began = time.time_ns()
    known = store.latest()
    number, writer = store.begin()
    summary = Summary(id=number, began=began, label=label, root=key_of(root))
    try:
        with closing(writer), errors_about("."):
            writer.finish(_write(work, known, covered, summary, writer))
        index = store.commit(number)
    except BaseException:
        store.give_up()
        raise
    store.prune({number, *spared})
    return index


def _write(
    work: Work, known: Index | None, covered: Index | None, summary: Summary, writer: IndexWriter
) -> Summary:
    """Write all entries; return *summary* with what they come to."""
    ground, rules = work.ground, work.store.rules
    eye = Eye(ground, known, work.store)
    files = size = too_large = no_room = 0
    truncated: Truncation | None = None
    entry = Entry()
    paths = () if covered is None else paths_of(covered)
    for count, sighting in enumerate(sightings(ground, paths)):
        if count == rules.files:
            truncated = "limit"
        elif count and ground.is_over():
            truncated = "time"
        if ground.is_stopped():
            raise SnapshotError("the session stops")
        if truncated:
            break
        entry = eye.look(sighting)
        writer.add(entry)
        files += entry.kind in _FILES
        if entry.is_kept:
            size += entry.size
        elif entry.size > rules.file_size:
            too_large += 1
        elif entry.sha256:
            no_room += 1
    return replace(
        summary,
        files=files,
        size=size,
        too_large=too_large,
        no_room=no_room,
        unreadable=ground.unreadable,
        truncated=truncated,
        end=entry.raw if truncated else None,
    )


_FILES = frozenset({"file", "directory", "symlink", "unlisted"})


def paths_of(index: Index) -> Iterator[str]:
    """Yield the paths of which *index* says what was there."""
    for entry in index.entries():
        if entry.kind not in UNSEEN:
            yield entry.path


def as_snapshot(summary: Summary) -> Snapshot:
    """Return *summary* as users hold it."""
    return Snapshot(
        id=summary.id,
        created_at=datetime.fromtimestamp(summary.began / 10**9, UTC),
        label=summary.label,
        files=summary.files,
        size=summary.size,
        unkept=Unkept(
            too_large=summary.too_large, no_room=summary.no_room, unreadable=summary.unreadable
        ),
        truncated=summary.truncated,
        end=None if summary.end is None else os.fsdecode(summary.end),
    )
