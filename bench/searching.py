"""Measures a Manager's grep against ripgrep and against a bare loop over Python's `re`.

Run it as `python bench/searching.py [FILES] [ROUNDS]`. What counts are the ratios: all
search the same files for the same, in turn. ripgrep is measured if `rg` is on the PATH.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jidocode import ManagerClient, SessionSystem

PATTERN = r"needle here \d+"
RARE = 1000
"""One file in so many has a match."""
PER_FOLDER = 25


def make_files(root: Path, count: int) -> None:
    """Make *count* files of some kilobytes each, in small folders, and rules to be heeded."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(3000)]
    texts = ["\n".join(" ".join(chance.choices(words, k=6)) for _ in range(90)) for _ in range(100)]
    (root / ".gitignore").write_text("*.pyc\n/build/\nnode_modules/\n*.o\n!keep.o\n")
    for number in range(count):
        folder = root / f"p{number // PER_FOLDER % 40}" / f"q{number // PER_FOLDER}"
        folder.mkdir(parents=True, exist_ok=True)
        needle = f"\nneedle here {number}\n" if number % RARE == RARE // 2 else "\n"
        (folder / f"f{number}.py").write_text(texts[number % len(texts)] + needle)


def by_manager(manager: ManagerClient) -> int:
    """Return how many lines the Manager finds, in as many pages as it takes."""
    found, after = 0, None
    while True:
        page = manager.grep(PATTERN, after=after, limit=1000)
        found += len(page.matches)
        if page.truncated is None:
            return found
        after = page.after


def by_re(root: Path) -> int:
    """Return how many files a bare loop finds: no rules, no boundary, no lines."""
    search = re.compile(PATTERN.encode()).search
    paths = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    return sum(search(path.read_bytes()) is not None for path in paths)


def by_ripgrep(root: Path) -> int:
    """Return how many lines ripgrep finds."""
    command = ["rg", "--no-config", "--no-require-git", "--hidden", PATTERN, str(root)]
    return subprocess.run(command, check=True, capture_output=True).stdout.count(b"\n")  # noqa: S603 - ours


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5  # noqa: PLR2004 - two arguments
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        tempfile.TemporaryDirectory(prefix="bench-") as state_dir,
        SessionSystem(state_dir=state_dir) as system,
    ):
        root = Path(folder)
        make_files(root, count)
        manager = system.create_session(folder).manager
        ways: dict[str, Callable[[], int]] = {
            "Manager": lambda: by_manager(manager),
            "bare loop over re": lambda: by_re(root),
        }
        if shutil.which("rg"):
            ways["ripgrep"] = lambda: by_ripgrep(root)
        times: dict[str, list[float]] = {name: [] for name in ways}
        first: list[float] = []
        for turn in range(rounds + 1):
            for name, search in ways.items():
                before = time.perf_counter()
                assert search() == count // RARE  # noqa: S101 - they have to find the same
                if turn:  # in the first one the files are not in memory, perhaps
                    times[name].append(time.perf_counter() - before)
            before = time.perf_counter()
            manager.grep(PATTERN, limit=1)
            first.append(time.perf_counter() - before)
        print(f"# grep over {count} files, medians of {rounds} rounds\n")
        print("| | ms | Manager takes so many times as long |\n|---|---|---|")
        for name, samples in times.items():
            pairs = zip(times["Manager"], samples, strict=True)
            ratio = statistics.median(ours / other for ours, other in pairs)
            print(f"| {name} | {1000 * statistics.median(samples):.0f} | {ratio:.2f} |")
        print(f"| Manager, first match | {1000 * statistics.median(first):.0f} | |")


if __name__ == "__main__":
    main()
