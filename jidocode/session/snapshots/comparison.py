"""What is different between two states of a project, each given as entries in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

from jidocode.session.project.boundary import EntryKind
from jidocode.session.snapshots.index import HIDING, UNSEEN, Entry, in_order
from jidocode.session.snapshots.results import ChangeKind, FileChange, FileState


class Difference(NamedTuple):
    """A path at which something else is than was."""

    path: str
    kind: ChangeKind
    before: Entry | None
    """What was there; None if nothing was."""
    after: Entry | None
    """What is there; None if nothing is."""

    def as_change(self) -> FileChange:
        """Return it as users hold it."""
        before = self.before
        return FileChange(
            path=self.path,
            kind=self.kind,
            before=_state(before),
            after=_state(self.after),
            revertible=self.kind == "mode"
            or before is None
            or before.kind in {"directory", "unlisted", "symlink"}
            or before.is_kept,
        )


def _state(entry: Entry | None) -> FileState | None:
    kind = _kind(entry)
    if entry is None or kind is None:
        return None
    sha256 = entry.sha256.hex() if entry.sha256 else None
    return FileState(kind=kind, size=entry.size, mode=entry.mode, sha256=sha256)


def compare(
    before: Iterable[Entry], after: Iterable[Entry]
) -> Iterator[tuple[Entry, Difference | None]]:
    """Yield each entry of *after*, with what is different there, or None.

    What was there and has no entry in *after* is not known to be gone: an entry says so, whose
    kind is `absent`. What has none in *before* was added, unless it is below something of which
    it was not known what is in it.
    """
    olds = iter(before)
    old = next(olds, None)
    hiding: str | None = None
    for new in after:
        path = new.path
        while old is not None and old.raw != new.raw and in_order(old.path) < in_order(path):
            hiding = old.path if old.kind in HIDING else hiding
            old = next(olds, None)
        was: Entry | None = None
        if old is not None and old.raw == new.raw:
            hiding = path if old.kind in HIDING else hiding
            was, old = old, next(olds, None)
        elif hiding is not None and path.startswith(f"{hiding}/"):
            yield new, None
            continue
        yield new, difference(path, was, new)


def difference(path: str, before: Entry | None, after: Entry | None) -> Difference | None:
    """Return what is different at *path*; None if nothing is, or that is not known."""
    if any(each is not None and each.kind in UNSEEN for each in (before, after)):
        return None
    kind = _change(before, after)
    if kind is None:
        return None
    return Difference(path, kind, _there(before), _there(after))


def _change(before: Entry | None, after: Entry | None) -> ChangeKind | None:
    was, now = _kind(before), _kind(after)
    if was != now:
        return "added" if was is None else "removed" if now is None else "type"
    if before is None or after is None or was is None:
        return None
    if was == "symlink":
        return "changed" if before.target != after.target else None
    if was == "file" and _has_changed(before, after):
        return "changed"
    return "mode" if before.mode != after.mode else None


def _has_changed(before: Entry, after: Entry) -> bool:
    """Whether the content of a file is, or may be, another one."""
    if before.sha256 and after.sha256:
        return before.sha256 != after.sha256
    # Nobody can set the ctime; but new permissions do.
    is_touched = before.ctime != after.ctime and before.mode == after.mode
    return is_touched or (before.size, before.mtime, before.inode) != (
        after.size,
        after.mtime,
        after.inode,
    )


def _kind(entry: Entry | None) -> EntryKind | None:
    if entry is None or entry.kind == "absent":
        return None
    return "directory" if entry.kind == "unlisted" else cast("EntryKind", entry.kind)


def _there(entry: Entry | None) -> Entry | None:
    return None if _kind(entry) is None else entry
