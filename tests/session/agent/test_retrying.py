"""When a model is asked again, what a server's refusal is, and how long it wants one to wait."""

from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from jidocode.errors import (
    ContextOverflowError,
    InvalidTimeError,
    ModelAuthenticationError,
    ModelError,
    ModelInterruptedError,
    ModelRequestError,
    ModelUnavailableError,
)
from jidocode.session.agent.failures import error_of, refusal_of, seconds_of, shown
from jidocode.session.agent.retrying import RetryRules, wait_before_next
from jidocode.session.agent.turn import TurnOutcome

RULES = RetryRules(attempts=4, seconds=30, first_wait=0.5, longest_wait=8)
BUSY = ModelUnavailableError("busy", 429)


@pytest.mark.parametrize(
    ("error", "asked", "elapsed", "chance", "expected"),
    [
        (BUSY, 1, 0.0, 1.0, 0.5),
        (BUSY, 1, 0.0, 0.0, 0.25),
        (BUSY, 2, 0.0, 1.0, 1.0),
        (BUSY, 3, 0.0, 1.0, 2.0),
        (BUSY, 4, 0.0, 1.0, None),  # asked as often as may
        (BUSY, 1, 29.5, 1.0, 0.5),
        (BUSY, 1, 29.6, 1.0, None),  # it would take too long
        (ModelUnavailableError("busy", 503, 7.0), 1, 0.0, 0.5, 7.0),
        (ModelUnavailableError("busy", 503, 0.1), 2, 0.0, 1.0, 1.0),
        (ModelUnavailableError("busy", 429, 31.0), 1, 0.0, 0.5, None),  # not even waited for
        (ModelUnavailableError("refused"), 1, 0.0, 1.0, 0.5),
        (ModelInterruptedError("cut"), 1, 0.0, 1.0, None),
        (ModelRequestError("no", 400), 1, 0.0, 1.0, None),
        (ModelAuthenticationError("no", 401), 1, 0.0, 1.0, None),
        (ModelError("no"), 1, 0.0, 1.0, None),
    ],
)
def test_what_is_done_after_which_failure(
    error: ModelError, asked: int, elapsed: float, chance: float, expected: float | None
) -> None:
    """Asked again after seconds, or not at all."""
    assert wait_before_next(RULES, error, asked=asked, elapsed=elapsed, chance=chance) == expected


@given(st.floats(0, 1), st.floats(0, 100), st.none() | st.floats(0, 100))
def test_it_ends(chance: float, took: float, retry_after: float | None) -> None:
    """In number and in seconds, whatever a server says."""
    rules = RetryRules(attempts=1_000, seconds=30)
    error, elapsed, asked = ModelUnavailableError("busy", 429, retry_after), 0.0, 0
    while True:
        asked, elapsed = asked + 1, elapsed + took
        wait = wait_before_next(rules, error, asked=asked, elapsed=elapsed, chance=chance)
        if wait is None:
            break
        elapsed += wait
    assert asked <= 130  # 30 s in waits of a quarter of a second, and more
    assert elapsed <= 30 + took


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [("soon", 0.5), (math.nan, 0.5), (-1.0, 0.5), (math.inf, None), (10**400, None)],
)
def test_a_wait_that_makes_no_sense_breaks_nobody(retry_after: Any, expected: float | None) -> None:
    """An error of a model that is not ours may have anything."""
    error = ModelUnavailableError("busy", 429, retry_after)
    assert wait_before_next(RULES, error, asked=1, elapsed=0.0, chance=1.0) == expected


def test_waits_are_times() -> None:
    """Anything else is refused when it is given."""
    with pytest.raises(InvalidTimeError):
        RetryRules(seconds=-1)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": {"message": "bad key"}}, ModelAuthenticationError),
        (403, "forbidden", ModelAuthenticationError),
        (408, None, ModelUnavailableError),
        (409, None, ModelUnavailableError),
        (429, {"error": "slow down"}, ModelUnavailableError),
        (500, None, ModelUnavailableError),
        (529, {"message": "overloaded"}, ModelUnavailableError),
        (400, {"detail": "what?"}, ModelRequestError),
        (404, "no such model", ModelRequestError),
        (422, {"detail": [{"loc": "x"}]}, ModelRequestError),
        (400, {"error": {"code": "context_length_exceeded"}}, ContextOverflowError),
        (400, {"error": {"message": "prompt is too long: 9 tokens"}}, ContextOverflowError),
        (
            400,
            {"error": {"type": "exceed_context_size_error", "message": "x", "code": 400}},
            ContextOverflowError,
        ),
        (
            400,
            {"message": "This model's maximum context length is 4096 tokens"},
            ContextOverflowError,
        ),
        (500, {"error": "the request exceeds the available context size"}, ContextOverflowError),
        (429, {"error": "context window"}, ModelUnavailableError),
    ],
)
def test_what_a_refusal_is(status: int, body: object, expected: type[ModelError]) -> None:
    """By its status, and for a conversation that is too long by its words."""
    error = error_of(refusal_of(status, body), None, [])

    assert type(error) is expected
    assert error.status == status
    assert str(status) in str(error)
    assert TurnOutcome(error.kind)


def test_a_refusal_by_a_filter_is_told_apart() -> None:
    """It is an outcome of its own."""
    assert refusal_of(400, {"error": {"code": "content_filter"}}).is_filter
    assert not refusal_of(400, {"error": {"code": "invalid"}}).is_filter


def test_an_error_is_bounded_and_has_no_key_in_it() -> None:
    """Servers quote the key, and whole requests."""
    body = {"error": {"message": "Incorrect key sk-secret\n\x1b[31m" + "x" * 100_000}}
    error = error_of(refusal_of(401, body), None, ["sk-secret", ""])

    assert "secret" not in str(error)
    assert "secret" not in repr(error)
    assert len(str(error)) < 1_000
    assert str(error).isprintable()


def test_a_key_at_the_edge_of_what_is_shown_is_none() -> None:
    """It is taken out before the text is cut."""
    text = "x" * 495 + "sk-secret-key"

    assert "sk-" not in shown(text, ["sk-secret-key"])


def test_errors_cross_processes() -> None:
    """With all they know."""
    error = pickle.loads(pickle.dumps(ModelUnavailableError("busy", 429, 1.5)))

    assert (error.status, error.retry_after, error.kind) == (429, 1.5, "unavailable")
    assert str(error) == "the model cannot answer now: busy"


NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("2", 2.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("Fri, 27 Nov 2026 12:00:20 GMT", 20.0),
        ("Fri, 27 Nov 2026 12:00:20 -0000", 20.0),
        ("Fri, 27 Nov 2026 11:59:00 GMT", 0.0),
        ("Fri, 99 Nov 2026 12:00:20 GMT", None),
    ],
)
def test_retry_after(header: str | None, expected: float | None) -> None:
    """Seconds, or a date."""
    assert seconds_of(header, NOW) == expected
