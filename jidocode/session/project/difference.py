"""What an edit has changed, as the hunks of a unified diff: bounded, whatever the file.

Where something was replaced is known. So only these lines are compared, and not the two
texts, which would take minutes for some; and no further than what is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jidocode.session.project.editing import Replacement, replaced

MAX_DIFF_LINES = 200
"""Lines of a diff that are shown."""
MAX_DIFF_LINE = 500
"""Characters of each of them."""
_CONTEXT = 3  # lines, as everywhere


class Diff(NamedTuple):
    """Hunks of a unified diff."""

    text: str
    """The hunks, without a header."""
    truncated: bool
    """Whether lines, or parts of lines, were left out."""


class _Region(NamedTuple):
    """Lines in which something was replaced, and those around."""

    start: int
    """Where the first line starts in the old text."""
    end: int
    """Where the last one ends."""
    replacements: list[Replacement]
    """All that was replaced in them."""


def changes(text: str, replacements: Sequence[Replacement]) -> Diff:
    """Return what *replacements*, which are in order, change in *text*."""
    shown: list[str] = []
    truncated = False
    counted, line, shift = 0, 1, 0  # of the old text, and how far the new one is ahead of it
    for region in _regions(text, replacements):
        line += text.count("\n", counted, region.start)
        counted = region.start
        old = text[region.start : region.end]
        new = replaced(text, region.replacements, region.start, region.end)
        before, after = _lines(old), _lines(new)
        for hunk in _hunks(before, after, line, line + shift):
            shown += hunk
        shift += len(after) - len(before)
        truncated = max(len(before), len(after)) > MAX_DIFF_LINES
        if truncated or len(shown) > MAX_DIFF_LINES:
            break
    cut = [each[: MAX_DIFF_LINE + 1] for each in shown[:MAX_DIFF_LINES]]
    truncated = truncated or len(shown) > MAX_DIFF_LINES or cut != shown
    return Diff("\n".join(cut), truncated)


def _regions(text: str, replacements: Sequence[Replacement]) -> Iterator[_Region]:
    """Yield the regions one after the other, in order; they do not overlap."""
    region: _Region | None = None
    for each in replacements:
        start, end = _before(text, each.start), _behind(text, each.end)
        if region is not None and start < region.end:
            region.replacements.append(each)
            region = region._replace(end=end)
            continue
        if region is not None:
            yield region
        region = _Region(start, end, [each])
    if region is not None:
        yield region


def _before(text: str, position: int) -> int:
    """Return where the lines start that are shown before *position*."""
    start = text.rfind("\n", 0, position) + 1
    for _ in range(_CONTEXT):
        if not start:
            break
        start = text.rfind("\n", 0, start - 1) + 1
    return start


def _behind(text: str, position: int) -> int:
    """Return where the lines end that are shown behind *position*."""
    for _ in range(_CONTEXT + 1):
        position = text.find("\n", position) + 1
        if not position:
            return len(text)
    return position


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _hunks(old: list[str], new: list[str], line: int, new_line: int) -> Iterator[list[str]]:
    """Yield the hunks between *old* and *new*, which begin with these numbers in their texts.

    Only their first `MAX_DIFF_LINES` are compared.
    """
    from difflib import SequenceMatcher  # noqa: PLC0415 - an app has no use for it: session/preload.py

    matcher = SequenceMatcher(None, old[:MAX_DIFF_LINES], new[:MAX_DIFF_LINES], autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        last = group[-1]
        is_at_cut = last[2] == MAX_DIFF_LINES or last[4] == MAX_DIFF_LINES
        if is_at_cut and last[0] in {"delete", "insert"}:
            group.pop()  # its other side lies behind the cut
        if any(tag != "equal" for tag, *_ in group):
            yield hunk_lines(old, new, group, (line, new_line))


def hunk_lines(
    old: list[str],
    new: list[str],
    group: Sequence[tuple[str, int, int, int, int]],
    lines: tuple[int, int],
) -> list[str]:
    """Return the lines of the hunk that *group* is, of texts that begin with these *lines*."""
    (_, start, _, new_start, _), (_, _, end, _, new_end) = group[0], group[-1]
    spans = _span(lines[0] + start, end - start), _span(lines[1] + new_start, new_end - new_start)
    shown = ["@@ -{} +{} @@".format(*spans)]
    for tag, start, end, new_start, new_end in group:
        if tag == "equal":
            shown += [f" {each}" for each in old[start:end]]
            continue
        shown += [f"-{each}" for each in old[start:end]]
        shown += [f"+{each}" for each in new[new_start:new_end]]
    return [each.removesuffix("\r") for each in shown]


def _span(first: int, count: int) -> str:
    # As diff has it: a span without lines is called by the line before it.
    return f"{first if count else first - 1},{count}"
