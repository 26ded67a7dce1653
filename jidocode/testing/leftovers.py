"""Leftovers: processes and descriptors that a test has not ended, as the kernel lists them."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from jidocode.base.text import quote
from jidocode.otp.seconds import require_seconds
from jidocode.testing.waiting import PATIENCE, eventually


class Process(NamedTuple):
    """A process and when it started: its pid may be given to another one after it."""

    pid: int
    started: int


class _Stat(NamedTuple):
    name: str
    state: str
    parent: int
    started: int


def _stat(pid: int) -> _Stat | None:
    """Return what the kernel says of a process (proc_pid_stat(5)), None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return _Stat(head.partition("(")[2], fields[0], int(fields[1]), int(fields[19]))


def process_state(pid: int) -> str:
    """Return the letter by which `ps` shows the state of a process, X if there is none."""
    stat = _stat(pid)
    return stat.state if stat else "X"


def is_alive(pid: int) -> bool:
    """Whether a process runs under *pid*; a zombie does not."""
    return process_state(pid) not in "ZX"


def processes_below(root: int) -> dict[Process, str]:
    """Return all processes below *root*, zombies too, and their names."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    stats = {pid: stat for pid in pids if (stat := _stat(pid))}
    found: dict[Process, str] = {}
    parents = {root}
    while parents:
        children = {pid: stat for pid, stat in stats.items() if stat.parent in parents}
        found |= {Process(pid, stat.started): stat.name for pid, stat in children.items()}
        parents = set(children)
    return found


def _has_children() -> bool:
    """Whether this process has any, zombies too; one system call tells."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _left() -> dict[tuple[object, ...], str]:
    """Return every process below this one and every descriptor of it, in words."""
    found: dict[tuple[object, ...], str] = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            target = str(descriptor.readlink())
            found[descriptor.name, target] = f"descriptor {descriptor.name} on {quote(target)}"
    if not _has_children():  # a walk through /proc takes longer than most tests
        return found
    for process, name in processes_below(os.getpid()).items():
        kind = "zombie" if process_state(process.pid) == "Z" else "process"
        found[process] = f"{kind} {process.pid} called {quote(name)}"
    return found


@contextmanager
def nothing_left(*, timeout: float = PATIENCE) -> Generator[None, None, None]:
    """Check that the block leaves no process and no descriptor behind that was not there before.

    Looks at everything that this process has, not only at what is jidocode's.
    A block that raises is not checked.

    Raises:
        AssertionError: Something is left after *timeout* seconds; names it.
        InvalidTimeError: *timeout* is no time.
    """
    require_seconds("timeout", timeout)
    before = _left().keys()
    yield
    if not _left().keys() - before:
        return
    gc.collect()  # what is closed by its collection is closed
    try:
        eventually(lambda: not _left().keys() - before, timeout=timeout)
    except AssertionError:
        names = sorted(name for key, name in _left().items() if key not in before)
        raise AssertionError(f"left behind: {', '.join(names)}") from None


def is_running(process: Process) -> bool:
    """Whether *process* itself runs; a zombie does not."""
    stat = _stat(process.pid)
    return stat is not None and stat.started == process.started and stat.state not in "ZX"
