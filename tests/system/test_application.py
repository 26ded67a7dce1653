"""`otp.start`: a tree of an app's own, without any session."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from loguru import logger
from servers import Group, Worker, worker

from jidocode import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HandlerError,
    HealthStatus,
    HostExitedError,
    HostStartError,
    NoProcessError,
    RegistryNotRunningError,
    SessionSystem,
)
from jidocode.otp import (
    ROOT,
    ActorRef,
    Application,
    ChildExited,
    ChildSpec,
    ChildStarted,
    ChildType,
    Flags,
    InvalidChildSpecError,
    Killed,
    Name,
    Normal,
    Restart,
    Shutdown,
    Start,
    Strategy,
    Target,
    management,
    start,
)
from jidocode.testing import eventually, kill

POOL = ("group", "pool")
A, B, M = ("worker", "a"), ("worker", "b"), ("worker", "m")


def pool(*children: ChildSpec, max_restarts: int = 3) -> ChildSpec:
    """Return the spec of a named group of *children*."""
    return ChildSpec(
        id="pool",
        start=Start(Group, Flags(max_restarts=max_restarts), children),
        type=ChildType.SUPERVISOR,
        name=POOL,
    )


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    """A group with two workers, and a worker beside it."""
    workers = [worker(name[1], tmp_path / name[1], name=name) for name in (A, B)]
    with start(pool(*workers, max_restarts=100), worker("c", name=("worker", "c"))) as running:
        yield running


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What is logged at ERROR."""
    lines: list[str] = []
    logger.enable("jidocode")
    sink = logger.add(lines.append, level="ERROR", format="{message}")
    yield lines
    logger.remove(sink)
    logger.disable("jidocode")


def pid(app: Application, target: Target) -> int:
    """Return the process id that *target* says it has."""
    answer: int = app.call(target, "pid")
    return answer


def test_every_process_is_reached_by_name_and_by_ref(app: Application, tmp_path: Path) -> None:
    """However deep it is."""
    ref = app.whereis(A)
    assert ref is not None
    assert pid(app, A) == pid(app, ref) == ref.os_pid
    app.cast(A, "one")
    app.cast(ref, "two")
    app.send(ref, "ignored")
    assert app.call(A, ("echo", 1)) == 1

    assert (tmp_path / "a").read_text().splitlines()[-3:] == [
        "cast one",
        "cast two",
        "call ('echo', 1)",
    ]


def test_a_name_stays_good_and_a_ref_does_not(app: Application) -> None:
    """The next life has the name; the ref is of the one that ended."""
    ref = app.whereis(B)
    assert ref is not None
    for _ in range(5):
        before = pid(app, B)
        kill(app, B)
        assert pid(app, B) != before

    with pytest.raises(NoProcessError, match="worker"):
        app.call(ref, "pid")
    with pytest.raises(NoProcessError):
        app.stop(ref)


def test_a_call_to_a_process_that_dies_over_it_ends_at_once(app: Application) -> None:
    """With the reason."""
    with pytest.raises(ActorExitedError) as error:
        app.call(A, "abort", timeout=60)

    assert error.value.reason == Killed(signal.SIGABRT)


def mortal(*, supervised_by: str) -> ChildSpec:
    """Return a temporary group with a temporary worker."""
    child = worker("m", name=M, restart=Restart.TEMPORARY)
    return ChildSpec(
        id=supervised_by,
        start=Start(Group, Flags(), [child]),
        type=ChildType.SUPERVISOR,
        name=("group", supervised_by),
        restart=Restart.TEMPORARY,
    )


def ask_for_ever(app: Application, target: Target) -> None:
    """Ask again and again; whoever has lost its supervisor answers for a moment."""
    while True:
        app.call(target, "pid", timeout=60)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("victim", [M, ("group", "mortal")], ids=str)
def test_whoever_is_dead_for_good_is_no_process_at_once(
    app: Application, victim: Name, number: int
) -> None:
    """No call waits for the end of its time, whoever hears of the death first."""
    management.start_child(app, ROOT, mortal(supervised_by="mortal"))
    ref = app.whereis(victim)
    assert ref is not None
    before = time.monotonic()
    os.kill(ref.os_pid, signal.SIGKILL)
    time.sleep(number / 1000)  # the deaths are heard of here and there at different times
    with pytest.raises((NoProcessError, ActorExitedError)):
        ask_for_ever(app, M)
    with pytest.raises(NoProcessError):
        app.call(M, "pid", timeout=60)
    with pytest.raises(NoProcessError):
        app.monitor(M)
    app.cast(M, "lost")

    assert app.whereis(M) is None
    assert time.monotonic() - before < 20


