"""What a server asks for is carried out at once: in a handler that goes on, and in a thread."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from peers import peer
from trees import MakeTree, Tree

from jidocode.errors import ActorExitedError, CallError, HostError, StartFailedError
from jidocode.otp import ActorRef, ChildExited, Down, Flags, Killed, Response, Shutdown
from jidocode.testing import PATIENCE, eventually

MANY = Flags(max_restarts=1_000)


def make_busy(running: Tree, child_id: str, log: Path, gate: Path) -> Future[Any]:
    """Have a child's handler wait for *gate*."""
    future = running.begin(child_id, ("until", gate))
    eventually(lambda: log.exists() and "busy" in log.read_text(), "the busy handler")
    return future


def seen(running: Tree, child_id: str, count: int = 1) -> list[Any]:
    """Return what a child has got, as soon as that is *count* messages."""

    def enough() -> list[Any]:
        got: list[Any] = running.call(child_id, "seen")
        return got if len(got) >= count else []

    return eventually(enough, f"{count} messages")


def test_a_handler_that_takes_long_is_heard_while_it_runs(tree: MakeTree, gate: Path) -> None:
    """Its first words to the app, too, for which there is no connection yet."""
    running = tree(MANY, peer("a"))
    stream = running.begin("a", ("stream", 5, gate))
    running.until(lambda: running.facts == [0, 1, 2, 3, 4], "the stream")

    assert not stream.done()
    gate.touch()
    assert stream.result() == "done"


def test_the_first_words_reach_an_app_that_computes(tree: MakeTree, gate: Path) -> None:
    """Its reader waits for the interpreter at each step of the greeting."""
    running = tree(MANY, peer("a"))
    stream = running.begin("a", ("stream", 1, gate))
    until = time.monotonic() + 3 * PATIENCE
    while not running.facts and time.monotonic() < until:
        sum(number * number for number in range(100))

    assert running.facts == [0]
    gate.touch()
    stream.result()


def test_a_long_stream_loses_nothing(tree: MakeTree, gate: Path) -> None:
    """More than a receiver may have left untaken, in one handler, but never so many at once."""
    running = tree(MANY, peer("a"))
    lots = [5_000, 10_000, 15_000, 20_000, 25_000]
    stream = running.begin("a", ("stream in lots", lots, gate))
    for count in lots:
        running.until(lambda: len(running.facts) == count, "the stream")  # noqa: B023 - run at once
        gate.with_name(f"{count} taken").touch()
    stream.result()

    assert running.facts == list(range(25_000))


def test_a_cast_of_a_handler_that_takes_long_arrives_while_it_runs(
    tree: MakeTree, gate: Path, log: Path
) -> None:
    """By a name and by a ref, from a thread and from the handler."""
    running = tree(MANY, peer("a", log), peer("b"), registry=True)
    late = running.begin("a", ("later", gate.with_name("first"), "cast", ("peer", "b"), 1))
    running.call("a", ("do", "cast", ("peer", "b"), 0))
    busy = make_busy(running, "a", log, gate)
    gate.with_name("first").touch()

    assert seen(running, "b", 2) == [0, 1]
    assert late.result() is None
    assert not busy.done()
    gate.touch()
    busy.result()


def test_a_thread_answers_while_its_server_is_idle(tree: MakeTree) -> None:
    """Nobody else has to send a message first."""
    running = tree(MANY, peer("a"))

    assert running.call("a", ("in thread", "reply_with_nothing"), timeout=20.0) is None


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_a_thread_answers_while_its_server_is_busy(
    tree: MakeTree, gate: Path, log: Path, *, known: bool
) -> None:
    """Also a caller that it has never talked to."""
    running = tree(MANY, peer("a", log))
    if known:
        running.call("a", "pid")
    first = gate.with_name("first")
    late = running.begin("a", ("later", first, "reply_with_nothing"))
    busy = make_busy(running, "a", log, gate)
    first.touch()

    assert late.result(20.0) is None
    assert not busy.done()
    gate.touch()
    busy.result()


def test_a_thread_announces_while_its_server_is_busy(tree: MakeTree, gate: Path, log: Path) -> None:
    """And its answer comes behind."""
    running = tree(MANY, peer("a", log))
    first = gate.with_name("first")
    late = running.begin("a", ("later", first, "announce", "progress"))
    busy = make_busy(running, "a", log, gate)
    first.touch()
    running.until(lambda: running.facts == ["progress"], "the announcement")
    late.result()

    assert not busy.done()
    gate.touch()
    busy.result()


