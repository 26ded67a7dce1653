"""The host forks and reaps all processes: which one runs what, and whose end takes whom along."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time

import psutil
import pytest
from actors import group, pool, subject
from apps import stopped
from servers import Fuse, Smugglers, Worker
from trees import MakeTree, Tree

from jidocode._host import processes
from jidocode._host.actor.warm_up import warm_up
from jidocode._host.daemon.process_table import MAX_PIPED_ORDER, STANDBYS
from jidocode._host.transport.key import new_key
from jidocode._host.transport.messenger import Messenger
from jidocode.errors import StartFailedError
from jidocode.otp import ChildSpec, Flags, Start
from jidocode.testing import eventually, is_alive

ALL = sum(STANDBYS.values())
MANY = Flags(max_restarts=100_000)


def standbys(running: Tree) -> list[int]:
    """Return the pids of those that stand by."""
    children = psutil.Process(running.client.host_pid).children()
    return [child.pid for child in children if child.name() == "jido:standby"]


def all_standbys(running: Tree) -> list[int]:
    """Return the pids of those that stand by, once there are as many as there should be."""
    return eventually(
        lambda: pids if len(pids := standbys(running)) == ALL else [], "the processes that stand by"
    )


def let_in(running: Tree) -> bool:
    """Return whether the host has let in all that stand by: it needs a descriptor for each."""
    host = psutil.Process(running.client.host_pid)
    visitors = {
        each.raddr.port
        for each in host.net_connections("tcp")
        if each.status == psutil.CONN_ESTABLISHED
    }
    ports = [
        {
            each.laddr.port
            for each in psutil.Process(pid).net_connections("tcp")
            if each.status == psutil.CONN_ESTABLISHED
        }
        for pid in all_standbys(running)
    ]
    return all(each & visitors for each in ports)


def test_a_child_starts_in_a_process_that_stands_by(tree: MakeTree) -> None:
    """And another one takes its place."""
    running = tree(Flags(), pool())
    before = all_standbys(running)
    ref = running.start(subject("a"), "pool")

    assert ref is not None
    assert ref.os_pid in before
    assert ref.os_pid not in all_standbys(running)


def test_supervisors_and_servers_stand_by_apart(tree: MakeTree) -> None:
    """Three children take all that stands by, the supervisor last: each its own kind."""
    running = tree(Flags(), pool())
    before = all_standbys(running)
    refs = [running.start(spec, "pool") for spec in (subject("a"), subject("b"))]
    last = running.start(group("g", Flags(), []), "pool")

    assert {ref.os_pid for ref in [*refs, last] if ref} == set(before)


@pytest.mark.parametrize("held", [True, False])
def test_a_child_starts_without_those_that_died_while_they_stood_by(
    tree: MakeTree, *, held: bool
) -> None:
    """Whether the host has heard of that, or is *held* until it is asked."""
    running = tree(Flags(), pool())
    dead = all_standbys(running)
    with stopped(running.client.host_pid) if held else contextlib.nullcontext():
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, dead)), "the deaths")
    ref = running.start(subject("a"), "pool")

    assert ref is not None
    assert ref.os_pid not in dead
    assert running.children("pool")["a"].ref == ref
    assert set(all_standbys(running)).isdisjoint([*dead, ref.os_pid])


def test_a_child_starts_without_those_that_are_stopped_while_they_stand_by(
    tree: MakeTree,
) -> None:
    """They would begin when somebody lets them go on; others take their places."""
    running = tree(Flags(), pool())
    held = all_standbys(running)
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: {psutil.Process(pid).status() for pid in held} == {"stopped"}, "the stop")
    begin = time.monotonic()
    ref = running.start(subject("a"), "pool")

    assert ref is not None
    assert ref.os_pid not in held
    assert time.monotonic() - begin < 5  # half of what a start may take
    eventually(lambda: set(all_standbys(running)).isdisjoint(held), "others")


def test_an_order_that_does_not_fit_into_a_pipe_goes_by_fork(tree: MakeTree) -> None:
    """The host never waits for who reads."""
    running = tree(Flags(), pool())
    before = all_standbys(running)
    spec = ChildSpec(id="a", start=Start(Worker, None, "x" * 2 * MAX_PIPED_ORDER))
    ref = running.start(spec, "pool")

    assert ref is not None
    assert ref.os_pid not in before
    assert standbys(running) == before


def test_arguments_that_cannot_be_pickled_are_a_failed_start(tree: MakeTree) -> None:
    """The supervisor says so; nothing is left of it."""
    running = tree(Flags(), pool())
    with pytest.raises(StartFailedError, match="its arguments cannot be pickled"):
        running.start(ChildSpec(id="s", start=Start(Smugglers)), "pool")

    assert running.children("pool") == {}


@pytest.mark.parametrize("size", [1, 2 * MAX_PIPED_ORDER])
def test_arguments_that_the_child_cannot_read_are_a_failed_start(tree: MakeTree, size: int) -> None:
    """With the error's own words, whether the process stood by or was forked for it."""
    running = tree(Flags(), pool())
    all_standbys(running)
    with pytest.raises(StartFailedError, match="ValueError: the fuse has burnt down"):
        running.start(ChildSpec(id="a", start=Start(Worker, Fuse(), "x" * size)), "pool")

    assert running.children("pool") == {}


