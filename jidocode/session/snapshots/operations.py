"""Operations on the snapshots of a session: take one, list them, find changes.

They are done one after the other, by a thread of the Manager, beside everything else that it
does. What it writes meanwhile may be in a snapshot or not, file by file. What each takes, returns
and raises, its client says (`session/manager/snapshot_client.py`).
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator
from itertools import dropwhile
from typing import NamedTuple, cast

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.arguments import require_int, require_wait
from jidocode.session.project.difference import Diff
from jidocode.session.project.entries import Ground
from jidocode.session.project.folders import GIT
from jidocode.session.project.found import Truncation
from jidocode.session.project.paths import errors_about, os_error
from jidocode.session.project.text import NUL_PROBE, detect
from jidocode.session.snapshots import limits
from jidocode.session.snapshots.comparison import compare, difference
from jidocode.session.snapshots.index import HIDING, UNSEEN, Entry, Index, in_order
from jidocode.session.snapshots.results import Changes, FileChange, FileDiff, Problem, Snapshot
from jidocode.session.snapshots.sighting import Eye, Sighting, sightings
from jidocode.session.snapshots.taking import Work, as_snapshot, paths_of, take
from jidocode.session.snapshots.texts import MAX_COMPARED, compare_texts


def begin(ground: Ground, seconds: float) -> None:
    """Give *ground* its *seconds*; raise InvalidRequestError if they are none."""
    require_wait("seconds", seconds, most=limits.MOST_SECONDS)
    ground.allow(seconds)


def take_snapshot(
    holder: Work, label: str | None = None, *, seconds: float = limits.TAKE_SECONDS
) -> Snapshot:
    """Take a snapshot; see `SnapshotMethods.take_snapshot`."""
    begin(holder.ground, seconds)
    is_short = isinstance(label, str) and len(label) <= limits.MAX_LABEL
    if label is not None and (not is_short or not label.isprintable()):
        raise InvalidRequestError(
            f"a label must be a printable str of {limits.MAX_LABEL} characters at most,"
            f" not {quote(label)}"
        )
    return as_snapshot(take(holder, label).summary)


def snapshots(holder: Work) -> list[Snapshot]:
    """Return all snapshots, oldest first; see `SnapshotMethods.snapshots`."""
    found = [as_snapshot(index.summary) for index in holder.store.indexes()]
    found.reverse()
    return found


def changes_since(
    holder: Work,
    snapshot: int | Snapshot | None = None,
    *,
    limit: int = 1000,
    after: str | None = None,
    seconds: float = limits.LOOK_SECONDS,
) -> Changes:
    """Return a page of changes; see `SnapshotMethods.changes_since`."""
    begin(holder.ground, seconds)
    require_int("limit", limit, least=1)
    if after is not None and not _is_path(after):
        raise InvalidRequestError("after must be what a page of changes has as its `after`")
    index = find(holder, snapshot)
    found: list[FileChange] = []
    truncated: Truncation | None = None
    last = after
    with errors_about("."):
        for entry, changed in compare(index.entries(), _now(holder, index, after)):
            if not index.summary.covers(entry.path):
                break
            last = entry.path
            if changed is not None:
                found.append(changed.as_change())
            if len(found) == min(limit, limits.MAX_CHANGES):
                truncated = "limit"
            elif holder.ground.is_over():
                truncated = "time"
            if truncated:
                break
    return Changes(
        snapshot=index.summary.id,
        changes=tuple(found),
        truncated=truncated,
        after=last if truncated else None,
        unreadable=holder.ground.unreadable,
    )


def _is_path(after: object) -> bool:
    return isinstance(after, str) and bool(after) and "\0" not in after


def _now(work: Work, index: Index, after: str | None) -> Iterator[Entry]:
    """Yield what is there now, behind *after*: all that there is, and the paths of *index*."""
    eye = Eye(work.ground, work.store.latest())
    paths = paths_of(index)
    if after is not None:
        start = in_order(after)
        paths = dropwhile(lambda path: in_order(path) <= start, paths)
    for sighting in sightings(work.ground, paths, after):
        yield eye.look(sighting)


def diff(
    holder: Work,
    path: str | os.PathLike[str],
    since: int | Snapshot | None = None,
    *,
    seconds: float = limits.LOOK_SECONDS,
) -> FileDiff:
    """Return what has changed in one file; see `SnapshotMethods.diff`."""
    begin(holder.ground, seconds)
    relative = posixpath.normpath(holder.ground.boundary.resolve(path))
    index = find(holder, since)
    before = _entry_at(index, relative)
    with errors_about(relative):
        after = Eye(holder.ground, holder.store.latest()).look(Sighting(relative, "listed"))
        if before is None and after.kind == "absent":
            raise os_error(errno.ENOENT)
    changed = difference(relative, before, after)
    text, problem = Diff("", truncated=False), None
    if changed is not None and changed.kind != "mode":
        old = _kept_text(holder, changed.before)
        new = _present_text(holder, relative, changed.after)
        problem = old.problem or new.problem
        if problem is None:
            text = compare_texts(old.text, new.text, holder.ground.is_over)
    return FileDiff(
        path=relative,
        snapshot=index.summary.id,
        kind=None if changed is None else changed.kind,
        text=text.text,
        truncated=text.truncated,
        problem=problem,
    )


def find(work: Work, snapshot: object) -> Index:
    """Return the snapshot that is meant, by itself or its id; the latest one for None.

    Raises:
        InvalidRequestError: It is neither.
        NoSnapshotError: There is none.
        SnapshotError: It is damaged.
    """
    number = snapshot.id if isinstance(snapshot, Snapshot) else snapshot
    if number is not None:
        require_int("a snapshot's id", number, least=1)
    return work.store.find(cast("int | None", number))


def _entry_at(index: Index, path: str) -> Entry | None:
    """Return what was at *path*, None if nothing was.

    Raises:
        InvalidRequestError: That is not known.
    """
    wanted, hiding, found = in_order(path), None, None
    for entry in index.entries():
        other = entry.path
        if in_order(other) > wanted:
            break
        if other == path:
            found = entry
        elif entry.kind in HIDING and path.startswith(f"{other}/"):
            hiding = other
    if found is None:
        is_part = hiding is None and index.summary.covers(path)
    else:
        is_part = found.kind not in UNSEEN
    if not is_part or GIT in wanted:
        number = index.summary.id
        raise InvalidRequestError(f"{quote(path)} is no part of snapshot {number}")
    return found


class _Side(NamedTuple):
    """One of two texts that are compared."""

    text: str = ""
    problem: Problem | None = None


def _kept_text(work: Work, entry: Entry | None) -> _Side:
    if entry is None or entry.kind != "file":
        return _target_text(entry)
    if not entry.is_kept:
        return _Side(problem="not kept")
    return _text(work.store.read(entry.sha256))


def _present_text(work: Work, path: str, entry: Entry | None) -> _Side:
    if entry is None or entry.kind != "file":
        return _target_text(entry)
    with errors_about(path):
        return _text(work.ground.read(path, MAX_COMPARED + 1)[0])


def _target_text(entry: Entry | None) -> _Side:
    return _Side("" if entry is None else entry.target.decode("utf-8", "replace"))


def _text(data: bytes) -> _Side:
    if len(data) > MAX_COMPARED:
        return _Side(problem="too large")
    encoding = detect(data)
    text = data[len(encoding.bom) :].decode(encoding.codec, "replace")
    return _Side(problem="binary") if "\0" in text[:NUL_PROBE] else _Side(text)
