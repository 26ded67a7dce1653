"""Apps for tests: a program in an interpreter of its own, in odd surroundings, and its end.

Whatever such an app starts carries a mark in its environment. So no chain of
processes gets far: too many are an error, and what is left is killed by its pid.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jidocode import JidocodeError, errors
from jidocode.testing import eventually, is_alive

MARK = "JIDO_TEST_MARK"
MAX_PROCESSES = 50
END_SECONDS = 10.0
"""How long what an app has started may live on after it."""
MAX_START = 15.0
"""Seconds after which a start that cannot succeed has to have failed; half of what one may take."""
STRANGER = 54321
"""A user id without an entry in passwd."""
SUPPORT = Path(__file__).parent
REPOSITORY = SUPPORT.parents[1]
IMPORTS = os.pathsep.join([str(SUPPORT), str(REPOSITORY), sysconfig.get_path("purelib")])

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

BECOME_STRANGER = f"""
import os
os.setgroups([])
os.setresgid({STRANGER}, {STRANGER}, {STRANGER})
os.setresuid({STRANGER}, {STRANGER}, {STRANGER})
"""

BOUND = """
import os
with open(os.environ["STARTS"], "a") as starts:
    starts.write(f"{os.getpid()} ")
if os.path.getsize(os.environ["STARTS"]) > 80:
    os._exit(99)
"""
"""Notes a start in a file, and refuses the umpteenth: what starts itself ends here."""


@contextmanager
def stopped(pid: int) -> Generator[None]:
    """Hold a process while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


_PROBE = """
import json, os, sys, threading, time
stage, error, starting, ending = "before", None, 0.0, 0.0
try:
#first
    from jidocode import SessionSystem
    from servers import worker
#before
    stage, begun = "start", time.monotonic()
    try:
        system = SessionSystem(**json.loads(sys.argv[2]))
    finally:
        starting = time.monotonic() - begun
    try:
#started
        stage = "session"
        session = system.create_session(sys.argv[1], children=[worker("worker")])
        stage = "use"
        session.state.append_message("user", "hello")
        assert session.manager.project_root() == os.path.realpath(sys.argv[1])
        assert session.state.messages()[0].content == "hello"
        assert session.call("worker", ("echo", 1)) == 1
#use
        stage = "close"
    finally:
        begun = time.monotonic()
        system.close()
        ending = time.monotonic() - begun
    stage = "done"
except BaseException as caught:
    error = caught
said = [stage, type(error).__name__, str(error), starting, ending]
os.write(int(os.environ["SAY"]), json.dumps(said).encode())
"""


class Outcome(NamedTuple):
    """What became of an app.

    Attributes:
        status: Its exit status; None if it was ended because it took too long.
        stdout: What it and all others wrote there.
        stderr: The same of standard error.
        seconds: How long it ran.
        most: Processes that there were at once.
        left: Those that lived on after it.
    """

    status: int | None
    stdout: str
    stderr: str
    seconds: float
    most: int
    left: int


class Probe(NamedTuple):
    """How far a system got in an app.

    Attributes:
        stage: Where it ended: before, start, session, use, close, done.
        kind: The name of the error's type.
        text: What the error says.
        starting: Seconds that the start took.
        ending: Seconds that `close` took.
        outcome: What became of the app.
    """

    stage: str
    kind: str
    text: str
    starting: float
    ending: float
    outcome: Outcome

    def works(self) -> None:
        """Fail unless everything worked and nothing is left."""
        said = self.text or self.outcome.stderr
        assert self.stage == "done", f"{self.stage}: {self.kind}: {said[-2000:]}"
        assert self.outcome.left == 0

    def says(self, *patterns: str, stages: Sequence[str] = ("start",)) -> None:
        """Fail unless it was refused soon, by an error of ours with *patterns* in its text."""
        said = f"{self.stage} after {self.starting:.1f} s: {self.kind}: {self.text}"
        assert self.stage in stages, said
        assert issubclass(getattr(errors, self.kind, object), JidocodeError), said
        for pattern in patterns:
            assert re.search(pattern, self.text), f"{pattern} is not in: {said}"
        assert self.starting < MAX_START, said
        assert self.outcome.left == 0

    def works_or_says(self, *patterns: str, stages: Sequence[str] = ("start",)) -> None:
        """Fail unless it `works` or `says`."""
        if self.stage != "done":
            self.says(*patterns, stages=stages)


def run_app(  # noqa: PLR0913 - all but one are keywords
    code: str,
    *arguments: object,
    interpreter: Sequence[str | os.PathLike[str]] = (sys.executable,),
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    timeout: float = 90.0,
    leaves: bool = False,
) -> Outcome:
    """Run *code* in an app to its end; more than `MAX_PROCESSES` at once fail the test.

    Args:
        code: The program; empty if *interpreter* says all.
        arguments: Its arguments.
        interpreter: The command that is the interpreter, with its flags.
        env: What its environment has, and has not if None, beyond the test's own.
        cwd: Where it runs.
        timeout: Seconds after which it is killed.
        leaves: Whether it leaves something behind on purpose, whose end is not waited for.
    """
    program = ["-c", textwrap.dedent(code)] if code else []
    command = [*(os.fspath(each) for each in interpreter), *program, *map(str, arguments)]
    with _app(command, env or {}, cwd) as (process, mark, out, err):
        begun, most, status = time.monotonic(), 0, None
        while status is None and time.monotonic() - begun < timeout:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(0.2)
            most = max(most, len(marked(mark)))
            assert most <= MAX_PROCESSES, f"{most} processes"
        seconds = time.monotonic() - begun
        if not leaves:
            with suppress(AssertionError):
                eventually(lambda: not marked(mark), timeout=END_SECONDS)
        left = len(marked(mark))
        return Outcome(status, _text(out), _text(err), seconds, most, left)


