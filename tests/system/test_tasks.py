"""Tasks and partitions in real processes."""

from __future__ import annotations

import itertools
import json
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from peers import Peer
from servers import Worker
from work import die, double, fail, odd_only, own_callers, own_pid, sleep, touch, unpicklable

from jidocode import ActorExitedError, CallError, CallTimeoutError, NoProcessError
from jidocode.otp import (
    ActorRef,
    Application,
    CallHandle,
    InvalidChildSpecError,
    Killed,
    MaxChildrenError,
    Partitions,
    Target,
    TaskSupervisor,
    management,
    start,
    tasks,
)
from jidocode.testing import eventually, kill

TASKS = ("tasks", "all")
FEW = ("tasks", "few")
COUNTERS = Partitions("counter", 3)


@pytest.fixture
def app() -> Iterator[Application]:
    """Two supervisors of tasks, one for at most two, and partitions."""
    few = TaskSupervisor.child_spec(2, id="few", name=FEW)
    with start(TaskSupervisor.child_spec(name=TASKS), few, COUNTERS.child_spec(Worker)) as running:
        yield running


def running(app: Application) -> int:
    """Return how many tasks there are."""
    return management.count_children(app, TASKS).specs


def test_a_task_runs_elsewhere_and_its_result_comes_back(app: Application) -> None:
    """Again, if it is asked again; nothing of it is left."""
    task = tasks.run(app, TASKS, own_pid)
    assert task.result() == task.result() == task.ref.os_pid
    assert "Task task#" in repr(task)
    assert tasks.run(app, TASKS, double, 4).result() == 8
    eventually(lambda: running(app) == 0, "the end of the tasks")


def test_what_a_task_raises_is_raised_where_it_is_awaited(app: Application) -> None:
    """With its type; a death is one of a process."""
    with pytest.raises(LookupError, match="not there"):
        tasks.run(app, TASKS, fail, "not there").result()
    with pytest.raises(ActorExitedError) as error:
        tasks.run(app, TASKS, die).result()
    assert error.value.reason == Killed(signal.SIGKILL)
    with pytest.raises(CallError, match="cannot be sent"):
        tasks.run(app, TASKS, unpicklable).result()
    eventually(lambda: running(app) == 0, "the end of the tasks")


class Slow:
    """Asks an app for results late: not before the app knows of the end, if that comes soon."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.call = app.call

    def begin_call(self, target: Target, request: object) -> CallHandle:
        assert isinstance(target, ActorRef)
        with suppress(NoProcessError):
            self._app.monitor(target).wait(0.3)
        return self._app.begin_call(target, request)


def test_a_task_that_dies_at_once_is_a_task_that_died(app: Application) -> None:
    """Whoever wants its result learns why there is none, however late it is asked for."""
    task = tasks.run(Slow(app), TASKS, die)
    with pytest.raises(ActorExitedError) as error:
        task.result()
    assert error.value.reason == Killed(signal.SIGKILL)
    assert tasks.run(Slow(app), TASKS, double, 4).result() == 8


@pytest.mark.parametrize("status", [0, 3])
def test_a_task_that_exits_is_a_process_that_ended(app: Application, status: int) -> None:
    """It has no result, whatever its status."""
    with pytest.raises(ActorExitedError):
        tasks.run(app, TASKS, sys.exit, status).result()


def test_a_task_knows_who_wanted_it(tmp_path: Path) -> None:
    """And who wanted that one, if it is a task, down to the server that began."""
    peer, file = ("peer", "p"), tmp_path / "file"
    with start(TaskSupervisor.child_spec(name=TASKS), Peer.child_spec(id="peer", name=peer)) as app:
        app.call(peer, ("do", "start_task", TASKS, file, [TASKS, TASKS]))
        lines = eventually(
            lambda: file.exists() and len(each := file.read_text().splitlines()) == 3 and each,
            "the tasks",
        )
        server = app.whereis(peer)
    assert server is not None
    assert isinstance(lines, list)
    chain = sorted(map(json.loads, lines), key=len)
    first, second, third = (pids[0] for pids in chain)
    assert chain == [
        [first, server.os_pid],
        [second, first, server.os_pid],
        [third, second, first, server.os_pid],
    ]


def test_what_an_app_wants_has_no_callers(app: Application) -> None:
    """For it is no process of the tree; and outside of a task there is no task."""
    assert tasks.run(app, TASKS, own_callers).result() == ()
    assert list(tasks.stream(app, TASKS, own_callers, [1, 2])) == [(), ()]
    assert tasks.callers() == ()
    with pytest.raises(LookupError, match="no task"):
        tasks.current()


def test_a_task_of_which_nothing_is_wanted(app: Application, tmp_path: Path) -> None:
    """Runs to its end; one that raises is a crash, which is nobody else's affair."""
    file, gate = tmp_path / "file", tmp_path / "gate"
    ref = tasks.start(app, TASKS, touch, file, seconds=0.1)
    monitor = app.monitor(tasks.start(app, TASKS, fail, "loud", gate))
    gate.touch()
    down = monitor.wait(20)

    assert down is not None
    assert "LookupError: loud" in str(down.reason)
    eventually(file.exists, "the file")
    assert ref.kind == "task"


