"""Runs programs confined, on each tier, and scripts that try to get out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen

from jidocode import ConfinementError
from jidocode.session.confinement.apart import confine_apart, run_apart
from jidocode.session.confinement.confinement import Confinement, Prepared, prepare
from jidocode.session.confinement.network import Network
from jidocode.session.confinement.rules import session_confinement

SCRIPT_START = """
import ctypes, errno, json, mmap, os, resource, signal, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
def attempt(action, *arguments, **named):
    try:
        result = action(*arguments, **named)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "done"
results = {}
def report():
    print("RESULTS" + json.dumps(results), flush=True)
argv = sys.argv[1:]
"""


TIERS = ("kernel", "namespaces")

_AS_GOOD_AS_DENIED = {"ENOENT": "EACCES", "EROFS": "EACCES", "ESRCH": "EPERM"}
"""In namespaces what is closed is not there, or cannot be written; what that is called else."""


@cache
def why_no_namespaces() -> str:
    """Return why commands cannot be in namespaces here; nothing if they can."""
    try:
        run_apart(lambda: None)
    except ConfinementError as error:
        return str(error)
    return ""


def require_tier(tier: str) -> None:
    """Skip the test where *tier* is not possible."""
    if tier == "namespaces" and why_no_namespaces():
        pytest.skip(why_no_namespaces())


@frozen
class Place:
    """A project, a scratch folder, and what lies outside of both."""

    project: Path
    scratch: Path
    outside: Path
    secret: Path
    confinement: Confinement = field()
    tier: str = "kernel"

    def run(
        self,
        argv: Sequence[object],
        *,
        cwd: Path | None = None,
        fails: bool = False,
        timeout: float = 60,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program confined."""

        def run(confine: Callable[[], None]) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [str(each) for each in argv],
                cwd=cwd or self.project,
                env=self.environment() | (env or {}),
                preexec_fn=confine,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                **options,
            )

        with prepare(self.confinement) as prepared:
            if self.tier == "kernel":
                done = run(prepared.apply)
            else:
                done = run_apart(partial(run, partial(self._confine_apart, prepared)))
        assert fails or done.returncode == 0, done.stdout[-2000:]
        return done

    def _confine_apart(self, prepared: Prepared) -> None:
        folder = os.open(".", os.O_PATH | os.O_CLOEXEC)
        confine_apart(prepared, str(self.project), str(self.scratch), folder)

    def script(self, code: str, *argv: object, **options: Any) -> dict[str, Any]:
        """Run a script confined; return its results."""
        program = [sys.executable, "-I", "-S", "-c", SCRIPT_START + code + "\nreport()\n", *argv]
        output = self.run(program, **options).stdout
        _, found, results = output.partition("RESULTS")
        assert found, output[-2000:]
        answer: dict[str, Any] = json.loads(results.splitlines()[0])
        if self.tier == "kernel":
            return answer
        return {
            name: _AS_GOOD_AS_DENIED.get(value, value) if isinstance(value, str) else value
            for name, value in answer.items()
        }

    def environment(self) -> dict[str, str]:
        """Return the environment of a command: nothing of the app's."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.scratch),
            "TMPDIR": str(self.scratch),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def with_network(self, network: Network) -> Place:
        """Return the same place with more network."""
        return evolve(self, confinement=evolve(self.confinement, network=network))


def make_place(folder: Path, tier: str = "kernel", **rules: Any) -> Place:
    """Make a place beneath *folder*, for commands on *tier*; skip the test where there is none."""
    require_tier(tier)
    project, scratch, outside = (folder / name for name in ("project", "scratch", "outside"))
    for each in (project, scratch, outside):
        each.mkdir()
    secret = outside / "secret"
    secret.write_text("secret")
    confinement = session_confinement(project, scratch, **rules)
    return Place(project, scratch, outside, secret, confinement, tier)
