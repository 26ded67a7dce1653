"""What watchers of a process hear of its end (rows M)."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from actors import Talker, group, subject
from trees import REGISTRY_ID, MakeTree, Tree

from jidocode.errors import CallError
from jidocode.otp import (
    ActorRef,
    ChildSpec,
    Crashed,
    Down,
    ExitReason,
    Flags,
    Killed,
    NoProcess,
    Normal,
    Response,
    Shutdown,
    Start,
)
from jidocode.otp.naming.messages import Live, LookUp, NotFound
from jidocode.testing import PATIENCE, eventually

MANY = Flags(max_restarts=100_000)
KILLED = Killed(signal.SIGKILL)
ENDS: list[tuple[object, ExitReason]] = [
    ("stop silently", Normal()),
    (("stop", Shutdown()), Shutdown()),
    (("stop", Shutdown("detail")), Shutdown("detail")),
    ("kill", KILLED),
    ("segfault", Killed(signal.SIGSEGV)),
    ("exit 3", Crashed("exited with status 3 and without a word")),
    ("raise", Crashed("RuntimeError: the handler was told to raise")),
]


@pytest.fixture
def running(tree: MakeTree) -> Tree:
    """A registry, a talker, a subject, and a group with a named subject."""
    named = subject("named", name=("kind", "named"))
    talker = ChildSpec(id="t", start=Start(Talker))
    running: Tree = tree(MANY, talker, subject("a"), group("g", MANY, [named]), registry=True)
    return running


def end(running: Tree, child: str, how: object) -> ActorRef:
    """Have a child end, and wait for its successor."""
    ref = running.ref(child)
    with pytest.raises(CallError):
        running.call(child, how)
    running.successor(ref, child)
    return ref


def monitor(running: Tree, ref: ActorRef) -> int:
    """Have the talker monitor *ref*; return the token when the registry knows of it."""
    token: int = running.call("t", ("monitor", ref))
    asked = running.call("t", ("request", running.ref(REGISTRY_ID), LookUp(("any", "name"))))
    answer = Response(asked, NotFound(), None)
    eventually(lambda: answer in running.call("t", "messages"), "the registry's answer")
    return token


def downs(running: Tree, count: int) -> list[Down]:
    """Return what the talker has heard, as soon as that is *count* ends."""

    def enough() -> list[Down]:
        messages: list[Any] = running.call("t", "messages")
        heard = [message for message in messages if isinstance(message, Down)]
        return heard if len(heard) >= count else []

    return eventually(enough, f"{count} Downs")


@pytest.mark.parametrize(("how", "reason"), ENDS, ids=[str(how) for how, _ in ENDS])
def test_a_monitor_tells_once_and_with_the_reason(
    running: Tree, how: object, reason: ExitReason
) -> None:
    """To a server and to the app alike."""
    ref = running.ref("a")
    token = monitor(running, ref)
    apps_own = running.client.monitor(ref)
    end(running, "a", how)
    [down] = downs(running, 1)
    told = apps_own.wait(PATIENCE)

    assert (down.token, down.ref) == (token, ref)
    assert told is not None
    assert told.ref == ref
    for heard in (down.reason, told.reason):
        if isinstance(reason, Crashed) and isinstance(heard, Crashed):
            assert heard.error == reason.error
            assert ("raise RuntimeError" in heard.traceback) == (how == "raise")
        else:
            assert heard == reason


def test_a_stop_by_the_supervisor_is_a_shutdown(running: Tree) -> None:
    """Of the child and of a supervisor with all below it."""
    for child in ("a", "g", "named"):
        monitor(running, running.ref(child))
    running.stop("a")
    running.stop("g")

    assert [down.reason for down in downs(running, 3)] == [Shutdown()] * 3


def test_the_death_of_a_supervisor_is_one_of_all_below_it(running: Tree) -> None:
    """Those below were killed with it; nobody was left who could tell with which signal."""
    refs = [running.ref("g"), running.ref("named")]
    for ref in refs:
        monitor(running, ref)
    monitors = [running.client.monitor(ref) for ref in refs]
    running.kill("g")
    heard = {down.ref: down.reason for down in downs(running, 2)}
    told = [apps_own.wait(PATIENCE) for apps_own in monitors]

    assert heard[refs[0]] == KILLED
    assert heard[refs[1]] in (Killed(), NoProcess())
    assert [down.reason for down in told if down] == [KILLED, Killed()]


def test_every_monitor_tells(running: Tree) -> None:
    """Two monitors of one process bring two `Down`s, each with its token."""
    ref = running.ref("a")
    tokens = [monitor(running, ref) for _ in range(2)]
    running.kill("a")

    assert [down.token for down in downs(running, 2)] == tokens


def test_a_cancelled_monitor_does_not_tell(running: Tree) -> None:
    """The other one of the same process does."""
    ref = running.ref("a")
    first, second = [monitor(running, ref) for _ in range(2)]
    cancelled, kept = running.client.monitor(ref), running.client.monitor(ref)
    running.call("t", ("demonitor", first))
    cancelled.cancel()
    running.kill("a")

    assert [down.token for down in downs(running, 1)] == [second]
    assert kept.wait(PATIENCE) is not None
    assert cancelled.wait(0) is None


def test_a_monitor_watches_one_life(running: Tree) -> None:
    """The successor's death is not told."""
    monitor(running, running.ref("a"))
    first = running.kill("a")
    running.successor(first, "a")
    second = running.kill("a")
    running.successor(second, "a")
    monitor(running, second)

    assert [down.ref for down in downs(running, 2)] == [first, second]


