"""Servers that call each other and wait, by refs and by names (OTP: gen_server:call)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from peers import Peer, peer
from trees import REGISTRY_ID, MakeTree, Tree

from jidocode._host.deadline import Deadline
from jidocode._host.wire import Pulse
from jidocode.errors import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HandlerError,
    InvalidTimeError,
    NoProcessError,
    RegistryNotRunningError,
)
from jidocode.otp import (
    INFINITY,
    ChildExited,
    ChildSpec,
    ChildStatus,
    Crashed,
    Flags,
    HeartbeatMissed,
    Killed,
    Response,
    Restart,
    Shutdown,
    Start,
    Strategy,
)
from jidocode.otp.server.commands import CALL_TIMEOUT
from jidocode.testing import eventually, is_alive

MANY = Flags(max_restarts=1_000)
A, B, C = (("peer", child) for child in "abc")


def call(target: object, request: object, **options: object) -> tuple[object, ...]:
    """Return the request to call *target*."""
    return ("do", "call", target, request, options)


def wait_till_busy(log: Path) -> None:
    eventually(lambda: log.exists() and "busy" in log.read_text(), "the busy handler")


def kill(running: Tree, *child_ids: str) -> None:
    """Kill children, and go on as soon as they are dead: nobody may know of it yet."""
    for ref in running.kill_together(*child_ids):
        eventually(lambda pid=ref.os_pid: not is_alive(pid), "the death")  # type: ignore[misc] # a default is no argument


@pytest.fixture
def three(tree: MakeTree, log: Path) -> Tree:
    """Three peers; the second one notes what it does."""
    return tree(MANY, peer("a"), peer("b", log), peer("c"), registry=True)


# ----- answers ----------------------------------------------------------------------


def test_siblings_call_each_other_by_ref_and_by_name(three: Tree) -> None:
    """From the main thread and from another one."""
    for target in (three.ref("b"), B):
        for how in ("do", "in thread"):
            request = (how, *call(target, ("echo", 7))[1:])
            assert three.call("a", request) == 7


def test_a_name_is_that_of_a_sibling(three: Tree) -> None:
    """With its own second part; who has no name has no siblings."""
    nameless = three.start(ChildSpec(id="d", start=Start(Peer)))
    assert nameless is not None

    assert three.call("a", ("do", "__getattribute__", "name")) == A
    assert three.call("a", ("do", "sibling", "state")) == ("state", "a")
    assert three.call("d", ("do", "__getattribute__", "name")) is None
    with pytest.raises(CallError, match="peer has no name"):
        three.call("d", ("do", "sibling", "state"))
    with pytest.raises(TypeError, match="a pair of str"):
        three.call("a", ("do", "sibling", 7))


def test_whereis_says_who_runs_now(three: Tree) -> None:
    """From any thread; None if nobody does."""
    assert three.call("a", ("do", "whereis", B)) == three.ref("b")
    assert three.call("a", ("in thread", "whereis", A)) == three.ref("a")
    assert three.call("a", ("do", "whereis", ("peer", "nobody"))) is None
    three.stop("b")
    assert three.call("a", ("do", "whereis", B)) is None


def test_calls_nest_as_deep_as_there_are_servers(three: Tree) -> None:
    """A calls B, which calls C, which answers."""
    assert three.call("a", call(B, call(C, ("echo", "deep")))) == "deep"


def test_two_that_call_each_other_get_no_answer(three: Tree) -> None:
    """As in OTP; both live on, and what comes too late is dropped."""
    with pytest.raises(CallTimeoutError, match=r"peer b did not answer within 0\.2 s"):
        three.call("a", call(B, call(A, ("echo", 1), timeout=0.4), timeout=0.2))

    assert three.call("a", call(B, ("echo", 2))) == 2
    assert three.call("b", call(A, ("echo", 3))) == 3
    assert three.call("a", "seen") == three.call("b", "seen") == []
    assert three.events(ChildExited) == []


def test_a_server_cannot_call_itself(three: Tree) -> None:
    """OTP: calling_self; it is told at once."""
    for target in (three.ref("a"), A):
        for how in ("do", "in thread"):
            with pytest.raises(CallError, match="peer calls itself"):
                three.call("a", (how, *call(target, "pid", timeout=600.0)[1:]))


def test_refusals_and_crashes_are_raised_where_the_call_was_made(three: Tree) -> None:
    """With their types."""
    with pytest.raises(LookupError, match="on purpose"):
        three.call("a", call(B, "refuse"))
    with pytest.raises(HandlerError, match="ValueError: told to"):
        three.call("a", call(B, "raise"))


def test_the_next_call_after_the_last_answer_is_for_the_next_life(three: Tree) -> None:
    """Whoever was told that a process ends does not meet it again."""
    for _ in range(5):
        before = three.call("a", call(B, "pid"))
        with pytest.raises(HandlerError):
            three.call("a", call(B, "raise"))
        assert three.call("a", call(B, "pid")) != before


def test_a_ref_whose_last_answer_has_come_is_nobody(three: Tree) -> None:
    """At once, and not as somebody who dies over the next request."""
    for _ in range(5):
        ref = three.ref("b")
        with pytest.raises(HandlerError):
            three.call("a", call(ref, "raise"))
        with pytest.raises(NoProcessError):
            three.call("a", call(ref, "pid"))
        three.successor(ref, "b")


@pytest.mark.parametrize("timeout", [-1.0, float("nan"), True])
def test_a_time_that_is_none_is_refused(three: Tree, timeout: float) -> None:
    """In the line."""
    for request in (
        call(B, "pid", timeout=timeout),
        ("do", "send_request", B, "pid", {"timeout": timeout}),
        ("do", "send_after", timeout, "x"),
    ):
        with pytest.raises(InvalidTimeError, match="must be seconds >= 0"):
            three.call("a", request)


def test_many_calls_in_one_handler(three: Tree) -> None:
    """Each gets its own answer."""
    assert three.call("a", ("do", "call_many", B, 1000)) is True
    assert three.call("a", ("in thread", "call_many", three.ref("b"), 300)) is True


# ----- what comes meanwhile -----------------------------------------------------------


def test_other_messages_wait_in_their_order(three: Tree, gate: Path, log: Path) -> None:
    """Casts, messages, timers and what others call."""
    busy = three.begin("a", call(B, ("until", gate), timeout=60.0))
    wait_till_busy(log)
    for number in range(5):
        three.cast("a", number)
    question = three.begin("a", "seen")
    eventually(lambda: three.client.calls == 2, "the question")
    three.call("c", ("do", "send", A, "from c"))
    assert not question.done()
    gate.touch()

    assert busy.result() == "done"
    assert question.result() == [0, 1, 2, 3, 4]
    assert three.call("a", "seen")[-1] == "from c"


def test_a_flood_meanwhile_costs_each_call_nothing(three: Tree) -> None:
    """Thousands of messages wait, and are looked at once, not at each of thousands of calls."""
    flooded = three.begin("a", ("do", "call_many", B, 2000))
    for number in range(9_000):
        three.cast("a", number)

    assert flooded.result(60.0) is True
    assert three.call("a", "seen") == list(range(9_000))


def test_timers_and_messages_to_itself_wait_too(three: Tree) -> None:
    """And come when the handler has returned."""
    assert three.call("a", ("do", "call_meanwhile", B, ("echo", 1), 5.0)) == 1
    got = responses(three, 2)

    assert sorted(got) == ["a timer", "to itself"]


def test_heartbeats_and_pings_are_answered_while_it_waits(
    tree: MakeTree, gate: Path, log: Path
) -> None:
    """For much longer than three of them may be missed."""
    running = tree(MANY, peer("a", heartbeat=0.3), peer("b", log), registry=True)
    busy = running.begin("a", call(B, ("until", gate), timeout=60.0))
    wait_till_busy(log)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        [pulse] = running.client.ping_all([running.ref("a")], Deadline.after(20.0))
        assert isinstance(pulse, Pulse)
    gate.touch()

    assert busy.result() == "done"
    assert running.events(HeartbeatMissed) == []
    assert running.events(ChildExited) == []


def test_a_stop_waits_for_the_handler(three: Tree, gate: Path, log: Path) -> None:
    """As in OTP for one that traps exits; the answer is given first."""
    ref = three.ref("a")
    busy = three.begin("a", call(B, ("until", gate), timeout=60.0))
    wait_till_busy(log)
    with ThreadPoolExecutor(1) as threads:
        stopped = threads.submit(three.stop, "a")
        three.call("c", ("echo", 1))
        assert not stopped.done()
        gate.touch()
        assert busy.result() == "done"
        assert stopped.result() is None
    assert three.end_of(ref).reason == Shutdown()


def test_a_late_answer_is_dropped(three: Tree, gate: Path) -> None:
    """The next call gets its own, and no handler sees it."""
    with pytest.raises(CallTimeoutError, match=r"peer did not answer within 0\.05 s"):
        three.call("a", call(three.ref("b"), ("until", gate), timeout=0.05))
    gate.touch()

    assert [three.call("a", call(B, ("echo", number))) for number in range(3)] == [0, 1, 2]
    assert three.call("a", "seen") == []


def test_others_may_be_called_in_init_and_terminate(tree: MakeTree, log: Path) -> None:
    """By name, before anything else is heard, and when nothing more will be."""
    running = tree(MANY, peer("b"), registry=True)
    ask = call(B, ("echo", 7))
    running.start(peer("a", log, ask, ask))

    assert running.call("a", "outcome") == 7
    running.stop("a")
    assert log.read_text() == "last 7\nterminate shutdown\n"


# ----- deaths -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["do", "in thread"])
def test_who_dies_while_it_is_asked_is_known_at_once(
    three: Tree, gate: Path, log: Path, how: str
) -> None:
    """Long before the time is over."""
    busy = three.begin("a", (how, *call(B, ("until", gate), timeout=600.0)[1:]))
    wait_till_busy(log)
    three.kill("b")

    with pytest.raises(ActorExitedError, match="peer b exited before it answered"):
        busy.result(20.0)


def test_a_call_by_name_reaches_the_next_life(three: Tree) -> None:
    """While it is restarted it is waited for; a ref is of one life alone."""
    ref = three.ref("b")
    for _ in range(10):
        assert three.call("a", call(B, ("echo", 1))) == 1
        kill(three, "b")
        assert three.call("a", call(B, ("echo", 2))) == 2

    with pytest.raises(NoProcessError, match="no process for peer"):
        three.call("a", call(ref, "pid", timeout=600.0))


def test_a_name_that_nobody_has_is_told_at_once(three: Tree) -> None:
    """Also that of one that has died for good."""
    with pytest.raises(NoProcessError, match="no process for peer nobody"):
        three.call("a", call(("peer", "nobody"), "pid", timeout=600.0))
    three.start(peer("d", restart=Restart.TEMPORARY))
    three.call("a", call(("peer", "d"), "pid"))
    three.kill("d")

    with pytest.raises(NoProcessError, match="no process for peer d"):
        three.call("a", call(("peer", "d"), "pid", timeout=600.0))


def test_what_is_sent_to_a_name_that_nobody_has_is_lost(three: Tree) -> None:
    """In silence; what is sent next arrives."""
    for target in (("peer", "nobody"), B):
        three.call("a", ("do", "cast", target, 1))
        three.call("a", ("do", "send", target, 2))

    assert three.call("b", "seen") == [1, 2]


def test_what_is_cast_and_called_by_name_keeps_its_order(three: Tree) -> None:
    """Also when the name was not known before, or has passed to the next life."""
    for _ in range(5):
        three.call("a", ("do", "cast", B, 1))
        three.call("a", ("do", "send", B, 2))
        three.call("a", ("do", "send_request", B, ("keep", 3)))
        assert three.call("a", call(B, "seen")) == [1, 2, 3]
        three.successor(three.kill("b"), "b")
        three.call("a", call(B, "pid"))


def test_names_stay_good_when_the_registry_is_killed(three: Tree) -> None:
    """Nobody is told that somebody who runs is not there."""
    for _ in range(5):
        kill(three, REGISTRY_ID, "b")
        assert three.call("a", call(B, ("echo", 1), timeout=20.0)) == 1
        three.kill(REGISTRY_ID)
        assert three.call("c", call(B, ("echo", 2), timeout=20.0)) == 2


def test_without_a_registry_no_name_is_known(tree: MakeTree) -> None:
    """And that is what it says."""
    running = tree(MANY, ChildSpec(id="a", start=Start(Peer)))
    with pytest.raises(RegistryNotRunningError):
        running.call("a", call(B, "pid", timeout=0.1))


# ----- requests that nobody waits for ------------------------------------------------------


def responses(running: Tree, count: int) -> list[Any]:
    def enough() -> list[Any]:
        got: list[Any] = running.call("a", "seen")
        return got if len(got) >= count else []

    return eventually(enough, f"{count} responses")


def test_a_request_that_is_not_answered_ends_with_its_time(three: Tree) -> None:
    """Exactly one response, whatever comes after it."""
    token = three.call("a", ("do", "send_request", B, "never", {"timeout": 0.05}))
    other = three.call("a", ("do", "send_request", B, ("echo", 1), {"timeout": INFINITY}))
    got = responses(three, 2)

    assert got[0] == Response(other, 1, None)
    assert got[1].token == token
    assert isinstance(got[1].error, CallTimeoutError)
    assert str(got[1].error) == "peer b did not answer within 0.05 s"


def test_a_request_by_name_reaches_the_next_life(three: Tree) -> None:
    """It waits within its time while the process is restarted."""
    three.call("a", call(B, "pid"))
    kill(three, "b")
    token = three.call("a", ("do", "send_request", B, ("echo", 1)))

    assert responses(three, 1) == [Response(token, 1, None)]


def test_a_request_to_nobody_is_told_so(three: Tree) -> None:
    """By name and by ref."""
    ref = three.kill("b")
    by_name = three.call("a", ("do", "send_request", ("peer", "nobody"), 1))
    by_ref = three.call("a", ("do", "send_request", ref, 1))
    got = responses(three, 2)

    assert sorted(response.token for response in got) == [by_name, by_ref]
    assert {type(response.error) for response in got} == {NoProcessError}


def test_a_crash_after_a_call_is_one_like_any_other(three: Tree) -> None:
    """An error that a server does not catch ends it."""
    ref = three.ref("a")
    with pytest.raises(HandlerError, match="NoProcessError"):
        three.call("a", ("raw", "call", ("peer", "nobody"), 1))

    reason = three.end_of(ref).reason
    assert isinstance(reason, Crashed)
    assert reason != Killed()


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
@pytest.mark.parametrize("seen_first", ["the death", "the stop"])
def test_nobody_waits_for_whoever_waits_for_him(
    tree: MakeTree, log: Path, tmp_path: Path, strategy: Strategy, seen_first: str
) -> None:
    """Who is stopped for a sibling's death, and calls that one, hears that nobody is there."""
    gate = tmp_path / "gate"
    flags = Flags(strategy=strategy, max_restarts=1_000)
    running = tree(flags, peer("a"), peer("b", log), registry=True)
    before = running.ref("a")
    calling = running.begin("b", ("do", "wait_and_call", gate, A))
    wait_till_busy(log)
    began = time.monotonic()
    kill(running, "a")
    if seen_first == "the stop":
        eventually(lambda: running.children()["b"].status is not ChildStatus.RUNNING, "the stop")
    gate.touch()

    with pytest.raises(NoProcessError):
        calling.result(20)
    running.successor(before, "a")
    assert time.monotonic() - began < CALL_TIMEOUT
    assert "terminate" in log.read_text()
