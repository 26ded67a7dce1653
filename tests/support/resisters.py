"""Programs that a child starts, and that are hard to be rid of."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Generator
from pathlib import Path

from jidocode.testing import eventually

_CHAINS = """
import ctypes, os, sys, time
libc = ctypes.PyDLL(None)  # its fork takes a fraction of the time that `os.fork` takes
fork, leave, apart = libc.fork, libc._exit, libc.setsid if sys.argv[3] == "apart" else int
os.write(os.open(sys.argv[1], os.O_WRONLY), b"x")
end = time.monotonic() + 20
for _ in range(int(sys.argv[2]) - 1):
    if fork() == 0:
        break
while time.monotonic() < end:
    if fork():
        leave(0)
    apart()
"""

_PTRACE_SEIZE = 0x4206


@contextlib.contextmanager
def traced(*pids: int) -> Generator[None]:
    """Trace processes while the block runs: whoever dies stays a zombie until its end."""
    begun, done = threading.Event(), threading.Event()
    failures: list[int] = []

    def trace() -> None:  # the tracer is a thread, and lets go of all when it ends
        libc = ctypes.CDLL(None, use_errno=True)
        failures.extend(ctypes.get_errno() for pid in pids if libc.ptrace(_PTRACE_SEIZE, pid, 0, 0))
        begun.set()
        done.wait()

    tracer = threading.Thread(target=trace)
    tracer.start()
    begun.wait()
    try:
        assert not failures, [os.strerror(number) for number in failures]
        yield
    finally:
        done.set()
        tracer.join()


class Witness:
    """Sees by a named pipe that programs run, and that none of them does any more."""

    def __init__(self, folder: Path) -> None:
        self._pipe = folder / "witness"
        os.mkfifo(self._pipe)
        self._reading = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)

    def close(self) -> None:
        """Look no more."""
        os.close(self._reading)

    def chains(self, count: int, how: str) -> list[str]:
        """Return the command for *count* chains of processes that fork and exit, for 20 s.

        *how* is "together", in one process group, or "apart", in sessions of their own.
        """
        return [sys.executable, "-Ic", _CHAINS, str(self._pipe), str(count), how]

    def wait(self) -> None:
        """Wait until a program has begun."""
        eventually(lambda: self._read() == b"x", "the program")

    def sees_none(self) -> bool:
        """Whether no program runs any more."""
        return self._read() == b""

    def _read(self) -> bytes | None:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._reading, 1)
        return None
