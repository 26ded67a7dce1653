"""`jidocode`, as a shell starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from apps import IMPORTS

COMMAND = (sys.executable, "-m", "jidocode")
SECONDS = 60.0
"""After which a program counts as one that hangs; far less than a test has."""


def environment(**env: str) -> dict[str, str]:
    """Return the variables of a process that has what the tests have, and *env*."""
    return {**os.environ, "PYTHONPATH": IMPORTS, **env}


def jidocode(*arguments: str, status: int = 0, **env: str) -> str:
    """Return what `jidocode` prints; on its standard error, if it is to end with another status."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(**env),
    )
    assert done.returncode == status, done.stderr[-2000:] + done.stdout[-2000:]
    assert "Traceback" not in done.stderr
    return done.stderr if status else done.stdout


def data(*arguments: str) -> Any:
    """Return what `jidocode` prints for programs."""
    return json.loads(jidocode(*arguments, "--json"))


@contextmanager
def following(*arguments: str) -> Generator[subprocess.Popen[str]]:
    """Give a `jidocode` that goes on, and tells programs what happens; it ends with the block."""
    with subprocess.Popen(
        [*COMMAND, *arguments, "--follow", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()
