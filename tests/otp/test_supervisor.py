"""`SupervisorLoop` against OTP's rules, one scenario per rule, in a world without processes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from jidocode.base.exits import NORMAL, SHUTDOWN, Crashed, ExitReason, Shutdown
from jidocode.base.refs import ActorRef
from jidocode.errors import (
    AlreadyStartedError,
    ChildNotFoundError,
    SupervisorError,
)
from jidocode.otp.seconds import INFINITY
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import Ignore
from jidocode.otp.supervision.events import ChildExited, ChildStarted, ChildStartFailed, GaveUp
from jidocode.otp.supervision.machine import (
    ChildFailed,
    ChildGone,
    ChildReady,
    NameClaimed,
    RegistryUp,
    RequestReceived,
    RetryRestart,
    ShutdownRequested,
)
from jidocode.otp.supervision.management import (
    ChildCounts,
    ChildInfo,
    ChildStatus,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from jidocode.otp.supervision.specs import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildSpec,
    ChildType,
    Flags,
    Start,
)
from jidocode.otp.supervision.strategy import Restart, Strategy
from jidocode.otp.supervision.supervisor import SupervisorLoop
from tests.otp.machines import SUPERVISOR, Tree, Worker, World, supervise, worker

KILLED = "killed by signal 9"
CRASHED = "crashed: ValueError: no"
NO = "crashed: OSError: no"


def started(*children: ChildSpec, **flags: Any) -> World:
    """Return the world of a supervisor that is up."""
    world = supervise(*children, **flags)

    assert world.start()[-1:] == ["initialised"]
    return world


def abc(strategy: Strategy, **flags: Any) -> World:
    """Return the world of a supervisor of three permanent workers."""
    return started(worker("a"), worker("b"), worker("c"), strategy=strategy, **flags)


def statuses(world: World) -> dict[str, ChildStatus]:
    """Return how the children stand."""
    infos: Any = world.answer(WhichChildren())
    return {info.id: info.status for info in infos}


# ----- start ---------------------------------------------------------------------


def test_children_start_from_left_to_right_one_after_the_other() -> None:
    """B1: the next one starts when the init of the one before is done."""
    world = supervise(worker("a"), worker("b"))
    world.slow = {"a"}

    assert world.start() == ["spawn a#1"]
    assert world.ready("a") == ["started a#1", "spawn b#2", "started b#2", "initialised"]


def test_supervisor_without_children_is_up_at_once() -> None:
    """B1: there is nothing to wait for."""
    assert supervise().start() == ["initialised"]


def test_failed_start_stops_what_was_started_in_reverse_order() -> None:
    """B2: later ones never start, and the reason names child and cause."""
    world = supervise(worker("a"), worker("b"), worker("c"), worker("d"))
    world.failing["c"] = 1

    log = world.start()

    assert log == [
        *("spawn a#1", "started a#1", "spawn b#2", "started b#2", "spawn c#3", "kill c#3"),
        f"not started c: {NO}",
        *("stop b#2", "stopped b#2: shutdown", "stop a#1", "stopped a#1: shutdown"),
        f"failed: shutdown (failed to start child c: {NO})",
    ]


def test_nothing_is_restarted_while_a_failed_start_is_rolled_back() -> None:
    """B2: a child that died during the start is not brought back by its end."""
    world = supervise(worker("a"), worker("b"))
    world.slow = {"b"}
    world.start()

    assert world.kill("a") == [f"exited a#1: {KILLED}, restarting"]
    assert world.kill("b") == [
        f"not started b: {KILLED}",
        f"failed: shutdown (failed to start child b: {KILLED})",
    ]
    assert world.ask(StartChild(worker("c"))) == []
    assert world.shut_down() == []


def test_stop_during_a_roll_back_changes_nothing() -> None:
    """B2: the start has failed, and says so when all are stopped."""
    world = supervise(worker("a"), worker("b"))
    world.stubborn = {"a"}
    world.failing["b"] = 1
    world.start()

    assert world.shut_down() == []
    assert world.kill("a")[-1] == f"failed: shutdown (failed to start child b: {NO})"


def test_death_during_the_start_is_handled_after_it() -> None:
    """C9: the start goes on, then the dead child is restarted."""
    world = supervise(worker("a"), worker("b"))
    world.slow = {"b"}
    world.start()
    world.kill("a")

    assert world.ready("b") == ["started b#2", "initialised", "spawn a#3", "started a#3"]


def test_ignoring_child_is_kept_without_a_process() -> None:
    """B4: it counts as a spec, not as active; a temporary one is forgotten."""
    world = supervise(worker("a"), worker("b"), worker("t", restart=Restart.TEMPORARY))
    world.ignoring = {"a", "t"}

    assert world.start() == [
        *("spawn a#1", "kill a#1", "spawn b#2", "started b#2", "spawn t#3", "kill t#3"),
        "initialised",
    ]
    assert statuses(world) == {"a": ChildStatus.STOPPED, "b": ChildStatus.RUNNING}
    assert world.answer(CountChildren()) == ChildCounts(2, 1, 0, 2)


def test_hanging_init_is_killed_at_its_deadline() -> None:
    """B5: the start has failed then, with a reason that says so."""
    world = supervise(worker("a", init_timeout=2.0))
    world.slow = {"a"}
    world.start()

    assert world.advance(1.9) == []
    assert world.advance(0.1) == [
        "kill a#1",
        "not started a: crashed: init took longer than 2 s",
        "failed: shutdown (failed to start child a: crashed: init took longer than 2 s)",
    ]


def test_init_deadline_means_nothing_once_init_is_done() -> None:
    """B5: the deadline is for init only."""
    world = started(worker("a", init_timeout=2.0))

    assert world.advance(10) == []


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "init must return Flags and a sequence of children, got None"),
        ((Flags(),), "init must return Flags and a sequence of children, got a value of type"),
        (("flags", ()), "init must return Flags and a sequence of children, got a value of type"),
        ((Flags(), 7), "'int' object is not iterable"),
        ((Flags(), ["a"]), "a child must be a ChildSpec, got 'a'"),
        ((Flags(), [worker("a"), worker("a")]), "two children have the id 'a'"),
    ],
)
def test_bad_value_from_init_fails_the_start(returned: object, message: str) -> None:
    """A4, A8: nothing is started, and the reason says what was wrong."""
    start = Start(Tree, returned)
    world = World(SupervisorLoop.of(start, SUPERVISOR), start)

    (line,) = world.start()

    assert line.startswith("failed: crashed: ")
    assert message in line


def test_init_of_a_supervisor_may_ignore() -> None:
    """A8: it does not run, and that is no failure."""
    start = Start(Tree, Ignore())

    assert World(SupervisorLoop.of(start, SUPERVISOR), start).start() == ["ignored"]


# ----- strategies ----------------------------------------------------------------


def test_one_for_one_replaces_the_dead_child_only() -> None:
    """C1: the others are not touched."""
    world = abc(Strategy.ONE_FOR_ONE)

    assert world.kill("b") == [f"exited b#2: {KILLED}, restarting", "spawn b#4", "started b#4"]
    assert world.alive == ["a#1", "c#3", "b#4"]


def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() -> None:
    """C2: one after the other, both ways."""
    world = abc(Strategy.ONE_FOR_ALL)

    assert world.kill("b") == [
        f"exited b#2: {KILLED}, restarting",
        *("stop c#3", "stopped c#3: shutdown, restarting"),
        *("stop a#1", "stopped a#1: shutdown, restarting"),
        *("spawn a#4", "started a#4", "spawn b#5", "started b#5", "spawn c#6", "started c#6"),
    ]


def test_rest_for_one_restarts_the_dead_child_and_those_after_it() -> None:
    """C3: those before it are not touched."""
    world = abc(Strategy.REST_FOR_ONE)

    assert world.kill("b") == [
        f"exited b#2: {KILLED}, restarting",
        *("stop c#3", "stopped c#3: shutdown, restarting"),
        *("spawn b#4", "started b#4", "spawn c#5", "started c#5"),
    ]


def test_next_child_is_stopped_only_when_the_one_before_is_dead() -> None:
    """C2: the stops of a group are sequential, each with its own deadline."""
    world = abc(Strategy.ONE_FOR_ALL)
    world.stubborn = {"c"}

    assert world.kill("b")[1:] == ["stop c#3"]
    assert world.advance(4.9) == []
    assert world.advance(0.1)[:3] == [
        "kill c#3",
        f"stopped c#3: {KILLED}, restarting",
        "stop a#1",
    ]


def test_group_restart_revives_stopped_and_finished_children() -> None:
    """C4: all kept specs are started again."""
    world = started(
        worker("a"),
        worker("b", restart=Restart.TRANSIENT),
        worker("c"),
        strategy=Strategy.ONE_FOR_ALL,
    )
    world.ask(TerminateChild("a"))
    world.end("b")

    assert world.kill("c")[-6:] == [
        *("spawn a#4", "started a#4", "spawn b#5", "started b#5", "spawn c#6", "started c#6"),
    ]


def test_group_restart_removes_temporary_siblings() -> None:
    """C5: they are stopped, and their specs are forgotten."""
    world = started(
        worker("a"), worker("t", restart=Restart.TEMPORARY), strategy=Strategy.ONE_FOR_ALL
    )

    assert world.kill("a") == [
        f"exited a#1: {KILLED}, restarting",
        *("stop t#2", "stopped t#2: shutdown", "spawn a#3", "started a#3"),
    ]
    assert world.answer(GetChildSpec("t")).__class__ is ChildNotFoundError


def test_group_restart_counts_once_whatever_its_siblings_do() -> None:
    """C6: siblings that die by themselves while the group is stopped are absorbed."""
    world = abc(Strategy.ONE_FOR_ALL, max_restarts=1)
    world.stubborn = {"c"}
    world.kill("b")

    assert world.kill("a") == [f"exited a#1: {KILLED}, restarting"]
    assert world.crash("c")[-1] == "started c#6"
    assert world.alive == ["a#4", "b#5", "c#6"]


def test_simultaneous_deaths_count_once_each_under_one_for_one() -> None:
    """C7: two deaths, two restarts of the budget."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=1)

    assert world.kill("a", "b") == [
        *(f"exited a#1: {KILLED}, restarting", "spawn a#4", f"exited b#2: {KILLED}"),
        *("started a#4", f"gave up b: {KILLED}"),
        *("stop c#3", "stopped c#3: shutdown", "stop a#4", "stopped a#4: shutdown"),
        "exit: shutdown (gave up on 'b')",
    ]


