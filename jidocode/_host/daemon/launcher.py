"""Starts the guard and the host from the app, and ends them.

Why a fresh interpreter, and no fork of the app: an app has threads, and a lock that one of
them holds at the fork is held in the child for ever; and its heap, its sockets and its
secrets would reach every actor. For the same reason it gets only the descriptors it needs.

What connects the two (see `main` for the other side):

- the orders, a pipe to its standard input: one line, and then silence. Only the app holds
  the other end, so its end, however it comes, is seen there: the lifeline.
- the report, a pipe from its standard output: one line, when the host is ready or cannot be.
- the log, a socket (see `logs`); standard error is the app's.
- two pidfds, by which the app sees the end of both, and can kill them without ever
  hitting a stranger who has got a dead one's pid.

A start can fail, time out or meet a Ctrl-C at any point, and then nothing may be left: so
whatever is made has its undoing pushed at once (`ExitStack`), and `close` is that undoing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from jidocode._host import logs
from jidocode._host.descriptors import STDERR, wait_for_any
from jidocode._host.forks import close_in_forks
from jidocode._host.transport.key import new_key
from jidocode.errors import HostStartError

if TYPE_CHECKING:
    from jidocode._host.transport.address import LoopbackAddress

BOOTSTRAP = """
import json, os, sys
line = sys.stdin.readline()
if line.endswith("\\n"):
    orders = json.loads(line)
    sys.path[:] = orders["path"]
    from jidocode._host.daemon.main import main
    main(orders)
else:  # the app was gone before it could say what it wanted
    os.rmdir(sys.argv[1])
"""
"""What the new interpreter runs.