def probe(  # noqa: PLR0913 - all but one are keywords
    project: Path,
    *,
    first: str = "",
    before: str = "",
    started: str = "",
    use: str = "",
    interpreter: Sequence[str | os.PathLike[str]] = (sys.executable,),
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
    timeout: float = 90.0,
    leaves: bool = False,
    **options: Any,
) -> Probe:
    """Run an app with a system and a session on *project*, and return how far it got.

    Args:
        project: The project folder.
        first: Code that runs before jidocode is imported.
        before: Code that runs before the system is started.
        started: Code that runs before the session is.
        use: Code that runs when the session was used.
        interpreter: As for `run_app`.
        env: As for `run_app`.
        cwd: As for `run_app`.
        timeout: As for `run_app`.
        leaves: As for `run_app`.
        options: Settings, as JSON has them.
    """
    code = _PROBE
    places = {"first": (4, first), "before": (4, before), "started": (8, started), "use": (8, use)}
    for place, (indent, text) in places.items():
        block = textwrap.indent(textwrap.dedent(text), " " * indent)
        code = code.replace(f"#{place}\n", f"{block}\n")
    with tempfile.TemporaryFile() as said:
        os.set_inheritable(said.fileno(), True)  # noqa: FBT003 - the function's own signature
        environment = {"SAY": str(said.fileno()), **(env or {})}
        outcome = run_app(
            code,
            project,
            json.dumps(options),
            interpreter=interpreter,
            env=environment,
            cwd=cwd,
            timeout=timeout,
            leaves=leaves,
        )
        heard = _text(said)
    if not heard:
        return Probe("ended", str(outcome.status), outcome.stderr, outcome.seconds, 0.0, outcome)
    stage, kind, text, starting, ending = json.loads(heard)
    return Probe(stage, kind, text, starting, ending, outcome)


def marked(mark: str) -> list[int]:
    """Return the pids of all living processes that carry *mark* in their environment."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if mark.encode() in (entry / "environ").read_bytes() and is_alive(int(entry.name)):
                    found.append(int(entry.name))
    return found


@contextmanager
def _app(
    command: Sequence[str], env: Mapping[str, str | None], cwd: Path | None
) -> Generator[tuple[subprocess.Popen[bytes], str, Any, Any]]:
    """Start an app; however the block ends, kill it and all that it has started."""
    mark = uuid.uuid4().hex
    environment: dict[str, str | None] = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment |= {"PYTHONPATH": IMPORTS, MARK: mark, **env}
    inherited = [int(environment[name] or -1) for name in ("SAY",) if name in environment]
    # Files, for whatever lives on may hold the end of a pipe.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={name: value for name, value in environment.items() if value is not None},
            cwd=cwd,
            pass_fds=inherited,
        )
        try:
            yield process, mark, out, err
        finally:
            eventually(functools.partial(_all_killed, mark), "the end of all that was started")
            process.wait()


def _all_killed(mark: str) -> bool:
    pids = marked(mark)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not pids


def _text(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode(errors="replace")
    return text


class Stranger(NamedTuple):
    """A user without an entry in passwd.

    Attributes:
        folder: A folder of that user's.
        project: A project folder in it.
        python: An interpreter that everybody may run.
    """

    folder: Path
    project: Path
    python: Path

    def probe(self, *, first: str = BECOME_STRANGER, **options: Any) -> Probe:
        """Do as `apps.probe`, as that user."""
        return probe(self.project, first=first, interpreter=[self.python], **options)


@contextmanager
def a_stranger() -> Generator[Stranger]:
    """Make the folders of a user who has no entry in passwd.

    The test is skipped where that user can read neither this project nor a Python.
    """
    name = f"python3.{sys.version_info.minor}"
    candidates = [
        sys.executable,
        *(f"{folder}/{name}" for folder in ("/usr/local/bin", "/usr/bin")),
    ]
    pythons = [Path(each) for each in candidates if Path(each).exists() and _is_public(each)]
    if not pythons or not _is_public(REPOSITORY):
        pytest.skip("this project, or every Python, is not for everybody to read")
    folder = Path(tempfile.mkdtemp(prefix="stranger-"))
    try:
        (folder / "shop" / "src").mkdir(parents=True)
        for each in (folder, folder / "shop", folder / "shop" / "src"):
            os.chown(each, STRANGER, STRANGER)
        yield Stranger(folder, folder / "shop", pythons[0])
    finally:
        shutil.rmtree(folder)


def _is_public(path: str | os.PathLike[str]) -> bool:
    real = Path(os.path.realpath(path))
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (real, *real.parents))
