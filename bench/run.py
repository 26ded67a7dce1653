"""Measures jidocode against a bare tree on stock Thespian, side by side, and prints a table.

Run it as `make bench`, or `python bench/run.py [ROUNDS] [SESSIONS ...]`. The
machine may be noisy: both subjects run in turn, in fresh processes, and what
counts is the ratio of their medians.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

SUBJECTS = ("jidocode", "stock")
HIGHER_IS_BETTER = {"calls/s, 32 threads", "appends/s, acknowledged"}
GOALS: dict[str, dict[int, float]] = {
    "call": {1: 0.45, 10: 0.25, 100: 0.05},
    "calls/s, 32 threads": dict.fromkeys((1, 10, 100), 5.0),
    "further session": dict.fromkeys((10, 100), 0.7),
    "further session, in a row": dict.fromkeys((10, 100), 0.7),
    "recovery, one_for_all": dict.fromkeys((1, 10, 100), 0.7),
    "memory per session": dict.fromkeys((10, 100), 0.7),
}
PATIENCE = 600


def run(subject: str, sessions: int) -> dict[str, float]:
    """Measure one subject once, in a process of its own."""
    script = Path(__file__).with_name("subjects.py")
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(script), subject, str(sessions)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{subject} with {sessions} sessions failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def show(sessions: int, rounds: dict[str, list[dict[str, float]]]) -> None:
    """Print the table of one number of sessions."""
    print(f"\n## {sessions} session{'s' if sessions > 1 else ''}\n")
    print("| | jidocode (spread) | stock (spread) | ratio | goal |")
    print("|---|---|---|---|---|")
    for name in rounds["jidocode"][0]:
        ours, theirs = ([each[name] for each in rounds[subject]] for subject in SUBJECTS)
        middle, other = statistics.median(ours), statistics.median(theirs)
        ratio = f"{middle / other:.2f}" if other else "-"
        print(f"| {name} | {spread(ours)} | {spread(theirs)} | {ratio} | {goal(name, sessions)} |")


def spread(figures: list[float]) -> str:
    """Return the median with the least and the most."""
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
    print(f"{platform.system()} {platform.release()}, {platform.machine()}; ", end="")
    print(f"medians of {rounds} rounds; times in ms, memory in MB.")
    for sessions in numbers:
        results: dict[str, list[dict[str, float]]] = {subject: [] for subject in SUBJECTS}
        for _ in range(rounds):
            for subject in SUBJECTS:
                results[subject].append(run(subject, sessions))
        show(sessions, results)


if __name__ == "__main__":
    main()
