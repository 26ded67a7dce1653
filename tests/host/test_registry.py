"""Names on real processes: who holds them, and what a killed registry takes with it: nothing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from actors import Registrar, group, pool, subject
from servers import notes
from trees import REGISTRY_ID, MakeTree, Tree

from jidocode.errors import AlreadyStartedError, StartFailedError
from jidocode.otp import (
    ActorRef,
    ChildExited,
    ChildSpec,
    ChildStatus,
    Flags,
    Name,
    Restart,
    Start,
)
from jidocode.otp.naming.messages import ROOT, AwaitLive, Entries, Live, NotFound, Restarting
from jidocode.otp.naming.table import Entry
from jidocode.otp.supervision.management import RestartChild
from jidocode.testing import eventually, is_alive

MANY = Flags(max_restarts=100_000)
NAMES: list[Name] = [("kind", "a"), ("kind", "b"), ("other", "a")]


def with_name(child_id: str, name: Name, *args: object) -> ChildSpec:
    return subject(child_id, *args, name=name, value=f"value of {child_id}")


@pytest.fixture
def running(tree: MakeTree) -> Tree:
    """A registry, a pool, and named children at three levels."""
    inner = group("inner", MANY, [with_name("c", NAMES[2])])
    outer = group("outer", MANY, [with_name("b", NAMES[1]), inner])
    running: Tree = tree(MANY, with_name("a", NAMES[0]), outer, pool(), registry=True)
    return running


def has(running: Tree, name: Name, ref: ActorRef) -> bool:
    found = running.look_up(name)
    return isinstance(found, Live) and found.ref == ref


def until_registered(running: Tree, name: Name, child_id: str) -> None:
    """Wait until the registry has the live process of a child under *name*."""
    eventually(lambda: has(running, name, running.ref(child_id)), f"registration of {name}")


def until_all_registered(running: Tree) -> None:
    for name, child in zip(NAMES, "abc", strict=True):
        until_registered(running, name, child)


# ----- names ------------------------------------------------------------------------


def test_names_lead_to_processes_and_their_values(running: Tree) -> None:
    """At every level; a name that nobody holds is not found."""
    until_all_registered(running)
    entries: list[Entry] = running.call(REGISTRY_ID, Entries("kind"))

    assert running.look_up(NAMES[2]) == Live(running.ref("c"), "value of c")
    assert running.look_up(("kind", "nobody")) == NotFound()
    assert [entry.name for entry in entries] == NAMES[:2]


def test_a_name_follows_its_child(running: Tree, log: Path, gate: Path) -> None:
    """It is held while the child restarts, and free when the child was stopped."""
    name = ("kind", "d")
    running.start(with_name("d", name, log, "wait again", "d", gate.with_name("never")), "pool")
    running.start(with_name("e", ("kind", "e"), log, "hang again", "e", gate), "pool")
    until_registered(running, ("kind", "e"), "e")
    gate.touch()
    running.kill("e")
    eventually(lambda: len(notes(log, "e init")) == 2, "the hanging init")
    during = running.look_up(("kind", "e"))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(running.call, REGISTRY_ID, AwaitLive(("kind", "e")))
        running.stop("e", "pool")
        answer = waiting.result()

    assert during == Restarting("value of e")
    assert answer == NotFound()
    eventually(lambda: running.look_up(("kind", "e")) == NotFound(), "the release")
    assert has(running, name, running.ref("d"))


def test_whoever_waits_for_a_name_gets_the_successor(running: Tree) -> None:
    """As soon as it runs."""
    until_all_registered(running)
    for _ in range(10):
        old = running.kill("c")
        # The app may hear of the death before the registry.
        eventually(lambda: not has(running, NAMES[2], old), "the registry's knowledge")  # noqa: B023 - used at once
        answer = running.call(REGISTRY_ID, AwaitLive(NAMES[2]))

        assert answer == Live(running.successor(old, "c"), "value of c")


def test_a_taken_name_is_refused_with_its_holder(running: Tree, log: Path) -> None:
    """Under whatever supervisor; the `init` of the second one does not run."""
    until_all_registered(running)
    holder = running.ref("c")
    for supervisor in (None, "pool", "outer"):
        with pytest.raises(AlreadyStartedError) as refused:
            running.start(with_name("late", NAMES[2], log), supervisor)

        assert refused.value.ref == holder
    assert not log.exists()
    assert has(running, NAMES[2], holder)


def test_of_many_starts_under_one_name_one_wins(tree: MakeTree, log: Path) -> None:
    """Fifty at once under five supervisors: one `init` runs, the others are refused."""
    pools = [f"pool{number}" for number in range(5)]
    running = tree(MANY, *map(pool, pools), registry=True)

    def start(number: int) -> str:
        try:
            spec = with_name(f"c{number}", ("kind", "x"), log)
            return type(running.start(spec, pools[number % 5])).__name__
        except AlreadyStartedError:
            return "refused"

    with ThreadPoolExecutor(50) as threads:
        results = Counter(threads.map(start, range(50)))

    assert results == {"ActorRef": 1, "refused": 49}
    assert len(notes(log, "init")) == 1


def start_or_get(running: Tree, spec: ChildSpec, supervisor: str) -> ActorRef | None:
    try:
        return running.start(spec, supervisor)
    except AlreadyStartedError as error:
        return error.ref


def test_start_or_get_is_one_call_also_while_the_holder_is_restarted(running: Tree) -> None:
    """By name from another supervisor, and by id."""
    running.start(pool("keeper", flags=MANY))
    running.start(with_name("d", ("kind", "d")), "keeper")
    ref = running.ref("d")
    for _ in range(15):
        os.kill(ref.os_pid, signal.SIGKILL)
        eventually(lambda: not is_alive(ref.os_pid), "its death")  # noqa: B023 - called at once
        with ThreadPoolExecutor(2) as threads:
            by_name = threads.submit(
                start_or_get, running, with_name("late", ("kind", "d")), "pool"
            )
            by_id = threads.submit(start_or_get, running, with_name("d", ("kind", "d")), "keeper")
            old, ref = ref, running.successor(ref, "d")

        assert by_name.result() == ref
        assert by_id.result() == ref != old


def test_a_claim_waits_for_the_next_life_of_a_holder_whose_supervisor_hangs(
    running: Tree,
) -> None:
    """It is not refused with a dead process: it learns of the next one."""
    until_all_registered(running)
    old, outer = running.ref("b"), running.ref("outer")
    os.kill(outer.os_pid, signal.SIGSTOP)
    os.kill(old.os_pid, signal.SIGKILL)
    with ThreadPoolExecutor(1) as threads:
        claim = threads.submit(running.start, with_name("late", NAMES[1]), "pool")
        eventually(lambda: "late" in running.children("pool"), "the claim")
        with pytest.raises(TimeoutError):
            claim.result(0.5)
        os.kill(outer.os_pid, signal.SIGCONT)
        with pytest.raises(AlreadyStartedError) as refused:
            claim.result()

    assert refused.value.ref == running.successor(old, "b")


def test_the_name_of_a_dead_temporary_child_is_free_also_if_its_supervisor_hangs(
    running: Tree,
) -> None:
    """Nobody brings it back, so there is nothing to wait for."""
    name = ("kind", "d")
    spec = ChildSpec(
        id="d", start=Start(Registrar), restart=Restart.TEMPORARY, name=name, value="value"
    )
    old = running.start(spec, "pool")
    assert old is not None
    eventually(lambda: has(running, name, old), "the registration")
    supervisor = running.ref("pool")
    os.kill(supervisor.os_pid, signal.SIGSTOP)
    os.kill(old.os_pid, signal.SIGKILL)
    new = running.start(with_name("late", name), "outer")
    os.kill(supervisor.os_pid, signal.SIGCONT)

    assert new is not None
    running.end_of(old)
    assert has(running, name, new)


def test_a_start_that_fails_has_freed_its_name(running: Tree, log: Path) -> None:
    """When its caller is told: another supervisor can take it at once, in twenty rounds."""
    name = ("kind", "x")
    running.start(pool("second"))
    for number in range(20):
        with pytest.raises(StartFailedError):
            running.start(with_name(f"x{number}", name, log, "raise"), "pool")
        ref = running.start(with_name(f"y{number}", name), "second")
        running.stop(f"y{number}", "second")

        assert ref is not None


def test_a_stopped_child_gives_its_name_to_others_and_may_take_it_again(running: Tree) -> None:
    """Unless somebody else has it then."""
    until_all_registered(running)
    running.stop("a")
    other = running.start(with_name("late", NAMES[0]), "pool")
    with pytest.raises(AlreadyStartedError) as refused:
        running.ask(RestartChild("a"))
    running.stop("late", "pool")

    assert refused.value.ref == other
    assert running.ask(RestartChild("a")) == running.ref("a")
    assert running.children()["a"].status is ChildStatus.RUNNING


def test_a_process_that_goes_by_the_registrys_kind_is_not_taken_for_it(running: Tree) -> None:
    """What a process is called is its author's choice."""
    until_all_registered(running)
    running.start(ChildSpec(id="false", start=Start(Registrar)))
    running.start(with_name("d", ("kind", "d")))

    until_registered(running, ("kind", "d"), "d")
    assert running.call("false", "handled") == 1


