"""Monitors: exactly one `Down` for each, whatever the notices of death do."""

from __future__ import annotations

from jidocode.base.exits import Crashed, Killed, NoProcess, Normal
from jidocode.base.refs import ActorRef
from jidocode.otp.naming.monitors import TOMBSTONES, Monitors, Notify
from jidocode.otp.server.messages import Down


def life(number: int) -> ActorRef:
    return ActorRef("state", number, 100 + number, number)


def test_each_of_several_monitors_brings_one_down_in_the_order_they_were_set() -> None:
    """OTP: n monitors of one process by one process bring n `DOWN`s."""
    monitors = Monitors()
    reason = Crashed("ValueError: no", "traceback")
    set_ = [monitors.monitor(token, life(1), "app") for token in (3, 1, 2)]

    assert set_ == [[], [], []]
    assert monitors.process_died(life(1), reason) == [
        Notify("app", Down(token, life(1), reason)) for token in (3, 1, 2)
    ]


def test_a_second_notice_of_a_death_brings_no_second_down() -> None:
    """Thespian tells of most deaths twice, and a pidfd tells of them once more."""
    monitors = Monitors()
    monitors.monitor(1, life(1), "app")

    assert len(monitors.process_died(life(1), Killed(9))) == 1
    assert monitors.process_died(life(1), Normal()) == []


def test_monitoring_the_dead_brings_no_process_at_once_and_not_the_old_reason() -> None:
    """OTP: `noproc`, although the reason was known once."""
    monitors = Monitors()
    monitors.process_died(life(1), Killed(9))

    assert monitors.monitor(7, life(1), "app") == [Notify("app", Down(7, life(1), NoProcess()))]
    assert monitors.process_died(life(1), Killed(9)) == []


def test_no_down_comes_after_demonitor() -> None:
    """A dropped monitor is silent, and its siblings are not."""
    monitors = Monitors()
    monitors.monitor(1, life(1), "app")
    monitors.monitor(2, life(1), "app")
    monitors.demonitor(1, "app")
    monitors.demonitor(1, "app")

    assert monitors.process_died(life(1), Killed(9)) == [Notify("app", Down(2, life(1), Killed(9)))]


def test_the_same_token_of_two_watchers_is_two_monitors() -> None:
    """Each process counts its own tokens."""
    monitors = Monitors()
    monitors.monitor(1, life(1), "app")
    monitors.monitor(1, life(1), "bot")
    monitors.demonitor(1, "app")

    assert monitors.process_died(life(1), Killed(9)) == [Notify("bot", Down(1, life(1), Killed(9)))]


def test_a_token_in_use_keeps_its_first_target() -> None:
    """A repeated request is one monitor, not two."""
    monitors = Monitors()
    monitors.monitor(1, life(1), "app")
    monitors.monitor(1, life(1), "app")
    monitors.monitor(1, life(2), "app")

    assert len(monitors.process_died(life(1), Killed(9))) == 1
    assert monitors.process_died(life(2), Killed(9)) == []


def test_a_monitor_does_not_follow_to_the_next_life() -> None:
    """A ref is one life, so the death of the next one says nothing about it."""
    monitors = Monitors()
    monitors.monitor(1, life(1), "app")

    assert monitors.process_died(life(2), Killed(9)) == []
    assert len(monitors.process_died(life(1), Killed(9))) == 1


def test_the_monitors_of_a_dead_watcher_are_dropped() -> None:
    """Nobody is left to be told."""
    monitors = Monitors()
    monitors.monitor(1, life(1), "app")
    monitors.monitor(2, life(1), "bot")
    monitors.watcher_died("app")

    assert monitors.process_died(life(1), Killed(9)) == [Notify("bot", Down(2, life(1), Killed(9)))]


def test_the_memory_of_the_dead_is_bounded() -> None:
    """The oldest deaths are forgotten, the last ones are not."""
    monitors = Monitors()
    for number in range(TOMBSTONES + 1):
        monitors.process_died(life(number), Killed(9))

    assert not monitors.is_dead(life(0))
    assert monitors.is_dead(life(1))
    assert monitors.is_dead(life(TOMBSTONES))


def test_dropped_monitors_leave_nothing_behind() -> None:
    """A table that lives as long as the app must not grow with its history."""
    monitors = Monitors()
    for token in range(3):
        monitors.monitor(token, life(token), "app")
    monitors.demonitor(0, "app")
    monitors.process_died(life(1), Killed(9))
    monitors.watcher_died("app")

    assert not monitors._monitors
    assert not monitors._targets
