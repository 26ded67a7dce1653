"""What a search is asked: where to begin, which names are meant, how long it may take."""

from __future__ import annotations

import errno
import itertools
import os
import posixpath
import stat
from typing import NamedTuple

from jidocode.base.text import quote
from jidocode.errors import BoundaryError, InvalidRequestError
from jidocode.session.arguments import require_wait
from jidocode.session.project.descriptors import PLACE, closing
from jidocode.session.project.engine import MAX_PATTERN, compile_names
from jidocode.session.project.entries import Ground
from jidocode.session.project.paths import errors_about
from jidocode.session.project.wildcards import WildcardError, to_regex

SECONDS = 2.0
"""How long a search may take by default; the seconds begin when it is asked for."""
MOST_SECONDS = 60.0
"""How long one may take, whatever is asked for."""


class Start(NamedTuple):
    """Where a search begins."""

    folder: str
    """Path of the directory, empty for the root."""
    file: str | None
    """The one file in it that is meant, if it is one."""

    @property
    def path(self) -> str:
        """The directory's path, for people."""
        return self.folder or "."


def begin(ground: Ground, seconds: float) -> None:
    """Give *ground* its *seconds*; raise InvalidRequestError if they are none."""
    require_wait("seconds", seconds, most=MOST_SECONDS)
    ground.allow(seconds)


def start_at(ground: Ground, path: str) -> Start:
    """Return what *path* means.

    Raises:
        InvalidRequestError: It is in `.git`.
        BoundaryError: It leads out, through a symlink, or to neither directory nor file.
        OSError: It cannot be reached.
    """
    relative = posixpath.normpath(ground.boundary.resolve(path))
    if ".git" in relative.split("/"):
        raise InvalidRequestError(f"what is in .git is not searched: {quote(relative)}")
    with errors_about(relative):
        try:
            with closing(ground.open(relative, PLACE)) as fd:
                mode = os.fstat(fd).st_mode
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            mode = stat.S_IFLNK
    if stat.S_ISDIR(mode):
        return Start("" if relative == "." else relative, None)
    if stat.S_ISLNK(mode):
        raise BoundaryError(f"{quote(relative)} leads through a symlink: name where it leads")
    if not stat.S_ISREG(mode):
        raise BoundaryError(f"{quote(relative)} is no regular file")
    folder, _, name = relative.rpartition("/")
    return Start(folder, name)


def components_of(path: object, start: Start) -> list[str]:
    """Return *path*, of a token, as components below *start*; none without a path."""
    if path is None:
        return []
    prefix = f"{start.folder}/" if start.folder else ""
    if not isinstance(path, str) or not path.startswith(prefix) or path == prefix:
        raise InvalidRequestError("after must be what a page of the same search has as its `after`")
    return path[len(prefix) :].split("/")


class Names:
    """The paths that a pattern of `glob` names."""

    def __init__(self, pattern: object, *, anywhere: bool = False) -> None:
        """Read *pattern*; without a slash it is about names in any directory if *anywhere*.

        Raises:
            InvalidRequestError: It is wrong.
        """
        if not isinstance(pattern, str) or not pattern or len(pattern) > MAX_PATTERN:
            raise InvalidRequestError(
                f"a pattern of paths must be a str of 1 to {MAX_PATTERN} characters"
            )
        pattern = pattern.removeprefix("./")
        parts = pattern.split("/")
        if "" in parts[:-1] or {".", ".."} & set(parts) or "\0" in pattern:
            raise InvalidRequestError(
                f"a pattern of paths has names between its slashes, not {quote(pattern)}"
            )
        try:
            regex = to_regex(pattern, braces=True)
            self._regex = compile_names(
                f"(?:.*/)?{regex}" if anywhere and len(parts) == 1 else regex
            )
        except WildcardError as error:
            raise InvalidRequestError(
                f"the pattern of paths is wrong at {error.position}: {error.problem}"
            ) from error
        plain_parts = itertools.takewhile(lambda part: not set(part) & set("*?[{},\\"), parts)
        self.literal = [] if anywhere and len(parts) == 1 else list(plain_parts)
        """Components that each path begins with."""
        self.depth = None if anywhere or "**" in pattern or "{" in pattern else len(parts)
        """Components of the longest path, None if there is none such."""

    def match(self, path: str) -> bool:
        """Whether *path* is one; what in it is no text is taken as a question mark."""
        return self._regex.fullmatch(path.encode("utf-8", "replace")) is not None
