"""The app's one reader thread: nothing that threads do, and nothing that comes, ends it."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from actors import Talker, subject
from trees import LONG, MakeTree, Tree, cast_to

from jidocode._host.client.directory import Directory
from jidocode._host.client.monitor import Monitor
from jidocode._host.deadline import Deadline
from jidocode._host.sharing import WeakBag
from jidocode.base.changes import Changes
from jidocode.errors import HostError
from jidocode.otp import ActorRef, ChildSpec, Flags, Killed, Start
from jidocode.testing import PATIENCE, eventually

MANY = Flags(max_restarts=100_000)
THREADS = 4
MONITORS = 200
KILLS = 6


@contextmanager
def busy(do: Callable[[], object]) -> Generator[None]:
    """Have many threads do something again and again while the block runs."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.0005):
            do()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads change in the middle of everything
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)


@pytest.fixture
def running(tree: MakeTree) -> Tree:
    """Three children that are restarted."""
    running: Tree = tree(MANY, subject("a"), subject("b"), subject("c"))
    return running


def test_threads_make_and_drop_monitors_while_processes_die(running: Tree) -> None:
    """By hundreds; who holds one is told, and calls go on."""
    other = running.ref("c")

    def watch() -> None:
        monitors = [running.client.monitor(other) for _ in range(MONITORS)]
        monitors[0].cancel()
        monitors[1:3] = [cyclic(monitor) for monitor in monitors[1:3]]

    with busy(watch):
        held = [running.client.monitor(running.ref("b")) for _ in range(MONITORS)]
        for _ in range(KILLS):
            running.kill("a")
        running.kill("b")
        assert all(monitor.wait(PATIENCE) is not None for monitor in held)
        running.call("a", "handled", timeout=PATIENCE)


def cyclic(monitor: Monitor) -> Any:
    """Return what only the collector can free, at some moment of its own."""
    holder = [monitor]
    holder.append(holder)  # type: ignore[arg-type] # that is the circle
    return holder


def test_a_bag_is_gone_through_while_it_changes() -> None:
    """Also when the collector runs in the middle, as it may wherever something is made."""

    class Item:
        """Can be referred to weakly, and to itself."""

        def __init__(self) -> None:
            self.itself = self

    bag = WeakBag[Item]()
    kept = [Item() for _ in range(100)]
    for item in kept:
        bag.add(item)
    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        with busy(lambda: [*map(bag.add, [Item() for _ in range(50)])]):
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                assert {*map(id, kept)} <= {*map(id, bag)}
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert {*bag} == {*kept}
    bag.discard(kept.pop())
    assert {*bag} == {*kept}


def test_no_change_is_missed() -> None:
    """Each waits for the next number, which the last one has made; none waits for the deadline."""
    changes, number = Changes(), [0]

    def is_at(wanted: int) -> bool | None:
        return number[0] == wanted or None

    def run(mine: int) -> None:
        for each in range(mine, 3_000, 3):
            deadline = time.monotonic() + PATIENCE
            assert changes.wait_for(partial(is_at, each), deadline)
            number[0] += 1
            changes.tell()

    threads = [threading.Thread(target=run, args=(mine,)) for mine in range(3)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert number[0] == 3_000
    assert time.monotonic() - started < PATIENCE


def test_whoever_is_expected_back_is_never_missing_to_others() -> None:
    """A thread that waits for a name while its process is replaced does not give up in between."""
    known = Directory(lambda _ref, _reason: None)
    root = ActorRef("root", 1, 1)
    known.root_started(root, ("root", "x"))
    failures: list[str] = []

    def wait() -> None:
        name = ("root", "x")
        found = known.wait_for(
            name, time.monotonic() + PATIENCE, lambda: not known.is_expected(name)
        )
        if found is None:
            failures.append("it gave up")

    with busy(wait):
        for incarnation in range(1, 2_000):
            known.root_ended(("root", "x"), incarnation, Killed(9), restarting=True)
            known.root_started(ActorRef("root", incarnation + 1, 1), ("root", "x"))

    assert not failures


def test_what_the_main_thread_has_sent_comes_before_what_others_send_then(tree: MakeTree) -> None:
    """Also while there are signal handlers, and the reader, which sends for it, is busy."""
    running: Tree = tree(MANY, ChildSpec(id="t", start=Start(Talker)))
    ref, answers = running.ref("t"), list[object]()
    is_busy, may_go_on = threading.Event(), threading.Event()

    def be_busy() -> None:
        is_busy.set()
        may_go_on.wait(PATIENCE)

    def ask() -> None:
        answers.append(
            running.client.call(ref, "messages", deadline=Deadline.after(LONG), target="t")
        )

    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    other = threading.Thread(target=ask)
    try:
        running.client.hand_over(be_busy)
        assert is_busy.wait(PATIENCE)
        cast_to(running.client, ref, "first")
        other.start()
        eventually(lambda: running.client.calls == 1, "the call")
    finally:
        may_go_on.set()
        signal.signal(signal.SIGUSR1, before)
    other.join()

    assert answers == [[("cast", "first")]]


def test_what_fails_in_it_ends_nothing(running: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener, or what takes the news in, may even exit; the next message is taken as ever."""
    failed = threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise SystemExit(3)

    news = running.client._news
    for name, child in (("_listener", "a"), ("take", "b")):
        pid = running.ref(child).os_pid
        monkeypatch.setattr(news, name, fail)
        os.kill(pid, signal.SIGKILL)
        assert failed.wait(PATIENCE)
        monkeypatch.undo()
        failed.clear()

    assert running.call("c", "handled", timeout=PATIENCE) >= 0


def test_a_reader_that_fails_all_the_same_leaves_nobody_waiting(
    running: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls under way and to come end at once, and say why; so do monitors and waits for a name."""
    client, errors = running.client, list[BaseException]()
    ref, other = running.ref("a"), running.ref("b")

    def call() -> None:
        try:
            client.call(ref, "loop", deadline=Deadline.after(LONG), target="a")
        except HostError as error:
            errors.append(error)

    with ExitStack() as after:
        callers = [threading.Thread(target=call) for _ in range(3)]
        for caller in callers:
            caller.start()
            after.callback(caller.join)
        eventually(lambda: client.calls == 3, "three calls")
        monitor = client.monitor(other)
        started = time.monotonic()
        monkeypatch.setattr(client._messenger, "_tell_settled", None)
        client._messenger.settle(lambda _outcome: None, None)  # type: ignore[arg-type]
        eventually(lambda: len(errors) == 3, "the ends of the calls")

    assert monitor.wait(PATIENCE) is not None
    with pytest.raises(HostError, match="the reader thread failed: TypeError"):
        client.call(other, "handled", deadline=Deadline.after(LONG), target="b")
    assert time.monotonic() - started < PATIENCE
    monkeypatch.undo()
    client.close(0.0)
