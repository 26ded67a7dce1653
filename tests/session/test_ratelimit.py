"""How often a session may be tried to be created."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import example, given, strategies as st

from jidocode.session.admission.bucket import TokenBucket


def test_a_full_bucket_allows_a_burst_and_then_says_how_long_to_wait() -> None:
    """Three at once, then one every two seconds."""
    bucket = TokenBucket(3, 6.0)
    answers = [bucket.take(0.0) for _ in range(4)]

    assert answers == [0.0, 0.0, 0.0, 2.0]
    assert bucket.take(1.0) == pytest.approx(1.0)
    assert bucket.take(2.0) == 0.0


def test_a_bucket_never_holds_more_than_its_size() -> None:
    """A long rest allows no more than a burst."""
    bucket = TokenBucket(2, 1.0)
    bucket.take(0.0)
    answers = [bucket.take(1e6) for _ in range(3)]

    assert answers == [0.0, 0.0, 0.5]


@given(
    st.integers(1, 50),
    st.floats(0.1, 1000),
    st.floats(0, 1e7),
    st.lists(st.floats(0, 1), max_size=10),
)
@example(1, 6.2, 0.0, [2.1])
def test_whoever_waits_as_long_as_told_is_allowed(
    attempts: int, seconds: float, start: float, pauses: list[float]
) -> None:
    """Exactly as long, whatever rounding does, and however often it was asked meanwhile."""
    bucket = TokenBucket(attempts, seconds)
    assert [bucket.take(start) for _ in range(attempts)] == [0.0] * attempts
    promised: list[float] = []
    for now in [start, *(start + pause for pause in sorted(pauses))]:
        retry_after = bucket.take(now)
        if not retry_after:
            break
        promised.append(now + retry_after)
        for time in promised:
            assert deepcopy(bucket).take(time) == 0.0


@given(
    st.integers(1, 5),
    st.floats(0.5, 10),
    st.lists(st.floats(0, 3), max_size=60),
)
def test_no_window_sees_more_than_the_bucket_and_what_was_filled_in(
    attempts: int, seconds: float, pauses: list[float]
) -> None:
    """For every run of attempts: at most size + elapsed x rate succeed."""
    bucket = TokenBucket(attempts, seconds)
    now, taken = 0.0, list[float]()
    for pause in pauses:
        now += pause
        retry_after = bucket.take(now)
        if not retry_after:
            taken.append(now)
        else:
            assert 0 < retry_after <= seconds / attempts + 1e-9
    for index, start in enumerate(taken):
        for count, end in enumerate(taken[index:], 1):
            assert count <= attempts + (end - start) * attempts / seconds + 1e-6