def test_simultaneous_deaths_are_one_restart_of_a_group() -> None:
    """C6: the second death is part of the restart that the first began."""
    world = abc(Strategy.ONE_FOR_ALL, max_restarts=1)

    world.kill("a", "b", "c")

    assert world.alive == ["a#4", "b#5", "c#6"]


def test_notice_of_an_earlier_life_changes_nothing() -> None:
    """C8: news is matched by incarnation, so a late or doubled notice is stale."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.kill("b")

    assert world.feed(ChildGone(2, -9), ChildGone(2, None), ChildGone(99, -9)) == []
    assert world.alive == ["a#1", "c#3", "b#4"]


def test_death_of_an_earlier_sibling_during_a_cycle_is_a_second_cycle() -> None:
    """C9: rest_for_one ends its cycle first, then begins another one."""
    world = abc(Strategy.REST_FOR_ONE)
    world.slow = {"c"}
    world.kill("c")

    assert world.kill("a") == [f"exited a#1: {KILLED}, restarting"]
    world.slow = set()
    assert world.ready("c")[:4] == [
        *("started c#4", "stop c#4", "stopped c#4: shutdown, restarting", "stop b#2"),
    ]
    assert world.alive == ["a#5", "b#6", "c#7"]


def test_requests_wait_for_a_running_cycle_in_the_order_they_came() -> None:
    """C10: supervisor work is serial; only questions are answered at once."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.slow = {"a"}
    world.kill("a")

    assert world.ask(TerminateChild("b")) == []
    assert world.kill("c") == [f"exited c#3: {KILLED}, restarting"]
    assert world.ask(StartChild(worker("d"))) == []
    assert statuses(world) == {
        "a": ChildStatus.RESTARTING,
        "b": ChildStatus.RUNNING,
        "c": ChildStatus.RESTARTING,
    }
    assert world.ready("a") == [
        "started a#4",
        *("stop b#2", "stopped b#2: shutdown", "reply 1: None"),
        *("spawn c#5", "started c#5"),
        *("spawn d#6", "started d#6", "reply 2: worker#6 (pid 1006)"),
    ]


