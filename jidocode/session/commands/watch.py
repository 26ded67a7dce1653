"""`ProtectedPaths`: what the commands of a session do to protected paths.

Before a command starts, after it has ended, and now and then while any runs, the paths are
looked at. What has changed while commands ran is theirs, all of them: which one it was, nobody
can tell. What has changed while none ran is somebody else's, and is how things are now.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from jidocode.base import log
from jidocode.base.closing import Closing
from jidocode.session.commands.watch_note import WatchNote
from jidocode.session.confinement.worktree import WORKTREE_ORDERS
from jidocode.session.project.aside import Aside, shorten
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.descriptors import key_of, writable
from jidocode.session.project.fingerprints import Fingerprints, differences, take_fingerprints
from jidocode.session.project.protection import (
    MAX_PATHS,
    ProtectedPathsChanged,
    Protection,
    ProtectionRules,
    Tell,
    Tree,
)

_UNDO_SECONDS = 1.0
"""How long a look may undo what commands have done, while others run that wait."""
_LAST_SECONDS = 5.0
"""The same when the last one has ended: nobody makes any more then."""
_PASSES = 2
"""What was hidden by something else is seen when that is undone."""
_MAX_HELD = 100
"""Folders that lead to protected paths and are held open, the upper ones first."""


class Changes(NamedTuple):
    """What was changed while a command ran."""

    paths: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    """Those of them that are as they were again."""
    set_aside: tuple[str, ...] = ()
    """Where what was there instead is now."""


class _Running(Struct):
    since_ns: int
    changed: dict[str, bool]
    """Whether the latest change of it was undone, by path."""
    set_aside: Sequence[str]

    def add(self, changes: Changes) -> None:
        undone = set(changes.undone)
        for path in changes.paths:
            if len(self.changed) < MAX_PATHS or path in self.changed:
                self.changed[path] = path in undone
        self.set_aside = shorten([*self.set_aside, *changes.set_aside])


class ProtectedPaths(Closing):
    """The protected paths of a session, and the commands that run. All in one thread."""

    def __init__(
        self,
        boundary: Boundary,
        rules: ProtectionRules,
        tell: Tell,
        *,
        worktree: str | None = None,
        note: Path | None = None,
    ) -> None:
        """Look at the paths inside *boundary* that *rules* name, and *tell* what commands change.

        What commands of the last life have changed, if that was killed, is told now, and what it
        has set aside. It is not undone: nobody knows how long ago that was, and who has changed
        what since.

        Args:
            boundary: The project's.
            rules: Which paths are protected, and how.
            tell: Hears what was changed.
            worktree: The folder in its repository, if the project is a linked worktree.
            note: A file for the next life, outside of the project.
        """
        self._refuses = rules.changes == "refuse"
        self._tell = tell
        self._running: dict[str, _Running] = {}
        tree = Protection(rules.paths).tree
        self._places = [_Place("", boundary, tree, keep=self._refuses)] if tree else []
        if tree and worktree is not None:
            own = Protection(WORKTREE_ORDERS).tree
            self._places.append(_Place(f"{worktree}/", Boundary(worktree), own, keep=self._refuses))
        self._note = WatchNote(note if tree else None, repr((tree, worktree)))
        for place, (found, name) in zip(self._places, self._note.left_over(), strict=False):
            self._report(place.look_after(found, name))

    def close(self) -> None:
        """Let all folders go."""
        for place in self._places:
            place.close()
        self._places = []
        self._note.close()

    def begin(self, command_id: str) -> None:
        """Take in that a command is about to start.

        Raises:
            OSError: What the paths are cannot be told, for there is no descriptor left.
        """
        self._look()
        if self._refuses:
            for place in self._places:
                place.hold_ways()
        if not self._running:
            self._note.begin([(place.last, place.aside.name) for place in self._places])
        self._running[command_id] = _Running(time.time_ns(), {}, ())

    def forget(self, command_id: str) -> None:
        """Take in that it has not started."""
        if self._running.pop(command_id, None) is not None and not self._running:
            self._note.end()

    def end(self, command_id: str) -> Changes:
        """Take in that a command has ended; return what was changed while it ran."""
        is_last = len(self._running) == 1
        self.look(_LAST_SECONDS if is_last else _UNDO_SECONDS)
        running = self._running[command_id]
        self.forget(command_id)
        return Changes(
            tuple(running.changed),
            tuple(path for path, undone in running.changed.items() if undone),
            tuple(running.set_aside),
        )

    def look(self, seconds: float = _UNDO_SECONDS) -> bool:
        """Tell what has changed since the last look, if commands run; return whether any does.

        It is undone for *seconds*; the rest is for the next look.
        """
        try:
            self._look(seconds)
        except OSError as error:
            log.warning("what protected paths are cannot be told now: {}", error.strerror)
        return bool(self._running)

    def _look(self, seconds: float = _UNDO_SECONDS) -> None:
        now = time.time_ns()
        before = min((each.since_ns for each in self._running.values()), default=now)
        for place in self._places:
            is_undone = self._refuses and bool(self._running)
            changes = place.look(before, undo=is_undone, seconds=seconds)
            if self._running:
                self._report(changes)

    def _report(self, changes: Changes) -> None:
        if changes.paths or changes.set_aside:
            for command in self._running.values():
                command.add(changes)
            self._tell(
                ProtectedPathsChanged(
                    paths=changes.paths[:MAX_PATHS],
                    undone=changes.undone[:MAX_PATHS],
                    set_aside=tuple(shorten(changes.set_aside)),
                    commands=tuple(self._running),
                )
            )


class _Place(Closing):
    """Protected paths below one folder.

    Attributes:
        last: What they were at the last look.
        aside: Keeps what was there when changes were undone.
    """

    # What they are to be is kept apart from what they were last. Else what a program writes while
    # something else is undone would be how things are from then on, and never be undone.

    def __init__(self, prefix: str, boundary: Boundary, tree: Tree, *, keep: bool) -> None:
        self._prefix, self._tree = prefix, tree
        self._boundary, self._keep = boundary, keep
        self._root = boundary.share()
        self.last: Fingerprints = {}
        self._wanted: Fingerprints = {}
        self._ways: dict[str, int] = {}
        self._away: set[str] = set()
        self.aside = Aside(self._root)

    def close(self) -> None:
        os.close(self._root)
        for way in self._ways.values():
            os.close(way)
        self._boundary.close()

    def look_after(self, last: Fingerprints, aside: str) -> Changes:
        """Return what has changed since a life that was killed had its *last* look.

        And what is in the folder that it called *aside*.
        """
        self.last, self.aside = last, Aside(self._root, aside)
        changes = self.look(time.time_ns(), undo=False)
        kept = tuple(self._prefix + path for path in self.aside.left_over())
        return changes._replace(set_aside=kept)

    def look(self, before_ns: int, *, undo: bool, seconds: float = _UNDO_SECONDS) -> Changes:
        """Return what has changed since the last look; undo it first if *undo* says so."""
        last = self.last
        found = self._take(last, before_ns)
        changed = differences(last, found)
        left = set(changed)
        if not undo:
            self._wanted, self._away = found, set()
        elif left := set(differences(self._wanted, found)):
            seen = {*changed}
            found, away = self._undo(found, before_ns, seconds, seen)
            left = {*differences(self._wanted, found), *away}
            changed = sorted(seen | away - self._away)
            self._away = away
        self.last = found
        kept, self.aside.kept = self.aside.kept, []
        return Changes(
            tuple(self._prefix + path for path in changed),
            tuple(self._prefix + path for path in changed if path not in left),
            tuple(self._prefix + path for path in kept),
        )

    def _take(self, last: Fingerprints, before_ns: int) -> Fingerprints:
        return take_fingerprints(self._root, self._tree, last, before_ns, keep=self._keep)

    def hold_ways(self) -> None:
        """Keep the folders that lead to protected paths open, so that they are found if moved."""
        all_ways = (path for path, found in self._wanted.items() if found.kind == "way")
        upper = sorted(all_ways, key=lambda path: (path.count("/"), path))[:_MAX_HELD]
        ways = {path: self._wanted[path] for path in upper}
        for path in [*self._ways]:
            if path not in ways or ways[path].status[:2] != key_of(os.fstat(self._ways[path])):
                os.close(self._ways.pop(path))
        for path in ways.keys() - self._ways.keys():
            with contextlib.suppress(OSError):
                self._ways[path] = self._boundary.open_directory(path)

    def _undo(
        self, found: Fingerprints, before_ns: int, seconds: float, seen: set[str]
    ) -> tuple[Fingerprints, set[str]]:
        """Undo what has changed; return what is there now, and the ways that are not back.

        What has changed since the last look, though it may be undone now, is added to *seen*.
        """
        from jidocode.session.project.undoing import bring_back, open_ways, put_back  # noqa: PLC0415 - it is seldom

        root, wanted, aside = self._root, self._wanted, self.aside
        end = time.monotonic() + seconds
        with writable(root):
            away = bring_back(root, self._ways, aside)
            open_ways(root, wanted)
            found = self._take(found, before_ns)
            for _ in range(_PASSES):
                changed = differences(wanted, found)
                if not changed or time.monotonic() >= end:
                    break
                put_back(self._boundary, root, wanted, found, changed, aside, end)
                # One that came back just then may have been set aside.
                away = bring_back(root, self._ways, aside)
                found = self._take(found, before_ns)
                seen.update(differences(self.last, found))
        return found, away
