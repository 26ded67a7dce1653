"""Tasks: functions that run once, each in a supervised process."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from scenarios import Difference, scenario
from stage import PATIENCE, Stage, down, why

from jidocode import ActorExitedError, CallTimeoutError
from jidocode.otp import ActorRef, TaskSupervisor, tasks
from jidocode.testing import eventually

# What the tasks run. They see each other by files: a task has no server that it could ask with.


def ten_times(number: int) -> int:
    """Return ten times *number*."""
    return 10 * number


def fail(how: str) -> None:
    """End without a result."""
    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit()
        case _:
            raise RuntimeError("told to")


def odd_only(number: int) -> int:
    """Return an odd *number*."""
    if number % 2 == 0:
        raise ValueError(number)
    return number


def meet(item: tuple[int, Path]) -> tuple[int, int]:
    """Return how many run, once its neighbour does, too: 1 waits for 2, 3 for 4."""
    number, folder = item
    runs = folder / f"runs {number}"
    runs.touch()
    count = len([*folder.glob("runs *")])
    (folder / str(number)).touch()
    wait(folder / str(number + 1 if number % 2 else number - 1))
    runs.unlink()
    return number, count


def wait(file: Path) -> None:
    """Return once there is *file*."""
    eventually(file.exists, f"{file}", timeout=PATIENCE / 2)


def wait_if_first(item: tuple[int, Path]) -> int:
    """Return the number; the first of all waits for what the third makes."""
    number, file = item
    if number == 1:
        wait(file)
    if number == 3:
        file.touch()
    return number


def supervisor(stage: Stage, max_children: int | None = None) -> ActorRef:
    """Start a supervisor of tasks."""
    return stage.start(TaskSupervisor.child_spec(max_children))


@scenario("tasks: results come in the order of the items, no more run than may")
def _(stage: Stage) -> None:
    with TemporaryDirectory() as folder:
        items = [(number, Path(folder)) for number in range(1, 5)]
        stream = tasks.stream(stage.app, supervisor(stage), meet, items, max_concurrency=2)
        results = list(stream)
    for number, _ in results:
        stage.note(f"item {number}")
    stage.note(f"most at once: {max(count for _, count in results)}")


@scenario(
    "tasks: what runs while the first result is not there",
    Difference(["item 1"], ["timeout"], "`tasks.stream` takes the next item"),
)
def _(stage: Stage) -> None:
    with TemporaryDirectory() as folder:
        items = [(number, Path(folder, "file")) for number in range(1, 5)]
        stream = tasks.stream(
            stage.app, supervisor(stage), wait_if_first, items, max_concurrency=2, timeout=0.5
        )
        try:
            stage.note(f"item {next(stream)}")
        except CallTimeoutError as error:
            stage.note(why(error))


@scenario("tasks: {}", each=[("raise",), ("kill",), ("exit",)])
def _(stage: Stage, how: str) -> None:
    top = supervisor(stage)
    task = tasks.run(stage.app, top, fail, how)
    try:
        task.result()
    except ActorExitedError as error:
        stage.note(why(error))
    except RuntimeError:
        stage.note("crash")
    stage.settled(top, task.ref)
    stage.counts(top)


@scenario(
    "tasks: a stream with one that fails",
    Difference(["item 3"], [], "`tasks.stream` raises the first failure"),
)
def _(stage: Stage) -> None:
    try:
        for number in tasks.stream(stage.app, supervisor(stage), odd_only, [1, 2, 3]):
            stage.note(f"item {number}")
    except ValueError:
        stage.note("crash")


@scenario("tasks: no result in time, and one later")
def _(stage: Stage) -> None:
    with TemporaryDirectory() as folder:
        task = tasks.run(stage.app, supervisor(stage), wait, Path(folder, "go"))
        try:
            task.result(0.02)
        except CallTimeoutError as error:
            stage.note(why(error))
        Path(folder, "go").touch()
        task.result()
    stage.note("a result")


@scenario("tasks: one that is not wanted any more")
def _(stage: Stage) -> None:
    with TemporaryDirectory() as folder:
        task = tasks.run(stage.app, supervisor(stage), wait, Path(folder, "never"))
        monitor = stage.app.monitor(task.ref)
        task.cancel()
        stage.note(down(monitor))


@scenario("tasks: at most max_children")
def _(stage: Stage) -> None:
    top = supervisor(stage, 1)
    with TemporaryDirectory() as folder:
        first = tasks.start(stage.app, top, wait, Path(folder, "go"))
        stage.answer("second", tasks.start, top, ten_times, 1)
        Path(folder, "go").touch()
        stage.settled(top, first)
    stage.answer("third", tasks.start, top, ten_times, 1)
