"""`Sandbox`: what the commands of one session are confined by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.commands.environment import FOLDERS
from jidocode.session.commands.limits import CommandRules
from jidocode.session.commands.wanted import Wanted
from jidocode.session.confinement.confinement import Prepared, prepare
from jidocode.session.confinement.limits import CommandLimits
from jidocode.session.confinement.rules import session_confinement
from jidocode.session.confinement.view import view
from jidocode.session.project.boundary import Boundary

_MAX_PREPARED = 16
"""How many confinements, one for each set of rights that was asked for, are kept ready."""
_Identity = tuple[int, int, str]
"""Device and inode of a path that was asked for, and where that is without symlinks."""


class Sandbox:
    """Confines commands to the project and the scratch folder.

    Attributes:
        rules: What the settings say about commands.
        scratch: The scratch folder.
    """

    def __init__(
        self, project: Boundary, scratch: str, closed: Sequence[str], rules: CommandRules
    ) -> None:
        """Open *project* and *scratch* to commands; the folders *closed* stay closed."""
        self._project, self.scratch = project, scratch
        self._name = project.root
        self._closed = closed
        self.rules = rules
        self._prepared: dict[object, Prepared] = {}

    def prepared(self, wanted: Wanted) -> Prepared | None:
        """Return what confines the command that is *wanted*; None if none is confined.

        It is good until the next one is asked for.

        Raises:
            ConfinementError: It cannot be confined, or not as `Settings.sandbox` requires.
            InvalidRequestError: What is to stay closed would be open, or nothing is at a path
                that it is to reach.
        """
        if self.rules.sandbox == "off":
            return None
        read, write = self._granted(wanted)
        project = self._project.root
        limits = wanted.limits or self.rules.limits
        # Rules hold what was at a path when they were made. What is there now may be another
        # folder: made anew by a build, or named by a link that was changed.
        identities = tuple(map(_identity, (*read, *write)))
        # And a mount has a folder where it was, though a link may lead from there to where it is.
        place = os.path.realpath(project)
        key = place, wanted.network, read, write, limits, wanted.ptrace, identities
        found = self._prepared.pop(key, None)
        if found is None:
            found = self._prepare(wanted, project, read, write, limits)
        self._prepared[key] = found  # the latest at the end
        if len(self._prepared) > _MAX_PREPARED:
            self._prepared.pop(next(iter(self._prepared))).close()
        return found

    def _prepare(
        self,
        wanted: Wanted,
        project: str,
        read: tuple[str, ...],
        write: tuple[str, ...],
        limits: CommandLimits,
    ) -> Prepared:
        confinement = session_confinement(
            project,
            self.scratch,
            read=read,
            write=write,
            closed=self._closed,
            network=wanted.network,
            limits=limits,
            ptrace=wanted.ptrace,
        )
        folder = self._project.share()
        try:
            # Not by its path, where something else may be by the time that is looked up.
            found = prepare(confinement, opened={confinement.write[0]: folder})
        finally:
            os.close(folder)
        _require(found, (*read, *write))
        return found

    @property
    def uses_namespaces(self) -> bool:
        """Whether commands are in namespaces of their own, too."""
        return self.rules.sandbox == "require:namespaces"

    def world(self, wanted: Wanted, prepared: Prepared | None) -> tuple[Any, ...] | None:
        """Return the fields of the `World` that the command *wanted* sees; None if that is ours.

        Raises:
            ConfinementError: What it may reach cannot be shown.
        """
        if prepared is None or not self.uses_namespaces:
            return None
        temporary = f"{self.scratch}/{FOLDERS['TMPDIR']}"
        read, write = self._granted(wanted)
        project = self._project.root
        names = (self._name, project, *read, *write)
        return tuple(view(prepared.confinement, project, temporary, names))

    def _granted(self, wanted: Wanted) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what the command *wanted* may read, and what it may change, as it is named."""
        return (*self.rules.read, *wanted.read), (*self.rules.write, *wanted.write)

    def close(self) -> None:
        """Let go of all; who is confined stays so."""
        for prepared in self._prepared.values():
            prepared.close()
        self._prepared.clear()


def _identity(path: str) -> _Identity:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise InvalidRequestError(
            f"a command cannot be given {quote(path)}: {error.strerror}"
        ) from error
    return status.st_dev, status.st_ino, os.path.realpath(path)


def _require(prepared: Prepared, paths: Iterable[str]) -> None:
    """Raise InvalidRequestError if one of the *paths* was exchanged while it was looked at."""
    for path in paths:
        if os.path.realpath(path) in prepared.skipped:
            prepared.close()
            raise InvalidRequestError(f"a command cannot be given {quote(path)}: it has moved")
