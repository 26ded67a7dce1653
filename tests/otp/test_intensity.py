"""The budget of restarts, by vectors."""

from __future__ import annotations

import pytest

from jidocode.otp.supervision.intensity import RestartIntensity


@pytest.mark.parametrize(("max_restarts", "deaths"), [(0, 1), (1, 2), (3, 4)])
def test_death_that_is_one_too_many_is_the_next_after_the_budget(
    max_restarts: int, deaths: int
) -> None:
    """0 allows none, 1 allows one, 3 allow three restarts in the window."""
    intensity = RestartIntensity(max_restarts, 5.0)

    assert [intensity.allow(0.0) for _ in range(deaths)] == [True] * (deaths - 1) + [False]


@pytest.mark.parametrize(
    ("max_restarts", "max_seconds", "times", "allowed"),
    [
        # The window is inclusive: exactly max_seconds ago still counts.
        (1, 5.0, [0.0, 5.0], [True, False]),
        (1, 5.0, [0.0, 5.125], [True, True]),
        (2, 5.0, [0.0, 1.0, 5.0], [True, True, False]),
        (2, 5.0, [0.0, 1.0, 5.5], [True, True, True]),
        # It slides: each restart is forgotten for its own age.
        (1, 1.0, [0.0, 1.5, 3.0, 4.0], [True, True, True, False]),
        # A float, where OTP floors the clock to whole seconds: OTP counts 0.9 as 0 and
        # 6.0 as 6, forgets the first one at period 5, and would at 5.9 count both.
        (1, 5.0, [0.875, 5.9375], [True, True]),
        (1, 0.25, [0.0, 0.25], [True, False]),
        (1, 0.25, [0.0, 0.5], [True, True]),
        # The clock is monotonic, but its origin is anything.
        (1, 5.0, [-10.0, -5.0], [True, False]),
    ],
)
def test_window_slides_and_includes_its_border(
    max_restarts: int, max_seconds: float, times: list[float], allowed: list[bool]
) -> None:
    """Restarts at most *max_seconds* old count, and nothing else clears them."""
    intensity = RestartIntensity(max_restarts, max_seconds)

    assert [intensity.allow(now) for now in times] == allowed


def test_asking_counts_nothing() -> None:
    """Whether the budget is spent can be asked as often as one likes."""
    intensity = RestartIntensity(1, 5.0)

    assert [intensity.is_spent(0.0) for _ in range(3)] == [False] * 3
    assert intensity.allow(0.0)
    assert [intensity.is_spent(5.0), intensity.is_spent(5.125)] == [True, False]