def test_request_that_came_before_a_death_takes_its_place() -> None:
    """C10: a child that was to be terminated anyway is not restarted, and costs no budget."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=1)
    world.slow = {"a"}
    world.kill("a")
    world.ask(TerminateChild("b"))
    world.kill("b")

    assert world.ready("a") == ["started a#4", "reply 1: None"]
    assert statuses(world)["b"] is ChildStatus.STOPPED


def test_death_that_a_group_restart_has_overtaken_is_not_acted_upon() -> None:
    """C6, E10: a child that then ignores is not started again for its old death."""
    world = started(worker("a"), worker("b"), strategy=Strategy.ONE_FOR_ALL, max_restarts=1)
    world.ignoring = {"b"}

    assert world.kill("a", "b") == [
        *(f"exited a#1: {KILLED}, restarting", "stop b#2", f"stopped b#2: {KILLED}, restarting"),
        *("spawn a#3", "started a#3", "spawn b#4", "kill b#4"),
    ]
    assert statuses(world) == {"a": ChildStatus.RUNNING, "b": ChildStatus.STOPPED}


def test_a_thousand_requests_that_wait_are_served_in_one_go() -> None:
    """C10: serving what waits needs no stack."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.ask(TerminateChild("b"))
    world.slow = {"a"}
    world.kill("a")
    for _ in range(2000):
        world.ask(TerminateChild("b"))

    assert len(world.ready("a")) == 2001


# ----- restart types ---------------------------------------------------------------


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("done")], ids=str)
def test_transient_child_that_ends_well_stays_down(reason: ExitReason) -> None:
    """D: its spec is kept without a process, siblings are untouched, nothing is counted."""
    world = started(
        worker("a", restart=Restart.TRANSIENT), worker("b"), strategy=Strategy.ONE_FOR_ALL
    )

    assert world.end("a", reason) == [f"exited a#1: {reason}"]
    assert statuses(world) == {"a": ChildStatus.STOPPED, "b": ChildStatus.RUNNING}


def test_temporary_child_is_forgotten_whatever_its_end() -> None:
    """D3: its id is free at once."""
    world = started(worker("a", restart=Restart.TEMPORARY), max_restarts=0)

    assert world.kill("a") == [f"exited a#1: {KILLED}"]
    assert world.ask(StartChild(worker("a")))[-1] == "reply 1: worker#2 (pid 1002)"


def test_normal_ends_of_a_permanent_child_count() -> None:
    """D1: four of them end a supervisor that allows three."""
    world = started(worker("a"))
    for _ in range(3):
        assert world.end("a")[0].endswith("normal, restarting")

    assert world.end("a")[-1] == "exit: shutdown (gave up on 'a')"


def test_finished_transient_child_is_present_and_can_be_restarted() -> None:
    """D2: start_child refuses its id, restart_child starts it."""
    world = started(worker("a", restart=Restart.TRANSIENT))
    world.end("a")

    assert world.ask(StartChild(worker("a"))) == [
        "refuse 1: AlreadyPresentError: child a is already present, but not running"
    ]
    assert world.ask(RestartChild("a")) == [
        *("spawn a#2", "started a#2", "reply 2: worker#2 (pid 1002)"),
    ]


def test_temporary_child_keeps_no_arguments() -> None:
    """A5: what it was started with is dropped as soon as it runs."""
    spec = ChildSpec(id="t", start=Start(Worker, "payload"), restart=Restart.TEMPORARY)
    world = started(spec)

    kept: Any = world.answer(GetChildSpec("t"))

    assert kept.start == Start(Worker)


# ----- intensity and retries --------------------------------------------------------


@pytest.mark.parametrize(("max_restarts", "kills"), [(0, 1), (1, 2), (3, 4)])
def test_one_restart_more_than_allowed_ends_the_supervisor(max_restarts: int, kills: int) -> None:
    """E2: exactly *max_restarts* restarts happen."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=max_restarts)
    for _ in range(kills - 1):
        assert world.kill("b")[-1].startswith("started b")

    assert world.kill("b")[-1] == "exit: shutdown (gave up on 'b')"


def test_budget_is_shared_by_all_children() -> None:
    """E3: deaths of different children add up."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=2)
    world.kill("a")
    world.kill("b")

    assert world.kill("c")[1] == f"gave up c: {KILLED}"


def test_only_age_clears_the_budget() -> None:
    """E1, E4: a restart counts as long as it is within the window, borders included."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=1, max_seconds=5)
    world.kill("a")
    world.advance(5.125)
    world.kill("a")
    world.advance(5)

    assert world.kill("a")[-1] == "exit: shutdown (gave up on 'a')"


def test_terminate_restart_and_good_ends_cost_nothing() -> None:
    """E5: what was asked for, and what needs no restart, is not counted."""
    world = started(
        worker("a"),
        worker("b", restart=Restart.TRANSIENT),
        worker("c", restart=Restart.TEMPORARY),
        max_restarts=0,
    )
    world.ask(TerminateChild("a"))
    world.ask(RestartChild("a"))
    world.end("b")
    world.crash("c")

    assert world.alive == ["a#4"]


def test_giving_up_stops_the_rest_in_reverse_and_not_the_offender() -> None:
    """E6: the reason of the exit is `shutdown`, with a detail."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=0)

    assert world.crash("b") == [
        f"exited b#2: {CRASHED}",
        f"gave up b: {CRASHED}",
        *("stop c#3", "stopped c#3: shutdown", "stop a#1", "stopped a#1: shutdown"),
        "exit: shutdown (gave up on 'b')",
    ]


def test_failed_restart_is_tried_again_behind_what_waits() -> None:
    """E7: each try goes through the budget, and requests are served in between."""
    world = started(worker("a"), max_restarts=3, backoff=1.0)
    world.failing["a"] = 2

    assert world.kill("a") == [
        f"exited a#1: {KILLED}, restarting",
        *("spawn a#2", "kill a#2", f"not started a: {NO}, restarting"),
    ]
    assert world.ask(TerminateChild("none"))[0].startswith("refuse 1: ChildNotFoundError")
    assert world.advance(1)[0] == "spawn a#3"
    assert world.advance(1) == ["spawn a#4", "started a#4"]


