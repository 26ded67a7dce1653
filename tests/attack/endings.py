"""An app ends at any moment, in the middle of its start too, or a guard or the host does.

A second later nothing of it is left, no process and no file, and all that it was told to be
written down is in its journal.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

from checkers import (
    BrokenPromiseError,
    Ledger,
    Said,
    census,
    check_journal,
    check_nothing_left,
)

APP = """
import sys, uuid
from villains import Villain
from jidocode import ChildSpec, SessionSystem
from jidocode.otp import Start
villain = ChildSpec(id="villain", start=Start(Villain))
project, state_dir, session_id = sys.argv[1:]
with SessionSystem(state_dir=state_dir) as system:
    session = system.create_session(project, session_id=session_id, children=[villain])
    session.call("villain", ["do", "a daemon", "any"])
    while True:
        message_id = uuid.uuid4().hex
        print("try", message_id, flush=True)
        seq = session.state.append_message("user", message_id[:8], message_id=message_id).seq
        print("done", message_id, seq, flush=True)
"""
"""An app with a daemon below; of each message it says when it is tried, and its number."""


def attack(plan: random.Random, until: float, folder: Path) -> str:
    """Start an app, kill some of its processes after a while, and then itself, over and over."""
    project, state_dir, temporary = folder / "shop", folder / "state", folder / "tmp"
    project.mkdir()
    temporary.mkdir()
    session_id = str(uuid.uuid4())
    ledger = Ledger()
    journal = state_dir / f"{session_id}.jsonl"
    rounds = 0
    while time.monotonic() < until:
        rounds += 1
        mark = f"endings-{uuid.uuid4().hex}"
        with (folder / "output").open("w+b") as output:
            app = subprocess.Popen(
                [sys.executable, "-c", APP, str(project), str(state_dir), session_id],
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=os.environ
                | {
                    "ATTACK_ENDING": mark,
                    "TMPDIR": str(temporary),
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
            )
            _wait_a_while(plan, folder / "output")
            killed = _kill_some(plan, app, f"ATTACK_ENDING={mark}")
            try:
                check_nothing_left(f"ATTACK_ENDING={mark}")
            except BrokenPromiseError as broken:
                raise BrokenPromiseError(f"{broken}; killed were {killed}") from broken
            output.seek(0)
            _note(ledger, output.read().decode())
        if journal.exists():
            check_journal(journal, ledger)
        if left := sorted(temporary.iterdir()):
            raise BrokenPromiseError(f"an app that was killed has left temporary files: {left}")
    return f"{rounds} apps killed, nothing left; {len(ledger)} acknowledged, none lost"


def _wait_a_while(plan: random.Random, output: Path) -> None:
    """Wait for a moment of the app's start, or for one when it is at work."""
    give_up = time.monotonic() + 20
    if plan.random() < 0.5:
        while b"done" not in output.read_bytes() and time.monotonic() < give_up:
            time.sleep(0.02)
    time.sleep(plan.uniform(0, plan.choice([0.2, 1.0])))


def _kill_some(plan: random.Random, app: subprocess.Popen[bytes], mark: str) -> dict[float, str]:
    """Kill up to two of guards and host, and the app; return who was killed when, in seconds."""
    killed: dict[float, str] = {}
    for _ in range(plan.choice([0, 0, 1, 2])):
        above = [
            (pid, title)
            for pid, title in sorted(census(mark).items())
            if title.startswith(("jidocode guard", "jidocode host"))
        ]
        if above:
            pid, title = plan.choice(above)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed[time.monotonic()] = f"{title} ({pid})"
        time.sleep(plan.choice([0, 0, 0.01]))
    if plan.random() < 0.7:  # otherwise it has a moment to see for itself what has happened
        app.kill()
    with suppress(subprocess.TimeoutExpired):
        app.wait(plan.uniform(0, 0.5))
    if app.poll() is None:
        app.kill()
    app.wait()
    killed[time.monotonic()] = "the app, at the latest"
    return killed


def _note(ledger: Ledger, output: str) -> None:
    for line in output.splitlines(keepends=True):
        match line.split():
            case ["try", message_id] if line.endswith("\n"):
                ledger.try_message(message_id, message_id[:8])
            case ["done", message_id, seq] if line.endswith("\n"):
                ledger.acknowledge(Said(int(seq), message_id, message_id[:8]))
            case _:
                pass
