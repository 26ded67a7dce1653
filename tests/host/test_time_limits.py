"""When calls end that nobody answers in time: one thread sees to that for all who limit them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import pytest

from jidocode._host.client.calls import CallLedger, PendingCall
from jidocode._host.client.directory import Directory
from jidocode._host.client.messenger import AppMessenger
from jidocode._host.deadline import Deadline
from jidocode.base.refs import ActorRef
from jidocode.errors import CallTimeoutError


class Timers:
    """A messenger that sets timers, and goes through them when the test wants it."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], None]]] = []
        self.at_once = False

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """Set one; the reader may be faster than who sets it."""
        self.set.append((when, callback))
        if self.at_once:
            self.go_off()

    def go_off(self) -> None:
        """Call what is due."""
        due = [timer for timer in self.set if timer[0] <= time.monotonic()]
        for timer in due:
            self.set.remove(timer)
            timer[1]()


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def ledger(timers: Timers) -> CallLedger:
    return CallLedger(cast("AppMessenger", timers), Directory(lambda _ref, _reason: None))


def limit(ledger: CallLedger, seconds: float) -> PendingCall:
    """Return a call under way that is to end after *seconds*."""
    pending = PendingCall(next(ledger._numbers), ActorRef("worker", 1, 1), "somebody")
    ledger._pending[pending.number] = pending
    ledger.limit(pending, Deadline.after(seconds))
    return pending


def await_ends(timers: Timers, *calls: PendingCall, within: float = 5.0) -> None:
    end = time.monotonic() + within
    while time.monotonic() < end and not all(call.ended for call in calls):
        timers.go_off()
    for call in calls:
        with pytest.raises(CallTimeoutError):
            call.result()


@pytest.mark.parametrize("seconds", [0.0, 1e-9])
def test_one_that_ends_while_it_is_limited_keeps_no_other_from_ending(
    timers: Timers, ledger: CallLedger, seconds: float
) -> None:
    """The reader may end it before whoever limits it has noted that it will look."""
    timers.at_once = True
    first = limit(ledger, seconds)
    timers.at_once = False
    await_ends(timers, first, *(limit(ledger, 0.01 * number) for number in range(3)))


def test_timers_do_not_add_up(timers: Timers, ledger: CallLedger) -> None:
    """Though there is always one call that may take long, as who follows a session makes."""
    calls = [limit(ledger, 60.0)]
    for _ in range(50):
        short = limit(ledger, 0.001)
        await_ends(timers, short)
        calls.append(limit(ledger, 60.0))
    assert not any(call.ended for call in calls)
    assert len(timers.set) <= 2


def test_what_has_no_end_takes_no_timer(timers: Timers, ledger: CallLedger) -> None:
    limit(ledger, float("inf"))
    assert timers.set == []
