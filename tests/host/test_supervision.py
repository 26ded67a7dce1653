"""What supervisors do with real processes (rows B, C, E8, F, I): start, stop, restart, give up."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from actors import group, mourner, pool, subject
from servers import notes
from trees import MakeTree, Tree

from jidocode.errors import (
    ActorExitedError,
    AlreadyPresentError,
    AlreadyStartedError,
    CallError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
    MaxChildrenError,
    StartFailedError,
    SupervisorError,
)
from jidocode.otp import (
    BRUTAL_KILL,
    INFINITY,
    ActorRef,
    AutoShutdown,
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildStartFailed,
    ChildStarting,
    ChildStatus,
    Crashed,
    Flags,
    GaveUp,
    Killed,
    Normal,
    Restart,
    Shutdown,
    Strategy,
)
from jidocode.otp.supervision.management import (
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
)
from jidocode.testing import eventually, is_alive

MANY = Flags(max_restarts=100_000)
KILLED = Killed(signal.SIGKILL)


def many(strategy: Strategy) -> Flags:
    return Flags(strategy=strategy, max_restarts=100_000)


def budget(restarts: int) -> Flags:
    """Return flags with a window that no test outlasts."""
    return Flags(max_restarts=restarts, max_seconds=600)


def await_deaths(refs: list[ActorRef]) -> None:
    eventually(lambda: not any(is_alive(ref.os_pid) for ref in refs), "the deaths")


def descendants(ref: ActorRef) -> list[int]:
    return [process.pid for process in psutil.Process(ref.os_pid).children(recursive=True)]


def family(running: Tree, child_id: str) -> list[int]:
    """Have a child start processes of its own, one of them in a session of its own."""
    running.call(child_id, "family")
    ref = running.ref(child_id)
    return eventually(lambda: below if len(below := descendants(ref)) == 3 else [], "a family")


# ----- start ------------------------------------------------------------------------


def test_children_start_one_after_the_other_in_order(tree: MakeTree, log: Path) -> None:
    """Each one begins when the `init` of the one before it is done."""
    tree(MANY, mourner("a", log), mourner("b", log), mourner("c", log))

    assert notes(log, "starts") == [
        "a starts beside",
        "b starts beside a",
        "c starts beside ab",
    ]


def test_a_child_that_fails_takes_the_start_back(tree: MakeTree, log: Path) -> None:
    """Those before it are stopped in reverse order, those after it never start."""
    running = tree(MANY)
    specs = [mourner("a", log), mourner("b", log), subject("c", log, "raise"), mourner("d", log)]
    with pytest.raises(StartFailedError) as failed:
        running.start(group("g", MANY, specs))

    assert (failed.value.child_id, failed.value.path) == ("g", ("g", "c"))
    assert isinstance(failed.value.cause, Crashed)
    assert "ValueError" in failed.value.cause.error
    assert "Traceback" in failed.value.cause.traceback
    assert "child g > c could not be started: crashed: ValueError" in str(failed.value)
    assert notes(log, "terminates") == ["b terminates beside ab", "a terminates beside a"]
    assert notes(log, "d ") == []
    assert running.children() == {}


def test_a_supervisor_answers_while_a_child_starts_slowly(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """It shows the child as starting (deviation: OTP's blocks)."""
    running = tree(MANY)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(running.start, subject("a", log, "wait", "a", gate))
        eventually(lambda: notes(log, "begins"), "the slow init")
        status = running.children()["a"].status
        gate.touch()

        assert status is ChildStatus.STARTING
        assert slow.result() == running.ref("a")


# ----- strategies --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, ["b starts beside ac"]),
        (
            Strategy.REST_FOR_ONE,
            ["c terminates beside ac", "b starts beside a", "c starts beside ab"],
        ),
        (
            Strategy.ONE_FOR_ALL,
            [
                "c terminates beside ac",
                "a terminates beside a",
                "a starts beside",
                "b starts beside a",
                "c starts beside ab",
            ],
        ),
    ],
)
def test_a_strategy_stops_in_reverse_order_and_starts_in_order_one_at_a_time(
    tree: MakeTree, log: Path, strategy: Strategy, expected: list[str]
) -> None:
    """Who begins or ends sees exactly those alive who should be."""
    running = tree(many(strategy), mourner("a", log), mourner("b", log), mourner("c", log))
    before = len(notes(log, "beside"))
    last = running.ref("c")
    ref = running.kill("b")
    running.successor(ref, "b")
    if strategy is not Strategy.ONE_FOR_ONE:
        running.successor(last, "c")

    assert notes(log, "beside")[before:] == expected