def test_supervisors_are_managed_wherever_they_are(app: Application) -> None:
    """As in OTP; the root is one, too."""
    spec = worker("d", name=("worker", "d"), shutdown=2.5)
    ref = management.start_child(app, POOL, spec)
    assert ref == app.whereis(("worker", "d"))
    infos = management.which_children(app, POOL)
    assert [info.id for info in infos] == ["a", "b", "d"]
    assert management.count_children(app, POOL).active == 3
    assert management.get_childspec(app, POOL, "d").shutdown == 2.5
    management.terminate_child(app, POOL, "d")
    with pytest.raises(NoProcessError):
        app.call(("worker", "d"), "pid")
    assert management.restart_child(app, POOL, "d", timeout=5) == app.whereis(("worker", "d"))
    management.terminate_child(app, POOL, "d")
    management.delete_child(app, POOL, "d")
    root = [info.id for info in management.which_children(app, ROOT)]

    assert root == ["registry", "pool", "c"]


def test_a_monitor_tells_of_one_life(app: Application) -> None:
    """By name it is that of whoever runs then."""
    monitor = app.monitor(A)
    os.kill(pid(app, A), signal.SIGKILL)
    down = monitor.wait(20)
    assert down is not None
    assert down.reason == Killed(signal.SIGKILL)


@pytest.mark.parametrize("reason", [Normal(), Shutdown("that is enough")], ids=str)
def test_a_server_is_stopped_in_order(
    app: Application, tmp_path: Path, reason: Normal | Shutdown
) -> None:
    """`terminate` runs, and a permanent child is there again."""
    ref = app.whereis(A)
    app.stop(A, reason)
    lines = (tmp_path / "a").read_text().splitlines()

    assert f"terminate {reason}" in lines
    assert eventually(lambda: app.whereis(A), "the next one") != ref


def test_a_supervisor_is_stopped_with_all_below_it(app: Application, tmp_path: Path) -> None:
    """Its children first, last started first."""
    app.stop(POOL)

    assert "terminate shutdown" in (tmp_path / "a").read_text()
    eventually(lambda: app.whereis(A), "the next one")


def test_the_tree_its_health_and_what_happens_can_be_seen(app: Application) -> None:
    """As with a system of sessions."""
    events = app.events()
    assert [node.id for node in app.tree().children] == ["registry", "pool", "c"]
    health = app.system_health()
    assert (health.status, health.sessions) == (HealthStatus.HEALTHY, ())
    assert [each.id for each in health.processes] == ["registry", "pool", "c", "a", "b"]
    os.kill(pid(app, A), signal.SIGKILL)
    facts = [event.fact for event in (events.get(20), events.get(20), events.get(20)) if event]

    assert [type(fact).__name__ for fact in facts] == [
        "ChildExited",
        "ChildStarting",
        "ChildStarted",
    ]
    exited, _, started = facts
    assert isinstance(exited, ChildExited)
    assert isinstance(started, ChildStarted)
    assert (exited.name, started.name) == (A, A)


def test_what_starts_is_what_was_given(tmp_path: Path) -> None:
    """A class that needs no arguments stands for its spec."""
    with start(Worker) as app:
        assert [node.id for node in app.tree().children] == ["registry", "worker"]
        assert "<Application host pid" in repr(app)
    assert repr(app) == "<Application closed>"
    with pytest.raises(HostExitedError):
        app.call(A, "pid")
    with pytest.raises(HostExitedError):
        app.cast(A, "pid")
    log = tmp_path / "log"
    with start(worker("a", log)):
        pass
    assert log.read_text().splitlines()[-1] == "terminate shutdown"


