"""The attack suite: `make attack MINUTES=10 SEED=7`.

Each attack runs in a process of its own, for its share of the time, and draws what it does
from the seed. The timing of processes is not drawn, so the same seed makes the same plan,
and most often, but not always, the same failure. One line for each attack; exit status 1 if
a promise was broken.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

from checkers import MARK, BrokenPromiseError, census, check_nothing_left

ATTACKS = ("kills", "endings", "swaps", "strangers", "intruders", "journals", "children", "turns")
PATIENCE = 60.0
"""Seconds beyond its share after which an attack hangs."""


def run_attack(name: str, seed: int, seconds: float) -> str:
    """Run an attack in this very process; return what it has done, raise what is broken."""
    plan = random.Random(f"{seed} {name}")
    with tempfile.TemporaryDirectory(prefix=f"attack-{name}-") as folder:
        done: str = importlib.import_module(name).attack(
            plan, time.monotonic() + seconds, Path(folder)
        )
        check_nothing_left(f"{MARK}={os.environ[MARK]}", but=[os.getpid()])
    return done


def run_apart(name: str, seed: int, seconds: float) -> bool:
    """Run an attack in a process of its own, print its line, and return whether all held."""
    mark = uuid.uuid4().hex
    command = [sys.executable, __file__, "--only", name, "--seed", str(seed)]
    command += ["--minutes", str(seconds / 60)]
    # In files: what a child that is left behind holds open would keep a pipe from ending.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as noise:
        process = subprocess.Popen(
            command, stdout=output, stderr=noise, env=os.environ | {MARK: mark}
        )
        try:
            status: int | None = process.wait(seconds + PATIENCE)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            process.kill()
            process.wait()
            for pid in census(f"{MARK}={mark}"):
                os.kill(pid, signal.SIGKILL)
        output.seek(0)
        line = output.read(2000).decode(errors="replace").strip()
        if status is None:
            line = f"it hangs: no end {PATIENCE:.0f} s after its time"
        elif status not in {0, 1}:
            line = f"it ended with status {status}"
        if status == 0:
            print(f"{name}: {line}", flush=True)
            return True
        noise.seek(max(0, noise.seek(0, os.SEEK_END) - 2000))
        print(f"{name}: BROKEN (seed {seed}): {line}", flush=True)
        print(ascii(noise.read().decode(errors="replace")), file=sys.stderr)
        return False


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="for all attacks together")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to repeat it")
    parser.add_argument("--only", metavar="ATTACK", help="one attack, in this process")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if arguments.seed is None else arguments.seed
    if not arguments.only:
        print(f"seed {seed}", flush=True)
        share = arguments.minutes * 60 / len(ATTACKS)
        held = [run_apart(name, seed, share) for name in ATTACKS]
        return 0 if all(held) else 1
    os.environ.setdefault(MARK, uuid.uuid4().hex)
    try:
        print(run_attack(arguments.only, seed, arguments.minutes * 60))
    except BrokenPromiseError as broken:
        print(broken)
    except Exception as error:  # noqa: BLE001 - whatever it is, an app was not told that it may come
        traceback.print_exc()
        print(f"{type(error).__name__}, which nobody announced: {error}")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
