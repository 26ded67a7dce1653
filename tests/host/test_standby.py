"""Processes that stand by: who starts in them, and what if they cannot."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import psutil
import pytest
from actors import pool, subject
from trees import MakeTree, Tree

from jidocode._host.rehearsal import rehearse
from jidocode._host.supervisor_shell import REFILL_DELAY
from jidocode._host.transport import LoopbackTransport, new_key
from jidocode.otp import Flags
from jidocode.testing import eventually, is_alive


def standbys(running: Tree) -> list[int]:
    """Return the pids of those that stand by below the pool."""
    children = psutil.Process(running.ref("pool").os_pid).children()
    return [child.pid for child in children if child.name() == "jido:standby"]


def the_standby(running: Tree) -> int:
    """Return the pid of the one that stands by, once there is one."""
    eventually(lambda: len(standbys(running)) == 1, "a process that stands by")
    return standbys(running)[0]


def test_a_child_starts_in_the_process_that_stands_by(tree: MakeTree) -> None:
    """And another one takes its place."""
    running = tree(Flags(), pool(standby=1))
    first = the_standby(running)
    ref = running.start(subject("a"), "pool")
    second = the_standby(running)

    assert ref is not None
    assert ref.os_pid == first
    assert second != first


@pytest.mark.parametrize("held", [True, False])
def test_a_child_starts_without_the_one_that_died_while_it_stood_by(
    tree: MakeTree, *, held: bool
) -> None:
    """Whether its supervisor has heard of that, or is *held* until it is asked."""
    running = tree(Flags(), pool(standby=1))
    dead, supervisor = the_standby(running), running.ref("pool").os_pid
    if held:
        os.kill(supervisor, signal.SIGSTOP)
    os.kill(dead, signal.SIGKILL)
    eventually(lambda: not is_alive(dead), "the death")
    if held:
        os.kill(supervisor, signal.SIGCONT)
    ref = running.start(subject("a"), "pool")

    assert ref is not None
    assert ref.os_pid != dead
    assert running.children("pool")["a"].ref == ref
    assert the_standby(running) not in (dead, ref.os_pid)


def test_a_supervisor_that_has_no_descriptor_for_a_standby_goes_on_without(tree: MakeTree) -> None:
    """It is none of the children's business; there is one again as soon as there can be."""
    running = tree(Flags(), pool(standby=1))
    running.start(subject("a"), "pool")
    the_standby(running)
    supervisor = psutil.Process(running.ref("pool").os_pid)
    before = supervisor.rlimit(resource.RLIMIT_NOFILE)
    taken = {int(each.name) for each in Path(f"/proc/{supervisor.pid}/fd").iterdir()}
    free = min(set(range(len(taken) + 1)) - taken)
    supervisor.rlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    running.start(subject("b"), "pool")
    tried = time.monotonic() + 5 * REFILL_DELAY
    eventually(lambda: set(running.children("pool")) == {"a", "b"} and time.monotonic() > tried)
    assert standbys(running) == []
    supervisor.rlimit(resource.RLIMIT_NOFILE, before)
    running.start(subject("c"), "pool")
    the_standby(running)
    assert running.ref("pool").os_pid == supervisor.pid


@pytest.mark.parametrize("supervises", [True, False])
def test_a_rehearsal_is_heard_by_nobody(*, supervises: bool) -> None:
    """It goes through to its end, and sends nothing."""
    transport = LoopbackTransport.for_admin(new_key())
    try:
        rehearse(transport.address, supervises=supervises)
        assert transport.outstanding() == 0
        assert transport.next_deadline() is None
    finally:
        transport.close()