def test_what_cannot_be_started_is_said_before_or_at_the_start() -> None:
    """And nothing is left."""
    with pytest.raises(InvalidChildSpecError, match="must be a ChildSpec"):
        start(cast("ChildSpec", "worker"))
    with pytest.raises(InvalidChildSpecError, match="must be a ChildSpec"):
        start(cast("type[Worker]", int))
    with pytest.raises(InvalidChildSpecError, match="two children have the id 'a'"):
        start(worker("a"), worker("a"))
    with pytest.raises(InvalidChildSpecError, match="two children have the id 'registry'"):
        start(worker("registry"))
    with pytest.raises(InvalidChildSpecError, match="cannot be pickled"):
        start(worker("a", lambda: None))
    with pytest.raises(TypeError, match="settings must be ApplicationSettings"):
        start(settings=cast("None", "fast"))
    with pytest.raises(HostStartError, match="init was told to raise"):
        start(worker("a", None, "raise"))


def test_who_is_meant_is_a_name_or_a_ref(app: Application) -> None:
    """Anything else is refused in the line that says it."""
    for target in ("worker", ("worker",), ("worker", 1), None, 3):
        who = cast("Target", target)
        for ask in (app.call, app.cast, app.send):
            with pytest.raises(TypeError, match="it must be an ActorRef, a name"):
                ask(who, "pid")
        for look in (app.monitor, app.stop):
            with pytest.raises(TypeError, match="it must be an ActorRef, a name"):
                look(who)
    with pytest.raises(CallError, match="cannot be pickled"):
        app.cast(A, lambda: None)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": 1}, "kind is no str"),
        ({"os_pid": None}, "os_pid is no int"),
        ({"address": []}, "address is no Hashable"),
    ],
    ids=str,
)
def test_a_ref_of_parts_that_are_wrong_is_refused_in_the_line(
    app: Application, change: dict[str, Any], fault: str
) -> None:
    """It is no ref, and nobody is asked who it may be."""
    ref = attrs.evolve(ActorRef("worker", 1, 1), **change)
    for ask in (app.call, app.cast, app.send, app.begin_call):
        with pytest.raises(TypeError, match=fault):
            ask(ref, "pid")
    for look in (app.monitor, app.stop):
        with pytest.raises(TypeError, match=fault):
            look(ref)


def test_a_system_of_sessions_has_trees_of_the_app_beside_it(project: Path) -> None:
    """They share no fate with the sessions."""
    a = worker("a", name=A)
    with SessionSystem(children=[pool(a), worker("c", name=("worker", "c"))]) as system:
        session = system.create_session(project)
        message = session.state.append_message("user", "hello")
        before = pid(system, A)
        kill(system, A)
        assert pid(system, A) != before
        assert session.state.messages() == [message]
        health = system.system_health()

        assert [node.id for node in system.tree().children] == ["registry", "sessions", "pool", "c"]
        assert [each.id for each in health.processes] == ["registry", "sessions", "pool", "c", "a"]
        assert [each.session_id for each in health.sessions] == [session.id]
        assert session.get_childspec("manager").restart is Restart.PERMANENT
    with pytest.raises(InvalidChildSpecError):
        SessionSystem(children=[worker("sessions")])


def test_what_gives_up_takes_its_own_tree_along(tmp_path: Path) -> None:
    """Below a supervisor of its own that is its end alone."""
    fragile = worker("a", tmp_path / "a", name=A)
    spec = ChildSpec(
        id="pool",
        start=Start(Group, Flags(strategy=Strategy.ONE_FOR_ONE, max_restarts=0), [fragile]),
        type=ChildType.SUPERVISOR,
        restart=Restart.TEMPORARY,
        name=POOL,
    )
    with start(spec, worker("c", name=("worker", "c"))) as app:
        monitor = app.monitor(POOL)
        os.kill(pid(app, A), signal.SIGKILL)
        down = monitor.wait(20)

        assert down is not None
        assert down.reason == Shutdown("gave up on 'a'")
        assert pid(app, ("worker", "c"))


def test_calls_can_be_under_way_side_by_side(app: Application) -> None:
    """Each has its own answer, which can be asked for more than once."""
    slow = app.begin_call(A, ("sleep", 0.5))
    others = [app.begin_call(B, ("echo", number)) for number in range(20)]
    assert [other.result() for other in others] == list(range(20))
    assert not slow.done
    with pytest.raises(CallTimeoutError, match=r"worker a did not answer within 0\.01 s"):
        slow.result(0.01)
    assert (slow.result(20), slow.result(20), slow.done) == ("slept", "slept", True)
    assert not slow.cancel()
    refused = app.begin_call(A, "refuse")
    for _ in range(2):
        with pytest.raises(LookupError, match="refused on purpose"):
            refused.result()
    assert app._running.client.calls == 0


