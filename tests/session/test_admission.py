"""Who is let in: the limit, the rate, one session for each project, and none within another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from jidocode.errors import (
    ProjectAlreadyOpenError,
    RateLimitedError,
    SessionError,
    SessionExistsError,
    SessionLimitError,
)
from jidocode.session.admission.admission import Admission, AdmissionRules, Place

Keys = tuple[int, ...]
"""The way to a folder from the root of a disk; each prefix of it is a folder around it."""


def key(way: Keys) -> tuple[int, int]:
    return (1, hash(way))


def place(session_id: str, *way: int) -> Place:
    """Return what the session takes up whose project is at *way*."""
    enclosing = frozenset(key(way[:length]) for length in range(len(way)))
    return Place(session_id, key(way), enclosing)


OPEN = [place("a", 1, 2), place("b", 3)]


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        (place("c", 4), None),
        (place("c", 1, 3), None),
        (place("c", 1, 2), ProjectAlreadyOpenError("a")),
        (place("c", 1, 2, 9), ProjectAlreadyOpenError("a", nested=True)),
        (place("c", 1), ProjectAlreadyOpenError("a", nested=True)),
        (place("c"), ProjectAlreadyOpenError("a", nested=True)),
        (place("c", 3, 1), ProjectAlreadyOpenError("b", nested=True)),
        (place("a", 4), SessionExistsError("a")),
        (place("a", 3), SessionExistsError("a")),
    ],
)
def test_a_place_is_free_or_the_refusal_says_who_has_it(
    wanted: Place, refusal: SessionError | None
) -> None:
    """The id first, then the very same folder, then one within the other."""
    assert refusal_of(Admission(AdmissionRules(max_sessions=3)), wanted, OPEN) == refusal_as_text(
        refusal
    )


def refusal_of(admission: Admission, wanted: Place, taken: Sequence[Place]) -> str:
    try:
        admission.check_place(wanted, taken)
    except SessionError as error:
        return refusal_as_text(error)
    return refusal_as_text(None)


def refusal_as_text(refusal: SessionError | None) -> str:
    return "" if refusal is None else repr((type(refusal), refusal.args))


@pytest.mark.parametrize("wanted", [place("c", 4), place("a", 1, 2)])
def test_the_limit_comes_before_everything_else(wanted: Place) -> None:
    """With how many there are and how many there may be."""
    admission = Admission(AdmissionRules(max_sessions=2))
    with pytest.raises(SessionLimitError) as refused:
        admission.check_place(wanted, OPEN)

    assert (refused.value.current, refused.value.max) == (2, 2)


@pytest.mark.parametrize("way", [(1,), (1, 2, 9)])
def test_nested_projects_can_be_allowed_and_the_same_one_cannot(way: Keys) -> None:
    """`allow_nested`."""
    admission = Admission(AdmissionRules(max_sessions=9, allow_nested=True))
    admission.check_place(place("c", *way), OPEN)

    with pytest.raises(ProjectAlreadyOpenError) as refused:
        admission.check_place(place("c", 1, 2), OPEN)
    assert not refused.value.nested


def test_the_same_project_is_named_before_one_around_it() -> None:
    """Whatever the order in which they were opened."""
    nested = Admission(AdmissionRules(max_sessions=9, allow_nested=True))
    outer, inner = place("outer", 1), place("inner", 1, 2)
    nested.check_place(inner, [outer])

    strict = Admission(AdmissionRules(max_sessions=9))
    assert refusal_of(strict, place("c", 1, 2), [outer, inner]) == refusal_as_text(
        ProjectAlreadyOpenError("inner")
    )


def test_attempts_are_counted_by_the_clock_that_is_given() -> None:
    """Two at once, then one every five seconds; without a rate, any number."""
    admission = Admission(AdmissionRules(max_sessions=1, attempts=2, seconds=10.0))
    admission.count_attempt(0.0)
    admission.count_attempt(0.0)
    with pytest.raises(RateLimitedError) as refused:
        admission.count_attempt(1.0)

    assert refused.value.retry_after == pytest.approx(4.0)
    admission.count_attempt(5.0)
    free = Admission(AdmissionRules(max_sessions=1))
    for _ in range(1000):
        free.count_attempt(0.0)


ways = st.lists(st.integers(0, 2), max_size=4).map(tuple)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), ways), max_size=12), st.booleans())
def test_whoever_is_let_in_keeps_the_rules(
    attempts: list[tuple[str, Keys]],
    allow_nested: bool,  # noqa: FBT001 - from Hypothesis
) -> None:
    """At any time: few enough, ids and projects different, none within another."""
    admission = Admission(AdmissionRules(max_sessions=4, allow_nested=allow_nested))
    taken: dict[str, Keys] = {}
    for session_id, way in attempts:
        places = [place(other, *at) for other, at in taken.items()]
        clash = any(
            way == at or (not allow_nested and (way[: len(at)] == at or at[: len(way)] == way))
            for at in taken.values()
        )
        free = len(taken) < 4 and session_id not in taken and not clash

        assert (refusal_of(admission, place(session_id, *way), places) == "") is free
        if free:
            taken[session_id] = way


@given(ways, ways)
def test_being_nested_has_no_direction(one: Keys, other: Keys) -> None:
    """Whoever comes second is refused."""
    first, second = place("a", *one), place("b", *other)

    assert first.is_nested_with(second) == second.is_nested_with(first)
    assert first.is_nested_with(second) == (
        one != other and (one[: len(other)] == other or other[: len(one)] == one)
    )
