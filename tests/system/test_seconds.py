"""What a time in seconds is: the same for every argument that takes one."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jidocode import (
    CallError,
    InvalidRequestError,
    InvalidTimeError,
    SessionHandle,
    SessionSystem,
)
from jidocode.otp import INFINITY, GenServer, NoReply, Refuse, Reply
from jidocode.testing import FakeClock, eventually, nothing_left, wait_for_exit

BAD: list[Any] = [math.nan, -math.inf, -1, -0.001, 1e10, 2**5000, "5", True, timedelta(seconds=1)]

Wait = Callable[[SessionSystem, SessionHandle, Any], object]

WAITS: dict[str, Wait] = {
    "an event of a system": lambda system, _, t: system.events().get(timeout=t),
    "a change": lambda _, session, t: session.state.subscribe(from_seq=1).get(timeout=t),
    "an end": lambda system, session, t: system.monitor(("state", session.id)).wait(t),
    "an answer": lambda _, session, t: session.call("state", "anything", timeout=t),
    "an answer by name": lambda system, session, t: system.call(
        ("state", session.id), "anything", timeout=t
    ),
    "a stop": lambda system, session, t: system.stop(("state", session.id), timeout=t),
    "a test": lambda _, __, t: eventually(lambda: True, timeout=t),
    "an end in a test": lambda system, session, t: wait_for_exit(
        system, system.get_state(session.id), timeout=t
    ),
    "an end of all": lambda _, __, t: nothing_left(timeout=t).__enter__(),
}


def test_who_waits_for_no_time_is_told_so(system: SessionSystem, session: SessionHandle) -> None:
    """At once, and what was wrong; it would have hung, or ended at once in silence."""
    for what, wait in WAITS.items():
        for seconds in BAD:
            with pytest.raises(InvalidTimeError, match=r"^timeout must be seconds >= 0") as told:
                wait(system, session, seconds)
            assert told.value.argument == "timeout", what
            assert isinstance(told.value, ValueError)


def test_who_waits_for_a_page_of_changes_is_told_so(session: SessionHandle) -> None:
    """As of any other argument of an operation, which has a limit of its own."""
    bad: list[Any] = [*BAD, 61, None]
    for seconds in bad:
        with pytest.raises(InvalidRequestError, match=r"^wait must be 0 to 60 seconds"):
            session.state.events(after_seq=0, wait=seconds)


def test_all_the_time_there_is_may_be_waited(system: SessionSystem, session: SessionHandle) -> None:
    """0 is to look, and INFINITY has no end."""
    events, changes = system.events(), session.state.subscribe(from_seq=1)
    monitor = system.monitor(("manager", session.id))
    for seconds in (0, 0.0):
        assert events.get(timeout=seconds) is None
        assert monitor.wait(seconds) is None
    assert changes.get(timeout=INFINITY) is not None
    with pytest.raises(CallError, match="does not know"):
        session.call("state", "anything", timeout=INFINITY)
    session.stop()
    for seconds in (INFINITY, 1e9):
        assert events.get(timeout=seconds) is not None
        assert monitor.wait(seconds) is not None


@pytest.mark.parametrize("seconds", BAD)
def test_a_server_can_put_nothing_off_for_no_time(seconds: Any) -> None:
    """It is told in the very line."""
    server = GenServer()
    for ask in (server.call, server.send_request):
        with pytest.raises(InvalidTimeError, match=r"^timeout must be seconds"):
            ask(("any", "body"), "hello", timeout=seconds)
    with pytest.raises(InvalidTimeError, match=r"^delay must be seconds"):
        server.send_after(seconds, "late")
    results: list[Callable[[], object]] = [
        lambda: Reply(timeout=seconds),
        lambda: NoReply(timeout=seconds),
        lambda: Refuse(ValueError(), timeout=seconds),
    ]
    for result in results:
        with pytest.raises(InvalidTimeError, match=r"^timeout must be seconds"):
            result()


@pytest.mark.parametrize("seconds", [*BAD, INFINITY])
def test_no_such_time_passes_on_a_clock(seconds: Any) -> None:
    """Nor all the time there is."""
    clock = FakeClock()
    with pytest.raises(InvalidTimeError, match=r"^seconds must be"):
        clock.advance(seconds)

    assert clock.now == 0
