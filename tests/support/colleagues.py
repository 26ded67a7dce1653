"""Other processes of one app: each is in a system by its name, and does what it is told."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from apps import IMPORTS

from jidocode import SessionSystem
from jidocode.testing import PATIENCE

_LOOP = """
import json, os, sys
from jidocode import *
for line in sys.stdin:
    try:
        code = json.loads(line)
        try:
            answer = eval(code)
        except SyntaxError:
            answer = exec(code)
        said = ["answer", answer]
    except BaseException as error:
        said = [type(error).__name__, str(error)]
    print(json.dumps(said, default=str), flush=True)
"""


class RemoteError(Exception):
    """What a colleague's code has raised.

    Attributes:
        kind: The name of its type.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Colleague:
    """Another process, with all names of jidocode.

    Attributes:
        app: The process.
    """

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.app = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "PYTHONPATH": IMPORTS, **(env or {})},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.app.pid

    def begin(self, code: str) -> None:
        """Have it do *code*; `answer` waits for what comes of it."""
        assert self.app.stdin is not None
        self.app.stdin.write(json.dumps(code) + "\n")

    def answer(self) -> Any:
        """Return what came of the code that was begun; raise `RemoteError` if that is an error."""
        assert self.app.stdout is not None
        assert select.select([self.app.stdout], [], [], PATIENCE)[0], "a colleague says nothing"
        kind, value = json.loads(self.app.stdout.readline())
        if kind != "answer":
            raise RemoteError(kind, value)
        return value

    def do(self, code: str) -> Any:
        """Have it do *code*, and return what an expression comes to."""
        self.begin(code)
        return self.answer()

    def attach(self, name: str, options: str = "") -> Colleague:
        """Have it attach to the system called *name*, as `system`."""
        self.do(f"system = SessionSystem.attach({name!r}, {options})")
        return self

    def kill(self) -> None:
        """Kill it."""
        self.app.send_signal(signal.SIGKILL)
        self.app.wait()

    def close(self) -> None:
        """End it, if it has not ended."""
        self.app.kill()
        self.app.wait()
        for pipe in (self.app.stdin, self.app.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def crowd(name: str, session_id: str, number: int) -> int:
    """Have that many forks work in a session, and each go or be killed; return how many did."""
    SessionSystem.attach(name).close()  # all is imported
    at_work: list[int] = []
    for place in range(number):
        pid = os.fork()
        if pid == 0:
            try:
                _work(name, session_id, place)
            finally:
                os._exit(0)
        at_work.append(pid)
    for pid in at_work:
        os.waitpid(pid, 0)
    return len(at_work)


def _work(name: str, session_id: str, place: int) -> None:
    system = SessionSystem.attach(name, timeout=60)
    session = system.get_session(session_id)
    session.state.append_message("user", str(place))
    # Killed in the midst of whatever it does then; every fifth goes by itself.
    seconds = random.Random(place).random()  # noqa: S311 - repeatable, not secret
    killer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    if place % 5:
        killer.start()
    with session.state.subscribe(from_seq=1) as changes:
        for _ in range(200):
            session.state.statistics()
            changes.get(0.001)
    system.close()
    if place % 5:
        killer.join()


@contextmanager
def colleagues(number: int = 1) -> Generator[list[Colleague]]:
    """Start some, and end them."""
    found: list[Colleague] = []
    try:
        found.extend(Colleague() for _ in range(number))
        yield found
    finally:
        for each in found:
            each.close()
