"""Starts the host process from the app, and ends it.

The app is never forked: the host is a fresh interpreter, so no lock, socket,
heap or thread of the app reaches an actor. A pipe that only the app holds open
is the host's lifeline; the host also watches the app's process itself, for a
pipe end may live on in a worker that the app has forked.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence

from jidocode._host.address import LoopbackAddress
from jidocode._host.transport import new_key
from jidocode.errors import HostStartError


class HostProcess:
    """The host of one system, seen from the app.

    Attributes:
        key: The system's one-time key.
        admin: Where the host's Admin listens.
        pidfd: Readable when the host is gone.
    """

    def __init__(self, *, preload: Sequence[str], timeout: float) -> None:
        """Start a host and wait until it is ready.

        Args:
            preload: Modules to import once, for all actors to share.
            timeout: Seconds to wait.

        Raises:
            HostStartError: It did not start, or not in time. Nothing is left.
        """
        self.key = new_key()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-Im", "jidocode._host"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise HostStartError(f"the host process cannot be started: {error}") from error
        self.pidfd = os.pidfd_open(self._process.pid)
        try:
            self._send_orders(preload)
            self.admin = self._await_report(time.monotonic() + timeout)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The host's process id."""
        return self._process.pid

    def wait(self, timeout: float) -> bool:
        """Wait until the host is gone; False if it still runs after *timeout* seconds."""
        return bool(select.select([self.pidfd], [], [], timeout)[0])

    def kill(self) -> None:
        """Kill the host, and with it every process below it; a dead one is only reaped."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _send_orders(self, preload: Sequence[str]) -> None:
        orders = {
            "key": self.key.hex(),
            "path": [os.path.abspath(entry) for entry in sys.path],  # noqa: PTH100 - "" is the current folder
            "app": os.getpid(),
            "preload": list(preload),
        }
        assert self._process.stdin is not None  # noqa: S101 - Popen was told to make it
        with contextlib.suppress(BrokenPipeError):  # the report will say why
            self._process.stdin.write(json.dumps(orders).encode("ascii") + b"\n")
            self._process.stdin.flush()

    def _await_report(self, deadline: float) -> LoopbackAddress:
        assert self._process.stdout is not None  # noqa: S101 - idem
        descriptor = self._process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise HostStartError("the host process was not ready in time")
            chunk = os.read(descriptor, 4096)
            if not chunk:
                status = self._process.wait()
                raise HostStartError(f"the host process ended at its start with status {status}")
            line += chunk
        facts = json.loads(line)
        if "error" in facts:
            raise HostStartError(f"the host process could not start: {facts['error']}")
        return LoopbackAddress(facts["port"], facts["nonce"])

    def _close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
