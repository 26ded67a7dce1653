"""Measures jidocode against a bare tree on stock Thespian, side by side, and prints a table.

Run it as `make bench`, or `python bench/run.py [ROUNDS] [SESSIONS ...]`. What
counts are the ratios: each is of two figures that were measured in turn, in
one process (see `measure`).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

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


def show(sessions: int, rounds: list[Figures]) -> None:
    """Print the table of one number of sessions."""
    print(f"\n## {sessions} session{'s' if sessions > 1 else ''}\n")
    print("| | jidocode (spread) | stock (spread) | ratio (spread) | goal |")
    print("|---|---|---|---|---|")
    for name in rounds[0]["jidocode"]:
        ours, theirs = ([each[subject][name] for each in rounds] for subject in SUBJECTS)
        ratios = [one / other for one, other in zip(ours, theirs, strict=True) if other]
        columns = spread(ours), spread(theirs), spread(ratios), goal(name, sessions)
        print(f"| {name} | {' | '.join(columns)} |")


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
    for sessions in numbers:
        show(sessions, [run(sessions) for _ in range(rounds)])


if __name__ == "__main__":
    main()