def test_failed_restarts_use_up_the_budget() -> None:
    """E7, E2: the last failure says that it is not tried again."""
    world = started(worker("a"), worker("b"), max_restarts=2)
    world.failing["a"] = 9

    assert world.kill("a") == [
        f"exited a#1: {KILLED}, restarting",
        *("spawn a#3", "kill a#3", f"not started a: {NO}, restarting"),
        *("spawn a#4", "kill a#4", f"not started a: {NO}"),
        f"gave up a: {NO}",
        *("stop b#2", "stopped b#2: shutdown", "exit: shutdown (gave up on 'a')"),
    ]


def test_hanging_restart_is_tried_again() -> None:
    """E7, B5: a restart whose init hangs has failed at its deadline."""
    world = started(worker("a", init_timeout=2.0))
    world.slow = {"a"}
    world.kill("a")

    assert world.advance(2) == [
        "kill a#2",
        "not started a: crashed: init took longer than 2 s, restarting",
        "spawn a#3",
    ]


def test_failed_restart_is_tried_again_whatever_its_reason() -> None:
    """E7: a transient child that refuses to start again has not ended well."""
    world = started(worker("a", restart=Restart.TRANSIENT))
    world.slow = {"a"}
    world.crash("a")

    assert world.feed(ChildFailed(2, SHUTDOWN), ChildGone(2, 1)) == [
        *("kill a#2", "not started a: shutdown, restarting", "spawn a#3"),
    ]


def test_death_that_a_failed_group_restart_has_overtaken_is_absorbed() -> None:
    """C6, E9: there is one retry for the group, and no second one for the old death."""
    world = abc(Strategy.ONE_FOR_ALL, backoff=1.0, max_restarts=2)
    world.slow = {"d"}
    world.ask(StartChild(worker("d")))
    world.kill("a", "b")
    world.failing["a"] = 1

    assert world.ready("d")[-3:] == [
        *("spawn a#5", "kill a#5", f"not started a: {NO}, restarting"),
    ]
    assert world.advance(1)[:2] == ["spawn a#6", "started a#6"]


def between_tries() -> World:
    """Return a world in which the restart of b has failed, and is to be tried again."""
    world = abc(Strategy.ONE_FOR_ONE, backoff=1.0)
    world.failing["b"] = 1
    world.kill("b")
    return world


def test_child_between_two_tries_is_restarting() -> None:
    """E8: it is not active, and it can be neither restarted nor deleted."""
    world = between_tries()

    assert statuses(world)["b"] is ChildStatus.RESTARTING
    assert world.answer(CountChildren()) == ChildCounts(3, 2, 0, 3)
    assert world.ask(RestartChild("b"))[0].startswith("refuse 1: ChildRestartingError")
    assert world.ask(DeleteChild("b"))[0].startswith("refuse 2: ChildRestartingError")


def test_a_start_of_an_id_that_is_restarting_waits_for_the_next_life() -> None:
    """Other requests do not wait behind it, and so the restart does not."""
    world = between_tries()

    assert world.ask(StartChild(worker("b"))) == []
    assert world.ask(TerminateChild("c"))[-1] == "reply 2: None"
    assert world.advance(1)[-1].startswith("refuse 1: AlreadyStartedError: b is already started")


def test_a_start_of_an_id_whose_restart_is_ended_finds_it_present() -> None:
    """It is at rest then."""
    world = between_tries()
    world.ask(StartChild(worker("b")))

    assert world.ask(TerminateChild("b")) == [
        "reply 2: None",
        "refuse 1: AlreadyPresentError: child b is already present, but not running",
    ]


def test_a_start_waits_for_a_sibling_that_restarts_under_that_name() -> None:
    """Not within its own operation, for the restart is one, too."""
    name = ("k", "1")
    world = started(worker("a", name=name), worker("b"), backoff=1.0)
    world.ask(StartChild(worker("c", name=name)))
    world.ask(TerminateChild("b"))
    world.failing["a"] = 1
    world.kill("a")
    error = world.errors[1]

    assert isinstance(error, AlreadyStartedError)
    assert world.ask(StartChild(worker("d", name=name))) == []
    assert world.advance(1)[-1].startswith("refuse 3: AlreadyStartedError: d is already started")


