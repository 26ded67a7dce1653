"""What is left of the dead is killed beside all other work, however it resists."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from actors import group, subject
from resisters import Witness, traced
from servers import worker
from trees import MakeTree

from jidocode._host import processes
from jidocode._host.descriptors import wait_for_any
from jidocode.errors import ActorExitedError
from jidocode.otp import Flags, Killed
from jidocode.testing import eventually, is_alive

MANY = Flags(max_restarts=100_000)
SOON = 10.0
"""Seconds for what takes a fraction of one, on a busy machine."""


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """A witness of programs."""
    with contextlib.closing(Witness(tmp_path)) as seeing:
        yield seeing


def test_every_process_has_a_group_of_its_own(tree: MakeTree) -> None:
    """From guard to standby."""
    running = tree(MANY, subject("a"), group("g", MANY, [subject("b")]))
    host = psutil.Process(running.client.host_pid)
    (first,) = [each for each in psutil.Process().children() if each.name() == "jido-guard"]
    pids = [first.pid, *(each.pid for each in first.children(recursive=True))]

    assert host.pid in pids
    # One that was forked just now is given it before it, or its parent, does anything else.
    eventually(lambda: {os.getpgid(pid) for pid in pids} == set(pids), "its group")


@pytest.mark.parametrize("number", ["TERM", "HUP", "KILL"])
def test_kill_0_in_a_childs_script_reaches_nobody_else(tree: MakeTree, number: str) -> None:
    """Not even when it kills the child."""
    running = tree(MANY, worker("a"), worker("b"))
    others = [running.root, running.ref("b")]
    with pytest.raises(ActorExitedError) if number == "KILL" else contextlib.nullcontext():
        running.call("a", ("shell", f"trap 'kill -{number} 0' EXIT"))

    assert [running.root, running.ref("b")] == others
    assert running.call("b", "pid") == others[1].os_pid


@pytest.mark.parametrize("how", ["together", "apart"])
def test_chains_of_forks_hold_up_nobody(tree: MakeTree, witness: Witness, how: str) -> None:
    """Neither the recovery of the child that has left them behind, nor that of another one."""
    running = tree(MANY, worker("a"), worker("b"))
    running.call("a", ("start", witness.chains(70, how)))
    witness.wait()
    begin = time.monotonic()
    for child_id in ("a", "b"):
        ref = running.kill(child_id)
        assert running.successor(ref, child_id) != ref
    eventually(witness.sees_none, "the end of the chains")

    assert time.monotonic() - begin < SOON


@pytest.mark.parametrize("how", ["together", "apart"])
def test_chains_of_forks_hold_up_no_end(tree: MakeTree, witness: Witness, how: str) -> None:
    """Nothing is left of them either."""
    running = tree(MANY, worker("a"))
    running.call("a", ("start", witness.chains(70, how)))
    witness.wait()
    begin = time.monotonic()
    running.client.close(SOON)

    assert witness.sees_none()
    assert time.monotonic() - begin < SOON


def test_a_child_that_is_traced_is_replaced(tree: MakeTree) -> None:
    """It stays a zombie as long as its tracer likes; its supervisor hears how it ended."""
    running = tree(MANY, worker("a"), worker("b"))
    ref = running.ref("a")
    with traced(ref.os_pid):
        running.kill("a")

        assert running.successor(ref, "a") != ref
        assert running.end_of(ref).reason == Killed(signal.SIGKILL)
        assert psutil.Process(ref.os_pid).status() == psutil.STATUS_ZOMBIE
        other = running.kill("b")
        assert running.successor(other, "b") != other
    host = psutil.Process(running.client.host_pid)
    eventually(lambda: ref.os_pid not in {each.pid for each in host.children()}, "the reaping")


def test_what_is_traced_below_a_child_holds_up_nobody(tree: MakeTree) -> None:
    """Neither the child's recovery, nor the end of the system."""
    running = tree(MANY, group("g", MANY, [worker("a")]))
    stray = running.call("a", "stray")
    with traced(stray, running.ref("a").os_pid):
        begin = time.monotonic()
        ref = running.kill("g")

        assert running.successor(ref, "g") != ref
        running.client.close(SOON)
        assert time.monotonic() - begin < SOON
        assert not is_alive(stray)


@pytest.mark.parametrize("left", ["a traceback", "a buffer", "a lock"])
def test_a_process_ends_though_nobody_reads_what_it_prints(left: str) -> None:
    """Its exit waits for no reader, nor for a thread that does."""
    reading, writing = os.pipe()

    def run() -> int:
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, bytes(512))
        os.set_blocking(writing, True)
        sys.stdout = sys.stderr = os.fdopen(writing, "w", closefd=False)
        if left == "a traceback":
            raise RuntimeError("it falls out of its handlers")
        if left == "a lock":
            threading.Thread(target=lambda: print("x", flush=True), daemon=True).start()  # noqa: T201 - idem
        else:
            sys.stdout.write("x")
        return 3

    child = processes.fork(run, keep=[reading, writing])
    end = os.pidfd_open(child.pid)
    try:
        assert wait_for_any([end], SOON)
    finally:
        os.close(end)
        child.kill()
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        child.close()
        os.close(reading)
        os.close(writing)
    assert status == (1 if left == "a traceback" else 3)
