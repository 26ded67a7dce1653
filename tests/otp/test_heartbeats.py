"""A child's heartbeat: probes, answers, and what happens without them."""

from __future__ import annotations

from typing import Any

import pytest

from jidocode.base.exits import Crashed
from jidocode.base.refs import ActorRef
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.supervision.life import MISSED_HEARTBEATS, Life, LifeState
from jidocode.otp.supervision.machine import (
    After,
    ChildGone,
    ChildReady,
    HeartbeatDue,
    Kill,
    NameClaimed,
    Probe,
    PulseHeard,
)
from jidocode.otp.supervision.specs import ChildSpec, ChildType
from tests.otp.machines import supervise, worker

REF = ActorRef("worker", 1, 1001)
BEAT = After(2.0, HeartbeatDue(1))


def running(**options: Any) -> Life:
    """Return a life that runs."""
    life = Life(ChildSpec(id="a", start=GenServer, **options), 1)
    life.handle(NameClaimed(1))
    life.handle(ChildReady(1, REF))
    return life


def test_a_child_without_a_heartbeat_is_never_probed() -> None:
    """Which is the default."""
    life = Life(ChildSpec(id="a", start=GenServer), 1)
    life.handle(NameClaimed(1))

    assert life.handle(ChildReady(1, REF)) == []


def test_the_first_probe_comes_one_heartbeat_after_the_start() -> None:
    """And each answer buys another one."""
    life = Life(ChildSpec(id="a", start=GenServer, heartbeat=2.0), 1)
    life.handle(NameClaimed(1))

    assert life.handle(ChildReady(1, REF)) == [BEAT]
    for _ in range(5):
        assert life.handle(HeartbeatDue(1)) == [Probe(1), BEAT]
        assert life.handle(PulseHeard(1)) == []
    assert life.state is LifeState.RUNNING


def test_a_child_is_killed_when_too_many_probes_in_a_row_go_unanswered() -> None:
    """With a reason that says how long it was silent."""
    life = running(heartbeat=2.0)
    for _ in range(MISSED_HEARTBEATS):
        assert life.handle(HeartbeatDue(1)) == [Probe(1), BEAT]

    assert life.handle(HeartbeatDue(1)) == [Kill(1)]
    assert life.reason == Crashed("no heartbeat for 4 s")


def test_one_late_answer_starts_the_count_again() -> None:
    """A pause is no death."""
    life = running(heartbeat=2.0)
    for _ in range(3):
        for _ in range(MISSED_HEARTBEATS):
            life.handle(HeartbeatDue(1))
        life.handle(PulseHeard(1))

    assert life.state is LifeState.RUNNING


def test_a_child_that_is_being_stopped_is_not_probed() -> None:
    """Its shutdown time is what counts then."""
    life = running(heartbeat=2.0)
    life.stop()

    assert life.handle(HeartbeatDue(1)) == []


def test_a_worker_that_may_take_forever_to_stop_is_not_probed() -> None:
    """Its `terminate` answers nothing, and was given all the time there is."""
    life = running(heartbeat=2.0, shutdown=INFINITY)
    life.stop()

    assert life.handle(HeartbeatDue(1)) == []


def test_a_supervisor_that_may_take_forever_to_stop_is_probed() -> None:
    """Nothing else would ever end one that hangs."""
    life = running(heartbeat=2.0, type=ChildType.SUPERVISOR)
    life.stop()
    for _ in range(MISSED_HEARTBEATS):
        assert life.handle(HeartbeatDue(1)) == [Probe(1), BEAT]

    assert life.handle(HeartbeatDue(1)) == [Kill(1)]
    life.handle(ChildGone(1, -9))
    assert life.state is LifeState.ENDED
    assert life.on_request


def test_a_supervisor_that_hangs_while_it_is_stopped_does_not_hold_up_the_others() -> None:
    """Its own supervisor kills it, and goes on with the stop."""
    world = supervise(worker("a"), worker("b", type=ChildType.SUPERVISOR, heartbeat=2.0))
    world.stubborn.add("b")
    world.start()

    assert world.shut_down() == ["stop b#2"]
    assert world.advance(6.0)[-5:] == [
        "kill b#2",
        "stopped b#2: crashed: no heartbeat for 4 s",
        "stop a#1",
        "stopped a#1: shutdown",
        "exit: shutdown",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heartbeat", 0),
        ("heartbeat", -1.0),
        ("heartbeat", float("inf")),
        ("heartbeat", "often"),
        ("memory_limit", 0),
        ("memory_limit", 1.5),
        ("memory_limit", True),
        ("memory_limit", 2**63),
    ],
)
def test_bad_values_are_refused(field: str, value: object) -> None:
    """With the field's name and what came."""
    with pytest.raises(InvalidChildSpecError, match=field):
        ChildSpec(id="a", start=GenServer, **{field: value})  # type: ignore[arg-type] # that is the point
