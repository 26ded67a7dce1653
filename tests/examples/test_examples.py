"""Every example runs as a user would run it, on a real project folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def home_without_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An example keeps its sessions in a folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    yield
    assert not (tmp_path / "home").exists()


def run(name: str, *arguments: object) -> str:
    """Run an example in a process group of its own; return what it printed."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        pytest.fail(f"{name} took too long\n{output}\n{errors}")
    assert process.returncode == 0, f"{name}\n{output}\n{errors}"
    assert errors == ""
    return output


def test_first_session(project: Path) -> None:
    """The first ten lines do what they say."""
    output = run("first_session.py", project)

    assert "shop has 3 entries" in output
    assert "the session is healthy" in output


def test_crash_and_recover(project: Path) -> None:
    """Every child is killed once and comes back, and nothing is left."""
    (project / ".data").write_bytes(b"\0\1")

    output = run("crash_and_recover.py", project)

    assert output.count("killed by signal 9; recovered in") == 3
    assert output.count("registry agrees: True") == 9
    assert "registry agrees: False" not in output
    assert ".data: (no text)" in output
    assert "README.md: # Shop" in output
    assert "Closed. Processes left: 0 of 8" in output


def test_async_sessions() -> None:
    """Three sessions in one loop."""
    output = run("async_sessions.py", 3)

    for number in (1, 2, 3):
        assert f"project {number}: 271 lines with a 7, 19 with two" in output
        said = "1000; note.txt was written; run_command was not allowed: not today"
        assert f"project {number}: tools say {said}" in output
        assert f"project {number}: 0 commands run after a time-out" in output
        assert f"project {number}: state came back, with 1 message" in output
    assert "meanwhile the loop was never held" in output


def test_own_child(project: Path) -> None:
    """A class in a module of its own runs, one in the script is refused."""
    output = run("own_child.py", project)

    assert "counted: 103" in output
    assert "still there: 106" in output
    assert "not started: Homeless is defined in __main__" in output


def test_policy(project: Path) -> None:
    """What was not allowed is not done, and what is always allowed is asked about once."""
    output = run("policy.py", project)

    assert "refused: write_file was not allowed: only notes, please" in output
    assert "asked: run_command ls todo.note" in output
    assert "asked: run_command ls *.note" not in output
    assert "refused: run_command was not allowed: only ls" in output
    assert "refused: there is no argument 'pth'; did you mean path?" in output
    assert "written down: 7 calls" in output
    assert not (project / "todo.note").exists()


def test_worker_pool() -> None:
    """Every job is done, whoever is killed, and who belongs to the dead one is new."""
    *_, rest = run("worker_pool.py").rpartition("kill -9 (worker 2)")
    workers = "worker 0, worker 1, worker 2, worker 3, workers"

    assert rest == (
        ": 100 of 100 jobs done, right: True\n"
        "new: worker 2; registered: 4\n"
        "kill -9 (collector): 100 of 100 jobs done, right: True\n"
        f"new: collector, registry, {workers}; registered: 4\n"
        "kill -9 (registry): 100 of 100 jobs done, right: True\n"
        f"new: registry, {workers}; registered: 4\n"
        "kill -9 (workers): 100 of 100 jobs done, right: True\n"
        f"new: {workers}; registered: 4\n"
    )


def test_stock_pool() -> None:
    """One dead worker breaks a pool of the standard library; a dead registry is never replaced."""
    assert run("stock_pool.py") == (
        "kill -9 (ForkServerProcess): 100 of 100 jobs done, right: True\n"
        "pools: 2, registered: 4\n"
        "kill -9 (SyncManager): 100 of 100 jobs done, right: True\n"
        "pools: 1, registered: BrokenPipeError\n"
    )


def test_restart_strategies(project: Path) -> None:
    """Each strategy restarts whom it says."""
    output = run("restart_strategies.py", project)

    assert "one_for_one: manager kept, state new, counter kept" in output
    assert "one_for_all: manager new, state new, counter new" in output
    assert "rest_for_one: manager kept, state new, counter new" in output


def test_many_sessions() -> None:
    """One gives up, nine go on."""
    output = run("many_sessions.py")

    assert "gave up after 4 kills: shutdown" in output
    assert "untouched: 9 of 9" in output
    assert "its place is free: healthy" in output


def test_look_inside(project: Path) -> None:
    """Tree, health and events."""
    output = run("look_inside.py", project)

    assert "manager exited: killed by signal 9" in output
    assert "state exited: shutdown" in output
    assert "the system is healthy; restarts: {'manager': 1, 'state': 1}" in output


def test_surviving_state(project: Path) -> None:
    """The conversation is there after each crash."""
    output = run("surviving_state.py", project)

    assert output.count("user: why does checkout fail?") == 2
    assert output.count("user: and since when?") == 2
    assert "after kill -9 of everything: the host process is gone" in output


def test_commands(project: Path) -> None:
    """Programs end by themselves, at their deadline, and when they are cancelled."""
    output = run("commands.py", project)

    assert "entries: 3" in output
    assert "exit code 2 because of trouble" in output
    assert "timed out: True by signal 15" in output
    assert "watching\nrunning: ['echo watching; while sleep 1; do :; done']" in output
    assert "cancelled: True" in output


def test_two_workers(project: Path) -> None:
    """They see the same session, and the death of one is nothing to it."""
    output = run("two_workers.py", project)

    assert "the second one sees: 2" in output
    assert "first worker: killed\nsecond worker: left\nthe session is healthy" in output
    assert "['from the first worker', 'from the second worker']" in output


def test_metrics(project: Path) -> None:
    """A page is scraped that tells of a crash."""
    output = run("metrics.py", project)

    assert "jidocode_up 1.0" in output
    assert 'jidocode_exits_total{kind="state",reason="SIGKILL"} 1.0' in output
    assert 'jidocode_restarts_total{kind="manager"} 1.0' in output
    assert 'jidocode_commands_total{outcome="failed"} 1.0' in output


def test_every_example_is_tested() -> None:
    """None is forgotten."""
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {
        "conversing",
        "pool",
        "word_counter",
        "workers_app",
    }
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}

    assert scripts == (files & scripts) | {
        name.removeprefix("test_") for name in globals() if name.startswith("test_")
    } - {"every_example_is_tested"}
