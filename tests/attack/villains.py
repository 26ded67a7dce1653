"""Children that do what a child should not do; see `children` for who looks at it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

from jidocode.otp import ActorRef, Caller, GenServer, Reply

MARK_OF_DEED = "ATTACK_VILLAIN"
"""The variable by which the programs are known that a villain starts."""

CHAINS = """
import os, time
end = time.monotonic() + 10
for _ in range(60):
    if os.fork() == 0:
        break
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
"""
"""61 chains of processes that fork and exit, for ten seconds; so many live at a time."""
DAEMON = """
import os, signal, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
time.sleep(600)
"""


class Villain(GenServer):
    """Does the deed that it is asked for, or returns what it is sent."""

    kind = "villain"

    def handle_call(self, request: Any, caller: Caller) -> Reply:
        del caller
        match request:
            case ["do", name, token]:
                os.environ[MARK_OF_DEED] = token
                DEEDS[name](self)
                return Reply("done")
            case _:
                return Reply(request)


def _shell(number: str) -> None:
    subprocess.run(["/bin/sh", "-c", f"kill -{number} 0; sleep 0.1"], check=False)


def _start(code: str) -> None:
    subprocess.Popen([sys.executable, "-Ic", code])


def _fork_and(leave: str) -> None:
    if os.fork() == 0:
        if leave == "exit":
            sys.exit(0)
        raise ValueError("a copy of the villain")
    os.wait()


def _print_noise(_: Villain) -> None:
    for descriptor in (1, 2):
        for _times in range(20):
            os.write(descriptor, os.urandom(3000) + b"\x1b[2J{}<red>\r")


def _message(villain: Villain, what: Any, *, to: Any = None) -> None:
    """Send *what* to itself, or to whatever *to* is, by each way there is."""
    ref = cast("ActorRef", villain.ref if to is None else to)
    villain.cast(ref, what)
    villain.send(ref, what)
    villain.send_request(ref, what)
    villain.announce(what)


def _recurse(villain: Villain) -> None:
    _recurse(villain)


def _stop(_: Villain) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


DEEDS: dict[str, Callable[[Villain], object]] = {
    "kill 0 with TERM": lambda _: _shell("TERM"),
    "kill 0 with HUP": lambda _: _shell("HUP"),
    "kill 0 with KILL": lambda _: _shell("KILL"),
    "kill 0 with STOP": lambda _: _shell("STOP"),
    "fork chains": lambda _: _start(CHAINS),
    "a daemon": lambda _: _start(DAEMON),
    "stop itself": _stop,
    "print noise": _print_noise,
    "a closure as a message": lambda villain: _message(villain, lambda: None),
    "an endless message": lambda villain: _message(villain, [villain.__class__] * 100_000),
    "messages to nobody": lambda villain: _message(villain, "hello", to="manager"),
    "a monitor of nothing": lambda villain: villain.monitor(cast("ActorRef", "manager")),
    "watch nothing": lambda villain: villain.watch_process(cast("ActorRef", None)),
    "an answer to nobody": lambda villain: villain.reply(cast("Caller", 7), "hello"),
    "exit": lambda _: sys.exit(3),
    "exit at once": lambda _: os._exit(0),
    "abort": lambda _: os.abort(),
    "a fault": lambda _: ctypes.string_at(0),
    "raise": lambda _: DEEDS["no such deed"],
    "recurse": _recurse,
    "a copy that exits": lambda _: _fork_and("exit"),
    "a copy that raises": lambda _: _fork_and("raise"),
    "close all files": lambda _: os.closerange(3, 4096),
    "a thread for ever": lambda _: threading.Thread(target=signal.pause).start(),
}
