"""Starts guards and host from the app, and ends them.

Why a fresh interpreter, and no fork of the app: an app has threads, and a lock that one of
them holds at the fork is held in the child for ever; and its heap, its sockets and its
secrets would reach every actor. For the same reason it gets only the descriptors it needs.

What connects the two (see `main` for the other side), each by a descriptor of its own:

- the orders, a file in memory, which takes any length without a wait for its reader.
- the lifeline, a pipe into which nothing is written. Only the app holds its other end, so the
  app's end, however it comes, is seen there.
- the report, a pipe: one line, when the host is ready or cannot be.
- the log, a socket (see `logs`), and what is printed (see `output`). Standard input is empty.
- three pidfds, by which the app sees the end of guards and host, and can signal them without
  ever hitting a stranger who has got a dead one's pid.

None of these is a standard stream: whatever is installed in the environment may print when
the interpreter starts.

A start can fail, time out or meet a Ctrl-C at any point, and then nothing may be left: so
whatever is made has its undoing pushed at once (`ExitStack`), and `close` is that undoing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from jidocode._host import logs, threads
from jidocode._host.daemon import interpreter
from jidocode._host.daemon.output import Output
from jidocode._host.descriptors import STDERR, signal_all, wait_for_any
from jidocode._host.forks import Owner, close_in_forks
from jidocode._host.limits import explain, is_kernels, refuse_tight_memory
from jidocode._host.nesting import refuse_nested_start
from jidocode._host.patches import refuse_patches
from jidocode._host.transport.key import new_key
from jidocode.base.text import line
from jidocode.base.waiting import until
from jidocode.errors import HostStartError

if TYPE_CHECKING:
    from jidocode._host.tail import Tail
    from jidocode._host.transport.address import LoopbackAddress

Program = str | os.PathLike[str] | None
"""The path of an interpreter; None for the app's own."""

MIN_HEARTBEAT = 1.0
"""Seconds: to take a busy machine for a hung host would end all sessions."""

KILL_SECONDS = 10.0
"""How long the guards, and then the host, may take to kill what is left."""

FAILED_START_KILL_SECONDS = 1.0
"""The same, after a start that has failed."""


