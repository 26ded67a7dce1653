"""Measures jidocode against a bare tree on stock Thespian, side by side, and prints tables.

A confined command is measured against a plain one.

Run it as `make bench`, or `python bench/run.py [ROUNDS] [SESSIONS ...]`. What
counts are the ratios: each is of two figures that were measured in turn, in
one process (see `measure`).
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import commanding
import confining

SUBJECTS = ("jidocode", "stock")
HIGHER_IS_BETTER = {"calls/s, 1 thread", "calls/s, 32 threads", "appends/s, acknowledged"}
GOALS: dict[str, dict[int, float]] = {
    "call": {1: 0.45, 10: 0.25, 100: 0.05},
    "calls/s, 32 threads": dict.fromkeys((1, 10, 100), 5.0),
    "further session": dict.fromkeys((10, 100), 0.7),
    "further session, in a row": dict.fromkeys((10, 100), 0.7),
    "recovery, one_for_all": dict.fromkeys((1, 10, 100), 0.7),
    "memory per session": dict.fromkeys((10, 100), 0.7),
    "memory per session, collected": dict.fromkeys((10, 100), 0.7),
}
PATIENCE = 600
STARTS = 9
"""Whole processes of each subject."""

Figures = dict[str, dict[str, float]]
"""By subject and name."""


def run(sessions: int) -> Figures:
    """Measure both subjects once, in a fresh process."""
    script = Path(__file__).with_name("measure.py")
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(script), str(sessions)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"measuring {sessions} sessions failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout)
    return figures


Process = tuple[str, float, float]
"""What it is, and its memory in MB: with its share of what is shared, and what is its own alone."""


def first_session(subject: str) -> tuple[float, list[Process]]:
    """Start *subject* in a fresh process; return its milliseconds to a session, and what runs."""
    script = Path(__file__).with_name("whole_process.py")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {**os.environ, "FIRST_SESSION": str(time.monotonic_ns())}
        before = time.perf_counter()
        with subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(script), subject, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            assert process.stdin is not None  # noqa: S101 - both are pipes
            assert process.stdout is not None  # noqa: S101 - idem
            ready = process.stdout.readline()
            taken = 1000 * (time.perf_counter() - before)
            if ready != "ready\n":
                sys.exit(f"{subject} did not get to its first session")
            process.stdin.write("\n")
            process.stdin.flush()
            return taken, json.loads(process.stdout.readline())


def show_starts(rounds: int) -> None:
    """Print the table of whole processes, each from its start to the first session."""
    times: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
    sizes: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
    processes: list[list[Process]] = []
    for turn in range(rounds + 1):
        for subject in SUBJECTS:
            taken, found = first_session(subject)
            if turn:  # the first one finds no bytecode, perhaps
                times[subject].append(taken)
                sizes[subject].append(sum(shared for _, shared, _ in found))
                if subject == "jidocode":
                    processes.append(found)
    print("\n## A whole process, from its start to the first session\n")
    print("| | jidocode (spread) | stock (spread) | ratio (spread) | goal |")
    print("|---|---|---|---|---|")
    print_row("first session, ms", times, "<= 2")
    print_row("memory of app and processes, MB", sizes, "jidocode <= 60")
    show_processes(processes)


def show_processes(rounds: list[list[Process]]) -> None:
    """Print the table of what each process takes, all of one kind in a line."""
    print("\n## Memory, process by process\n")
    print("| | how many | MB, all of them (spread) | of that their own alone (spread) |")
    print("|---|---|---|---|")
    for kind in dict.fromkeys(kind for each in rounds for kind, _, _ in sorted(each)):
        alike = [[process for process in each if process[0] == kind] for each in rounds]
        count = statistics.median_high(map(len, alike))
        shared = [math.fsum(size for _, size, _ in each) for each in alike]
        own = [math.fsum(size for _, _, size in each) for each in alike]
        print(f"| {kind} | {count} | {spread(shared)} | {spread(own)} |")


def show_commands() -> None:
    """Print the table of commands, each a fork that executes `/bin/true`."""
    times, preparing = confining.measure()
    ratios = [one / other for one, other in zip(times["confined"], times["plain"], strict=True)]
    print("\n## A command\n")
    print("| | confined (spread) | plain (spread) | ratio (spread) | goal |")
    print("|---|---|---|---|---|")
    row = spread(times["confined"]), spread(times["plain"]), spread(ratios), confining.GOAL
    print(f"| /bin/true, ms | {' | '.join(row)} |")
    print(f"| rules, before the fork, ms | {spread(preparing)} | - | - | |")
    print("\n## What an app waits for\n")
    print("| | jidocode (spread) | plain (spread) | ratio (spread) | goal |")
    print("|---|---|---|---|---|")
    for name, (ours, plain) in commanding.measure().items():
        ratios = [one / other for one, other in zip(ours, plain, strict=True)]
        wanted = confining.GOAL if "true" in name else ""
        print(f"| {name}, ms | {spread(ours)} | {spread(plain)} | {spread(ratios)} | {wanted} |")


def print_row(name: str, samples: dict[str, list[float]], wanted: str) -> None:
    """Print one line of a table."""
    ours, theirs = (samples[subject] for subject in SUBJECTS)
    ratios = [one / other for one, other in zip(ours, theirs, strict=True) if other]
    print(f"| {name} | {' | '.join((spread(ours), spread(theirs), spread(ratios), wanted))} |")


def show(sessions: int, rounds: list[Figures]) -> None:
    """Print the table of one number of sessions."""
    print(f"\n## {sessions} session{'s' if sessions > 1 else ''}\n")
    print("| | jidocode (spread) | stock (spread) | ratio (spread) | goal |")
    print("|---|---|---|---|---|")
    for name in rounds[0]["jidocode"]:
        samples = {subject: [each[subject][name] for each in rounds] for subject in SUBJECTS}
        print_row(name, samples, goal(name, sessions))


def spread(figures: list[float]) -> str:
    """Return the median with the least and the most."""
    if not figures:
        return "-"
    return f"{statistics.median(figures):.3g} ({min(figures):.3g} to {max(figures):.3g})"


def goal(name: str, sessions: int) -> str:
    """Return what the ratio should be."""
    limit = GOALS.get(name, {}).get(sessions)
    if limit is None:
        return ""
    return f"{'>=' if name in HIGHER_IS_BETTER else '<='} {limit:g}"


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    numbers = [int(argument) for argument in sys.argv[2:]] or [1, 10, 100]
    print("# jidocode against a bare tree on stock Thespian\n")
    print(f"Python {platform.python_version()}, thespian {version('thespian')}, ", end="")
    print(f"{platform.system()} {platform.release()}, {platform.machine()}, ", end="")
    print(f"{os.cpu_count()} processors; ", end="")
    print(f"medians of {rounds} rounds; times in ms, memory in MB.")
    show_commands()
    show_starts(STARTS)
    for sessions in numbers:
        show(sessions, [run(sessions) for _ in range(rounds)])


if __name__ == "__main__":
    main()