# ----- deaths of the registry ---------------------------------------------------------


def test_a_killed_registry_loses_nothing(running: Tree) -> None:
    """Ten rounds: names, values, and who holds them; nobody else is touched."""
    running.start(with_name("d", ("kind", "d")), "pool")
    refs = {child: running.ref(child) for child in "abcd"}
    expected = dict(zip([*NAMES, ("kind", "d")], "abcd", strict=True))
    for _ in range(10):
        running.successor(running.kill(REGISTRY_ID), REGISTRY_ID)
        for name, child in expected.items():
            until_registered(running, name, child)
        with pytest.raises(AlreadyStartedError):
            running.start(with_name("late", NAMES[1]), "pool")
        entries: list[Entry] = running.call(REGISTRY_ID, Entries())

        assert {entry.name: entry.value for entry in entries} == {
            name: f"value of {child}" for name, child in expected.items()
        }
    assert {child: running.ref(child) for child in "abcd"} == refs


def test_a_start_during_which_the_registry_dies_succeeds(
    running: Tree, log: Path, gate: Path
) -> None:
    """While the child's `init` runs; who else wants its name waits for it."""
    with ThreadPoolExecutor(2) as threads:
        spec = with_name("d", ("kind", "d"), log, "wait", "d", gate)
        start = threads.submit(running.start, spec, "pool")
        eventually(lambda: notes(log, "begins"), "the slow init")
        running.successor(running.kill(REGISTRY_ID), REGISTRY_ID)
        held = Restarting("value of d")
        eventually(lambda: running.look_up(("kind", "d")) == held, "the claim")
        other = threads.submit(running.start, with_name("e", ("kind", "d")), "outer")
        eventually(lambda: "e" in running.children("outer"), "the other claim")
        gate.touch()
        ref = start.result()
        with pytest.raises(AlreadyStartedError) as refused:
            other.result()

    assert refused.value.ref == ref
    assert ref is not None
    until_registered(running, ("kind", "d"), "d")