def test_a_restart_whose_init_failed_is_restarting_while_it_is_killed() -> None:
    """Its end is awaited, and it comes back: nobody wants it to stop."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.slow.add("b")
    world.kill("b")
    failed = ChildFailed(4, Crashed("OSError: no"))
    world.loop.handle(failed, world.now)

    assert statuses(world)["b"] is ChildStatus.RESTARTING
    world.loop.handle(ChildGone(4, None), world.now)
    assert statuses(world)["b"] is ChildStatus.RESTARTING


def test_a_first_start_that_fails_is_starting_until_it_is_dropped() -> None:
    """Seen while its end is awaited."""
    world = started(worker("a"))
    world.slow.add("b")
    world.ask(StartChild(worker("b")))
    world.loop.handle(ChildFailed(2, Crashed("OSError: no")), world.now)

    assert statuses(world)["b"] is ChildStatus.STARTING


@pytest.mark.parametrize(
    ("restart", "status"),
    [
        (Restart.PERMANENT, ChildStatus.RESTARTING),
        (Restart.TRANSIENT, ChildStatus.RESTARTING),
        (Restart.TEMPORARY, ChildStatus.STOPPED),
    ],
)
def test_what_died_and_may_still_say_why_is_what_will_become_of_it(
    restart: Restart, status: ChildStatus
) -> None:
    """Not stopping; and there is no process to be named."""
    world = started(worker("a", restart=restart))
    world.loop.handle(ChildGone(1, 0), world.now)
    (info,) = cast("tuple[ChildInfo, ...]", world.answer(WhichChildren()))

    assert (info.status, info.ref) == (status, None)


def test_terminate_child_ends_the_retry() -> None:
    """E8: the try that was to come never runs."""
    world = between_tries()

    assert world.ask(TerminateChild("b")) == ["reply 1: None"]
    assert world.advance(1) == []
    assert statuses(world)["b"] is ChildStatus.STOPPED


def test_cancelled_retry_of_an_earlier_life_never_runs() -> None:
    """E8: a retry is good for the failed start that asked for it."""
    world = between_tries()
    world.ask(TerminateChild("b"))
    world.failing["b"] = 0
    world.ask(RestartChild("b"))
    world.failing["b"] = 1
    world.kill("b")

    assert world.feed(RetryRestart("b", 4)) == []
    assert world.feed(RetryRestart("nobody", 4)) == []
    assert world.feed(RetryRestart("b", 6)) == ["spawn b#7", "started b#7"]
    assert world.feed(RetryRestart("b", 6)) == []


def test_supervisor_can_be_stopped_between_two_tries() -> None:
    """E8: at once, and the try that was to come never runs."""
    world = between_tries()

    assert world.shut_down() == [
        *("stop c#3", "stopped c#3: shutdown", "stop a#1", "stopped a#1: shutdown"),
        "exit: shutdown",
    ]
    assert world.advance(1) == []


def test_retry_waits_for_a_running_operation() -> None:
    """C10: a retry is work like any other."""
    world = between_tries()
    world.stubborn = {"c"}
    world.ask(TerminateChild("c"))

    assert world.advance(1) == []
    assert world.advance(4) == [
        *("kill c#3", f"stopped c#3: {KILLED}", "reply 1: None"),
        *("spawn b#5", "started b#5"),
    ]


def test_one_for_all_retries_the_whole_group() -> None:
    """E9: those just started are stopped first."""
    world = abc(Strategy.ONE_FOR_ALL)
    world.failing["b"] = 1

    assert (
        world.kill("c")[-11:]
        == [
            *("spawn a#4", "started a#4", "spawn b#5", "kill b#5"),
            f"not started b: {NO}, restarting",
            *("stop a#4", "stopped a#4: shutdown, restarting"),
            *("spawn a#6", "started a#6", "spawn b#7", "started b#7", "spawn c#8", "started c#8"),
        ][-11:]
    )


def test_sibling_that_waits_for_the_retry_of_another_can_be_deleted() -> None:
    """E9: it has no process; the death that began the restart is dealt with."""
    world = abc(Strategy.ONE_FOR_ALL, backoff=1.0)
    world.failing["a"] = 1
    world.kill("b")

    assert statuses(world) == dict.fromkeys("abc", ChildStatus.RESTARTING)
    assert world.ask(DeleteChild("a"))[0].startswith("refuse 1: ChildRestartingError")
    assert world.ask(DeleteChild("b")) == ["reply 2: None"]
    assert world.advance(1) == ["spawn a#5", "started a#5", "spawn c#6", "started c#6"]


def test_rest_for_one_retries_from_the_failed_child() -> None:
    """E9: those restarted before it stay."""
    world = abc(Strategy.REST_FOR_ONE)
    world.failing["b"] = 1

    assert world.kill("a")[-9:] == [
        *("spawn a#4", "started a#4", "spawn b#5", "kill b#5"),
        f"not started b: {NO}, restarting",
        *("spawn b#6", "started b#6", "spawn c#7", "started c#7"),
    ]


def test_ignoring_child_is_not_tried_again() -> None:
    """E10: its spec is kept without a process."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.ignoring = {"b"}

    assert world.kill("b") == [f"exited b#2: {KILLED}, restarting", "spawn b#4", "kill b#4"]
    assert statuses(world)["b"] is ChildStatus.STOPPED


def test_recovery_time_and_restarts_are_told() -> None:
    """The time runs from the death to the end of init, over all tries; a first start has none."""
    world = between_tries()
    world.advance(1)
    world.ask(TerminateChild("b"))
    world.ask(RestartChild("b"))
    infos: Any = world.answer(WhichChildren())
    starts = [event for event in world.events if isinstance(event, ChildStarted)]

    assert [start.recovered_after for start in starts] == [None, None, None, 1.0, None]
    assert [info.restarts for info in infos] == [0, 1, 0]
    assert [info.ref and info.ref.incarnation for info in infos] == [1, 6, 3]


def test_announcements_carry_the_supervisor_and_the_name() -> None:
    """Whoever hears of a life can tell whose it was."""
    world = supervise(worker("a", name=("k", "1")))
    world.start(registry_up=True)
    world.failing["a"] = 9
    world.kill("a")

    assert {event.supervisor for event in world.events} == {SUPERVISOR}
    assert {event.name for event in world.events if not isinstance(event, GaveUp)} == {("k", "1")}
    assert [type(event) for event in world.events] == [
        *(ChildStarted, ChildExited, ChildStartFailed, ChildStartFailed, ChildStartFailed, GaveUp),
    ]


# ----- shutdown ------------------------------------------------------------------


def test_children_stop_one_after_the_other_last_started_first() -> None:
    """F1, F10: children get `shutdown`, the supervisor ends with the given reason."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.stubborn = {"b", "c"}

    assert world.shut_down(NORMAL) == ["stop c#3"]
    assert world.advance(5) == ["kill c#3", f"stopped c#3: {KILLED}", "stop b#2"]
    assert world.advance(5) == [
        *("kill b#2", f"stopped b#2: {KILLED}", "stop a#1", "stopped a#1: shutdown"),
        "exit: normal",
    ]


@pytest.mark.parametrize("shutdown", [BRUTAL_KILL, 0, 0.0])
def test_brutal_kill_and_zero_kill_at_once(shutdown: Any) -> None:
    """F4, F6: there is no time to stop."""
    world = started(worker("a", shutdown=shutdown))

    assert world.shut_down() == ["kill a#1", f"stopped a#1: {KILLED}", "exit: shutdown"]


def test_infinity_waits_for_ever() -> None:
    """F5: no deadline is set."""
    world = started(worker("a", shutdown=INFINITY))
    world.stubborn = {"a"}
    world.shut_down()

    assert world.advance(1e6) == []
    assert world.end("a", SHUTDOWN) == ["stopped a#1: shutdown", "exit: shutdown"]


def test_child_that_fails_while_it_stops_is_stopped_all_the_same() -> None:
    """F8: stopping always succeeds; the reason is reported."""
    world = started(worker("a"))
    world.stubborn = {"a"}
    world.ask(TerminateChild("a"))

    assert world.crash("a") == [f"stopped a#1: {CRASHED}", "reply 1: None"]


@pytest.mark.parametrize("status", [0, None])
def test_stopped_child_whose_note_is_late_still_ends_with_shutdown(status: int | None) -> None:
    """F8: the exit notice may overtake the exit note."""
    world = started(worker("a"))
    world.stubborn = {"a"}
    world.ask(TerminateChild("a"))

    assert world.feed(ChildGone(1, status)) == []
    assert world.end("a", SHUTDOWN) == ["stopped a#1: shutdown", "reply 1: None"]


def test_stop_kills_a_child_that_is_in_its_init() -> None:
    """F14: instead of waiting for it (OTP waits)."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.slow = {"b"}
    world.kill("b")

    assert world.shut_down() == [
        *("kill b#4", f"not started b: {KILLED}"),
        *("stop c#3", "stopped c#3: shutdown", "stop a#1", "stopped a#1: shutdown"),
        "exit: shutdown",
    ]