def test_without_a_descriptor_no_process_can_be_forked(tree: MakeTree) -> None:
    """That is a failed start, and the next one goes well."""
    running = tree(Flags(), pool())
    running.start(subject("first"), "pool")  # host and supervisor have talked
    eventually(lambda: let_in(running), "all that stand by")
    host = psutil.Process(running.client.host_pid)
    before = host.rlimit(resource.RLIMIT_NOFILE)
    host.rlimit(resource.RLIMIT_NOFILE, (1, before[1]))
    for number in range(ALL):
        running.start(subject(f"a{number}"), "pool")
    with pytest.raises(StartFailedError, match="no process could be forked"):
        running.start(subject("b"), "pool")
    host.rlimit(resource.RLIMIT_NOFILE, before)

    assert running.start(subject("c"), "pool") is not None
    assert set(running.children("pool")) == {"first", "a0", "a1", "a2", "c"}


def test_a_death_is_told_without_a_descriptor_to_look_for_orphans_with(tree: MakeTree) -> None:
    """And they are looked for again: who has died comes back, and the host lives."""
    running = tree(Flags(), subject("a"))
    eventually(lambda: let_in(running), "all that stand by")
    daemon = daemon_of(running, "a")
    host = psutil.Process(running.client.host_pid)
    before = host.rlimit(resource.RLIMIT_NOFILE)
    host.rlimit(resource.RLIMIT_NOFILE, (1, before[1]))
    ref = running.kill("a")
    running.successor(ref, "a")
    host.rlimit(resource.RLIMIT_NOFILE, before)

    eventually(lambda: not is_alive(daemon), "the end of what it had left behind")


def daemon_of(running: Tree, child_id: str) -> int:
    """Have a child start a process that becomes a daemon; return its pid."""
    pid: int = running.call(child_id, "daemon")
    return pid


def test_a_daemon_dies_with_its_worker_and_with_nobody_else(tree: MakeTree) -> None:
    """Neither with a sibling of it nor with a stranger."""
    running = tree(MANY, subject("a"), subject("b"), group("g", MANY, [subject("c")]))
    mine, other = daemon_of(running, "a"), daemon_of(running, "b")
    for child_id in ("b", "c", "g"):
        ref = running.kill(child_id)
        running.successor(ref, child_id)

    assert not is_alive(other)
    assert is_alive(mine)
    running.kill("a")
    assert not is_alive(mine)


def test_a_fork_that_fails_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the place for its trace."""

    def refuse() -> int:
        raise BlockingIOError("there are too many processes")

    monkeypatch.setattr(os, "fork", refuse)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are all that is wanted
    with pytest.raises(OSError, match="too many processes"):
        processes.fork(lambda: 0, keep=())

    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208 - idem


@pytest.mark.parametrize("supervises", [True, False])
def test_warming_up_is_heard_by_nobody(*, supervises: bool) -> None:
    """It goes through to its end, and sends nothing."""
    transport = Messenger(new_key())
    try:
        warm_up(transport.address, supervises=supervises)
        assert transport.outstanding() == 0
        assert transport.next_deadline() is None
    finally:
        transport.close()