def test_a_claim_that_a_dying_registry_took_with_it_is_made_again(running: Tree) -> None:
    """The registry is held before it can answer, and then killed."""
    registry = running.ref(REGISTRY_ID)
    os.kill(registry.os_pid, signal.SIGSTOP)
    with ThreadPoolExecutor(3) as threads:
        starts = [
            threads.submit(
                running.start, with_name(f"d{number}", ("kind", f"d{number}")), supervisor
            )
            for number, supervisor in enumerate(("pool", "outer", None))
        ]
        eventually(lambda: "d0" in running.children("pool"), "the claim")
        running.kill(REGISTRY_ID)
        refs = [start.result() for start in starts]

    assert [running.ref(f"d{number}") for number in range(3)] == refs
    for number in range(3):
        until_registered(running, ("kind", f"d{number}"), f"d{number}")


@pytest.mark.parametrize("children", ["a", "b", "c", "abc"])
def test_a_registry_that_dies_together_with_children_finds_them_again(
    running: Tree, children: str
) -> None:
    """Ten rounds; at whatever level they are, all come back under their names."""
    for _ in range(10):
        refs = running.kill_together(*children, REGISTRY_ID)
        for child, ref in zip([*children, REGISTRY_ID], refs, strict=True):
            running.successor(ref, child)
        until_all_registered(running)
    ends = Counter(event.ref for event in running.events(ChildExited))

    assert set(ends.values()) == {1}
    assert sum(ends.values()) == 10 * (len(children) + 1)


@pytest.mark.parametrize("together", [["outer"], ["inner"], ["outer", REGISTRY_ID]])
def test_names_below_a_killed_supervisor_are_taken_again(
    running: Tree, together: list[str]
) -> None:
    """Ten rounds, with the registry and without: the successors hold them, each one alone."""
    for _ in range(10):
        old = {child: running.ref(child) for child in "bc"}
        refs = running.kill_together(*together)
        for child, ref in zip(together, refs, strict=True):
            running.successor(ref, child)
        running.successor(old["c"], "c")
        until_all_registered(running)
        with pytest.raises(AlreadyStartedError):
            running.start(with_name("late", NAMES[2]), "pool")


def test_a_registry_that_dies_while_a_supervisor_restarts_its_children_is_told_of_them(
    running: Tree,
) -> None:
    """The supervisor's children, the supervisor and the registry, one after the other."""
    for _ in range(10):
        old = {child: running.ref(child) for child in ("c", REGISTRY_ID, "inner")}
        for ref in old.values():
            os.kill(ref.os_pid, signal.SIGKILL)
        # Of each one, for nothing tells the app in which order it hears of them: what it has
        # as the process of a child may be dead, and reaped, until it has heard of its end.
        for child, ref in old.items():
            running.successor(ref, child)
        until_all_registered(running)


def test_the_registry_and_its_supervisor_may_die_together(running: Tree) -> None:
    """The supervisor is the root: all starts afresh, under the same names."""
    old = {child: running.ref(child) for child in [*"abc", REGISTRY_ID]}
    root = running.root
    os.kill(running.ref(REGISTRY_ID).os_pid, signal.SIGKILL)
    os.kill(root.os_pid, signal.SIGKILL)
    eventually(
        lambda: running.client.directory.find(ROOT) not in (None, root), "restart of the root"
    )
    for child, ref in old.items():
        running.successor(ref, child)

    until_all_registered(running)


@pytest.mark.parametrize("victim", ["c", "inner", "outer", REGISTRY_ID])
def test_a_name_is_not_given_to_two(running: Tree, victim: str) -> None:
    """As soon as its holder is back, no start under it succeeds; the holder keeps it."""
    old = running.ref("c")
    killed = running.kill(victim)
    running.successor(killed, victim)
    if victim != REGISTRY_ID:
        running.successor(old, "c")
    until_all_registered(running)
    with pytest.raises(AlreadyStartedError) as refused:
        running.start(with_name("thief", NAMES[2]), "pool")

    assert refused.value.ref == running.ref("c")
