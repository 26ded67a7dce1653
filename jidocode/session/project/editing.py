r"""Exact replacements in a text: all of them, or none and a refusal that says what is there.

All edits of one request are looked for in the text as it is before any of them: whoever
makes them has read that text, so that the numbers of lines in a refusal are those that he
knows; and neither the order of edits nor what another one inserts changes what an edit
means.

An edit that has only `\n` in it means the line ends of the file, if those are all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from attrs import field, frozen

from jidocode.base.records import Record
from jidocode.base.text import quote
from jidocode.errors import EditMismatchError, InvalidRequestError
from jidocode.session.arguments import require_int
from jidocode.session.project import limits
from jidocode.session.project.nearest import most_similar, numbered
from jidocode.session.project.text import Newline, in_line_ends

_SHOWN_LINES = 20


@frozen(eq=False, repr=False)
class Edit(Record):
    r"""One replacement in a file: wherever *old* stands, *new* shall stand.

    Attributes:
        old: The text to replace, exactly, every space in it. It cannot be empty. If its line
            ends are all `\n`, they are taken for those of the file.
        new: The text to put there; its line ends idem.
        expect: How often *old* is there, no more and no less.
    """

    old: str = field(repr=False)
    new: str = field(repr=False)
    expect: int = 1


class Replacement(NamedTuple):
    """One place in a text that is replaced."""

    start: int
    """Where it begins, in the old text."""
    end: int
    """Where it ends there."""
    new: str
    """What stands there afterwards."""
    edit: int
    """The number of the edit that says so, from 1."""


def find_replacements(
    path: str, text: str, newline: Newline, edits: Sequence[object]
) -> list[Replacement]:
    """Return the places in *text* that *edits* replace, in their order, none over another.

    Args:
        path: What errors call the file.
        text: What it holds.
        newline: Its line ends.
        edits: They must be `Edit`s.

    Raises:
        EditMismatchError: One of them is not there as often as it says.
        InvalidRequestError: One of them breaks a rule, two of them overlap, or they are too
            many, or would make the text too long.
    """
    meant = [_as_meant(edit, newline) for edit in edits]
    if not meant:
        raise InvalidRequestError("there is no edit to make")
    if len(meant) * len(text) > limits.MAX_EDIT_SEARCH:
        raise InvalidRequestError(
            f"{len(meant)} edits of a file of {len(text)} characters are too many at once"
        )
    if sum(edit.expect for edit in meant) > limits.MAX_REPLACEMENTS:
        raise InvalidRequestError(
            f"at most {limits.MAX_REPLACEMENTS} places can be replaced at once"
        )
    found: list[Replacement] = []
    for number, edit in enumerate(meant, 1):
        matches = text.count(edit.old)
        if matches != edit.expect:
            raise _mismatch(path, text, number, edit, matches)
        found += [
            Replacement(start, start + len(edit.old), edit.new, number)
            for start in _places(text, edit.old, matches)
        ]
    found.sort()
    for one, other in pairwise(found):
        if other.start < one.end:
            line = text.count("\n", 0, other.start) + 1
            raise InvalidRequestError(
                f"edits {one.edit} and {other.edit} of {quote(path)} overlap in line {line}"
            )
    length = len(text) + sum(len(each.new) - (each.end - each.start) for each in found)
    if length > limits.MAX_READ_BYTES:
        raise InvalidRequestError(
            f"{quote(path)} would have {length} characters,"
            f" and can have at most {limits.MAX_READ_BYTES}"
        )
    return found


def replaced(text: str, replacements: Sequence[Replacement], start: int, end: int) -> str:
    """Return what *text* has from *start* to *end*, with *replacements*, which are all in there."""
    pieces: list[str] = []
    for each in replacements:
        pieces += (text[start : each.start], each.new)
        start = each.end
    return "".join([*pieces, text[start:end]])


def _as_meant(edit: object, newline: Newline) -> Edit:
    """Return *edit* as it is to be looked for in a file with these line ends."""
    if not isinstance(edit, Edit):
        raise InvalidRequestError(f"an edit must be an Edit, not {quote(edit)}")
    for what in ("old", "new"):
        value: object = getattr(edit, what)
        if not isinstance(value, str):
            raise InvalidRequestError(f"{what} of an edit must be a str, not {quote(value)}")
    if not edit.old:
        raise InvalidRequestError("old of an edit must not be empty")
    require_int("expect of an edit", edit.expect, least=1)
    return Edit(in_line_ends(edit.old, newline), in_line_ends(edit.new, newline), edit.expect)


def _places(text: str, old: str, most: int) -> list[int]:
    """Return where *old* stands in *text*, the first *most* times, as `str.count` counts them."""
    places: list[int] = []
    position = 0
    while len(places) < most:
        position = text.find(old, position)
        places.append(position)
        position += len(old)
    return places


def _mismatch(path: str, text: str, number: int, edit: Edit, matches: int) -> EditMismatchError:
    lines: list[int] = []
    line, counted = 1, 0
    for start in _places(text, edit.old, min(matches, _SHOWN_LINES)):
        line += text.count("\n", counted, start)
        counted = start
        if line not in lines[-1:]:
            lines.append(line)
    nearest = numbered(text, lines) if lines else most_similar(text, edit.old)
    return EditMismatchError(quote(path), number, matches, edit.expect, tuple(lines), nearest)
