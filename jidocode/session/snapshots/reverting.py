"""Going back: making a project, or some of it, what it was at a snapshot.

First a snapshot is taken of what is there, so that going back can be undone. Then the two are
compared, entry by entry. What is there must still be what the new snapshot says right before it
is removed or replaced; so nothing is lost that somebody writes meanwhile. Each step is done to a
name in a folder that was opened beneath the root, no component of its path a symlink.

It takes four passes: folders that nobody could write to get their permissions; what was not there
goes, folders last and from below; what was there comes back, folders first; folders get the
permissions that they had. A crash leaves a project that is half way; to go back once more does
the rest.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from functools import partial

from jidocode.errors import BoundaryError, FileChangedError, ProtectedPathError, SnapshotError
from jidocode.session.project.boundary import Spot
from jidocode.session.project.descriptors import DIRECTORY, closing
from jidocode.session.project.found import Truncation
from jidocode.session.project.paths import errors_about
from jidocode.session.requests import Operations
from jidocode.session.snapshots import limits, operations, steps
from jidocode.session.snapshots.choice import Choice
from jidocode.session.snapshots.comparison import Difference, compare
from jidocode.session.snapshots.index import Entry, Index, in_order
from jidocode.session.snapshots.results import NotReverted, Reverted, Snapshot
from jidocode.session.snapshots.taking import Work, take

_DIRECTORIES = frozenset({"directory", "unlisted"})


def revert(
    holder: Work,
    paths: Sequence[str | os.PathLike[str]] | None = None,
    *,
    to: int | Snapshot | None = None,
    seconds: float = limits.TAKE_SECONDS,
) -> Reverted:
    """Go back; see `SnapshotMethods.revert`."""
    operations.begin(holder.ground, seconds)
    choice = Choice(holder.ground.boundary, paths)
    target = operations.find(holder, to)
    before = take(
        holder,
        f"before going back to {target.summary.id}",
        covered=target,
        spared={target.summary.id},
    )
    return _Way(holder, target, before, choice).carry_out()


class _Way:
    """The passes of one way back, and what has come of them."""

    def __init__(self, work: Work, target: Index, present: Index, choice: Choice) -> None:
        self._ground, self._store, self._protector = work
        self._target, self._present, self._choice = target, present, choice
        self._restored: list[str] = []
        self._removed: list[str] = []
        self._failed: dict[str, str] = {}
        self._truncated: Truncation | None = target.summary.truncated or present.summary.truncated
        self._protected: dict[str, None] = {}
        self._folders: list[tuple[str, int]] = []  # and the permissions that they get in the end
        self._missing: list[Difference] = []  # folders above what was named, first the upper ones

    def carry_out(self) -> Reverted:
        """Go, and return what has come of it."""
        try:
            self._go()
        finally:
            self._protector.tell(list(self._protected))
        for path in self._choice.missing(self._present.entries()):
            self._fail(path, "it is no part of the snapshot")
        return self._outcome()

    def _go(self) -> None:
        going: list[Difference] = []
        self._each(partial(self._remove, going))
        for change in reversed(going):
            if self._try(change.path, steps.remove_folder):
                self._note_removed(change)
        self._each(self._bring_back)
        for path, mode in reversed(self._folders):
            self._try(path, partial(steps.set_mode, mode=mode, kind=stat.S_IFDIR))

    def _outcome(self) -> Reverted:
        most, failed = limits.MAX_CHANGES, list(self._failed.items())
        restored = [path for path in self._restored if path not in self._failed]
        for paths in (restored, self._removed):
            paths.sort(key=in_order)
        failed.sort(key=lambda each: in_order(each[0]))
        return Reverted(
            snapshot=self._target.summary.id,
            before=self._present.summary.id,
            restored=tuple(restored[:most]),
            removed=tuple(self._removed[:most]),
            failed=tuple(NotReverted(path=path, reason=why) for path, why in failed[:most]),
            unlisted=sum(max(0, len(each) - most) for each in (restored, self._removed, failed)),
            truncated=self._truncated,
        )

    def _each(self, step: Callable[[Difference], None]) -> None:
        """Take *step* for each difference, until the time is over."""
        for entry, change in compare(self._target.entries(), self._present.entries()):
            if self._ground.is_over():
                self._truncated = "time"
                break
            if not self._target.summary.covers(entry.path):
                break
            if change is not None and change.path not in self._failed:
                step(change)

    def _try(self, path: str, step: Callable[[Spot], None]) -> bool:
        """Take *step* with the spot of *path*; return whether that could be done."""
        folder, _, name = path.rpartition("/")
        try:
            with (
                errors_about(path),
                closing(self._ground.open(folder or ".", DIRECTORY)) as parent,
            ):
                if self._protector.allow(path):
                    self._protected[path] = None
                step(Spot(parent, folder or ".", name))
        except (OSError, FileChangedError, SnapshotError) as error:
            self._fail(path, _reason(error))
            return False
        return True

    def _fail(self, path: str, reason: str) -> None:
        self._failed.setdefault(path, reason)

    # ----- what was not there goes --------------------------------------------

    def _remove(self, going: list[Difference], change: Difference) -> None:
        path, kind, before, after = change
        if after is None or path not in self._choice:
            return
        if kind == "mode" and before is not None and after.kind in _DIRECTORIES:
            # Who may not write to it could change nothing in it.
            mode = before.mode | stat.S_IRWXU
            if self._try(path, partial(steps.set_mode, mode=mode, kind=stat.S_IFDIR)):
                self._restored.append(path)
                self._folders.append((path, before.mode))
        elif kind == "added" or (kind == "type" and self._can_come_back(change)):
            if after.kind in _DIRECTORIES:
                going.append(change)
            elif after.kind == "other":
                self._fail(path, "what is there is neither file, folder nor symlink")
            elif self._may_go(change):
                summary = self._present.summary
                step = partial(steps.remove, path=path, seen=after, snapshot=summary)
                if self._try(path, step):
                    self._note_removed(change)

    def _note_removed(self, change: Difference) -> None:
        if change.kind == "added":
            self._removed.append(change.path)

    def _may_go(self, change: Difference) -> bool:
        """Return whether what is there is kept, or was named itself; else it is a failure."""
        path, after = change.path, change.after
        is_kept = after is None or after.kind != "file" or after.is_kept
        if is_kept or path in self._choice.named:
            return True
        self._fail(path, "what is there could not be kept: name its path to give it up")
        return False

    def _can_come_back(self, change: Difference) -> bool:
        """Return whether it is known what was there; else it is a failure."""
        before = change.before
        if before is not None and before.kind == "other":
            self._fail(change.path, "what was there is neither file, folder nor symlink")
            return False
        if before is not None and before.kind == "file" and not before.is_kept:
            self._fail(change.path, "what was there was not kept")
            return False
        return True

    # ----- what was there comes back ------------------------------------------

    def _bring_back(self, change: Difference) -> None:
        path, kind, before, after = change
        if before is None:
            return
        if path not in self._choice:
            if kind == "removed" and before.kind in _DIRECTORIES and self._choice.is_above(path):
                self._missing.append(change)
            return
        if kind == "mode":
            if before.kind == "file":
                self._done(path, partial(steps.set_mode, mode=before.mode, kind=stat.S_IFREG))
        elif self._can_come_back(change) and (kind != "changed" or self._may_go(change)):
            for folder in [each for each in self._missing if path.startswith(f"{each.path}/")]:
                self._missing.remove(folder)
                if folder.before is not None:
                    self._make(folder.path, folder.before)
            if kind == "changed" and after is not None:
                self._change(path, before, after)
            else:
                self._make(path, before)

    def _make(self, path: str, before: Entry) -> None:
        """Bring back what was at *path*, where nothing is."""
        if before.kind in _DIRECTORIES:
            if self._done(path, partial(steps.make_folder, mode=before.mode)):
                self._folders.append((path, before.mode))
        elif before.kind == "symlink":
            self._done(path, partial(steps.make_link, target=before.target))
        else:
            self._done(path, lambda spot: self._write(spot, path, before, None))

    def _change(self, path: str, before: Entry, after: Entry) -> None:
        """Bring back what was at *path*, where there is another of its kind."""
        seen = steps.Seen(path, after, self._present.summary)
        if before.kind == "symlink":

            def replace_link(spot: Spot) -> None:
                seen.check(spot.parent, spot.name)
                os.unlink(spot.name, dir_fd=spot.parent)
                steps.make_link(spot, before.target)

            self._done(path, replace_link)
        else:
            self._done(path, lambda spot: self._write(spot, path, before, seen))

    def _write(self, spot: Spot, path: str, before: Entry, seen: steps.Seen | None) -> None:
        data = self._store.read(before.sha256)
        steps.write_file(self._ground.boundary, spot, path, data, before.mode, seen)

    def _done(self, path: str, step: Callable[[Spot], None]) -> bool:
        """Take *step*, and note that *path* is what it was; return whether that could be done."""
        is_done = self._try(path, step)
        if is_done:
            self._restored.append(path)
        return is_done


_REASONS = {
    errno.ENOTEMPTY: "it holds what is no part of snapshots",
    errno.ENOENT: "its folder is not there",
    errno.ENOTDIR: "something else is where its folder was",
    errno.EEXIST: "something else is there",
}


def _reason(error: Exception) -> str:
    if isinstance(error, FileChangedError):
        return "somebody has changed it meanwhile"
    if isinstance(error, ProtectedPathError):
        return "it is protected, and changes of it are refused"
    if isinstance(error, BoundaryError):
        return "its path leads through a symlink, or it is no regular file that may be changed"
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0, error.strerror or str(error))
    return str(error)


SNAPSHOTS: Operations[Work] = Operations(
    operations.take_snapshot,
    operations.snapshots,
    operations.changes_since,
    operations.diff,
    revert,
)
"""All that a Manager is asked about snapshots."""