def test_the_dead_have_no_process(running: Tree) -> None:
    """Told at once: one that the registry knew, and one that it has never heard of."""
    dead = running.kill("a")
    stranger = ActorRef("stranger", 1, dead.os_pid)
    for ref in (dead, stranger):
        monitor(running, ref)
    told = running.client.monitor(dead).wait(PATIENCE)

    assert {down.ref: down.reason for down in downs(running, 2)} == {
        dead: NoProcess(),
        stranger: NoProcess(),
    }
    assert told is not None
    assert told.reason == NoProcess()


def test_a_server_may_watch_a_process_without_the_registry(running: Tree) -> None:
    """It hears of the end at once, and not why."""
    dead = running.kill("a")
    live = running.successor(dead, "a")
    first, second = [running.call("t", ("watch", live)) for _ in range(2)]
    third = running.call("t", ("watch", dead))
    running.call("t", ("demonitor", first))
    running.kill("a")

    assert {down.token: down.reason for down in downs(running, 2)} == {
        second: Killed(),
        third: NoProcess(),
    }


def test_monitors_outlive_the_registry(running: Tree) -> None:
    """A new one is told of them; each still tells exactly once."""
    for turn in range(1, 6):
        refs = [running.ref("a"), running.ref("named")]
        for ref in refs:
            running.call("t", ("monitor", ref))
        running.successor(running.kill(REGISTRY_ID), REGISTRY_ID)
        running.kill("a")
        running.kill("named")
        heard = downs(running, 2 * turn)[-2:]

        assert {down.ref for down in heard} == set(refs)
        assert {down.reason for down in heard} <= {KILLED, Killed(), NoProcess()}


def test_a_death_at_the_same_instant_as_the_registrys_is_told(running: Tree) -> None:
    """Ten rounds; the reason may be lost, the death may not."""
    for turn in range(1, 11):
        running.call("t", ("monitor", running.ref("a")))
        registry, ref = running.kill_together(REGISTRY_ID, "a")
        heard = downs(running, turn)
        running.successor(registry, REGISTRY_ID)
        running.successor(ref, "a")

        assert len(heard) == turn
        assert heard[-1].ref == ref


def test_the_name_is_free_of_the_dead_when_a_monitor_tells(running: Tree) -> None:
    """Whoever asks the registry then does not get the dead process (row M5)."""
    registry = running.ref(REGISTRY_ID)
    dead: list[ActorRef] = []
    for _ in range(20):
        ref = running.ref("named")
        question = ("look up when it is down", ref, registry, ("kind", "named"))
        running.call("t", question)
        dead.append(running.kill("named"))
        running.successor(ref, "named")

    def answers() -> list[Response]:
        messages: list[Any] = running.call("t", "messages")
        got = [message for message in messages if isinstance(message, Response)]
        return got if len(got) == 20 else []

    for ref, response in zip(dead, eventually(answers, "twenty answers"), strict=True):
        assert response.error is None
        assert not isinstance(response.value, Live) or response.value.ref != ref
