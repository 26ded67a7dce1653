"""Measures what an app waits for: commands of sessions against `subprocess.run`, and edits."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jidocode import Edit, SessionHandle, SessionSystem

PAIRS = 100
PAUSE = 0.01
"""Seconds before each: a model thinks between its commands, and so does a user."""
SESSIONS, AT_ONCE = 10, 20
TRUE = ["/bin/true"]
LINES = 1000

Pairs = dict[str, tuple[list[float], list[float]]]
"""By what was measured: ours and the other one, in turn; milliseconds."""


def timed(action: Callable[[], object]) -> float:
    """Return the milliseconds that it takes."""
    before = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - before)


def alternate(one: Callable[[], object], other: Callable[[], object], number: int) -> list[float]:
    """Do both *number* times in turn; return the times of the first and the second, in turn."""
    times: list[float] = []
    for _ in range(number):
        for action in (one, other):
            time.sleep(PAUSE)
            times.append(timed(action))
    return times


def run_plain() -> None:
    """Run a command that nobody confines."""
    subprocess.run(TRUE, check=True)  # noqa: S603 - what is measured


def rewrite(path: Path, old: str, new: str) -> None:
    """Edit as a script would, without any care."""
    path.write_text(path.read_text().replace(old, new))


def measure() -> Pairs:
    """Return the times of whole commands, of many at once, and of edits."""
    pairs: Pairs = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        SessionSystem(state_dir=Path(folder, "state")) as system,
        ThreadPoolExecutor(SESSIONS * AT_ONCE) as pool,
    ):
        sessions: list[SessionHandle] = []
        for number in range(SESSIONS):
            project = Path(folder, str(number))
            project.mkdir()
            sessions.append(system.create_session(project))
            sessions[-1].run(TRUE)  # what runs commands starts
        session = sessions[0]
        times = alternate(lambda: session.run(TRUE), run_plain, PAIRS)
        pairs["session.run of /bin/true"] = times[::2], times[1::2]

        def all_at_once(run: Callable[[SessionHandle], object]) -> None:
            list(pool.map(run, sessions * AT_ONCE))

        times = alternate(
            lambda: all_at_once(lambda each: each.run(TRUE)),
            lambda: all_at_once(lambda _: run_plain()),
            3,
        )
        pairs[f"{AT_ONCE} at once in each of {SESSIONS} sessions"] = times[::2], times[1::2]

        plain = Path(folder, "plain")
        for path in (plain, Path(folder, "0", "edited")):
            path.write_text("a line of text\n" * LINES + "old\n")
        words = ["old", "new"]

        def edit() -> None:
            words.reverse()
            session.manager.edit_file("edited", Edit(words[1], words[0]))

        times = alternate(edit, lambda: rewrite(plain, words[1], words[0]), PAIRS)
        pairs[f"an edit of a file of {LINES} lines, against a plain rewrite"] = (
            times[::2],
            times[1::2],
        )
    return pairs