def test_a_group_restart_counts_once(tree: MakeTree) -> None:
    """However many children it replaces."""
    flags = Flags(strategy=Strategy.ONE_FOR_ALL, max_restarts=2, max_seconds=600)
    running = tree(flags, *[subject(child) for child in "abcd"])
    for child in "ad":
        last = running.ref("d")
        running.kill(child)
        running.successor(last, "d")

    assert running.events(GaveUp) == []
    assert len(running.events(ChildStarted)) == 12


# ----- intensity and escalation --------------------------------------------------------


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_a_supervisor_gives_up_at_the_death_that_is_one_too_many(
    tree: MakeTree, log: Path, restarts: int
) -> None:
    """It stops the others in reverse order, not the dead one again, and ends with `shutdown`."""
    specs = [mourner("a", log), mourner("b", log), mourner("c", log)]
    running = tree(MANY, group("g", budget(restarts), specs))
    supervisor = running.ref("g")
    for _ in range(restarts):
        running.successor(running.kill("b"), "b")
    gave_up_early = bool(running.events(GaveUp))
    running.kill("b")
    reason = running.end_of(supervisor).reason
    running.successor(supervisor, "g")

    assert not gave_up_early
    assert [event.child_id for event in running.events(GaveUp)] == ["b"]
    assert reason == Shutdown("gave up on 'b'")
    assert notes(log, "terminates") == ["c terminates beside ac", "a terminates beside a"]


def test_levels_multiply_and_each_ends_with_shutdown(tree: MakeTree) -> None:
    """Three supervisors deep: the fourth death of the leaf reaches the top."""
    leaf = subject("leaf")
    third = group("third", budget(0), [leaf])
    second = group("second", budget(1), [third])
    first = group("first", budget(1), [second])
    running = tree(MANY, first)
    top = running.ref("first")
    for _ in range(3):
        running.successor(running.kill("leaf"), "leaf")
    ended_early = running.events(ChildExited, "first")
    running.kill("leaf")
    running.successor(top, "first")

    assert ended_early == []
    for child, below, deaths in (
        ("third", "leaf", 4),
        ("second", "third", 2),
        ("first", "second", 1),
    ):
        ends = [event.reason for event in running.events(ChildExited, child)]
        assert ends == [Shutdown(f"gave up on '{below}'")] * deaths
    assert running.call("leaf", "handled") == 1


def test_a_killed_inner_supervisor_comes_back_when_all_below_it_is_dead(
    tree: MakeTree, log: Path
) -> None:
    """Two levels below, with processes of their own; their names are free again."""
    named = subject("d", name=("kind", "d"))
    inner = group("inner", MANY, [mourner("b", log), mourner("c", log), named])
    running = tree(MANY, group("outer", MANY, [mourner("a", log), inner]), registry=True)
    below = [*family(running, "c"), *(running.ref(child).os_pid for child in "abcd")]
    old = running.ref("d")
    before = len(notes(log, "beside"))
    supervisor = running.kill("outer")
    alive_at_the_end = [pid for pid in below if is_alive(pid)]
    running.successor(supervisor, "outer")
    running.successor(old, "d")

    assert alive_at_the_end == []
    assert running.end_of(supervisor).reason == KILLED
    assert notes(log, "beside")[before:] == [
        "a starts beside",
        "b starts beside a",
        "c starts beside ab",
    ]


# ----- stop -------------------------------------------------------------------------


