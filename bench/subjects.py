"""What is measured: jidocode, and a bare tree of the same shape on stock Thespian.

Run as `python bench/subjects.py jidocode|stock SESSIONS`, it measures one
system in a process of its own and prints the figures as JSON. Both subjects
run the same code against the same small interface.
"""

from __future__ import annotations

import abc
import contextlib
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

CALLS = 300
THREADS = 32
CALLS_PER_THREAD = 40
RECOVERIES = 9
IDLE_SECONDS = 3.0
MESSAGE = "x" * 1024
PAUSE = 0.1
"""Seconds between sessions that are not opened in a row."""


class Subject(abc.ABC):
    """A system of sessions, each with a supervisor, a Manager and a State process."""

    @abc.abstractmethod
    def start(self) -> None:
        """Start the system."""

    @abc.abstractmethod
    def open(self, project: str) -> None:
        """Open a session; both its children have answered when this returns."""

    @abc.abstractmethod
    def call(self, session: int) -> object:
        """Ask one child of a session one small question."""

    @abc.abstractmethod
    def append(self, session: int) -> object:
        """Have State keep a message of 1 KB; stock Thespian keeps nothing and only answers."""

    @abc.abstractmethod
    def caller(self) -> Callable[[int], object]:
        """Return what a thread of its own calls with."""

    @abc.abstractmethod
    def kill_and_recover(self, session: int) -> float:
        """Kill a Manager; return the seconds until both children answer again."""

    @abc.abstractmethod
    def pids(self) -> list[int]:
        """Return the pids of all processes of the system."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the system."""


class Jidocode(Subject):
    """The library, through its public names."""

    def start(self) -> None:
        """Start the system."""
        from jidocode import SessionSystem  # noqa: PLC0415 - stock must not import it

        self.system = SessionSystem(max_sessions=1000, max_restarts=1000, creation_rate=None)
        self.sessions: list[Any] = []

    def open(self, project: str) -> None:
        """Open a session and ask both children once."""
        session = self.system.create_session(project)
        session.manager.project_root()
        session.state.todos()
        self.sessions.append(session)

    def call(self, session: int) -> object:
        """Ask the Manager where the project is."""
        return self.sessions[session].manager.project_root()

    def append(self, session: int) -> object:
        """Append to the journal, and have it acknowledged."""
        return self.sessions[session].state.append_message("user", MESSAGE)

    def caller(self) -> Callable[[int], object]:
        """Return the same: any thread may call."""
        return self.call

    def kill_and_recover(self, session: int) -> float:
        """Kill the Manager, and ask until the new one and the new State have answered."""
        from jidocode import ActorExitedError  # noqa: PLC0415 - stock must not import it

        handle = self.sessions[session]
        before = time.perf_counter()
        os.kill(self.system.get_manager(handle.id).os_pid, signal.SIGKILL)
        while True:
            try:
                handle.manager.project_root()
                break
            except ActorExitedError:  # it was asked while it died
                continue
        handle.state.todos()  # State is stopped before the new Manager starts
        return time.perf_counter() - before

    def pids(self) -> list[int]:
        """Return the guard's, the host's and everything below."""
        guard = psutil.Process(self.system.host_pid).parent()
        assert guard is not None  # noqa: S101 - it outlives the host
        return [guard.pid, *(process.pid for process in guard.children(recursive=True))]

    def close(self) -> None:
        """End the system."""
        self.system.close()