def test_a_task_can_be_cancelled(app: Application) -> None:
    """Its process is killed."""
    task = tasks.run(app, TASKS, sleep, 1000.0)
    with pytest.raises(CallTimeoutError):
        task.result(0.01)
    monitor = app.monitor(task.ref)
    task.cancel()
    task.cancel()

    assert monitor.wait(20)
    with pytest.raises(CallError, match="cancelled"):
        task.result()


def test_there_may_be_a_limit(app: Application) -> None:
    """Which is told when it is met."""
    first, _ = (tasks.run(app, FEW, sleep, 1000.0) for _ in range(2))
    with pytest.raises(MaxChildrenError):
        tasks.run(app, FEW, double, 1)
    first.cancel()
    assert tasks.run(app, FEW, double, 1).result() == 2


def test_results_come_in_the_order_of_the_items(app: Application) -> None:
    """Of endless ones, too; no more run than may."""
    seconds = [0.3, 0.0, 0.1]
    assert list(tasks.stream(app, TASKS, sleep, seconds, max_concurrency=3)) == seconds
    results = tasks.stream(app, FEW, double, itertools.count(), max_concurrency=2)
    assert list(itertools.islice(results, 5)) == [0, 2, 4, 6, 8]
    results.close()  # type: ignore[attr-defined] # it is a generator
    assert list(tasks.stream(app, TASKS, double, [])) == []
    eventually(lambda: management.count_children(app, FEW).specs == 0, "the end of the tasks")


def test_the_first_that_fails_ends_the_rest(app: Application) -> None:
    """After all before it; those that run are killed."""
    got: list[int] = []
    with pytest.raises(ValueError, match="2 is even"):
        got.extend(tasks.stream(app, TASKS, odd_only, [1, 3, 2, 5, 7], max_concurrency=2))
    results = tasks.stream(app, TASKS, sleep, [0.0, 1000.0, 1000.0], max_concurrency=3, timeout=1)
    assert next(results) == 0.0
    with pytest.raises(CallTimeoutError):
        next(results)

    eventually(lambda: running(app) == 0, "the end of the tasks")


def test_a_stream_that_meets_the_limit_says_so(app: Application) -> None:
    """And ends what it has started."""
    with pytest.raises(MaxChildrenError):
        list(tasks.stream(app, FEW, sleep, [1000.0] * 3, max_concurrency=3))

    eventually(lambda: management.count_children(app, FEW).specs == 0, "the end of the tasks")


def test_a_stream_may_be_read_by_another_thread(app: Application) -> None:
    """Than the one that made it."""
    results = tasks.stream(app, TASKS, double, [1, 2, 3])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(list, results).result() == [2, 4, 6]


def test_a_function_that_nobody_can_import_is_refused(app: Application) -> None:
    """Before anything starts."""
    with pytest.raises(InvalidChildSpecError, match="cannot be imported by another process"):
        tasks.run(app, TASKS, lambda: None)
    with pytest.raises(InvalidChildSpecError, match="cannot be imported"):
        tasks.start(app, TASKS, "double")  # type: ignore[arg-type] # on purpose
    with pytest.raises(CallError, match="cannot be pickled"):
        tasks.run(app, TASKS, double, lambda: None)  # type: ignore[arg-type] # on purpose


def test_each_partition_has_its_share_and_restarts_alone(app: Application) -> None:
    """The same key is always the same one's."""
    pids = {key: app.call(COUNTERS.name_of(key), "pid") for key in range(6)}
    assert len(set(pids.values())) == 3
    assert [pids[key] for key in range(3)] == [pids[key] for key in range(3, 6)]
    kill(app, COUNTERS.name_of(1))

    assert app.call(COUNTERS.name_of(4), "pid") != pids[1]
    assert app.call(COUNTERS.name_of(3), "pid") == pids[0]


def test_a_stream_of_tasks_has_room_for_one_at_least(app: Application) -> None:
    """Said in the line, before any item is taken."""
    wrong: list[Any] = [0, -1, 1.5, True, None, 10**30]
    for each in wrong:
        with pytest.raises(ValueError, match="max_concurrency must be an int > 0"):
            tasks.stream(app, TASKS, double, [1, 2], max_concurrency=each)
