"""How a scenario is declared: its name, what it does, and where the two sides are to differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from attrs import frozen
from stage import Stage


@frozen
class Difference:
    """Lines that differ: what OTP notes, what is noted here, and where it is listed.

    *listed* is how the row of docs/semantics.md begins that gives the reason.
    """

    otp: Sequence[str]
    here: Sequence[str]
    listed: str


@frozen
class Scenario:
    """What is done, and the differences that are expected."""

    body: Callable[[Stage], None]
    differences: Sequence[Difference]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, *differences: Difference, each: Iterable[tuple[Any, ...]] = ((),)
) -> Callable[[Callable[..., None]], None]:
    """Have a function be a scenario, once with each of some arguments, which are in its name."""

    def add(body: Callable[..., None]) -> None:
        for arguments in each:
            full = name.format(*arguments)
            assert full not in SCENARIOS, full
            rest = body if not arguments else partial(_with, body, arguments)
            SCENARIOS[full] = Scenario(rest, differences)

    return add


def _with(body: Callable[..., None], arguments: tuple[Any, ...], stage: Stage) -> None:
    body(stage, *arguments)