def test_stop_during_the_first_start_ends_it() -> None:
    """F14: the supervisor never gets up, and what was started is stopped."""
    world = supervise(worker("a"), worker("b"))
    world.slow = {"b"}
    world.start()

    assert world.shut_down() == [
        *("kill b#2", f"not started b: {KILLED}"),
        *("stop a#1", "stopped a#1: shutdown", "exit: shutdown"),
    ]


def test_stop_waits_for_the_child_that_is_being_stopped_first() -> None:
    """F1: two children are never stopped at once."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.stubborn = {"a"}
    world.ask(TerminateChild("a"))

    assert world.shut_down() == []
    assert world.end("a", SHUTDOWN)[:2] == ["stopped a#1: shutdown", "stop c#3"]


def test_deaths_during_the_shutdown_change_nothing() -> None:
    """F15: no restart, and the reason of the exit stays."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.stubborn = {"c"}
    world.shut_down(Shutdown("told to"))

    assert world.crash("a") == [f"exited a#1: {CRASHED}"]
    assert world.end("c")[-3:] == ["stop b#2", "stopped b#2: shutdown", "exit: shutdown (told to)"]


def test_second_shutdown_changes_nothing() -> None:
    """F10: the first reason counts."""
    world = started(worker("a"))
    world.stubborn = {"a"}
    world.shut_down()

    assert world.shut_down(NORMAL) == []
    assert world.end("a", SHUTDOWN)[-1] == "exit: shutdown"


def test_nothing_happens_after_the_exit() -> None:
    """F10: requests that waited get no answer but the exit, and late news is ignored."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.stubborn = {"c"}
    world.shut_down()

    assert world.ask(StartChild(worker("d"))) == []
    assert world.end("c", SHUTDOWN)[-1] == "exit: shutdown"
    assert (
        world.feed(
            ChildGone(1, -9),
            RegistryUp(),
            ShutdownRequested(NORMAL),
            RequestReceived(Caller("app", 9), CountChildren()),
        )
        == []
    )


# ----- significant children --------------------------------------------------------


def significant(auto_shutdown: AutoShutdown) -> World:
    """Return the world of two significant children and a plain one."""
    return started(
        worker("a", restart=Restart.TRANSIENT, significant=True),
        worker("b", restart=Restart.TEMPORARY, significant=True),
        worker("c"),
        auto_shutdown=auto_shutdown,
        max_restarts=9,
    )


@pytest.mark.parametrize(("child_id", "reason"), [("a", NORMAL), ("b", NORMAL), ("b", Crashed(""))])
def test_any_significant_end_ends_the_supervisor(child_id: str, reason: ExitReason) -> None:
    """G2: a transient child that ends well, or a temporary one that ends."""
    world = significant(AutoShutdown.ANY_SIGNIFICANT)

    assert world.end(child_id, reason)[-1] == "exit: shutdown"


def test_crash_of_a_significant_transient_child_is_just_restarted() -> None:
    """G2: it has not ended for good."""
    world = significant(AutoShutdown.ANY_SIGNIFICANT)

    assert world.crash("a")[-1] == "started a#4"


def test_all_significant_waits_for_the_last_one() -> None:
    """G3: the plain child does not count."""
    world = significant(AutoShutdown.ALL_SIGNIFICANT)

    assert world.end("a") == ["exited a#1: normal"]
    assert world.end("b")[-3:] == ["stop c#3", "stopped c#3: shutdown", "exit: shutdown"]


def test_significant_child_that_was_terminated_does_not_hold_up_the_end() -> None:
    """G3, G4: its own stop ends nothing, but it is not waited for."""
    world = significant(AutoShutdown.ALL_SIGNIFICANT)

    assert world.ask(TerminateChild("a"))[-1] == "reply 1: None"
    assert world.end("b")[-1] == "exit: shutdown"


def test_significant_child_that_is_to_be_restarted_holds_up_the_end() -> None:
    """G3: between two tries it has not ended."""
    world = started(
        worker("a", restart=Restart.TRANSIENT, significant=True),
        worker("b", restart=Restart.TEMPORARY, significant=True),
        auto_shutdown=AutoShutdown.ALL_SIGNIFICANT,
        backoff=1.0,
    )
    world.failing["a"] = 1
    world.crash("a")

    assert world.end("b") == ["exited b#2: normal"]
    assert world.advance(1) == ["spawn a#4", "started a#4"]


def test_stop_for_a_siblings_sake_does_not_end_the_supervisor() -> None:
    """G4: a group restart that removes a significant temporary child is no end of it."""
    world = started(
        worker("a"),
        worker("b", restart=Restart.TEMPORARY, significant=True),
        strategy=Strategy.ONE_FOR_ALL,
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )

    assert world.kill("a")[-1] == "started a#3"


def test_plain_child_never_ends_the_supervisor() -> None:
    """G2: only significant ones do."""
    world = started(
        worker("a", restart=Restart.TEMPORARY), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
    )

    assert world.end("a") == ["exited a#1: normal"]


# ----- management ------------------------------------------------------------------


def test_start_child_adds_at_the_end_and_answers_with_the_ref() -> None:
    """H1: its place in the order is the last one."""
    world = abc(Strategy.ONE_FOR_ONE)

    assert world.ask(StartChild(worker("d"))) == [
        *("spawn d#4", "started d#4", "reply 1: worker#4 (pid 1004)"),
    ]
    assert world.shut_down()[0] == "stop d#4"


def test_start_child_with_a_running_id_names_the_process() -> None:
    """H1: the new spec is discarded."""
    world = abc(Strategy.ONE_FOR_ONE)

    assert world.ask(StartChild(worker("b", restart=Restart.TEMPORARY))) == [
        "refuse 1: AlreadyStartedError: b is already started: worker#2 (pid 1002)"
    ]
    error = world.errors[1]
    assert isinstance(error, AlreadyStartedError)
    assert error.ref == world.process("b").ref
    spec: Any = world.answer(GetChildSpec("b"))
    assert spec.restart is Restart.PERMANENT


@pytest.mark.parametrize("spec", [None, "b", Worker])
def test_start_child_refuses_what_is_no_spec(spec: Any) -> None:
    """A2: the supervisor is not harmed."""
    world = abc(Strategy.ONE_FOR_ONE)

    assert world.ask(StartChild(spec))[0].startswith("refuse 1: InvalidChildSpecError")


def test_start_child_refuses_a_significant_child_without_auto_shutdown() -> None:
    """A3: flags and spec must fit."""
    world = abc(Strategy.ONE_FOR_ONE)
    spec = worker("d", restart=Restart.TRANSIENT, significant=True)

    assert world.ask(StartChild(spec)) == [
        "refuse 1: InvalidChildSpecError: child 'd' is significant, but auto_shutdown is NEVER"
    ]


def test_start_child_that_fails_keeps_nothing_and_counts_nothing() -> None:
    """H2: the spec is discarded, the supervisor goes on."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=0)
    world.failing["d"] = 1

    assert world.ask(StartChild(worker("d"))) == [
        *("spawn d#4", "kill d#4", f"not started d: {NO}"),
        f"refuse 1: StartFailedError: child d could not be started: {NO}",
    ]
    assert world.answer(CountChildren()) == ChildCounts(3, 3, 0, 3)