def test_what_cannot_be_pickled_is_an_error_in_the_line_that_sends_it(tree: MakeTree) -> None:
    """The server can handle it, and goes on."""
    running = tree(MANY, peer("a"), registry=True)
    for request in (
        ("do", "cast_a_lambda", ("peer", "a")),
        ("do", "announce_a_lambda"),
        ("do", "call_with_a_lambda", ("peer", "a")),
        ("in thread", "announce_a_lambda"),
        ("do", "ask_with_a_lambda", ("peer", "a")),
    ):
        with pytest.raises(CallError, match=r"cannot be pickled: .*lambda"):
            running.call("a", request)

        assert running.call("a", ("echo", 1)) == 1
    assert running.events(ChildExited) == []


@pytest.mark.parametrize(
    "what",
    [
        ("announce", 1),
        ("cast", ("peer", "a"), 1),
        ("call", ("peer", "a"), 1),
        ("whereis", ("a", "b")),
    ],
    ids=str,
)
def test_a_fork_in_a_handler_is_not_heard(
    tree: MakeTree, log: Path, what: tuple[object, ...]
) -> None:
    """It is told so, and it ends where it would come out of the handler."""
    running = tree(MANY, peer("a"), registry=True)
    running.call("a", ("fork", log, *what))

    assert log.read_text() == HostError.__name__
    assert running.call("a", ("echo", 1)) == 1
    assert running.facts == []
    assert running.call("a", "seen") == []


def test_a_thread_can_watch_and_ask_and_wait(tree: MakeTree) -> None:
    """What comes of it comes to the server's handlers."""
    running = tree(MANY, peer("a"), peer("b"), registry=True)
    b = running.ref("b")
    watch = running.call("a", ("in thread", "watch_process", b))
    monitor = running.call("a", ("in thread", "monitor", b))
    asked = running.call("a", ("in thread", "send_request", b, ("echo", 7)))
    running.call("a", ("in thread", "send_after", 0.0, "later"))
    assert len({watch, monitor, asked}) == 3
    assert sorted(map(str, seen(running, "a", 2))) == sorted(
        map(str, [Response(asked, 7, None), "later"])
    )
    running.kill("b")
    downs = seen(running, "a", 4)[2:]

    assert {down.token for down in downs} == {watch, monitor}
    assert {down.reason for down in downs} <= {Killed(9), Killed()}
    assert all(isinstance(down, Down) for down in downs)


def test_a_cancelled_timer_does_not_fire(tree: MakeTree) -> None:
    """Not even if its message was in the mailbox already."""
    running = tree(MANY, peer("a"), registry=True)

    assert running.call("a", ("do", "cancel_in_the_mailbox")) == (True, False)
    assert seen(running, "a") == ["not cancelled"]
    token = running.call("a", ("do", "send_after", 0.0, "fired"))
    assert seen(running, "a", 2)[1:] == ["fired"]
    assert running.call("a", ("do", "cancel_timer", token)) is False


def test_a_server_stops_itself_after_its_callback(tree: MakeTree, log: Path) -> None:
    """Its answer is given, then."""
    running = tree(MANY, peer("a", log))
    ref = running.ref("a")

    assert running.call("a", ("stop and answer", Shutdown("enough"))) == "answered"
    assert running.end_of(ref).reason == Shutdown("enough")
    assert log.read_text() == "terminate shutdown (enough)\n"


def test_a_thread_stops_its_idle_server(tree: MakeTree, log: Path) -> None:
    """With its reason, after `terminate`."""
    running = tree(MANY, peer("a", log))
    ref = running.ref("a")
    with contextlib.suppress(ActorExitedError):  # its answer may come too late
        running.call("a", ("in thread", "stop", Shutdown("enough")))

    assert running.end_of(ref).reason == Shutdown("enough")
    assert log.read_text() == "terminate shutdown (enough)\n"


def test_a_server_that_stops_in_its_init_does_not_start(tree: MakeTree, log: Path) -> None:
    """As if `init` had returned `Stop`."""
    running = tree(MANY)
    with pytest.raises(StartFailedError, match="enough"):
        running.start(peer("a", log, ("do", "stop", Shutdown("enough"))))

    assert not log.exists()


def test_a_dead_ref_is_an_error_of_the_type(tree: MakeTree) -> None:
    """What is neither a ref nor a name is refused in the line."""
    running = tree(MANY, peer("a"))
    for wrong in ("b", ("peer",), ("peer", 1), None, ActorRef):
        with pytest.raises(TypeError, match="must be an ActorRef, a name"):
            running.call("a", ("do", "cast", wrong, 1))
