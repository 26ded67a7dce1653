"""What the processes of an app can still do when it ends without a word."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from apps import run_app

APP = """
import os, signal, sys
from pathlib import Path
from jidocode.otp import start
from servers import worker

slow = worker("slow", Path(sys.argv[1]), "ready", name=("worker", "slow"), shutdown=60)
app = start(slow, worker("quick", Path(sys.argv[2])), exit_grace={grace})
{use}
{end}
"""

ENDS = {
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(3)",
    "an exception": "raise RuntimeError('nobody expected it')",
    "its last line": "del signal",
    "exec": "os.execvp('true', ['true'])",
}
HANG = """
app.cast(('worker', 'slow'), 'loop')
while 'cast loop' not in Path(sys.argv[1]).read_text():
    pass
"""


def run(
    tmp_path: Path, end: str, *, grace: float | None, use: str = "pass"
) -> tuple[str, str, float]:
    """Run the app; return what its two servers noted, and how long all of it took."""
    logs = tmp_path / "slow", tmp_path / "quick"
    begun = time.monotonic()
    outcome = run_app(APP.format(grace=grace, use=use, end=end), *logs)
    seconds = time.monotonic() - begun

    assert outcome.left == 0, outcome.stderr
    slow, quick = (log.read_text() for log in logs)
    return slow, quick, seconds


@pytest.mark.parametrize("how", ENDS)
def test_a_tree_stops_in_order_when_its_app_ends_without_a_word(tmp_path: Path, how: str) -> None:
    """Each server's `terminate` runs, the last one first, and nothing is left."""
    slow, quick, _ = run(tmp_path, ENDS[how], grace=20.0)

    assert slow.splitlines()[-1] == "terminate shutdown"
    assert quick.splitlines()[-1] == "terminate shutdown"


def test_nothing_but_an_end_comes_without_grace(tmp_path: Path) -> None:
    """All is killed at once."""
    slow, quick, _ = run(tmp_path, ENDS["SIGKILL"], grace=None)

    assert "terminate" not in slow + quick


def test_what_hangs_is_killed_when_the_grace_is_over(tmp_path: Path) -> None:
    """Whatever its own shutdown allows."""
    slow, quick, seconds = run(tmp_path, ENDS["SIGKILL"], grace=1.0, use=HANG)

    assert "terminate" not in slow
    assert quick.splitlines()[-1] == "terminate shutdown"
    assert seconds < 30


def test_closing_and_failing_to_close_in_time_are_words(tmp_path: Path) -> None:
    """The grace is for an app that cannot say any more what it wants."""
    end = "app.settings.__class__; object.__setattr__(app.settings, 'shutdown', 0.2); app.close()"
    slow, _, seconds = run(tmp_path, end, grace=60.0, use=HANG)

    assert "terminate" not in slow
    assert seconds < 30


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_whoever_is_killed_in_the_time_of_grace_nothing_is_left(
    tmp_path: Path, victim: int
) -> None:
    """A guard, the other one, or the host: who is left ends the rest."""
    end = f"""
host = app.host_pid
second = int(Path(f"/proc/{{host}}/stat").read_text().rpartition(")")[2].split()[1])
first = int(Path(f"/proc/{{second}}/stat").read_text().rpartition(")")[2].split()[1])
if not os.fork():
    import time
    app = os.getppid()
    os.kill(app, signal.SIGKILL)
    time.sleep(0.3)
    os.kill([first, second, host][{victim}], signal.SIGKILL)
    os._exit(0)
signal.pause()
"""
    slow, _, seconds = run(tmp_path, end, grace=60.0, use=HANG)

    assert "terminate" not in slow
    assert seconds < 30