def test_start_child_that_ignores_answers_none_and_keeps_the_spec() -> None:
    """B4: unless it is temporary."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.ignoring = {"d", "t"}

    assert world.ask(StartChild(worker("d")))[-1] == "reply 1: None"
    assert world.ask(StartChild(worker("t", restart=Restart.TEMPORARY)))[-1] == "reply 2: None"
    assert set(statuses(world)) == {"a", "b", "c", "d"}


def test_child_that_is_ready_and_dead_at_once_was_started() -> None:
    """H1: a start that succeeded is answered, even if the exit notice overtook it."""
    world = abc(Strategy.ONE_FOR_ONE)
    world.slow = {"t"}
    world.ask(StartChild(worker("t", restart=Restart.TRANSIENT)))
    ref = world.process("t").ref

    assert world.feed(ChildGone(4, 0)) == []
    assert world.feed(ChildReady(4, ref)) == [
        *("started t#4", "reply 1: worker#4 (pid 1004)"),
    ]
    assert world.end("t") == ["exited t#4: normal"]


def test_terminate_child_answers_when_the_child_is_dead() -> None:
    """H4, F16: never on asking alone; a temporary one is forgotten."""
    world = started(worker("a", shutdown=INFINITY), worker("t", restart=Restart.TEMPORARY))
    world.stubborn = {"a"}

    assert world.ask(TerminateChild("a")) == ["stop a#1"]
    assert world.kill("a") == [f"stopped a#1: {KILLED}", "reply 1: None"]
    assert world.ask(TerminateChild("a")) == ["reply 2: None"]
    assert world.ask(TerminateChild("t"))[-1] == "reply 3: None"
    assert statuses(world) == {"a": ChildStatus.STOPPED}


def test_restart_child_wants_a_stopped_child() -> None:
    """H5: running and unknown ones are refused."""
    world = abc(Strategy.ONE_FOR_ONE)

    assert world.ask(RestartChild("a")) == ["refuse 1: ChildRunningError: child a is running"]
    assert world.ask(RestartChild("x")) == ["refuse 2: ChildNotFoundError: no child 'x'"]


def test_restart_child_that_fails_leaves_the_child_stopped() -> None:
    """H5: it is not tried again, and nothing is counted."""
    world = abc(Strategy.ONE_FOR_ONE, max_restarts=0)
    world.ask(TerminateChild("a"))
    world.failing["a"] = 1

    assert world.ask(RestartChild("a"))[-1].startswith("refuse 2: StartFailedError")
    assert statuses(world)["a"] is ChildStatus.STOPPED


def test_delete_child_wants_a_stopped_child() -> None:
    """H6: running and unknown ones are refused; a deleted one is gone."""
    world = abc(Strategy.ONE_FOR_ONE)

    assert world.ask(DeleteChild("a")) == ["refuse 1: ChildRunningError: child a is running"]
    assert world.ask(DeleteChild("x")) == ["refuse 2: ChildNotFoundError: no child 'x'"]
    world.ask(TerminateChild("a"))
    assert world.ask(DeleteChild("a")) == ["reply 4: None"]
    assert set(statuses(world)) == {"b", "c"}


def test_which_children_lists_them_in_start_order() -> None:
    """H7: OTP lists the last started first; here the order is the spec's."""
    world = started(worker("a"), worker("b", type=ChildType.SUPERVISOR, shutdown=1), worker("c"))
    world.ask(TerminateChild("c"))

    infos: Any = world.answer(WhichChildren())

    assert [(info.id, info.status, info.type) for info in infos] == [
        ("a", ChildStatus.RUNNING, ChildType.WORKER),
        ("b", ChildStatus.RUNNING, ChildType.SUPERVISOR),
        ("c", ChildStatus.STOPPED, ChildType.WORKER),
    ]
    assert infos[0].ref == ActorRef("worker", 1, 1001)
    assert world.answer(CountChildren()) == ChildCounts(3, 2, 1, 2)


def test_status_says_where_a_child_is_in_its_life() -> None:
    """H7: starting and stopping are seen, too."""
    world = started(worker("a"))
    world.slow = {"b"}
    world.ask(StartChild(worker("b")))

    assert statuses(world)["b"] is ChildStatus.STARTING
    world.ready("b")
    world.stubborn = {"a"}
    world.ask(TerminateChild("a"))
    assert statuses(world) == {"a": ChildStatus.STOPPING, "b": ChildStatus.RUNNING}


@pytest.mark.parametrize("child_id", ["x", "", None, 7, [], "x\n" * 500_000])
def test_unknown_ids_are_refused_in_one_short_line(child_id: Any) -> None:
    """H4-H9: whatever is asked for, the error is typed and bounded."""
    world = abc(Strategy.ONE_FOR_ONE)

    error = world.answer(GetChildSpec(child_id))

    assert isinstance(error, ChildNotFoundError)
    assert isinstance(error, LookupError)
    assert len(str(error)) < 100
    assert "\n" not in str(error)


