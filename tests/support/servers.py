"""Processes for tests: plain classes in a module that child processes can import."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from loguru import logger

from jidocode.otp import (
    Caller,
    ChildSpec,
    Flags,
    GenServer,
    Ignore,
    NoReply,
    Refuse,
    Reply,
    Shutdown,
    Start,
    Stop,
    Supervisor,
)
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.server.results import CallResult, InitResult, Result
from jidocode.session.admission.admission import AdmissionRules
from jidocode.session.admission.messages import SESSIONS
from jidocode.session.admission.registry import ProcessRegistry
from jidocode.session.tree import AllSessionsSupervisor


class Worker(GenServer):
    """Does what a call's first word says; notes its life in a log file, if it is given one."""

    kind: ClassVar[str] = "worker"

    def init(self, log: Path | None = None, init: str = "ready") -> InitResult:
        self.log = log
        self.handled = 0
        self.waiting: list[Caller] = []
        self.note(f"init {os.getpid()}")
        match init:
            case "ignore":
                return Ignore()
            case "raise":
                raise ValueError("init was told to raise")
            case "hang":
                signal.pause()
            case "exit":
                os._exit(3)
            case _ if init.startswith("latch "):
                while not Path(init.removeprefix("latch ")).exists():
                    time.sleep(0.001)
            case _:
                pass
        return None

    def note(self, text: str) -> None:
        """Append a line to the log."""
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(text + "\n")

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        self.handled += 1
        self.note(f"call {request}")
        match request:
            case "pid":
                return Reply(os.getpid())
            case "handled":
                return Reply(self.handled)
            case "raise":
                raise RuntimeError("the handler was told to raise")
            case ("raise", text):
                raise RuntimeError(text)
            case "refuse":
                return Refuse(LookupError("refused on purpose"))
            case ("refuse", Exception() as error):
                return Refuse(error)
            case "stop":
                return Stop(Shutdown("asked to"), reply="stopping")
            case "stop silently":
                return Stop()
            case "wait":
                self.waiting.append(caller)
                return NoReply()
            case "wake":
                for waiting in self.waiting:
                    self.reply(waiting, "woken")
                return Reply(len(self.waiting))
            case "unpicklable":
                return Reply(lambda: None)
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "exit":
                os._exit(3)
            case "sys.exit":
                sys.exit(4)
            case "print":
                sys.stdout.write("printed by a worker\n")
                return Reply(None)
            case ("sleep", float() as seconds):
                time.sleep(seconds)
                return Reply("slept")
            case ("announce", fact):
                self.announce(fact)
                return Reply(None)
            case ("log", *texts):
                for text in texts:
                    logger.info(text)
                return Reply(None)
            case ("warn", text, *args):
                logging.getLogger("library").warning(text, *args)
                return Reply(None)
            case ("bind", extra, text):
                logger.bind(**extra).info(text)
                return Reply(None)
            case "loop":
                while True:
                    pass
            case ("allocate", int() as size):
                return Reply(len(bytearray(size)))
            case "stray":
                stray = subprocess.Popen(["sleep", "1000"], start_new_session=True)
                return Reply(stray.pid)
            case ("shell", str() as script):
                subprocess.run(["sh", "-c", script], check=False)
                return Reply(None)
            case ("start", [*command]):
                return Reply(subprocess.Popen(command).pid)
            case ("echo", value):
                return Reply(value)
            case _:
                return super().handle_call(request, caller)
        return Reply(None)

    def handle_cast(self, request: Any) -> Result:
        self.note(f"cast {request}")
        while request == "loop":
            pass
        return None

    def terminate(self, reason: Any) -> None:
        self.note(f"terminate {reason}")


class Unspeakable:
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("there are no words")


class Group(Supervisor):
    """A supervisor of whatever it is given."""

    kind: ClassVar[str] = "group"

    def init(
        self, flags: Flags, children: Sequence[ChildSpec]
    ) -> tuple[Flags, Sequence[ChildSpec]]:
        return flags, children


