"""Diffs of texts: they lead from the one to the other, and take bounded time for any."""

from __future__ import annotations

import random
import re
import time

from hypothesis import given, strategies as st

from jidocode.session.snapshots.texts import MAX_LINES, compare_texts

LINES = st.lists(st.sampled_from(["a", "b", "", "c d", "é"]), max_size=30)


def never() -> bool:
    return False


def applied(old: str, diff: str) -> str:
    """The text that *diff* makes of *old*."""
    lines, made, at = old.split("\n"), list[str](), 0
    for line in diff.split("\n"):
        head = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", line)
        if head is not None:
            first, count = int(head[1]), int(head[2])
            start = first - 1 if count else first
            made += lines[at:start]
            at = start
            assert len(made) == (int(head[3]) - 1 if int(head[4]) else int(head[3]))
        elif line.startswith("+"):
            made.append(line[1:])
        elif line:
            assert lines[at] == line[1:]
            made += [line[1:]] if line[0] == " " else []
            at += 1
    return "\n".join(made + lines[at:])


@given(old=LINES, new=LINES)
def test_a_diff_leads_from_one_to_the_other(old: list[str], new: list[str]) -> None:
    """Whatever the texts are."""
    before, after = ("".join(f"{line}\n" for line in each) for each in (old, new))
    found = compare_texts(before, after, never)
    assert not found.truncated
    assert applied(before, found.text) == after
    assert (found.text == "") == (before == after)


def test_so_does_one_of_long_texts() -> None:
    """With parts that are moved, and many lines that are the same."""
    chance = random.Random(3)  # noqa: S311 - repeatable
    for _ in range(20):
        old = [chance.choice(["{", "}", f"line {chance.randrange(400)}"]) for _ in range(1500)]
        new = [*old[:200], *old[900:1000], *old[250:800], *old[820:]]
        for _ in range(20):
            new[chance.randrange(len(new))] = "changed"
        before, after = ("".join(f"{line}\n" for line in each) for each in (old, new))
        found = compare_texts(before, after, never)
        assert not found.truncated
        assert applied(before, found.text) == after
        assert len(found.text) < len(before)


def test_any_two_texts_take_bounded_time() -> None:
    """No line is there once, and none is in its place."""
    before = "a\nb\n" * 100_000
    after = "b\nb\na\n" * 70_000
    began = time.monotonic()
    found = compare_texts(before, after, lambda: time.monotonic() > began + 0.2)
    assert time.monotonic() - began < 10
    assert found.truncated
    assert found.text.count("\n") == MAX_LINES - 1


def test_long_lines_are_cut() -> None:
    """And it says so."""
    found = compare_texts("", "x" * 10_000 + "\n", never)
    assert found.truncated
    assert len(found.text) < 600
