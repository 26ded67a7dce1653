"""Names that two want, and a registry that is gone for a while, in a world without processes."""

from __future__ import annotations

import pytest

from jidocode.base.exits import Killed
from jidocode.base.refs import ActorRef
from jidocode.errors import AlreadyStartedError
from jidocode.otp.naming.messages import NameGranted, NameRefused, Restarting
from jidocode.otp.naming.monitors import Notify
from jidocode.otp.naming.table import Confirm, NameTable, Watch
from jidocode.otp.supervision.machine import NameReserved, RegistryDown, RegistryUp
from jidocode.otp.supervision.management import RestartChild, StartChild, TerminateChild
from jidocode.otp.supervision.strategy import Restart
from tests.otp.machines import supervise, supervise_dynamically, worker

NAME = ("k", "1")
OLD, NEW, CHILD = (ActorRef(kind, 1, pid) for kind, pid in [("old", 2), ("new", 3), ("child", 4)])


def test_two_children_of_one_supervisor_cannot_have_one_name() -> None:
    """The registry grants an owner what it holds already, so the owner has to look itself."""
    world = supervise_dynamically()
    world.start(registry_up=True)
    world.ask(StartChild(worker("a", name=NAME)))
    said = world.ask(StartChild(worker("b", name=NAME)))
    error = world.errors[2]

    assert said[-1] == "refuse 2: AlreadyStartedError: b is already started: worker#1 (pid 1001)"
    assert isinstance(error, AlreadyStartedError)
    assert error.ref == world.process("a").ref


def test_a_stopped_childs_name_can_be_taken_by_its_sibling() -> None:
    """It gets it back when the sibling is stopped."""
    world = supervise(worker("a", name=NAME), worker("b"))
    world.start(registry_up=True)
    world.ask(TerminateChild("a"))
    world.ask(StartChild(worker("c", name=NAME)))
    refused = world.ask(RestartChild("a"))
    world.ask(TerminateChild("c"))

    assert "AlreadyStartedError" in refused[-1]
    assert "started a#" in "".join(world.ask(RestartChild("a")))


def test_nobody_waits_for_a_registry_that_is_gone() -> None:
    """Its restart may wait for those who do; the next registry is told."""
    world = supervise(worker("a", name=NAME), worker("b"))
    world.silent_registry = True
    world.start(registry_up=True)
    said = world.feed(RegistryDown())

    assert said[:2] == ["spawn a#1", "started a#1"]
    assert world.feed(RegistryUp()) == ["claim k 1 #1"]


def test_all_names_are_claimed_of_a_new_registry() -> None:
    """In start order, and all at once: it is told behind them that there are no more."""
    world = supervise(*(worker(name, name=("k", name)) for name in "abc"))
    world.start(registry_up=True)

    assert world.feed(RegistryUp()) == ["claim k a #1", "claim k b #2", "claim k c #3"]


def test_a_name_that_nobody_may_have_is_a_bad_spec() -> None:
    """The registry knows whose it is, and that no process of that name is to be got."""
    world = supervise_dynamically()
    world.silent_registry = True
    world.start(registry_up=True)
    world.ask(StartChild(worker("a", name=("system", "x"))))

    assert world.feed(NameReserved(1))[-1] == (
        "refuse 1: InvalidChildSpecError: the name of child a is reserved"
    )


@pytest.mark.parametrize("restart", Restart)
def test_who_runs_already_under_a_name_that_nobody_may_have_ends(restart: Restart) -> None:
    """It was started while there was no registry; it is not started again, and costs nothing."""
    world = supervise_dynamically(max_restarts=0)
    world.start()
    world.ask(StartChild(worker("a", restart=restart, name=("system", "x"))))
    world.ask(StartChild(worker("b")))

    assert world.feed(RegistryUp(), NameReserved(1)) == [
        "claim system x #1",
        "kill a#1",
        "exited a#1: crashed: its name is reserved",
    ]
    assert world.alive == ["b#2"]


def test_a_child_starts_unclaimed_while_there_is_no_registry() -> None:
    """As in a tree without one."""
    world = supervise(worker("a"))
    world.start(registry_up=True)
    world.feed(RegistryDown())

    assert not any("claim" in line for line in world.ask(StartChild(worker("b", name=NAME))))


def test_claims_wait_for_a_suspected_owner() -> None:
    """Its end was seen, and why is still to be told."""
    table = NameTable()
    table.claim(NAME, OLD, 1)
    table.suspect(OLD)

    assert table.claim(NAME, NEW, 1)[1:] == []
    assert Notify(NEW, NameGranted(NAME, 1)) in table.process_died(OLD, Killed(9))


def test_an_owner_that_is_well_keeps_its_name() -> None:
    """Who else claims it is told who runs under it."""
    table = NameTable()
    table.claim(NAME, OLD, 1)
    table.register(NAME, OLD, CHILD)

    assert table.claim(NAME, NEW, 1)[1:] == [Watch(CHILD), Confirm(NAME, CHILD)]
    assert table.confirm(NAME, CHILD) == [Notify(NEW, NameRefused(NAME, 1, CHILD))]


def test_a_dead_owner_gets_no_answer() -> None:
    """What it sent before it died may come late, when another one has the name."""
    table = NameTable()
    table.claim(NAME, OLD, 1)
    table.process_died(OLD, Killed(9))
    table.claim(NAME, NEW, 1)

    assert table.claim(NAME, OLD, 2) == []
    assert table.register(NAME, OLD, CHILD) == []
    assert table.lookup(NAME) == Restarting()