It runs with `-I`: neither the current folder nor PYTHONPATH can put a `json.py` of a
project's in place of Python's own. So before its orders it finds only what comes with
Python; the orders say where the app imports from, and this package with it.
"""

KILL_SECONDS = 10.0
"""How long the guard, and then the host, may take to kill what is left."""

FAILED_START_KILL_SECONDS = 1.0
"""The same, after a start that has failed."""


class HostProcess:
    """The guard and the host of one system, seen from the app.

    It takes the host longer to import what it needs than it takes the app: so it is
    started first, and waited for last.

    Attributes:
        key: The system's one-time key.
        ends: Descriptors, one of which is readable when the system is ending:
            the guard's process and, once it is known, the host's.
    """

    admin: LoopbackAddress
    """Where the host's Admin listens; from `wait_until_ready` on."""
    pid: int
    """The host's process id; likewise."""

    def __init__(self, *, preload: Sequence[str]) -> None:
        """Start a guard, which starts a host; that becomes ready in its own time.

        Args:
            preload: Modules to import once, for all actors to share.

        Raises:
            HostStartError: It cannot be started. Nothing is left.
        """
        self.key = new_key()
        self.ends: list[int] = []
        self._closed = False
        try:
            self._launch(preload)
        except OSError as error:
            raise HostStartError(f"the host process cannot be started: {error}") from error

    def _launch(self, preload: Sequence[str]) -> None:
        with _standard_streams_taken(), contextlib.ExitStack() as undo:  # Ctrl-C comes at any point
            self._log, shipping = logs.open_channel()
            undo.callback(self._log.close)
            with shipping, contextlib.ExitStack() as theirs:
                self._log.start()
                log = shipping.fileno()
                self._run_dir = tempfile.mkdtemp(prefix="jidocode-")
                undo.callback(shutil.rmtree, self._run_dir, ignore_errors=True)
                orders, self._lifeline = _pipe()
                theirs.callback(orders.close)
                undo.callback(self._lifeline.close)
                self._report, report = _pipe()
                theirs.callback(report.close)
                undo.callback(self._report.close)
                self._process = _start_guard(orders, report, log, self._run_dir)
            undo.callback(self._abandon)
            self.ends.append(os.pidfd_open(self._process.pid))
            self._send_orders(preload, log)
            undo.pop_all()

    def wait_until_ready(self, deadline: float) -> None:
        """Wait until the host is ready, at most until *deadline* (monotonic).

        Raises:
            HostStartError: It did not start, or not in time; `close` ends what there is.
        """
        facts = self._await_report(deadline)
        self.pid = facts["pid"]
        self.ends.append(os.pidfd_open(self.pid))
        # Imported by now, but not when this file is: that would hold up the launch.
        from jidocode._host.transport.address import LoopbackAddress  # noqa: PLC0415

        self.admin = LoopbackAddress(facts["port"], facts["nonce"])

    def _abandon(self) -> None:
        if not self.ends:  # it can be awaited in no other way, and has no orders yet
            self._process.kill()
        self._end(FAILED_START_KILL_SECONDS)

    def wait(self, timeout: float) -> bool:
        """Wait until everything is gone; False if it is not after *timeout* seconds."""
        deadline = time.monotonic() + timeout
        return all(wait_for_any([end], max(0.0, deadline - time.monotonic())) for end in self.ends)

    def close(self, timeout: float) -> None:
        """Cut the lifeline if anything is left after *timeout* seconds; return when nothing is.

        Closing twice is fine.
        """
        if not self._closed:
            self.wait(timeout)
            # One that never was ready may be anything.
            self._end(KILL_SECONDS if hasattr(self, "pid") else FAILED_START_KILL_SECONDS)

    def _end(self, patience: float) -> None:
        for pipe in (self._lifeline, self._report):
            with contextlib.suppress(OSError):
                pipe.close()
        self._signal(self.ends, signal.SIGCONT)  # whoever is stopped would not notice
        for end in self.ends:  # first the guard: the host kills what a dead guard has left
            if not self.wait(patience):
                self._signal([end], signal.SIGKILL)
        self._process.wait()
        self._closed = True
        for descriptor in self.ends:
            os.close(descriptor)
        self._log.close()
        shutil.rmtree(self._run_dir, ignore_errors=True)

    @staticmethod
    def _signal(ends: Sequence[int], number: signal.Signals) -> None:
        for end in ends:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(end, number)

    def _send_orders(self, preload: Sequence[str], log: int) -> None:
        orders = {
            "key": self.key.hex(),
            "path": _import_path(),
            "app": os.getpid(),
            "preload": list(preload),
            "log": log,
            "run_dir": self._run_dir,
        }
        with contextlib.suppress(BrokenPipeError):  # the report will say why
            self._lifeline.write(json.dumps(orders).encode("ascii") + b"\n")
            self._lifeline.flush()

    def _await_report(self, deadline: float) -> dict[str, Any]:
        descriptor = self._report.fileno()
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not wait_for_any([descriptor], left):
                raise HostStartError("the host process was not ready in time")
            chunk = os.read(descriptor, 4096)
            if not chunk:
                status = self._process.wait()
                raise HostStartError(f"the host process ended at its start with status {status}")
            line += chunk
        facts: dict[str, Any] = json.loads(line)
        if "error" in facts:
            raise HostStartError(f"the host process could not start: {facts['error']}")
        return facts


def _import_path() -> list[str]:
    entries: list[object] = [*sys.path]  # what an app puts there that is not text is ignored
    return [os.path.abspath(each) for each in entries if isinstance(each, str)]  # noqa: PTH100 - "" is the current folder


@contextlib.contextmanager
def _standard_streams_taken() -> Generator[None]:
    """Keep descriptors 0 to 2 from being given to what is opened meanwhile, if the app has none."""
    with contextlib.ExitStack() as undo:
        while True:
            nothing = os.open(os.devnull, os.O_RDWR)
            undo.callback(os.close, nothing)
            if nothing > STDERR:
                break
        yield


def _app_has_stderr() -> bool:
    try:
        return os.get_inheritable(STDERR)
    except OSError:
        return False


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    """Return the two ends; made here, for `Popen` may leave one open when it fails to make more."""
    reading, writing = os.pipe()
    ends = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
    for end in ends:
        close_in_forks(end, _descriptor_of)
    return ends


def _descriptor_of(pipe: BinaryIO) -> list[int]:
    return [] if pipe.closed else [pipe.fileno()]


def _start_guard(
    orders: BinaryIO, report: BinaryIO, log: int, run_dir: str
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - the interpreter of the app, and our own words
            [sys.executable, "-Ic", BOOTSTRAP, run_dir],
            stdin=orders,
            stdout=report,
            stderr=None if _app_has_stderr() else subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[log],
        )
    except OSError as error:
        raise HostStartError(f"the host process cannot be started: {error}") from error
