"""A pool of workers here, and one of the standard library: what an app that dies leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jidocode.testing import eventually
from jidocode.testing.leftovers import Process, is_running, processes_below

EXAMPLES = Path(__file__).parents[2] / "examples"
OURS = """
from jidocode.otp import management, start
from pool import COLLECTOR, WORKERS, Pool, worker

with start(Pool) as app:
    for number in range(4):
        management.start_child(app, WORKERS, worker(number))
    app.call(COLLECTOR, ("submit", range(100)))
    print("it runs", flush=True)
    input()
"""
STOCK = """
from stock_pool import SIZE, pool, square

with pool() as (executor, names):
    jobs = [executor.submit(square, job) for job in range(100)]
    while len(names) < SIZE:
        pass
    print("it runs", flush=True)
    input()
"""


@pytest.fixture
def below() -> Iterator[dict[Process, str]]:
    """The processes of an app, which are ended after the test."""
    processes: dict[Process, str] = {}
    yield processes
    for process in filter(is_running, processes):
        os.kill(process.pid, signal.SIGKILL)


def run_and_kill(script: str, below: dict[Process, str]) -> None:
    """Run *script* until it says that it runs, note what is below it, and kill it."""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=EXAMPLES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as app:
        try:
            assert app.stdout is not None
            assert app.stdout.readline() == "it runs\n"
            below |= processes_below(app.pid)
        finally:
            app.kill()


def test_an_app_with_a_tree_that_is_killed_leaves_nothing_behind(below: dict[Process, str]) -> None:
    """Neither workers nor anything else."""
    run_and_kill(OURS, below)

    assert len(below) > 4
    eventually(lambda: not any(map(is_running, below)), "the end of all processes")


def test_an_app_of_the_standard_library_leaves_all_behind(below: dict[Process, str]) -> None:
    """Four workers and the process of the registry, at least."""
    run_and_kill(STOCK, below)

    with pytest.raises(AssertionError, match="an end did not happen"):
        eventually(lambda: sum(map(is_running, below)) < 5, "an end", timeout=1.0)