def test_a_call_that_nobody_wants_any_more_is_forgotten(app: Application) -> None:
    """Whoever waits for it hears so; its late answer reaches nobody."""
    call = app.begin_call(A, ("sleep", 0.3))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call.result, 60)
        eventually(lambda: app._running.client.calls == 1, "the call")
        assert call.cancel()
        assert not call.cancel()
        with pytest.raises(CallError, match="the call to worker a was cancelled"):
            waiting.result(20)
    dropped = app.begin_call(A, ("sleep", 0.1))
    assert repr(dropped) == "<CallHandle to worker a, under way>"
    del dropped

    assert app._running.client.calls == 0
    assert app.call(A, ("echo", 1)) == 1


def test_a_call_under_way_ends_with_its_process(app: Application) -> None:
    """Or with the whole tree, whoever waits then or asks later."""
    call = app.begin_call(A, "wait")
    kill(app, A)
    with pytest.raises(ActorExitedError, match="killed by signal 9"):
        call.result(60)
    last = app.begin_call(A, "wait")
    answered = app.begin_call(B, ("echo", 1))
    assert answered.result() == 1
    app.close()
    with pytest.raises(ActorExitedError, match="exited before it answered"):
        last.result(60)
    assert answered.result() == 1


@pytest.mark.parametrize("last", ["raise", "stop", "stop silently", "sys.exit"])
def test_the_next_call_after_the_last_answer_is_for_the_next_life(
    app: Application, last: str
) -> None:
    """Whoever was told that a process ends does not meet it again."""
    for _ in range(5):
        before = pid(app, A)
        with suppress(CallError):
            app.call(A, last)
        assert pid(app, A) != before


def test_a_ref_whose_last_answer_has_come_is_nobody(app: Application) -> None:
    """At once, and not as somebody who dies over it."""
    for _ in range(5):
        ref = app.whereis(A)
        assert ref is not None
        with pytest.raises(HandlerError):
            app.call(ref, "raise")
        with pytest.raises(NoProcessError):
            app.call(ref, "pid")
        pid(app, A)


@pytest.mark.parametrize("reason", ["because", None, Shutdown(cast("str", 5))], ids=repr)
def test_only_a_reason_is_one(app: Application, reason: Any) -> None:
    """Said in the line, and nobody is stopped."""
    before = pid(app, A)
    with pytest.raises(TypeError):
        app.stop(A, reason)
    assert pid(app, A) == before


def test_a_tree_that_ended_says_why(tmp_path: Path) -> None:
    """To every call after, also to one that was under way."""
    with start(worker("a", tmp_path / "a", name=A), worker("b", name=B)) as app:
        waiting = app.begin_call(B, "wait")
        gone = ActorExitedError, NoProcessError, RegistryNotRunningError, HostExitedError
        with suppress(*gone):
            while True:
                with suppress(HandlerError):
                    app.call(A, ("raise", "the disk is on fire"))
        with pytest.raises((ActorExitedError, HostExitedError)):
            waiting.result(20)
        eventually(lambda: app._running.client._ledger.ended is not None, "the end")
        for ask in (lambda: app.call(A, "pid"), app.tree, lambda: app.whereis(A)):
            with pytest.raises(HostExitedError, match=r"gave up on 'a'.* the disk is on fire"):
                ask()


def test_what_is_told_to_stop_while_it_starts_is_no_error(
    app: Application, tmp_path: Path, errors: list[str]
) -> None:
    """It did as it was told."""
    slow = worker("slow", None, f"latch {tmp_path / 'latch'}")
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(management.start_child, app, POOL, slow, timeout=60)
        eventually(lambda: len(management.which_children(app, POOL)) == 3, "the start")
        management.terminate_child(app, ROOT, "pool")
        with pytest.raises((ActorExitedError, CallError)):
            starting.result(20)
    app.close()

    assert errors == []
