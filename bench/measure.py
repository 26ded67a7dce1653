"""Measures both subjects in one process, in turn, and prints the figures as JSON.

Run as `python bench/measure.py SESSIONS`. The machine may be noisy: what one
subject is asked the other one is asked right after, so that both have the same
weather.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import psutil
from subjects import Jidocode, Stock, Subject

CALLS = 300
ROW = 5
"""How many of a kind are done in a row before it is the other one's turn."""
THREADS = 32
CALLS_PER_THREAD = 40
RECOVERIES = 9
IDLE_SECONDS = 3.0
PAUSE = 0.1
"""Seconds before what is measured alone."""

T = TypeVar("T")
P = ParamSpec("P")


class Figures:
    """The samples of one subject, and what becomes of them."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = defaultdict(list)

    def timed(self, name: str, action: Callable[P, object], *args: P.args, **kw: P.kwargs) -> None:
        """Do *action*; note its milliseconds."""
        before = time.perf_counter()
        action(*args, **kw)
        self.samples[name].append(1000 * (time.perf_counter() - before))

    def note(self, name: str, value: float) -> None:
        """Note a figure that was measured otherwise."""
        self.samples[name].append(value)

    def medians(self) -> dict[str, float]:
        """Return the median of each."""
        return {name: statistics.median(samples) for name, samples in self.samples.items()}


def measure(sessions: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return the figures of each subject, times in ms and memory in MB."""
    # Stock first: it forks this process, which should have nothing of jidocode in it.
    subjects: dict[str, Subject] = {"stock": Stock(), "jidocode": Jidocode()}
    figures = {name: Figures() for name in subjects}
    pairs = [(subjects[name], figures[name]) for name in subjects]
    projects = new_folders(folder, sessions)

    for subject, noted in pairs:
        noted.timed("start to first session", begin, subject, projects[0])
    time.sleep(PAUSE)
    base = [memory(subject.pids()) for subject in subjects.values()]
    for number, row in enumerate(in_rows(projects[1:])):
        for subject, noted in pairs:
            if number % 2:
                open_apart(subject, noted, row)
            else:
                open_in_a_row(subject, noted, row)

    for session in range(sessions):
        for subject in subjects.values():
            subject.call(session)
            subject.append(session)
    for _ in range(CALLS // ROW):
        for subject, noted in pairs:
            for _ in range(ROW):
                noted.timed("call", subject.call, 0)
    for _ in range(RECOVERIES):
        for subject, noted in pairs:
            time.sleep(PAUSE)
            noted.note("recovery, one_for_all", 1000 * subject.kill_and_recover(0))
    for subject, noted in pairs:
        noted.note("calls/s, 1 thread", rate(CALLS, subject.call, 0))
    for subject, noted in pairs:
        noted.note("appends/s, acknowledged", rate(CALLS, subject.append, 0))
    for subject, noted in pairs:
        noted.note("calls/s, 32 threads", throughput(subject, sessions))
    for (subject, noted), before in zip(pairs, base, strict=True):
        if sessions > 1:
            for kind, now in memory(subject.pids()).items():
                noted.note(f"{kind} per session", (now - before[kind]) / (sessions - 1))
        noted.note("idle processor, %", idle(subject.pids()))
    if sessions > 1:
        for (subject, noted), before in zip(pairs, base, strict=True):
            for session in range(1, sessions):
                subject.collect(session)
            now = memory(subject.pids())["memory"]
            noted.note("memory per session, collected", (now - before["memory"]) / (sessions - 1))
    for subject, noted in pairs:
        noted.timed("shutdown", subject.close)
    return {name: figures[name].medians() for name in ("jidocode", "stock")}


def new_folders(folder: Path, count: int) -> list[str]:
    """Make project folders."""
    projects = [folder / f"p{number}" for number in range(count)]
    for project in projects:
        project.mkdir()
    return list(map(str, projects))


def in_rows(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield *items* in rows."""
    for start in range(0, len(items), ROW):
        yield items[start : start + ROW]


def begin(subject: Subject, project: str) -> None:
    """Start and open the first session."""
    subject.start()
    subject.open(project)


def open_apart(subject: Subject, noted: Figures, projects: Sequence[str]) -> None:
    """Open sessions with pauses, as people do."""
    for project in projects:
        time.sleep(PAUSE)
        noted.timed("further session", subject.open, project)


def open_in_a_row(subject: Subject, noted: Figures, projects: Sequence[str]) -> None:
    """Open sessions without a pause, as programs do."""
    for project in projects:
        noted.timed("further session, in a row", subject.open, project)


def rate(count: int, action: Callable[P, object], *args: P.args, **kw: P.kwargs) -> float:
    """Return how many of *count* times *action* are done per second."""
    before = time.perf_counter()
    for _ in range(count):
        action(*args, **kw)
    return count / (time.perf_counter() - before)


def throughput(subject: Subject, sessions: int) -> float:
    """Return the calls per second of many threads at once."""
    turn = itertools.count()

    def talk() -> None:
        call = subject.caller()
        barrier.wait()
        for _ in range(CALLS_PER_THREAD):
            call(next(turn) % sessions)

    barrier = threading.Barrier(THREADS + 1)
    threads = [threading.Thread(target=talk) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    before = time.perf_counter()
    for thread in threads:
        thread.join()
    return THREADS * CALLS_PER_THREAD / (time.perf_counter() - before)


def idle(pids: list[int]) -> float:
    """Return the share of a core that *pids* use while nobody asks anything, in percent."""

    def used() -> float:
        return sum(
            sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids if psutil.pid_exists(pid)
        )

    before = used()
    time.sleep(IDLE_SECONDS)
    return 100 * (used() - before) / IDLE_SECONDS


def memory(pids: list[int]) -> dict[str, float]:
    """Return the memory of *pids* in MB: with a share of what is shared, and without."""
    total = {"memory": 0.0, "private memory": 0.0}
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            used = psutil.Process(pid).memory_full_info()
            total["memory"] += used.pss / 1e6
            total["private memory"] += used.uss / 1e6
    return total


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        json.dump(measure(int(sys.argv[1]), Path(home)), sys.stdout)
