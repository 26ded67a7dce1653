"""Measures what it costs to confine a command: a fork that executes `/bin/true`, both ways."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jidocode.session.confinement.confinement import prepare
from jidocode.session.confinement.descriptors import close_others
from jidocode.session.confinement.rules import session_confinement

PAIRS = 200
GOAL = "<= 3"


def run_true(confine: Callable[[], None]) -> float:
    """Return how many milliseconds it takes from the fork until the command has ended."""
    before = time.perf_counter()
    pid = os.fork()
    if not pid:
        try:
            confine()
            os.execv("/bin/true", ["true"])  # noqa: S606 - what is measured
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"the command ended with status {status}")
    return 1000 * (time.perf_counter() - before)


def measure() -> tuple[dict[str, list[float]], list[float]]:
    """Return the milliseconds of commands, confined and plain, in turn; and those of `prepare`."""
    times: dict[str, list[float]] = {"confined": [], "plain": []}
    preparing: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        project, scratch = Path(folder, "project"), Path(folder, "scratch")
        project.mkdir()
        scratch.mkdir()
        for _ in range(PAIRS):
            before = time.perf_counter()
            with prepare(session_confinement(project, scratch)) as prepared:
                preparing.append(1000 * (time.perf_counter() - before))

                def confine(apply: Callable[[], None] = prepared.apply) -> None:
                    apply()
                    close_others()

                times["confined"].append(run_true(confine))
            times["plain"].append(run_true(lambda: None))
    return times, preparing