@pytest.mark.parametrize("request_", [None, "stop", {"a": 1}])
def test_unknown_requests_are_refused(request_: Any) -> None:
    """L12: a supervisor is not ended by what it does not know."""
    error = abc(Strategy.ONE_FOR_ONE).answer(request_)

    assert type(error) is SupervisorError


# ----- names -----------------------------------------------------------------------


def test_name_is_claimed_before_the_process_starts() -> None:
    """B6: and the start waits for the registry's word."""
    world = supervise(worker("a", name=("k", "1")), worker("b"))
    world.silent_registry = True

    assert world.start(registry_up=True) == ["claim k 1 #1"]
    assert world.feed(NameClaimed(1))[:2] == ["spawn a#1", "started a#1"]


def test_name_is_not_claimed_again_for_a_restart() -> None:
    """B6: it stays with the supervisor while its child is restarting."""
    world = supervise(worker("a", name=("k", "1")))
    world.start(registry_up=True)

    assert world.kill("a") == [f"exited a#1: {KILLED}, restarting", "spawn a#2", "started a#2"]


def test_taken_name_fails_the_start() -> None:
    """B7: init is not run."""
    world = supervise(worker("a", name=("k", "1")))
    world.taken[("k", "1")] = ActorRef("worker", 7, 70)
    reason = "crashed: its name is taken by worker#7 (pid 70)"

    assert world.start(registry_up=True) == [
        *("claim k 1 #1", f"not started a: {reason}"),
        f"failed: shutdown (failed to start child a: {reason})",
    ]


def test_start_child_with_a_taken_name_names_the_holder() -> None:
    """B7, H3: the error carries the process that has the name."""
    world = supervise()
    world.start(registry_up=True)
    holder = ActorRef("worker", 7, 70)
    world.taken[("k", "1")] = holder

    assert world.ask(StartChild(worker("a", name=("k", "1"))))[-1] == (
        "refuse 1: AlreadyStartedError: a is already started: worker#7 (pid 70)"
    )
    error = world.errors[1]
    assert isinstance(error, AlreadyStartedError)
    assert error.ref == holder


@pytest.mark.parametrize(
    "restart", [Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY], ids=lambda r: r.value
)
def test_stopped_child_gives_its_name_back(restart: Restart) -> None:
    """B6: after its end is announced, so that nobody waits for a child that will not come."""
    world = supervise(worker("a", name=("k", "1"), restart=restart))
    world.start(registry_up=True)

    assert world.ask(TerminateChild("a")) == [
        *("stop a#1", "stopped a#1: shutdown", "release k 1", "reply 1: None"),
    ]


def test_name_is_given_back_by_every_way_to_rest() -> None:
    """B8: finished, ignored, failed to start, and claimed again by the next start."""
    spec = worker("a", name=("k", "1"), restart=Restart.TRANSIENT)
    world = supervise(spec)
    world.start(registry_up=True)

    assert world.end("a") == ["exited a#1: normal", "release k 1"]
    assert world.ask(RestartChild("a"))[:2] == ["claim k 1 #2", "spawn a#2"]
    world.ignoring = {"a"}
    assert world.crash("a")[-3:] == ["spawn a#3", "kill a#3", "release k 1"]
    world.ignoring = set()
    world.failing["a"] = 1
    assert world.ask(RestartChild("a"))[-2] == "release k 1"
    assert world.ask(DeleteChild("a")) == ["reply 3: None"]


def test_names_are_given_back_by_a_roll_back_and_by_a_shutdown() -> None:
    """B8: before the supervisor ends, so that its starter can claim them again."""
    world = supervise(worker("a", name=("k", "1")), worker("b", name=("k", "2")))
    world.failing["b"] = 1

    log = world.start(registry_up=True)

    assert log[-4:-1] == ["stop a#1", "stopped a#1: shutdown", "release k 1"]
    assert "release k 2" in log[:-4]


def test_claim_that_is_under_way_is_taken_back() -> None:
    """B8: the registry's late word changes nothing."""
    world = supervise(worker("a"))
    world.start(registry_up=True)
    world.silent_registry = True
    world.ask(StartChild(worker("b", name=("k", "1"))))

    assert world.shut_down() == [
        *("not started b: shutdown", "release k 1"),
        *("stop a#1", "stopped a#1: shutdown", "exit: shutdown"),
    ]
    assert world.feed(NameClaimed(2)) == []


def test_siblings_of_a_retry_that_was_ended_give_their_names_back() -> None:
    """E8: nobody brings them back any more."""
    world = supervise(
        worker("a"),
        worker("b", name=("k", "1")),
        strategy=Strategy.ONE_FOR_ALL,
        backoff=1.0,
    )
    world.start(registry_up=True)
    world.failing["a"] = 1

    assert "release k 1" not in world.kill("a")
    assert world.ask(TerminateChild("a")) == ["release k 1", "reply 1: None"]


def test_new_registry_is_told_of_all_living_children() -> None:
    """K14: what starts later is claimed as ever, what rests is not claimed."""
    world = supervise(worker("a", name=("k", "1")), worker("b", name=("k", "2")), worker("c"))

    assert not [line for line in world.start() if line.startswith("claim")]
    world.ask(TerminateChild("b"))
    assert world.feed(RegistryUp()) == ["claim k 1 #1"]
    assert world.kill("a")[1] == "spawn a#4"
    assert world.ask(RestartChild("b"))[0] == "claim k 2 #5"


def test_new_registry_that_comes_during_a_claim_is_asked_again() -> None:
    """K14: the word of the old one is lost."""
    world = supervise(worker("a", name=("k", "1")))
    world.silent_registry = True
    world.start(registry_up=True)
    world.silent_registry = False

    assert world.feed(RegistryUp()) == ["claim k 1 #1", "spawn a#1", "started a#1", "initialised"]


def test_running_child_whose_name_a_new_registry_gave_away_runs_on() -> None:
    """K14: it claims again at its next start."""
    world = supervise(worker("a", name=("k", "1")))
    world.start(registry_up=True)
    world.taken[("k", "1")] = ActorRef("worker", 7, 70)

    assert world.feed(RegistryUp()) == ["claim k 1 #1"]
    del world.taken[("k", "1")]
    assert world.kill("a")[1:3] == ["claim k 1 #2", "spawn a#2"]
