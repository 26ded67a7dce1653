"""`DynamicSupervisorLoop` against Elixir's rules, one scenario per rule, without processes."""

from __future__ import annotations

from typing import Any

import pytest

from jidocode.base.exits import NORMAL, SHUTDOWN
from jidocode.base.refs import ActorRef
from jidocode.errors import (
    AlreadyStartedError,
    ChildNotFoundError,
    ChildRunningError,
    InvalidChildSpecError,
)
from jidocode.otp.server.results import Ignore
from jidocode.otp.supervision.dynamic_supervisor import DynamicSupervisorLoop
from jidocode.otp.supervision.machine import (
    ChildGone,
    ChildReady,
    NameClaimed,
    RegistryUp,
    RetryRestart,
)
from jidocode.otp.supervision.management import (
    ChildCounts,
    ChildStatus,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from jidocode.otp.supervision.specs import BRUTAL_KILL, ChildSpec, Flags, Start
from jidocode.otp.supervision.strategy import Restart
from tests.otp.machines import (
    SUPERVISOR,
    Pool,
    Worker,
    World,
    supervise_dynamically,
    worker,
)

KILLED = "killed by signal 9"
NO = "crashed: OSError: no"


def pool(*child_ids: str, max_children: int | None = None, **flags: Any) -> World:
    """Return the world of a dynamic supervisor with permanent children."""
    world = supervise_dynamically(max_children, **flags)
    world.start()
    for child_id in child_ids:
        world.ask(StartChild(worker(child_id)))
    return world


def slow_pool() -> World:
    """Return the world of an empty supervisor, where the `init` of a takes its time."""
    world = pool()
    world.slow = {"a"}
    return world


def statuses(world: World) -> dict[str, ChildStatus]:
    """Return how the children stand."""
    infos: Any = world.answer(WhichChildren())
    return {info.id: info.status for info in infos}


# ----- start ---------------------------------------------------------------------


def test_it_starts_without_children() -> None:
    """I1: and is up at once."""
    world = supervise_dynamically()

    assert world.start() == ["initialised"]
    assert world.answer(CountChildren()) == ChildCounts(0, 0, 0, 0)


@pytest.mark.parametrize("result", [None, Flags(), (Flags(), ())])
def test_bad_value_from_init_fails_the_start(result: object) -> None:
    """A8: the reason says what was wrong."""
    start = Start(Pool, result)

    (line,) = World(DynamicSupervisorLoop.of(start, SUPERVISOR), start).start()

    assert line.startswith("failed: crashed: ")
    assert "init must return DynamicFlags" in line


def test_its_init_may_ignore() -> None:
    """A8: it does not run, and that is no failure."""
    start = Start(Pool, Ignore())

    assert World(DynamicSupervisorLoop.of(start, SUPERVISOR), start).start() == ["ignored"]


def test_started_child_is_answered_with_its_ref() -> None:
    """I5: after its init."""
    world = pool()
    world.slow = {"a"}

    assert world.ask(StartChild(worker("a"))) == ["spawn a#1"]
    assert world.ready("a") == ["started a#1", "reply 1: worker#1 (pid 1001)"]


def test_slow_init_holds_up_nobody() -> None:
    """I12: others start, stop and restart meanwhile (in Elixir they wait)."""
    world = pool("a", "b")
    world.slow = {"s"}
    world.ask(StartChild(worker("s")))

    assert world.ask(StartChild(worker("c")))[-1] == "reply 4: worker#4 (pid 1004)"
    assert world.ask(TerminateChild("a"))[-1] == "reply 5: None"
    assert world.kill("b")[-1] == "started b#5"
    assert world.ready("s")[-1] == "reply 3: worker#3 (pid 1003)"


def test_start_that_fails_keeps_nothing_and_counts_nothing() -> None:
    """I5: its place and its id are free again."""
    world = pool(max_children=1, max_restarts=0)
    world.failing["a"] = 1

    assert world.ask(StartChild(worker("a"))) == [
        *("spawn a#1", "kill a#1", f"not started a: {NO}"),
        f"refuse 1: StartFailedError: child a could not be started: {NO}",
    ]
    assert world.ask(StartChild(worker("a")))[-1] == "reply 2: worker#2 (pid 1002)"


def test_child_that_ignores_is_answered_with_none_and_forgotten() -> None:
    """I5, E10: also when it ignores at a restart."""
    world = pool("a")
    world.ignoring = {"a", "b"}

    assert world.ask(StartChild(worker("b"))) == ["spawn b#2", "kill b#2", "reply 2: None"]
    assert world.kill("a") == [f"exited a#1: {KILLED}, restarting", "spawn a#3", "kill a#3"]
    assert statuses(world) == {}


def test_hanging_init_fails_at_its_deadline() -> None:
    """B5: the caller hears of it, and the place is free again."""
    world = pool(max_children=1)
    world.slow = {"a"}
    world.ask(StartChild(worker("a", init_timeout=1)))

    assert world.advance(1)[-1].startswith("refuse 1: StartFailedError: child a could not be")
    assert statuses(world) == {}


def test_ids_are_unique() -> None:
    """I2: a running id is refused, with its process; Elixir tells children apart by pid."""
    world = pool("a")
    world.ask(StartChild(worker("a")))
    error = world.errors[2]

    assert isinstance(error, AlreadyStartedError)
    assert error.ref == world.process("a").ref


def test_a_start_waits_for_what_becomes_of_a_child_of_that_id() -> None:
    """It is starting: then it is the one."""
    world = slow_pool()
    world.ask(StartChild(worker("a")))

    assert world.ask(StartChild(worker("a"))) == []
    assert world.ready("a") == [
        "started a#1",
        "reply 1: worker#1 (pid 1001)",
        "refuse 2: AlreadyStartedError: a is already started: worker#1 (pid 1001)",
    ]


def test_of_many_starts_of_one_id_each_goes_on_when_those_before_it_have_failed() -> None:
    """One after the other, as they came."""
    world = slow_pool()
    world.ask(StartChild(worker("a")))
    world.failing["a"] = 1
    world.ask(StartChild(worker("a")))
    world.ask(StartChild(worker("a")))
    log = world.kill("a")
    answers = [line.split(":")[0] for line in log if line.startswith(("ref", "rep"))]

    assert answers == ["refuse 1", "refuse 2"]
    assert world.ready("a")[1] == "reply 3: worker#3 (pid 1003)"


def test_a_start_waits_for_a_restart_of_that_id() -> None:
    """Whoever wants to start or to get it gets the next life."""
    world = pool("a", backoff=1.0)
    world.failing["a"] = 1
    world.kill("a")

    assert world.ask(StartChild(worker("a"))) == []
    assert world.advance(1)[-1].startswith("refuse 2: AlreadyStartedError: a is already started")
    error = world.errors[2]
    assert isinstance(error, AlreadyStartedError)
    assert error.ref == world.process("a").ref


def test_a_start_waits_for_the_end_of_one_that_is_dead_before_that_was_told() -> None:
    """It is not refused with a dead process, which counts as none from then on."""
    world = pool("a")
    dead = world.process("a")
    dead.alive = False

    assert world.ask(StartChild(worker("a"))) == []
    assert world.loop.children["a"].status is ChildStatus.RESTARTING
    assert world.loop.children["a"].ref is None
    world.feed(ChildGone(1, -9))
    error = world.errors[2]
    assert isinstance(error, AlreadyStartedError)
    assert error.ref == world.process("a").ref != dead.ref


def test_a_start_waits_for_a_sibling_that_starts_under_that_name() -> None:
    """It is told who has the name, or has it itself."""
    name = ("k", "1")
    world = slow_pool()
    world.ask(StartChild(worker("a", name=name)))

    assert world.ask(StartChild(worker("b", name=name))) == []
    assert world.kill("a")[-3:-1] == ["spawn b#2", "started b#2"]


def test_starts_that_wait_end_with_their_supervisor() -> None:
    """Whoever waits for an answer hears of the exit."""
    world = slow_pool()
    world.ask(StartChild(worker("a")))
    world.ask(StartChild(worker("a")))

    assert world.shut_down()[-1] == "exit: shutdown"
    assert world.alive == []


def test_id_of_a_child_that_is_being_stopped_is_still_taken() -> None:
    """I2: it is free when the process is dead."""
    world = pool("a")
    world.stubborn = {"a"}
    world.ask(TerminateChild("a"))

    assert world.ask(StartChild(worker("a"))) == []
    assert world.kill("a")[-1].startswith("reply 3: ")


@pytest.mark.parametrize("spec", [None, "a", Worker, {"id": "a"}])
def test_what_is_no_spec_is_refused(spec: Any) -> None:
    """I6: nothing is started."""
    assert pool().ask(StartChild(spec))[0].startswith("refuse 1: InvalidChildSpecError")


def test_significant_child_is_refused() -> None:
    """I6, G5: nothing could come of it."""
    spec = worker("a", significant=True, restart=Restart.TEMPORARY)

    assert pool().ask(StartChild(spec)) == [
        "refuse 1: InvalidChildSpecError: child 'a' is significant, but auto_shutdown is NEVER"
    ]


def test_temporary_child_keeps_no_arguments() -> None:
    """A5: a session's payload is not kept by the supervisor of all sessions."""
    world = pool()
    spec = ChildSpec(id="a", start=Start(Worker, "payload"), restart=Restart.TEMPORARY)
    world.ask(StartChild(spec))

    kept: Any = world.answer(GetChildSpec("a"))

    assert kept.start == Start(Worker)


# ----- the limit -------------------------------------------------------------------


def test_limit_is_exact_under_concurrent_starts() -> None:
    """I3: of 50 starts against 10 places, exactly 10 succeed, whatever their speed."""
    world = pool(max_children=10)
    world.slow = {f"c{number}" for number in range(0, 50, 2)}

    log = [line for number in range(50) for line in world.ask(StartChild(worker(f"c{number}")))]

    assert sum(line.startswith("spawn") for line in log) == 10
    assert sum(
        "MaxChildrenError: all 10 places for children are taken" in line for line in log
    ) == (40)


def test_restarting_children_hold_their_places() -> None:
    """I3: also between two tries."""
    world = pool("a", max_children=1, backoff=1.0)
    world.failing["a"] = 1
    world.kill("a")

    assert statuses(world) == {"a": ChildStatus.RESTARTING}
    assert world.answer(CountChildren()) == ChildCounts(1, 0, 0, 1)
    assert world.ask(StartChild(worker("b")))[0].startswith("refuse 2: MaxChildrenError")


def test_limit_of_zero_allows_none() -> None:
    """I3: zero is a limit."""
    assert (
        pool(max_children=0)
        .ask(StartChild(worker("a")))[0]
        .startswith("refuse 1: MaxChildrenError")
    )


def test_terminated_child_frees_its_place_before_the_answer() -> None:
    """I9: whoever has the answer can start another one."""
    world = pool("a", max_children=1)
    world.ask(TerminateChild("a"))

    assert world.ask(StartChild(worker("b")))[-1].startswith("reply 3: ")


# ----- ends ------------------------------------------------------------------------


def test_permanent_child_comes_back_whatever_its_end() -> None:
    """I10: permanent is the default here, too; only the dead child is touched."""
    world = pool("a", "b")

    assert world.end("a") == ["exited a#1: normal, restarting", "spawn a#3", "started a#3"]
    assert world.alive == ["b#2", "a#3"]


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
def test_child_that_stays_down_is_forgotten(restart: Restart) -> None:
    """D: no spec is kept without a process."""
    world = pool()
    world.ask(StartChild(worker("a", restart=restart)))

    assert world.end("a") == ["exited a#1: normal"]
    assert statuses(world) == {}


def test_crash_of_a_temporary_child_costs_nothing() -> None:
    """E5: it is forgotten."""
    world = pool(max_restarts=0)
    world.ask(StartChild(worker("a", restart=Restart.TEMPORARY)))

    assert world.crash("a") == ["exited a#1: crashed: ValueError: no"]


def test_too_many_restarts_end_it() -> None:
    """E6: all other children are told to stop at once."""
    world = pool("a", "b", "c", max_restarts=1)
    world.kill("a")

    assert world.kill("a") == [
        f"exited a#4: {KILLED}",
        f"gave up a: {KILLED}",
        *("stop b#2", "stop c#3", "stopped b#2: shutdown", "stopped c#3: shutdown"),
        "exit: shutdown (gave up on 'a')",
    ]


def test_failed_restart_is_tried_again_within_the_budget() -> None:
    """E7: each try is counted."""
    world = pool("a", max_restarts=2)
    world.failing["a"] = 9

    assert world.kill("a") == [
        f"exited a#1: {KILLED}, restarting",
        *("spawn a#2", "kill a#2", f"not started a: {NO}, restarting"),
        *("spawn a#3", "kill a#3", f"not started a: {NO}"),
        f"gave up a: {NO}",
        "exit: shutdown (gave up on 'a')",
    ]


def test_child_that_was_ready_and_dead_at_once_was_started() -> None:
    """I5: even if the exit notice overtook its readiness."""
    world = pool()
    world.slow = {"a"}
    world.ask(StartChild(worker("a", restart=Restart.TEMPORARY)))
    ref = world.process("a").ref

    assert world.feed(ChildGone(1, 0)) == []
    assert world.feed(ChildReady(1, ref))[-1] == "reply 1: worker#1 (pid 1001)"
    assert world.end("a") == ["exited a#1: normal"]


# ----- terminate_child -------------------------------------------------------------


def test_terminate_child_answers_when_the_child_is_dead() -> None:
    """I7, F16: a permanent one is not restarted; the second time it is unknown."""
    world = pool("a", max_restarts=0)
    world.stubborn = {"a"}

    assert world.ask(TerminateChild("a")) == ["stop a#1"]
    assert world.advance(5) == ["kill a#1", f"stopped a#1: {KILLED}", "reply 2: None"]
    assert world.ask(TerminateChild("a")) == ["refuse 3: ChildNotFoundError: no child 'a'"]


def test_all_who_ask_for_the_same_stop_are_answered() -> None:
    """J16: the process is asked once."""
    world = pool("a")
    world.stubborn = {"a"}
    world.ask(TerminateChild("a"))

    assert world.ask(TerminateChild("a")) == []
    assert world.kill("a")[1:] == ["reply 2: None", "reply 3: None"]


def test_child_can_be_terminated_while_it_starts() -> None:
    """I12: who asked for the start hears that it failed."""
    world = pool()
    world.slow = {"a"}
    world.ask(StartChild(worker("a")))

    assert world.ask(TerminateChild("a")) == [
        *("kill a#1", f"not started a: {KILLED}", "reply 2: None"),
        f"refuse 1: StartFailedError: child a could not be started: {KILLED}",
    ]


def test_terminate_child_ends_a_retry() -> None:
    """I8: the try that was to come never runs, not even for a new child of that id."""
    world = pool("a", backoff=1.0)
    world.failing["a"] = 1
    world.kill("a")

    assert world.ask(TerminateChild("a")) == ["reply 2: None"]
    world.ask(StartChild(worker("a")))
    assert world.advance(1) == []
    assert world.feed(RetryRestart("a", 2), RetryRestart("x", 2)) == []
    assert world.alive == ["a#3"]


def test_dead_child_whose_note_is_awaited_can_be_terminated() -> None:
    """F8: it is not restarted, and the answer comes at once."""
    world = pool("a", max_restarts=0)

    assert world.feed(ChildGone(1, 0)) == []
    assert world.ask(TerminateChild("a"))[-1] == "reply 2: None"
    assert statuses(world) == {}


@pytest.mark.parametrize("request_", [None, "x\n" * 9999])
def test_other_requests_are_refused(request_: Any) -> None:
    """I11: and are no crash."""
    error = pool("a").answer(request_)

    assert isinstance(error, Exception)
    assert not isinstance(error, InvalidChildSpecError)
    assert str(error).startswith("a dynamic supervisor does not know ")
    assert len(str(error)) < 200


@pytest.mark.parametrize("request_", [RestartChild, DeleteChild])
def test_there_is_no_stopped_child_to_restart_or_delete(request_: Any) -> None:
    """I11: a child runs, or is forgotten, and that is what is said."""
    world = pool("a")

    assert isinstance(world.answer(request_("a")), ChildRunningError)
    assert isinstance(world.answer(request_("b")), ChildNotFoundError)


# ----- shutdown --------------------------------------------------------------------


def test_all_children_stop_at_once() -> None:
    """F2: three deadlines of 5 s pass in 5 s; each child has its own."""
    world = pool("a", "b", "c")
    world.ask(StartChild(worker("d", shutdown=BRUTAL_KILL)))
    world.stubborn = {"a", "b", "c"}

    assert world.shut_down(NORMAL)[:4] == ["stop a#1", "stop b#2", "stop c#3", "kill d#4"]
    assert sorted(world.advance(5)) == [
        "exit: normal",
        *("kill a#1", "kill b#2", "kill c#3"),
        *(f"stopped {child}: {KILLED}" for child in ("a#1", "b#2", "c#3")),
    ]


def test_shutdown_without_children_ends_at_once_and_once() -> None:
    """F10: there is one exit, and nothing after it."""
    world = pool()

    assert world.shut_down() == ["exit: shutdown"]
    assert world.shut_down(NORMAL) == []
    assert world.ask(StartChild(worker("a"))) == []


def test_shutdown_ends_starts_claims_and_retries() -> None:
    """F14: there is one exit, when the last process is dead."""
    world = pool("a", backoff=1.0)
    world.feed(RegistryUp())
    world.failing["a"] = 1
    world.kill("a")
    world.slow = {"b"}
    world.ask(StartChild(worker("b")))
    world.silent_registry = True
    world.ask(StartChild(worker("c", name=("k", "1"))))

    assert world.shut_down() == [
        *("kill b#3", "not started c: shutdown", "release k 1"),
        "refuse 3: StartFailedError: child c could not be started: shutdown",
        f"not started b: {KILLED}",
        f"refuse 2: StartFailedError: child b could not be started: {KILLED}",
        "exit: shutdown",
    ]
    assert world.feed(NameClaimed(4)) == []


def test_shutdown_during_a_claim_only_ends_once() -> None:
    """F10: an end that comes within the shutdown itself is not counted twice."""
    world = pool()
    world.feed(RegistryUp())
    world.silent_registry = True
    world.ask(StartChild(worker("c", name=("k", "1"))))

    assert world.shut_down().count("exit: shutdown") == 1


def test_requests_during_a_shutdown_get_no_answer() -> None:
    """F10: their callers hear of the exit."""
    world = pool("a")
    world.stubborn = {"a"}
    world.shut_down()

    assert world.ask(StartChild(worker("b"))) == []
    assert world.ask(TerminateChild("a")) == []
    assert world.end("a", SHUTDOWN) == ["stopped a#1: shutdown", "exit: shutdown"]


def test_deaths_during_a_shutdown_are_not_restarted() -> None:
    """F15: the reason of the exit stays."""
    world = pool("a", "b")
    world.stubborn = {"a", "b"}
    world.shut_down(NORMAL)

    assert world.crash("a") == ["stopped a#1: crashed: ValueError: no"]
    assert world.crash("b")[-1] == "exit: normal"


# ----- names -----------------------------------------------------------------------


def test_name_is_claimed_for_the_first_start_and_released_with_the_child() -> None:
    """B6, B8: not for a restart; the release comes before the answer."""
    world = pool()
    world.feed(RegistryUp())
    spec = worker("a", name=("k", "1"))

    assert world.ask(StartChild(spec))[:2] == ["claim k 1 #1", "spawn a#1"]
    assert world.kill("a")[1:] == ["spawn a#2", "started a#2"]
    assert world.ask(TerminateChild("a"))[-2:] == ["release k 1", "reply 2: None"]


def test_name_of_a_failed_start_is_released_before_the_answer() -> None:
    """B8: whoever hears of the failure can try again."""
    world = pool()
    world.feed(RegistryUp())
    world.failing["a"] = 1

    log = world.ask(StartChild(worker("a", name=("k", "1"))))

    assert log[-2] == "release k 1"
    assert log[-1].startswith("refuse 1: StartFailedError")


def test_taken_name_is_refused_with_its_holder() -> None:
    """B7: init is not run, and there is nothing to release."""
    world = pool()
    world.feed(RegistryUp())
    world.taken[("k", "1")] = ActorRef("worker", 7, 70)

    assert world.ask(StartChild(worker("a", name=("k", "1")))) == [
        "claim k 1 #1",
        "not started a: crashed: its name is taken by worker#7 (pid 70)",
        "refuse 1: AlreadyStartedError: a is already started: worker#7 (pid 70)",
    ]


def test_new_registry_is_told_of_all_children_with_a_process() -> None:
    """K14: those between two tries claim with the next one."""
    world = pool(backoff=1.0)
    world.feed(RegistryUp())
    world.ask(StartChild(worker("a", name=("k", "1"))))
    world.ask(StartChild(worker("b", name=("k", "2"))))
    world.failing["b"] = 1
    world.kill("b")

    assert world.feed(RegistryUp()) == ["claim k 1 #1"]
    assert world.advance(1)[:2] == ["claim k 2 #4", "spawn b#4"]
