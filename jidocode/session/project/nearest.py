"""The lines of a text that are most like some other text, for whoever has misquoted it.

Lines are compared by the groups of three characters that they have in common, without
spaces: so what is indented otherwise, or misspelt, is still found; and the time that it
takes is bounded by the length of the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

_SEARCHED = 2**18  # characters of the text in which is looked
_WANTED_LINES = 50  # of what is looked for, and that many lines at most are shown
_WANTED_CHARACTERS = 10_000
_PLACES = 4  # in which of the wanted lines the same three characters are known
_AROUND = 2  # lines that are shown before and behind
_LINE = 500  # characters of a line that are shown
_GROUP = 3


def most_similar(text: str, wanted: str) -> str:
    """Return the lines of *text* that are most like *wanted*, numbered; empty if none is like it.

    They are sought in the first 256 Ki characters of *text*.
    """
    asked = wanted[:_WANTED_CHARACTERS].strip("\r\n").split("\n")[:_WANTED_LINES]
    lines = text[:_SEARCHED].removesuffix("\n").split("\n")
    start = _best_start(asked, lines)
    if start is None:
        return ""
    first = max(start - _AROUND, 0)
    return numbered(text, range(first + 1, min(start + len(asked) + _AROUND, len(lines)) + 1))


def _best_start(asked: Sequence[str], lines: Sequence[str]) -> int | None:
    """Return the line from which on *lines* are most like *asked*, None if none is like it."""
    places: dict[str, list[int]] = {}
    total = 0
    for index, line in enumerate(asked):
        for group in _groups(line):
            total += 1
            known = places.setdefault(group, [])
            if len(known) < _PLACES and index not in known[-1:]:
                known.append(index)
    # Each group that a line shares with an asked one speaks for the start which would put
    # the two side by side.
    shared: Counter[int] = Counter()
    sums = [0]  # groups in all lines before
    for index, line in enumerate(lines):
        groups = _groups(line)
        sums.append(sums[-1] + len(groups))
        for group in groups:
            for place in places.get(group, ()):
                shared[index - place] += 1

    # What is longer shares more: so it counts how much of both is shared.
    def likeness(start: int) -> float:
        here = sums[min(max(start, 0) + len(asked), len(lines))] - sums[max(start, 0)]
        return 2 * shared[start] / (total + here)

    best = max(sorted(shared), key=likeness, default=None)
    return None if best is None else max(best, 0)


def _groups(line: str) -> list[str]:
    bare = "".join(line.split())
    if len(bare) <= _GROUP:
        return [bare] if bare else []
    return [bare[at : at + _GROUP] for at in range(len(bare) - _GROUP + 1)]


def numbered(text: str, numbers: Iterable[int]) -> str:
    """Return the lines of *text* with these *numbers*, from 1 and ascending, each with its own."""
    shown: list[str] = []
    start, at = 0, 1
    for number in numbers:
        while at < number:
            start, at = text.find("\n", start) + 1, at + 1
        end = text.find("\n", start)
        line = text[start : len(text) if end < 0 else end].removesuffix("\r")
        shown.append(f"{number:6}\t{line[:_LINE]}{'...' if len(line) > _LINE else ''}")
    return "\n".join(shown)