class HostProcess:
    """The guards and the host of one system, seen from the app.

    It takes the host longer to import what it needs than it takes the app: so it is
    started first, and waited for last.

    Attributes:
        key: The system's one-time key.
        ends: Descriptors, one of which is readable when the system is ending: the process of
            the first guard and, once they are known, of the second one and of the host.
    """

    admin: LoopbackAddress
    """Where the host's Admin listens; from `wait_until_ready` on."""
    pid: int
    """The host's process id; likewise."""

    def __init__(
        self,
        *,
        preload: Sequence[str],
        python: Program = None,
        heartbeat: float | None = None,
        grace: float | None = None,
    ) -> None:
        """Start a guard, which starts a host; that becomes ready in its own time.

        Args:
            preload: Modules to import once, for all actors to share.
            python: The interpreter to run it on; None for the app's own.
            heartbeat: Seconds from one sign of life of host and root to the next, at least
                `MIN_HEARTBEAT`; None if nobody is to look for them.
            grace: Seconds that the tree has to stop in order if the app ends without `close`.

        Raises:
            HostStartError: It cannot be started, or not from here. Nothing is left.
        """
        refuse_nested_start()
        refuse_patches()
        refuse_tight_memory()
        self.key = new_key()
        self.ends: list[int] = []
        self._closed = False
        self._owner = Owner()
        try:
            threads.run_whole(lambda: self._launch(preload, python, heartbeat, grace))
        except BaseException as error:
            if is_kernels(error):
                problem = f"the host process cannot be started: {explain(error)}"
                raise HostStartError(problem) from error
            # A Ctrl-C that came meanwhile. It is raised once all is done, and holds this object as
            # long as anybody looks at it.
            if hasattr(self, "_process"):
                self.close()
            raise

    def _launch(
        self,
        preload: Sequence[str],
        python: Program,
        heartbeat: float | None,
        grace: float | None,
    ) -> None:
        with _standard_streams_taken(), contextlib.ExitStack() as undo:
            self._log, shipping = logs.open_channel()
            undo.callback(self._log.close)
            with shipping, contextlib.ExitStack() as theirs:
                self._log.start()
                self._output = Output()
                undo.callback(self._output.close)
                theirs.callback(os.close, self._output.writing)
                lifeline, self._lifeline = _pipe()
                theirs.callback(lifeline.close)
                undo.callback(self._lifeline.close)
                self._report, report = _pipe()
                theirs.callback(report.close)
                undo.callback(self._report.close)
                facts = {
                    "heartbeat": None if heartbeat is None else max(heartbeat, MIN_HEARTBEAT),
                    "grace": grace or 0.0,
                    "preload": list(preload),
                }
                descriptors = {
                    "log": shipping.fileno(),
                    "lifeline": lifeline.fileno(),
                    "report": report.fileno(),
                }
                orders = theirs.enter_context(self._orders(python, facts, descriptors))
                command = interpreter.command(python, orders.fileno())
                self._python = command[0]
                theirs_alone = [orders.fileno(), *descriptors.values()]
                undo.callback(self._abandon)
                self._start(command, theirs_alone)
            undo.pop_all()

    def _start(self, command: Sequence[str], descriptors: Sequence[int]) -> None:
        self._process = _start_guard(command, self._output.writing, descriptors)
        self.ends.append(os.pidfd_open(self._process.pid))

    def __del__(self) -> None:
        # A Ctrl-C that came when this was made, and not yet anybody's.
        if hasattr(self, "_process") and not self._closed and self._owner.is_here:
            self.close()

    @property
    def log_tail(self) -> Tail:
        """The last of what its processes have logged."""
        return self._log.tail

    def wait_until_ready(self, deadline: float) -> None:
        """Wait until the host is ready, at most until *deadline* (monotonic).

        Raises:
            HostStartError: It did not start, or not in time; `close` ends what there is.
        """
        facts = self._await_report(deadline)
        self.pid = facts["pids"][-1]
        self.ends.extend(map(os.pidfd_open, facts["pids"]))  # in one step: Ctrl-C may come here
        # Imported by now, but not when this file is: that would hold up the launch.
        from jidocode._host.transport.address import LoopbackAddress  # noqa: PLC0415

        self.admin = LoopbackAddress(facts["port"], facts["nonce"])

    def _abandon(self) -> None:
        if not hasattr(self, "_process"):
            return
        if not self.ends:  # it can be awaited in no other way
            self._process.kill()
        self._end(FAILED_START_KILL_SECONDS)

    def wait(self, timeout: float) -> None:
        """Wait until the host is gone, at most *timeout* seconds.

        The guards are not waited for: they end as soon as the lifeline is cut.
        """
        # A host that is stopped would not end in order. Another thread may close these.
        ends = self.ends
        with contextlib.suppress(OSError):
            signal_all(ends, signal.SIGCONT)
        if ends:
            until(partial(wait_for_any, ends[-1:]), timeout)

    def close(self) -> None:
        """Cut the lifeline; return when nothing is left. Closing twice is fine."""
        if not self._closed:
            # One that never was ready may be anything.
            patience = KILL_SECONDS if hasattr(self, "pid") else FAILED_START_KILL_SECONDS
            threads.prefer_whole(lambda: self._end(patience))

    def _end(self, patience: float) -> None:
        if self._closed:  # by a handler, or another thread, just before
            return
        with contextlib.suppress(OSError, ValueError):  # the host was faster, or a handler
            os.write(self._lifeline.fileno(), b"\0")
        for pipe in (self._lifeline, self._report):
            with contextlib.suppress(OSError):
                pipe.close()
        signal_all(self.ends, signal.SIGCONT)  # whoever is stopped would not notice
        for end in self.ends:  # from the outside in: who is below kills what a dead one has left
            if not self._are_gone(patience):
                signal_all([end], signal.SIGKILL)
        self._process.wait()
        self._closed = True
        ends, self.ends = self.ends, []  # nobody waits for what is closed
        for descriptor in ends:
            os.close(descriptor)
        self._output.close()
        self._log.close()

    def _are_gone(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        return all(wait_for_any([end], max(0.0, deadline - time.monotonic())) for end in self.ends)

    def _orders(
        self, python: Program, facts: dict[str, Any], descriptors: dict[str, int]
    ) -> BinaryIO:
        orders = {
            "key": self.key.hex(),
            "path": interpreter.import_path(),
            "add_path": python is not None,
            "library": interpreter.library_modules(),
            "app": os.getpid(),
            "version": sys.version_info[:2],
            **facts,
            **descriptors,
        }
        file = os.fdopen(os.memfd_create("jidocode-orders"), "w+b")
        file.write(json.dumps(orders).encode("ascii"))
        file.seek(0)
        return file

    def _await_report(self, deadline: float) -> dict[str, Any]:
        descriptor = self._report.fileno()
        report = b""
        while not report.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not until(partial(wait_for_any, [descriptor]), left):
                raise self._failure("was not ready in time")
            chunk = os.read(descriptor, 4096)
            if not chunk:
                raise self._failure(self._how_it_ended(deadline))
            report += chunk
        facts: dict[str, Any] = json.loads(report)
        if "error" in facts:
            raise HostStartError(f"the host process could not start: {line(facts['error'])}")
        return facts

    def _how_it_ended(self, deadline: float) -> str:
        try:
            status = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return "is no host"
        if status < 0:
            return f"ended at its start by signal {-status}"
        return f"ended at its start with status {status}"

    def _failure(self, what: str) -> HostStartError:
        """Return the error for a host of which nothing is known but what was said."""
        self._output.close()
        said = self._output.last_words()
        return HostStartError(
            f"the host process {what}{'; it said: ' if said else ''}{said} "
            f"(it runs on {self._python}: see the setting python)"
        )


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
    command: Sequence[str], output: int, descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - the interpreter of the app, and our own words
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=interpreter.environment(),
            start_new_session=True,
            pass_fds=descriptors,
        )
    except OSError as error:
        reason, is_limit = explain(error), error.errno in {errno.EAGAIN, errno.EMFILE, errno.ENOMEM}
    # Not from within the handler: the frames of that error hold the whole environment.
    which = "" if is_limit else f" (it was to run on {command[0]}: see the setting python)"
    raise HostStartError(f"the host process cannot be started: {reason}{which}")
