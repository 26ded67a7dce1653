"""What is measured: jidocode, and a bare tree of the same shape on stock Thespian.

Both behind the same small interface.
"""

from __future__ import annotations

import abc
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any

import psutil
from stock_tree import COLLECT, Root, free_port
from thespian.actors import ActorSystem

MESSAGE = "x" * 1024


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
    def collect(self, session: int) -> None:
        """Have each process of a session run a full garbage collection."""

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
        from jidocode import SessionSystem  # noqa: PLC0415 - stock forks what is imported

        self.state_dir = tempfile.TemporaryDirectory(prefix="bench-")
        self.system = SessionSystem(
            max_sessions=1000,
            max_restarts=1000,
            creation_rate=None,
            state_dir=self.state_dir.name,
        )
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
        from jidocode import ActorExitedError  # noqa: PLC0415 - idem

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

    def collect(self, session: int) -> None:
        """Send each process a request that does it; it answers that it does not know that."""
        from collecting import Collect  # noqa: PLC0415 - idem

        from jidocode import CallError, SupervisorError  # noqa: PLC0415 - idem

        for process in ("manager", "state", "session"):
            with contextlib.suppress(CallError, SupervisorError):
                self.sessions[session].call(process, Collect())

    def pids(self) -> list[int]:
        """Return the guards', the host's and everything below."""
        second = psutil.Process(self.system.host_pid).parent()
        first = second.parent() if second else None
        assert first is not None  # noqa: S101 - they outlive the host
        return [first.pid, *(process.pid for process in first.children(recursive=True))]

    def close(self) -> None:
        """End the system."""
        self.system.close()
        self.state_dir.cleanup()


class Stock(Subject):
    """A hand-written tree on stock Thespian: the least that restarts both children."""

    def start(self) -> None:
        """Start an actor system and its root."""
        self.asys = ActorSystem("multiprocTCPBase", {"Admin Port": free_port()})
        self.root = self.asys.createActor(Root)
        # It leaves the app's processes behind, as a daemon does; but it has forked the root.
        admin = psutil.Process(self.asys.ask(self.root, "pid", 30)).parent()
        assert admin is not None  # noqa: S101 - it outlives the root
        self.admin = admin
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

    def collect(self, session: int) -> None:
        """Ask each process."""
        for process in ("supervisor", "manager", "state"):
            self.asys.ask(self.sessions[session][process], COLLECT, 30)

    def pids(self) -> list[int]:
        """Return the Admin's and everything below."""
        return [self.admin.pid, *(child.pid for child in self.admin.children(recursive=True))]

    def close(self) -> None:
        """End the system."""
        self.asys.shutdown()
