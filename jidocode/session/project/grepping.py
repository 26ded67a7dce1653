"""One grep on its way through the files of a project, and how far it has come."""

from __future__ import annotations

from typing import NamedTuple

from jidocode.errors import InvalidRequestError
from jidocode.session.project import limits
from jidocode.session.project.engine import Pattern
from jidocode.session.project.entries import Ground
from jidocode.session.project.found import Match, Matches, Skipped, Truncation
from jidocode.session.project.lines import Line, LineTooLongError, matching_lines, plain

MAX_PAGE_TEXT = 1_000_000
"""Characters in one answer, about; then it ends as if its limit were reached."""
_AT_FIRST = 65_536  # bytes: enough to see whether a file is binary, and most files are smaller


class Position(NamedTuple):
    """How far a grep has come: a path, and what was done of it if that is not all."""

    path: str | None
    line: int | None = None
    matches: int = 0
    """Matches in it so far."""

    @classmethod
    def of(cls, token: object) -> Position:
        """Return what *token* says; raises InvalidRequestError if it is none."""
        if token is None:
            return cls(None)
        text = token if isinstance(token, str) else ""
        line, count, path = [*text.split(":", 2), "", ""][:3]
        if line == "all" and path:
            return cls(path)
        if line.isdecimal() and count.isdecimal() and path and len(line) + len(count) < 40:  # noqa: PLR2004 - digits
            return cls(path, int(line), int(count))
        raise InvalidRequestError("after must be what a page of the same search has as its `after`")

    @property
    def token(self) -> str:
        """What a caller is given for it."""
        return f"{'all' if self.line is None else self.line}:{self.matches}:{self.path}"


class Grep:
    """One grep on its way through the files."""

    def __init__(  # noqa: PLR0913 - what one is
        self,
        ground: Ground,
        pattern: Pattern,
        *,
        context: int,
        limit: int,
        per_file: int | None,
        position: Position,
    ) -> None:
        self._ground, self._pattern, self._context = ground, pattern, context
        self._limit, self._per_file = limit, per_file
        self._matches: list[Match] = []
        self._files = self._binary = self._too_large = self._length = 0
        self.position = position
        self.truncated: Truncation | None = None

    def search(self, path: str) -> None:
        """Search the file at *path*, or what of it is left."""
        done = self.position if path == self.position.path else Position(path, 0)
        if done.line is None:
            return
        data = self._read(path)
        self.position = Position(path)
        if data is None or done.matches == self._per_file:
            return
        self._files += 1
        line, count = done.line, done.matches
        try:
            for step in matching_lines(self._pattern, data, behind=line, context=self._context):
                if isinstance(step, Line):
                    line, count = step.number, count + 1
                    self._add(path, step)
                    if count == self._per_file:
                        return
                else:
                    line = step
                if self._ends():
                    self.position = Position(path, line, count)
                    return
        except LineTooLongError:
            self._too_large += 1

    def _ends(self) -> bool:
        if len(self._matches) == self._limit or self._length > MAX_PAGE_TEXT:
            self.truncated = "limit"
        elif self._ground.is_over():
            self.truncated = "time"
        return self.truncated is not None

    def _add(self, path: str, line: Line) -> None:
        self._length += len(line.text) + sum(map(len, (*line.before, *line.after)))
        self._matches.append(
            Match(
                path=path,
                line=line.number,
                column=line.column,
                text=line.text,
                is_cut=line.is_cut,
                before=line.before,
                after=line.after,
            )
        )

    def _read(self, path: str) -> bytes | None:
        """Return the text of the file at *path*; None, counted, if there is none to search."""
        try:
            data, size = self._ground.read(path, _AT_FIRST)
            text = plain(data)
            # Of what is binary no more is read, however large it is.
            if text is not None and len(data) == _AT_FIRST and size <= limits.MAX_READ_BYTES:
                data, size = self._ground.read(path, limits.MAX_READ_BYTES + 1)
                text = plain(data)
        except OSError as error:
            self._ground.note(error)
            return None
        if text is None:
            self._binary += 1
        elif max(size, len(data)) > limits.MAX_READ_BYTES:
            self._too_large += 1
            text = None
        return text

    def page(self) -> Matches:
        """Return what was found."""
        return Matches(
            matches=tuple(self._matches),
            files=self._files,
            truncated=self.truncated,
            after=self.position.token if self.truncated else None,
            skipped=Skipped(
                binary=self._binary,
                too_large=self._too_large,
                unreadable=self._ground.unreadable,
            ),
        )