def test_a_stop_lets_the_child_handle_what_waits_first(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """Messages that were queued before the order, then `terminate`."""
    running = tree(MANY, subject("a", log))
    running.cast("a", ("until", gate))
    running.cast("a", 1)
    running.cast("a", 2)
    with ThreadPoolExecutor(1) as threads:
        stop = threads.submit(running.stop, "a")
        eventually(lambda: running.children()["a"].status is ChildStatus.STOPPING, "the order")
        gate.touch()
        stop.result()

    assert notes(log, "busy", "cast", "terminate") == [
        "busy",
        "cast 1",
        "cast 2",
        "terminate shutdown",
    ]


@pytest.mark.parametrize("shutdown", [BRUTAL_KILL, 0])
def test_a_brutal_stop_does_not_run_terminate(tree: MakeTree, log: Path, shutdown: object) -> None:
    """No time to stop is the same as none asked for."""
    running = tree(MANY, subject("a", log, shutdown=shutdown))
    ref = running.ref("a")
    running.stop("a")

    assert not is_alive(ref.os_pid)
    assert notes(log, "terminate") == []
    assert running.end_of(ref) == ChildExited(
        supervisor=running.root, child_id="a", ref=ref, reason=KILLED, on_request=True
    )


@pytest.mark.parametrize("how", ["busy", "stopped"])
def test_a_child_that_does_not_stop_in_time_is_killed(
    tree: MakeTree, log: Path, gate: Path, how: str
) -> None:
    """Whether it is busy, or stopped by a signal and cannot hear."""
    running = tree(MANY, subject("a", log, shutdown=0.1))
    ref = running.ref("a")
    if how == "busy":
        running.cast("a", ("until", gate))
        eventually(lambda: notes(log, "busy"), "the busy handler")
    else:
        os.kill(ref.os_pid, signal.SIGSTOP)
    running.stop("a")

    assert not is_alive(ref.os_pid)
    assert running.end_of(ref).reason == KILLED
    assert notes(log, "terminate") == []


def test_a_child_with_all_the_time_of_the_world_is_waited_for(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """And the supervisor answers meanwhile."""
    leaf = subject("a", log, shutdown=INFINITY)
    running = tree(MANY, group("g", MANY, [leaf]))
    ref = running.ref("a")
    running.cast("a", ("until", gate))
    eventually(lambda: notes(log, "busy"), "the busy handler")
    with ThreadPoolExecutor(1) as threads:
        stop = threads.submit(running.stop, "g")
        eventually(lambda: running.children()["g"].status is ChildStatus.STOPPING, "the order")
        eventually(lambda: running.children("g")["a"].status is ChildStatus.STOPPING, "its order")
        was_alive = is_alive(ref.os_pid)
        gate.touch()
        stop.result()

    assert was_alive
    assert running.end_of(ref).reason == Shutdown()
    assert notes(log, "terminate") == ["terminate shutdown"]


def test_a_supervisor_stops_its_children_in_reverse_order(tree: MakeTree, log: Path) -> None:
    """One at a time, and returns when none is left."""
    running = tree(MANY, group("g", MANY, [mourner(child, log) for child in "abc"]))
    refs = [running.ref(child) for child in "gabc"]
    running.stop("g")

    assert [ref for ref in refs if is_alive(ref.os_pid)] == []
    assert notes(log, "terminates") == [
        "c terminates beside abc",
        "b terminates beside ab",
        "a terminates beside a",
    ]


@pytest.mark.parametrize("shutdown", [BRUTAL_KILL, 5.0])
def test_a_stop_returns_when_all_descendants_are_dead(tree: MakeTree, shutdown: object) -> None:
    """Also the processes that a worker has started, in a session of their own or not."""
    running = tree(MANY, subject("a", shutdown=shutdown), group("g", MANY, [subject("b")]))
    below = [*family(running, "a"), *family(running, "b")]
    running.stop("a")
    running.stop("g")

    assert len(below) == 6
    assert [pid for pid in below if is_alive(pid)] == []


def test_a_killed_worker_takes_its_own_processes_with_it(tree: MakeTree) -> None:
    """They are dead before its successor starts, and before its end is announced."""
    running = tree(MANY, subject("a"))
    below = family(running, "a")
    running.kill("a")

    assert [pid for pid in below if is_alive(pid)] == []


def test_a_child_that_dies_while_it_is_stopped_is_not_started_again(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """Stopping succeeds whatever it dies of."""
    running = tree(MANY, subject("a", log))
    ref = running.ref("a")
    running.cast("a", ("until", gate))
    eventually(lambda: notes(log, "busy"), "the busy handler")
    with ThreadPoolExecutor(1) as threads:
        stop = threads.submit(running.stop, "a")
        eventually(lambda: running.children()["a"].status is ChildStatus.STOPPING, "the order")
        os.kill(ref.os_pid, signal.SIGKILL)
        stop.result()

    assert running.children()["a"].status is ChildStatus.STOPPED
    assert running.end_of(ref).reason == KILLED
    assert len(running.events(ChildStarted)) == 1


# ----- failing restarts -----------------------------------------------------------------


def test_an_init_that_hangs_at_a_restart_is_killed_and_tried_again(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """The supervisor answers meanwhile."""
    running = tree(MANY, subject("a", log, "hang again", "a", gate, init_timeout=2.0), subject("b"))
    gate.touch()
    ref = running.kill("a")
    eventually(lambda: len(notes(log, "init")) == 2, "the hanging init")
    status = running.children()["a"].status
    [failed, *_] = running.until(lambda: running.events(ChildStartFailed), "the deadline")
    hung = int(notes(log, "init")[1].split()[-1])
    was_alive = is_alive(hung)
    gate.unlink()
    running.successor(ref, "a")

    assert status is ChildStatus.RESTARTING
    assert failed.reason == Crashed("init took longer than 2 s")
    assert failed.restarting
    assert not was_alive


@pytest.mark.parametrize("backoff", [0.0, 0.01])
def test_a_restart_that_fails_is_tried_again_and_can_be_stopped(
    tree: MakeTree, log: Path, gate: Path, backoff: float
) -> None:
    """Requests are served between two tries."""
    flags = Flags(max_restarts=100_000, backoff=backoff)
    spec = subject("a", log, "raise again", "a", gate)
    running = tree(flags, spec)
    gate.touch()
    running.kill("a")
    running.until(lambda: len(running.events(ChildStartFailed)) >= 3, "three tries")
    with pytest.raises(ChildRestartingError):
        running.ask(RestartChild("a"))
    with pytest.raises(ChildRestartingError):
        running.ask(DeleteChild("a"))
    running.stop("a")
    tries = len(notes(log, "init"))
    status = running.children()["a"].status
    gate.unlink()

    assert status is ChildStatus.STOPPED
    assert isinstance(running.ask(RestartChild("a")), ActorRef)
    assert len(notes(log, "init")) == tries + 1


def test_a_restart_that_fails_too_often_ends_the_supervisor(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """Each try costs one of the budget."""
    inner = group("g", budget(3), [subject("a", log, "exit 3 again", "a", gate)])
    running = tree(MANY, subject("b"), inner, registry=True)
    supervisor = running.ref("g")
    gate.touch()
    running.kill("a")
    reason = running.end_of(supervisor).reason
    gate.unlink()
    running.successor(supervisor, "g")

    assert reason == Shutdown("gave up on 'a'")
    assert len(running.events(GaveUp)) == 1
    failed = [event for event in running.events(ChildStartFailed) if event.supervisor == supervisor]
    assert [event.restarting for event in failed] == [True, True, False]


def test_a_supervisor_can_be_stopped_while_a_child_hangs_in_init(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """The child is killed, not waited for (deviation: OTP waits)."""
    running = tree(MANY, group("g", MANY, [subject("a", log, "hang again", "a", gate)]))
    gate.touch()
    running.kill("a")
    eventually(lambda: len(notes(log, "init")) == 2, "the hanging init")
    running.stop("g")

    assert not is_alive(int(notes(log, "init")[1].split()[-1]))
    assert running.children()["g"].status is ChildStatus.STOPPED


# ----- requests -----------------------------------------------------------------------


@pytest.mark.parametrize("supervisor", [None, "pool"])
@pytest.mark.parametrize("restart", Restart)
def test_a_start_by_the_id_of_one_that_has_just_died_is_not_refused_with_it(
    tree: MakeTree, supervisor: str | None, restart: Restart
) -> None:
    """It gets the next life; the id of a temporary one is free, also before its death was told."""
    running = tree(MANY, pool(flags=MANY))
    spec = subject("a", restart=restart, name=("kind", "a"))
    ref = start_or_get(running, spec, supervisor)
    for _ in range(8):
        os.kill(running.client.host_pid, signal.SIGSTOP)  # it tells nobody of a death
        try:
            os.kill(ref.os_pid, signal.SIGKILL)
            eventually(lambda: not is_alive(ref.os_pid), "its death")  # noqa: B023 - called at once
            with ThreadPoolExecutor(1) as threads:
                again = threads.submit(start_or_get, running, spec, supervisor)
                with contextlib.suppress(TimeoutError):
                    again.result(0.02)
                os.kill(running.client.host_pid, signal.SIGCONT)
                old, ref = ref, again.result()
        finally:
            os.kill(running.client.host_pid, signal.SIGCONT)

        assert ref != old
        assert is_alive(ref.os_pid)
        assert running.children(supervisor)["a"].ref == ref


def start_or_get(running: Tree, spec: ChildSpec, supervisor: str | None) -> ActorRef:
    try:
        ref = running.start(spec, supervisor)
    except AlreadyStartedError as error:
        return error.ref
    assert ref is not None
    return ref


def test_what_a_supervisor_refuses_is_told_by_type(tree: MakeTree) -> None:
    """And changes nothing (rows H)."""
    spec = subject("a")
    running = tree(MANY, spec)
    ref = running.ref("a")
    with pytest.raises(AlreadyStartedError) as started:
        running.start(spec)
    for change in (RestartChild("a"), DeleteChild("a")):
        with pytest.raises(ChildRunningError):
            running.ask(change)
    for request in (RestartChild("b"), DeleteChild("b"), GetChildSpec("b")):
        with pytest.raises(ChildNotFoundError):
            running.ask(request)
    with pytest.raises(ChildNotFoundError):
        running.stop("b")
    with pytest.raises(SupervisorError):
        running.ask(("start", "something"))

    assert started.value.ref == ref
    assert running.children()["a"].ref == ref


def test_a_stopped_child_can_be_started_again_or_forgotten(tree: MakeTree) -> None:
    """Its spec stays until it is deleted."""
    spec = subject("a")
    running = tree(MANY, spec)
    first = running.ref("a")
    running.stop("a")
    running.stop("a")
    with pytest.raises(AlreadyPresentError):
        running.start(spec)
    second = running.ask(RestartChild("a"))
    running.stop("a")
    known = running.ask(GetChildSpec("a"))
    running.ask(DeleteChild("a"))

    assert second.incarnation > first.incarnation
    assert known == spec
    assert running.ask(CountChildren()).specs == 0
    assert isinstance(running.start(spec), ActorRef)


# ----- restart types and significance ----------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "how", "comes_back"),
    [
        (Restart.PERMANENT, "stop silently", True),
        (Restart.TRANSIENT, "stop silently", False),
        (Restart.TRANSIENT, "stop", False),
        (Restart.TRANSIENT, "exit 0", True),
        (Restart.TRANSIENT, "kill", True),
        (Restart.TEMPORARY, "kill", False),
    ],
)
def test_who_comes_back_depends_on_restart_and_reason(
    tree: MakeTree, restart: Restart, how: str, *, comes_back: bool
) -> None:
    """A transient child that said nothing has crashed, even with status 0."""
    running = tree(MANY, subject("a", restart=restart))
    ref = running.ref("a")
    with contextlib.suppress(CallError):
        running.call("a", how)
    end = running.end_of(ref)
    known = running.ask(CountChildren()).specs

    assert end.restarting == comes_back
    assert known == (0 if restart is Restart.TEMPORARY else 1)
    if comes_back:
        assert running.successor(ref, "a") != ref


@pytest.mark.parametrize(
    ("auto_shutdown", "ends"),
    [(AutoShutdown.ANY_SIGNIFICANT, "a"), (AutoShutdown.ALL_SIGNIFICANT, "ab")],
)
def test_significant_children_end_their_supervisor(
    tree: MakeTree, log: Path, auto_shutdown: AutoShutdown, ends: str
) -> None:
    """The first of them or the last; a crash only restarts them."""
    significant = {"restart": Restart.TRANSIENT, "significant": True}
    specs = [subject("a", **significant), subject("b", **significant), mourner("c", log)]
    flags = Flags(auto_shutdown=auto_shutdown, max_restarts=100)
    running = tree(MANY, group("g", flags, specs))
    supervisor = running.ref("g")
    running.successor(running.kill("a"), "a")
    for child in ends[:-1]:
        ref = running.ref(child)
        with pytest.raises(ActorExitedError):
            running.call(child, "stop silently")
        running.end_of(ref)
    early = running.client.directory.death_of(supervisor)
    with pytest.raises(ActorExitedError):
        running.call(ends[-1], "stop silently")
    reason = running.end_of(supervisor).reason

    assert early is None
    assert reason == Shutdown()
    assert notes(log, "terminates") == ["c terminates beside c"]


# ----- children on demand ---------------------------------------------------------------


def test_max_children_is_exact_under_concurrent_starts(tree: MakeTree) -> None:
    """Fifty at once for ten places: ten run, forty are refused."""
    running = tree(MANY, pool(max_children=10))

    def start(number: int) -> str:
        try:
            return type(running.start(subject(f"c{number}"), "pool")).__name__
        except MaxChildrenError as error:
            return f"refused beyond {error.max_children}"

    with ThreadPoolExecutor(50) as threads:
        results = Counter(threads.map(start, range(50)))

    assert results == {"ActorRef": 10, "refused beyond 10": 40}
    assert len(running.children("pool")) == 10


def test_a_slow_init_blocks_nobody(tree: MakeTree, log: Path, gate: Path) -> None:
    """Others start, crash, come back and stop beside it (deviation: Elixir's waits)."""
    running = tree(MANY, pool(max_children=2))
    slow: Future[ActorRef | None]
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(running.start, subject("slow", log, "wait", "s", gate), "pool")
        eventually(lambda: notes(log, "begins"), "the slow init")
        running.start(subject("a"), "pool")
        running.successor(running.kill("a"), "a")
        with pytest.raises(MaxChildrenError):
            running.start(subject("b"), "pool")
        running.stop("a", "pool")
        running.start(subject("b"), "pool")
        is_done = slow.done()
        gate.touch()

        assert not is_done
        assert slow.result() == running.ref("slow")


def test_a_dynamic_supervisor_stops_all_its_children_at_once(tree: MakeTree, log: Path) -> None:
    """None waits for another, and it returns when all are dead."""
    running = tree(MANY, pool())
    refs = [running.start(mourner(child, log), "pool") for child in "abc"]
    gates = [log.with_name(child) for child in "abc"]
    for child, gate in zip("abc", gates, strict=True):
        running.cast(child, ("until", gate))
    eventually(lambda: len(notes(log, "busy")) == 3, "three busy children")
    with ThreadPoolExecutor(1) as threads:
        stop = threads.submit(running.stop, "pool")
        eventually(
            lambda: (
                {info.status for info in running.children("pool").values()}
                == {ChildStatus.STOPPING}
            ),
            "three orders",
        )
        for gate in gates:
            gate.touch()
        stop.result()

    assert [ref for ref in refs if ref and is_alive(ref.os_pid)] == []
    assert len(notes(log, "terminates")) == 3


def test_who_waits_for_a_start_learns_of_the_death_of_the_supervisor(
    tree: MakeTree, log: Path, gate: Path
) -> None:
    """And the child that was starting is dead."""
    running = tree(MANY, pool())
    with ThreadPoolExecutor(1) as threads:
        start = threads.submit(running.start, subject("a", log, "wait", "a", gate), "pool")
        eventually(lambda: notes(log, "begins"), "the slow init")
        (starting,) = running.until(lambda: running.events(ChildStarting, "a"))
        supervisor = running.kill("pool")
        error = start.exception()

    assert isinstance(error, ActorExitedError)
    assert error.reason == KILLED
    assert not is_alive(starting.os_pid)
    running.successor(supervisor, "pool")
    assert running.children("pool") == {}


# ----- witnesses ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_of_many_deaths_at_the_same_instant_is_seen_once(tree: MakeTree, count: int) -> None:
    """Sixty rounds: one announcement per death, the right reason, every child back.

    In every other round the supervisor is held until all are dead, so that one
    signal stands for all deaths.
    """
    children = [str(number) for number in range(count)]
    running = tree(MANY, *map(subject, children))
    dead: list[ActorRef] = []
    for turn in range(60):
        refs = [running.ref(child) for child in children]
        if turn % 2:
            os.kill(running.root.os_pid, signal.SIGSTOP)
        for ref in refs:
            os.kill(ref.os_pid, signal.SIGKILL)
        if turn % 2:
            await_deaths(refs)
            os.kill(running.root.os_pid, signal.SIGCONT)
        for child, ref in zip(children, refs, strict=True):
            running.successor(ref, child)
        dead += refs
    infos = running.children()

    ends = running.events(ChildExited)
    assert Counter(event.ref for event in ends) == Counter(dead)
    assert {event.reason for event in ends} == {KILLED}
    assert {info.restarts for info in infos.values()} == {60}
    assert len(running.events(ChildStarted)) == 61 * count


def test_the_reason_of_each_of_several_deaths_is_its_own(tree: MakeTree) -> None:
    """Three children end at the same instant in three ways."""
    running = tree(MANY, *map(subject, "abc"))
    ways = {"a": "segfault", "b": "stop silently", "c": "exit 3"}
    for _ in range(10):
        refs = {child: running.ref(child) for child in "abc"}
        with ThreadPoolExecutor(3) as threads:
            calls = [threads.submit(running.call, child, how) for child, how in ways.items()]
        ends = {child: running.end_of(ref).reason for child, ref in refs.items()}
        for child, ref in refs.items():
            running.successor(ref, child)

        assert all(isinstance(call.exception(), ActorExitedError) for call in calls)
        assert ends == {
            "a": Killed(signal.SIGSEGV),
            "b": Normal(),
            "c": Crashed("exited with status 3 and without a word"),
        }
