"""Servers of coroutines in real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from async_servers import Desk, desk
from servers import Group, notes, worker

from jidocode import (
    ActorExitedError,
    CallError,
    CallTimeoutError,
    HandlerError,
    HostStartError,
    NoProcessError,
)
from jidocode.otp import (
    Announced,
    Application,
    ChildSpec,
    ChildType,
    Crashed,
    Flags,
    Normal,
    Restart,
    Shutdown,
    Start,
    start,
)
from jidocode.testing import eventually

A, B, W = ("desk", "a"), ("desk", "b"), ("worker", "w")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What desk a notes."""
    return tmp_path / "log"


@pytest.fixture
def app(log: Path) -> Iterator[Application]:
    """Two desks and a plain server."""
    children = [worker("w", name=W), desk("a", log), desk("b")]
    group = ChildSpec(
        id="group",
        start=Start(Group, Flags(max_restarts=100), children),
        type=ChildType.SUPERVISOR,
        name=("group", "group"),
    )
    with start(group) as running:
        yield running


def test_many_calls_are_in_progress_at_once(app: Application, log: Path) -> None:
    """Each is answered when it is done, and the server is not deaf meanwhile."""
    waiting = [app.begin_call(A, ("wait", gate)) for gate in "xyz"]
    eventually(lambda: len(notes(log)) == 3, "all three")
    assert notes(log) == ["waits x", "waits y", "waits z"]
    assert app.call(A, ("echo", 1)) == 1
    app.call(A, ("open", "y"))
    assert waiting[1].result() == "y"
    assert not waiting[0].done
    app.call(A, ("open", "x"))
    app.call(A, ("open", "z"))
    assert [call.result() for call in waiting] == ["x", "y", "z"]


def test_messages_begin_to_be_handled_in_their_order(app: Application, log: Path) -> None:
    """Casts, infos and what a callback leaves to do."""
    for number in range(100):
        app.cast(A, number)
    app.send(A, "info")
    assert app.call(A, "then") == 1
    eventually(lambda: app.call(A, "seen") == [*range(100), "info", "later"], "all of it")
    assert app.call(A, "idle") == 1
    eventually(lambda: notes(log) == ["idle"], "the time-out")


def test_a_coroutine_asks_others(app: Application) -> None:
    """Many at once, by name; what goes wrong is raised where it is awaited."""
    assert app.call(A, ("gather", B, 200)) == list(range(200))
    assert app.call(A, ("gather", W, 50)) == list(range(50))
    assert app.call(A, ("whereis", B)) == app.whereis(B)
    with pytest.raises(CallError, match="calls itself"):
        app.call(A, ("call", A, ("echo", 1), 5.0))
    with pytest.raises(NoProcessError):
        app.call(A, ("call", ("desk", "nobody"), "pid", 5.0))
    with pytest.raises(CallTimeoutError):
        app.call(A, ("call", B, ("wait", "ever"), 0.05))
    with pytest.raises(LookupError, match="refused on purpose"):
        app.call(A, ("call", W, "refuse", 5.0))
    with pytest.raises(ActorExitedError):
        app.call(A, ("call", W, "abort", 5.0))


def test_an_answer_that_nobody_awaits_any_more_is_dropped(app: Application) -> None:
    """Nor is the server told of it: it is for whoever was cancelled over his call."""
    app.call(A, ("give up", B, ("wait", "late"), 0.05))
    app.call(B, ("open", "late"))
    assert app.call(A, ("call", B, ("echo", 1), 5.0)) == 1
    assert app.call(A, "seen") == []


def test_what_is_announced_is_heard_while_a_coroutine_runs(app: Application) -> None:
    """In its order."""
    events = app.events()
    app.call(A, ("stream", 50))
    heard: list[object] = []
    while len(heard) < 50:
        event = events.get(20)
        assert event is not None
        if isinstance(event.fact, Announced):
            heard.append(event.fact.value)
    assert heard == list(range(50))


@pytest.mark.parametrize(
    ("last", "error", "reason"),
    [
        ("raise", HandlerError, Crashed),
        ("exit", HandlerError, Crashed),
        ("cancel", HandlerError, Crashed),
        ("nothing", ActorExitedError, Crashed),
        ("stop", None, Shutdown),
    ],
)
def test_one_end_is_the_end_of_all(
    app: Application, log: Path, last: str, error: type[CallError] | None, reason: type
) -> None:
    """What is in progress is cancelled first, and `terminate` is last."""
    waiting = app.begin_call(A, ("wait", "x"))
    eventually(lambda: notes(log) == ["waits x"], "the call")
    monitor = app.monitor(A)
    if error is None:
        assert app.call(A, last) == "stopping"
    else:
        with pytest.raises(error):
            app.call(A, last)
    down = monitor.wait(20)
    assert down is not None
    assert isinstance(down.reason, reason)
    with pytest.raises(ActorExitedError):
        waiting.result(20)

    first, *rest, end = notes(log)[1:]
    assert (first, rest[0][:9], end) == ("leaves x", "terminate", "done")
    assert app.call(A, ("echo", 1)) == 1


def test_a_task_that_exits_is_a_crash(app: Application, log: Path) -> None:
    """One that nobody awaits: asyncio lets its exit out of the loop, in which all else runs."""
    app.begin_call(A, ("wait", "x"))
    eventually(lambda: notes(log) == ["waits x"], "the call")
    monitor = app.monitor(A)

    assert app.call(A, "exit apart") == "soon"

    down = monitor.wait(20)
    assert down is not None
    assert isinstance(down.reason, Crashed)
    assert notes(log)[-1] == "done", "it has cleaned up"
    assert app.call(A, ("echo", 1)) == 1


def test_a_stop_cancels_what_is_in_progress(app: Application, log: Path) -> None:
    """And awaits it."""
    waiting = app.begin_call(A, ("wait", "x"))
    eventually(lambda: notes(log) == ["waits x"], "the call")
    app.stop(A, Normal())
    assert notes(log) == ["waits x", "leaves x", "terminate normal", "done"]
    with pytest.raises(ActorExitedError):
        waiting.result(20)


def test_init_is_done_before_anything_else(tmp_path: Path) -> None:
    """It may await, and call others; if it fails the start does."""
    with start(worker("w", name=W), desk("a", None, ("call", W)), desk("b", None, "then")) as app:
        assert app.call(A, "seen") == [app.call(W, "pid"), app.whereis(W)]
        eventually(lambda: app.call(B, "seen") == ["first"], "what it left to do")
        assert app.call(A, "subprocess") == 0
        assert app.call(A, "fork") == 0
        assert app.call(A, ("echo", 1)) == 1
    for how in ("raise", "exit", "stop"):
        with pytest.raises(HostStartError):
            start(desk("a", tmp_path / "log", how))
    with start(desk("a", None, "ignore", restart=Restart.TEMPORARY)) as app:
        assert app.whereis(A) is None
    assert Desk.child_spec().id == "desk"


def test_what_waits_is_awaited(app: Application) -> None:
    """A function for servers that wait is refused in its line, or done by `ask`."""
    children = app.call(A, ("ask", "which_children"))
    assert [child.id for child in children] == ["w", "a", "b"]
    with pytest.raises(HandlerError, match=r"TypeError: this function waits.* await self\.ask\("):
        app.call(A, "which_children")