class Fuse:
    """An argument that travels to a supervisor, and cannot be read when it travels on."""

    def __init__(self, journeys: int = 2) -> None:
        if not journeys:
            raise ValueError("the fuse has burnt down")
        self.journeys = journeys

    def __reduce__(self) -> tuple[type[Fuse], tuple[int]]:
        return Fuse, (self.journeys - 1,)


class Smugglers(Supervisor):
    """A supervisor whose child is given what cannot leave the process."""

    kind: ClassVar[str] = "smugglers"

    def init(self) -> tuple[Flags, Sequence[ChildSpec]]:
        return Flags(), [ChildSpec(id="child", start=Start(Worker, lambda: None))]


class WithoutRegistry(Supervisor):
    """The application's tree as it was before the registry was put into it."""

    kind: ClassVar[str] = "application"

    def init(self) -> tuple[Flags, Sequence[ChildSpec]]:
        return Flags(), [AllSessionsSupervisor.child_spec(name=SESSIONS)]


class WithoutSessions(Supervisor):
    """The application's tree as it was before the supervisor of sessions was put into it."""

    kind: ClassVar[str] = "application"

    def init(self) -> tuple[Flags, Sequence[ChildSpec]]:
        return Flags(), [ProcessRegistry.child_spec(AdmissionRules(max_sessions=10), name=REGISTRY)]


def notes(log: Path, *words: str) -> list[str]:
    """Return the notes that have one of *words* in them; all, if none is given."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if not words or any(word in line for word in words)]


def worker(child_id: str, *args: Any, **options: Any) -> ChildSpec:
    """Return the spec of a `Worker`."""
    return ChildSpec(id=child_id, start=Start(Worker, *args), **options)


class Poison:
    """Ends the thread that reads it from a pickle, in the process that made it."""

    def __init__(self, maker: int) -> None:
        self.maker = maker

    def __reduce__(self) -> tuple[Any, ...]:
        return (_swallow, (self.maker,))


def _swallow(maker: int) -> Poison:
    if os.getpid() == maker:
        raise SystemExit
    return Poison(maker)


class Gated:
    """Is read in the process that made it only once `GATE` is open; `READ` counts."""

    def __init__(self, maker: int) -> None:
        self.maker = maker

    def __reduce__(self) -> tuple[Any, ...]:
        return (_read_gated, (self.maker,))


GATE = threading.Event()
READ: list[Gated] = []


def _read_gated(maker: int) -> Gated:
    gated = Gated(maker)
    if os.getpid() == maker:
        READ.append(gated)
        GATE.wait(60)
    return gated


class Alarm:
    """Has a signal come to its maker, in its main thread, while it is pickled or read."""

    def __init__(self, maker: int, moment: str) -> None:
        self.maker = maker
        self.moment = moment

    def __reduce__(self) -> tuple[Any, ...]:
        self.ring("pickled")
        return (_read_alarm, (self.maker, self.moment))

    def ring(self, moment: str) -> None:
        here = threading.current_thread() is threading.main_thread() and os.getpid() == self.maker
        if here and moment == self.moment:
            signal.raise_signal(signal.SIGUSR1)


def _read_alarm(maker: int, moment: str) -> Alarm:
    alarm = Alarm(maker, moment)
    alarm.ring("read")
    return alarm


class Abyss:
    """Has no end: it is pickled as deep as the stack is, but for *spare* calls."""

    def __init__(self, spare: int) -> None:
        self.spare = spare

    def __reduce__(self) -> tuple[Any, ...]:
        return (dive, (dive(sys.getrecursionlimit() - self.spare, int),))


def dive(depth: int, then: Callable[[], Any]) -> Any:
    """Call *then* from *depth* calls below this one."""
    return dive(depth - 1, then) if depth else then()
