"""Locks by key of a `Registry`, in real processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lockers import locker
from registrants import UNIQUE
from servers import notes

from jidocode import ActorExitedError, CallTimeoutError, NoProcessError
from jidocode.otp import Application, Registry, registry, start
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.registry.messages import Count
from jidocode.testing import eventually, kill

A, B, C = ("locker", "a"), ("locker", "b"), ("locker", "c")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the processes note that they are in, and out."""
    return tmp_path / "log"


@pytest.fixture
def app(log: Path) -> Iterator[Application]:
    """A registry, and three that hold its locks."""
    with start(
        Registry.child_spec("unique", id="unique", name=UNIQUE),
        *(locker(name[1], log) for name in (A, B, C)),
    ) as running:
        yield running


def test_different_keys_do_not_wait_for_each_other(app: Application, log: Path) -> None:
    """Nor does a process that registers under the key of a lock."""
    gate = log.with_name("gate")
    held = app.begin_call(A, ("key", gate))
    eventually(lambda: notes(log) == ["in a"], "the holder")
    assert app.call(B, ("other", None)) == "done"
    assert registry.lookup(app, UNIQUE, "key") == []
    gate.touch()
    assert held.result() == "done"


@pytest.mark.parametrize("in_thread", [False, True])
def test_one_at_a_time_has_the_lock_of_a_key(
    app: Application, log: Path, *, in_thread: bool
) -> None:
    """Who waits gets it when it is free; who has lost patience does not stand in the way."""
    way = ("thread",) if in_thread else ()
    gate = log.with_name("gate")
    held = app.begin_call(A, (*way, "key", gate))
    eventually(lambda: notes(log) == ["in a"], "the holder")
    for _ in range(3):
        with pytest.raises(CallTimeoutError):
            app.call(C, (*way, "key", None, {"timeout": 0.05}))
    waiting = app.begin_call(B, (*way, "key", None))
    with pytest.raises(CallTimeoutError):
        app.call(C, (*way, "key", None, {"timeout": 0.2}))
    gate.touch()
    assert (held.result(), waiting.result()) == ("done", "done")
    assert app.call(C, (*way, "key", None)) == "done"
    assert notes(log) == ["in a", "out a", "in b", "out b", "in c", "out c"]


def test_many_blocks_never_overlap(app: Application, log: Path) -> None:
    """Those of threads of one process, too."""
    calls = [app.begin_call(name, ("thread", "key", None)) for _ in range(20) for name in (A, B, C)]
    assert [call.result(20) for call in calls] == ["done"] * 60
    each = iter(notes(log))
    assert all(went.split()[1] == left.split()[1] for went, left in zip(each, each, strict=True))
    assert len(notes(log)) == 120


def test_a_block_that_raises_leaves_its_lock(app: Application, log: Path) -> None:
    """As one that ends."""
    gate = log.with_name("raise")
    held = app.begin_call(A, ("key", gate))
    eventually(lambda: notes(log) == ["in a"], "the holder")
    waiting = app.begin_call(B, ("key", None))
    gate.touch()
    with pytest.raises(ValueError, match="on purpose"):
        held.result()
    assert waiting.result() == "done"


def test_the_dead_leave_their_locks_and_their_places(app: Application, log: Path) -> None:
    """Whether they held one or waited for one; SIGKILL, so that nobody says so."""
    gate = log.with_name("gate")
    app.begin_call(A, ("key", gate))
    eventually(lambda: notes(log) == ["in a"], "the holder")
    dead = app.begin_call(B, ("key", gate, {"timeout": 60.0}))
    with pytest.raises(CallTimeoutError):
        app.call(C, ("key", None, {"timeout": 0.3}))
    waiting = app.begin_call(C, ("key", None, {"timeout": 60.0}))
    kill(app, B)
    with pytest.raises(ActorExitedError):
        dead.result()
    assert not waiting.done
    assert notes(log) == ["in a"]
    kill(app, A)
    assert waiting.result(20) == "done"
    assert notes(log) == ["in a", "in c", "out c"]


def test_locks_do_not_outlive_their_registry(app: Application, log: Path) -> None:
    """Who waits is told; who is in its block ends it as ever, and the next registry is free."""
    gate = log.with_name("gate")
    held = app.begin_call(A, ("key", gate))
    eventually(lambda: notes(log) == ["in a"], "the holder")
    waiting = app.begin_call(B, ("thread", "key", None, {"timeout": 60.0}))
    with pytest.raises(CallTimeoutError):
        app.call(C, ("key", None, {"timeout": 0.3}))
    before = app.whereis(UNIQUE)
    kill(app, UNIQUE)
    with pytest.raises(ActorExitedError):
        waiting.result(20)
    eventually(lambda: app.whereis(UNIQUE) not in (None, before), "the next registry")
    assert app.call(C, ("key", None)) == "done"
    gate.touch()
    assert held.result() == "done"
    assert app.call(C, ("key", None)) == "done"
    assert app.call(UNIQUE, Count()) == 0


def test_a_lock_is_left_though_nobody_can_be_looked_up(app: Application, log: Path) -> None:
    """For the registry that has given it is known."""
    gate = log.with_name("gate")
    held = app.begin_call(A, ("key", gate))
    eventually(lambda: notes(log) == ["in a"], "the holder")
    names = app.whereis(REGISTRY)
    assert names is not None
    until = time.monotonic() + 1.2  # for so long the names of others are remembered
    eventually(lambda: time.monotonic() > until, "time")
    os.kill(names.os_pid, signal.SIGSTOP)
    gate.touch()
    assert held.result() == "done"
    os.kill(names.os_pid, signal.SIGCONT)
    assert app.call(C, ("key", None, {"timeout": 3.0})) == "done"


def test_a_lock_without_a_registry_is_an_error(log: Path) -> None:
    """The block does not run."""
    with start(locker("a", log)) as app:
        with pytest.raises(NoProcessError):
            app.call(A, ("key", None))
        assert notes(log) == []
