"""What others ask a Manager about the snapshots of its session.

The operations are in `session/snapshots/operations.py` and `reverting.py`. They are asked for by
their names, for few apps take snapshots, and all wait for imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jidocode.otp.seconds import is_seconds
from jidocode.session.requests import Question, Request, asked
from jidocode.session.snapshots.limits import LOOK_SECONDS, TAKE_SECONDS

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from jidocode.session.snapshots.results import Changes, FileDiff, Reverted, Snapshot

_Result = TypeVar("_Result")
_GRACE = 10.0
"""Seconds that an answer is waited for besides those that the request may take."""


class SnapshotMethods:
    """The part of a Manager that keeps what its project was."""

    @asked
    def take_snapshot(
        self, label: str | None = None, *, seconds: float = TAKE_SECONDS
    ) -> Question[Snapshot]:
        """Keep what the project is now, to find out later what has changed, or to go back.

        In it are files, folders and symlinks; not what `.gitignore`, `.ignore` and
        `.git/info/exclude` leave out, and no `.git`. Files that have not changed since the last
        snapshot are not read again. If there are more than `Settings.snapshots_kept` now, the
        oldest go.

        Args:
            label: What to call it, for people; 200 characters at most.
            seconds: Time for all of it, 600 at most; what was not seen until then is no part of
                it, see `Snapshot.truncated`. The next one goes on from there.

        Raises:
            SnapshotError: It cannot be written, for the disk is full; or the system keeps nothing
                on disk. What was there before is there still.
            InvalidRequestError: An argument is wrong.
            OSError: The project cannot be listed.
        """
        wanted: Request[Snapshot] = Request("take_snapshot", (label,), {"seconds": seconds})
        return _within(wanted)

    @asked
    def snapshots(self) -> Question[list[Snapshot]]:
        """Return the snapshots of the session, oldest first; one that is damaged is left out.

        Raises:
            SnapshotError: They cannot be listed, or the system keeps nothing on disk.
        """
        wanted: Request[list[Snapshot]] = Request("snapshots", (), {})
        return _within(wanted)

    @asked
    def changes_since(
        self,
        snapshot: int | Snapshot | None = None,
        *,
        limit: int = 1000,
        after: str | None = None,
        seconds: float = LOOK_SECONDS,
    ) -> Question[Changes]:
        """Return what is not as it was at a snapshot, whoever has changed it.

        Args:
            snapshot: The snapshot, or its id; by default the latest one.
            limit: Changes at most; more than 10,000 are never given.
            after: What the last page has as its `after`.
            seconds: Time for all of it. What was found until then is returned.

        Raises:
            NoSnapshotError: There is no such snapshot; or there is none yet.
            SnapshotError: It is damaged, or the system keeps nothing on disk.
            InvalidRequestError: An argument is wrong.
            OSError: The project cannot be listed.
        """
        wanted: Request[Changes] = Request(
            "changes_since", (snapshot,), {"limit": limit, "after": after, "seconds": seconds}
        )
        return _within(wanted)

    @asked
    def diff(
        self,
        path: str | os.PathLike[str],
        since: int | Snapshot | None = None,
        *,
        seconds: float = LOOK_SECONDS,
    ) -> Question[FileDiff]:
        """Return what has changed in the file at *path* since a snapshot, as a unified diff.

        Args:
            path: Relative to the project, or absolute inside it. A symlink is looked at itself.
            since: The snapshot, or its id; by default the latest one.
            seconds: Time to compare; what was not compared until then is shown as changed.

        Raises:
            NoSnapshotError: There is no such snapshot; or there is none yet.
            SnapshotError: It, or what it has kept of the file, is damaged; or the system keeps
                nothing on disk.
            FileNotFoundError: Nothing is there, and nothing was.
            InvalidRequestError: *path* is no part of the snapshot, for rules have left it out, or
                it could not be read, or comes behind the end.
            BoundaryError: It leads out of the project.
        """
        wanted: Request[FileDiff] = Request("diff", (path, since), {"seconds": seconds})
        return _within(wanted)

    @asked
    def revert(
        self,
        paths: Sequence[str | os.PathLike[str]] | None = None,
        *,
        to: int | Snapshot | None = None,
        seconds: float = TAKE_SECONDS,
    ) -> Question[Reverted]:
        """Make files what they were at a snapshot: all, or *paths* and what is below these.

        What was added is removed, what was removed comes back with its permissions, and what was
        changed is replaced, each file at one stroke. What cannot be done is said
        (`Reverted.failed`), and the rest is done. Before anything, a snapshot is taken of what
        is there: `revert(to=reverted.before)` undoes it all. So what that cannot keep, for it
        is too large, is neither removed nor replaced, unless its own path is among *paths*.

        Args:
            paths: Files and folders, relative to the project or absolute inside it; None for all.
            to: The snapshot, or its id; by default the latest one.
            seconds: Time for all of it; what was not done until then is not done.

        Raises:
            NoSnapshotError: There is no such snapshot; or there is none yet.
            SnapshotError: It is damaged; or the one before cannot be taken, for the disk is full.
                Then nothing was changed.
            InvalidRequestError: An argument is wrong.
            BoundaryError: One of *paths* leads out of the project.
            OSError: The project cannot be listed.
        """
        wanted: Request[Reverted] = Request("revert", (paths,), {"to": to, "seconds": seconds})
        return _within(wanted)


def _within(wanted: Request[_Result]) -> Question[_Result]:
    seconds = wanted.kwargs.get("seconds", LOOK_SECONDS)
    # What is no time, the operation refuses.
    return Question(wanted, _GRACE + (seconds if is_seconds(seconds) else 0))