class Stock(Subject):
    """A hand-written tree on stock Thespian: the least that restarts both children."""

    def start(self) -> None:
        """Start an actor system and its root."""
        from stock_tree import Root  # noqa: PLC0415 - jidocode must not import it
        from thespian.actors import ActorSystem  # noqa: PLC0415 - idem

        self.before = set(psutil.pids())
        self.asys = ActorSystem("multiprocTCPBase", {"Admin Port": free_port()})
        self.root = self.asys.createActor(Root)
        self.sessions: list[Any] = []

    def open(self, project: str) -> None:
        """Have the root make a session; it has asked both children."""
        self.sessions.append(self.asys.ask(self.root, ("open", project), 30))

    def call(self, session: int) -> object:
        """Ask the Manager."""
        return self.asys.ask(self.sessions[session]["manager"], "ask", 30)

    def append(self, session: int) -> object:
        """Send the message; the child forgets it."""
        return self.asys.ask(self.sessions[session]["state"], MESSAGE, 30)

    def caller(self) -> Callable[[int], object]:
        """Return a private context: a shared one gives wrong answers."""
        context = self.asys.private().__enter__()
        return lambda session: context.ask(self.sessions[session]["manager"], "ask", 30)

    def kill_and_recover(self, session: int) -> float:
        """Kill the Manager and wait until the supervisor has two new children."""
        supervisor = self.sessions[session]["supervisor"]
        old = self.sessions[session]
        before = time.perf_counter()
        os.kill(old["pids"][0], signal.SIGKILL)
        while True:
            new = self.asys.ask(supervisor, "children", 30)
            if new is not None and not set(new["pids"]) & set(old["pids"]):
                break
        self.asys.ask(new["manager"], "ask", 30)
        self.asys.ask(new["state"], "ask", 30)
        self.sessions[session] = new
        return time.perf_counter() - before

    def pids(self) -> list[int]:
        """Return everything that was started since."""
        return [pid for pid in psutil.pids() if pid not in self.before and pid != os.getpid()]

    def close(self) -> None:
        """End the system."""
        self.asys.shutdown()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    import socket  # noqa: PLC0415 - once

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def measure(subject: Subject, sessions: int) -> dict[str, float]:
    """Return the figures of one run, times in ms and memory in MB."""
    figures: dict[str, float] = {}
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    projects = [folder / f"p{number}" for number in range(sessions)]
    for project in projects:
        project.mkdir()

    before = time.perf_counter()
    subject.start()
    subject.open(str(projects[0]))
    figures["start to first session"] = ms(before)
    base = memory(subject.pids())

    apart, in_a_row = projects[1::2], projects[2::2]
    opened = [open_timed(subject, project, pause=PAUSE) for project in apart]
    if opened:
        figures["further session"] = statistics.median(opened)
    opened = [open_timed(subject, project, pause=0.0) for project in in_a_row]
    if opened:
        figures["further session, in a row"] = statistics.median(opened)
        figures["last session / first ones"] = statistics.median(opened[-5:]) / statistics.median(
            opened[:5]
        )

    for session in range(sessions):
        subject.call(session)
    times: list[float] = []
    for _ in range(CALLS):
        before = time.perf_counter()
        subject.call(0)
        times.append(ms(before))
    figures["call"] = statistics.median(times)
    before = time.perf_counter()
    for _ in range(CALLS):
        subject.append(0)
    figures["appends/s, acknowledged"] = CALLS / (time.perf_counter() - before)
    figures["calls/s, 32 threads"] = throughput(subject, sessions)
    if sessions > 1:
        figures["memory per session"] = (memory(subject.pids()) - base) / (sessions - 1)
    figures["recovery, one_for_all"] = statistics.median(
        1000 * subject.kill_and_recover(0) for _ in range(RECOVERIES)
    )
    figures["idle processor, %"] = idle(subject.pids())
    before = time.perf_counter()
    subject.close()
    figures["shutdown"] = ms(before)
    return figures


def open_timed(subject: Subject, project: Path, *, pause: float) -> float:
    """Open one more session after *pause* seconds; return the milliseconds it took."""
    time.sleep(pause)
    before = time.perf_counter()
    subject.open(str(project))
    return ms(before)


def throughput(subject: Subject, sessions: int) -> float:
    """Return the calls per second of many threads at once."""
    turn = itertools.count()

    def talk() -> None:
        call = subject.caller()
        barrier.wait()
        for _ in range(CALLS_PER_THREAD):
            call(next(turn) % sessions)

    barrier = threading.Barrier(THREADS + 1)
    threads = [threading.Thread(target=talk) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    before = time.perf_counter()
    for thread in threads:
        thread.join()
    return THREADS * CALLS_PER_THREAD / (time.perf_counter() - before)


def idle(pids: list[int]) -> float:
    """Return the share of a core that *pids* use while nobody asks anything, in percent."""

    def used() -> float:
        return sum(
            sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids if psutil.pid_exists(pid)
        )

    before = used()
    time.sleep(IDLE_SECONDS)
    return 100 * (used() - before) / IDLE_SECONDS


def memory(pids: list[int]) -> float:
    """Return the proportional memory of *pids* in MB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += int(psutil.Process(pid).memory_full_info().pss)
    return total / 1e6


def ms(since: float) -> float:
    """Return the milliseconds since *since*."""
    return 1000 * (time.perf_counter() - since)


if __name__ == "__main__":
    chosen = {"jidocode": Jidocode, "stock": Stock}[sys.argv[1]]()
    json.dump(measure(chosen, int(sys.argv[2])), sys.stdout)
