"""What is different between two texts, as the hunks of a unified diff: bounded, whatever they are.

`difflib` compares every line with every line, which takes minutes for some texts. Here lines that
are in each text once are found first, as in the "patience diff" of Bram Cohen: they divide the
texts into parts, each of which is compared for itself, by `difflib` if it is small enough.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import chain
from typing import Literal

from jidocode.session.project.difference import MAX_DIFF_LINE, Diff, hunk_lines

MAX_LINES = 1000
"""Lines of a diff that are shown."""
MAX_COMPARED = 2**21
"""Bytes of a text that is compared."""
_SMALL = 100
"""Lines of a part in which every line is compared with every line."""
_CONTEXT = 3

_Tag = Literal["replace", "delete", "insert", "equal"]
_Opcode = tuple[_Tag, int, int, int, int]


class _Grouping(SequenceMatcher[str]):
    """Groups what is different into hunks, as `difflib` does; it is known already."""

    def __init__(self, opcodes: list[_Opcode]) -> None:
        super().__init__(None, "", "")
        self._known = opcodes

    def get_opcodes(self) -> list[_Opcode]:
        return self._known


def compare_texts(before: str, after: str, is_over: Callable[[], bool]) -> Diff:
    r"""Return what is different between two texts whose lines end in `\n`.

    When *is_over* says so, what has not been compared counts as different.
    """
    old, new = _lines(before), _lines(after)
    opcodes = list(_opcodes(_matches(old, new, is_over), len(old), len(new)))
    shown: list[str] = []
    for group in _Grouping(opcodes).get_grouped_opcodes(_CONTEXT):
        if any(tag != "equal" for tag, *_ in group):
            shown += hunk_lines(old, new, group, (1, 1))
        if len(shown) > MAX_LINES:
            break
    cut = [each[: MAX_DIFF_LINE + 1] for each in shown[:MAX_LINES]]
    return Diff("\n".join(cut), cut != shown or is_over())


def _lines(text: str) -> list[str]:
    """Return the lines of *text*; that the last one does not end shows in it, as in git."""
    if not text:
        return []
    lines = text.removesuffix("\n").split("\n")
    if not text.endswith("\n"):
        lines[-1] += "\n\\ No newline at end of file"
    return lines


def _matches(
    old: Sequence[str], new: Sequence[str], is_over: Callable[[], bool]
) -> Iterator[tuple[int, int, int]]:
    """Yield where equal lines begin in both, and how many they are, in order."""
    waiting = [(0, len(old), 0, len(new))]
    while waiting and not is_over():
        start, end, new_start, new_end = waiting.pop()
        head = 0
        while start + head < end and new_start + head < new_end:
            if old[start + head] != new[new_start + head]:
                break
            head += 1
        if head:
            yield start, new_start, head
            start, new_start = start + head, new_start + head
        tail = 0
        while start < end - tail and new_start < new_end - tail:
            if old[end - tail - 1] != new[new_end - tail - 1]:
                break
            tail += 1
        if tail:
            # It comes when all before it has come; and then it is the head of its part.
            waiting.append((end - tail, end, new_end - tail, new_end))
            end, new_end = end - tail, new_end - tail
        if start == end or new_start == new_end:
            continue
        if end - start <= _SMALL and new_end - new_start <= _SMALL:
            part = SequenceMatcher(None, old[start:end], new[new_start:new_end], autojunk=False)
            for first, second, count in part.get_matching_blocks():
                if count:
                    yield start + first, new_start + second, count
            continue
        anchors = _anchors(old, new, (start, end), (new_start, new_end))
        parts = zip([(start, new_start), *anchors], [*anchors, (end, new_end)], strict=True)
        if anchors:
            waiting += reversed([(a, c, b, d) for (a, b), (c, d) in parts])


def _anchors(
    old: Sequence[str], new: Sequence[str], span: tuple[int, int], new_span: tuple[int, int]
) -> list[tuple[int, int]]:
    """Return where lines are that each span has once, as many as are in the same order in both."""
    counts = Counter(old[slice(*span)])
    new_counts = Counter(new[slice(*new_span)])
    places = {
        old[at]: at for at in range(*span) if counts[old[at]] == 1 and new_counts[old[at]] == 1
    }
    # The longest ascending sequence: each pile keeps its lowest card, and what lies left of it.
    tops: list[int] = []
    piles: list[int] = []
    pairs: list[tuple[int, int]] = []
    left: list[int] = []
    for new_at in range(*new_span):
        at = places.get(new[new_at])
        if at is None:
            continue
        pile = bisect_left(tops, at)
        left.append(piles[pile - 1] if pile else -1)
        pairs.append((at, new_at))
        tops[pile : pile + 1] = [at]
        piles[pile : pile + 1] = [len(pairs) - 1]
    found: list[tuple[int, int]] = []
    last = piles[-1] if piles else -1
    while last >= 0:
        found.append(pairs[last])
        last = left[last]
    found.reverse()
    return found


def _opcodes(matches: Iterator[tuple[int, int, int]], end: int, new_end: int) -> Iterator[_Opcode]:
    at = new_at = same = 0  # how far both are read, and how many lines before that are equal
    for start, new_start, count in chain(matches, [(end, new_end, 0)]):
        if start > at or new_start > new_at or not count:
            if same:
                yield "equal", at - same, at, new_at - same, new_at
            same = 0
        if start > at or new_start > new_at:
            tag: _Tag = "insert" if start == at else "delete" if new_start == new_at else "replace"
            yield tag, at, start, new_at, new_start
        at, new_at, same = start + count, new_start + count, same + count
