"""More processes for tests: workers that end in every way, talkers, keepers of diaries.

They need no session; `servers` has the ones that sessions are tested with.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from servers import Group, Worker

from jidocode._host.transport import window
from jidocode.otp import (
    ActorRef,
    Caller,
    ChildSpec,
    ChildType,
    Down,
    DynamicFlags,
    DynamicSupervisor,
    Flags,
    GenServer,
    Ignore,
    NoReply,
    Refuse,
    Reply,
    Shutdown,
    Start,
    Stop,
)
from jidocode.otp.naming.messages import LookUp
from jidocode.otp.server.results import CallResult, InitResult, Result


class Unfit(BaseException):
    """What no handler of `Exception` catches."""


class Fragile:
    """A value that is pickled without a fault, and cannot be read by any other process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_read_in, (os.getpid(),))


class FragileError(Exception):
    """The same as an error."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_read_in, (os.getpid(),))


class UnspeakableError(Exception):
    """An error that can be neither pickled nor printed."""

    def __str__(self) -> str:
        raise ValueError("nor printed")

    def __reduce__(self) -> NoReturn:
        raise TypeError("it cannot be pickled")


class Unspeakable:
    """A value whose reader gets an error that cannot be printed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_raise_unspeakable, ())


class TurncoatError(Exception):
    """An error that is a number in any other process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_turn, (os.getpid(),))


class Parting:
    """A value that exits when it is pickled."""

    def __reduce__(self) -> NoReturn:
        sys.exit(4)


class Leaver:
    """A value whose reader exits."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (sys.exit, (5,))


class Interrupter:
    """A value whose reader gets what looks like a Ctrl-C, and is none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (interrupt, ())


class Misfit:
    """A value whose reader gets what no handler of `Exception` catches."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (raise_unfit, ())


class Lengthy:
    """A value that takes long to read: a Ctrl-C comes meanwhile, if the main thread reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_read_slowly, ())


class LateLeaver:
    """An argument that its supervisor can read, and at whose reading the child exits."""

    def __init__(self, journeys: int = 2) -> None:
        if not journeys:
            sys.exit(5)
        self.journeys = journeys

    def __reduce__(self) -> tuple[type[LateLeaver], tuple[int]]:
        return LateLeaver, (self.journeys - 1,)


def _read_in(pid: int) -> Exception:
    if os.getpid() != pid:
        raise LookupError("it can be read in one process only")
    return FragileError()


def _read_slowly() -> str:
    if threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGINT)
    return "read"


def _raise_unspeakable() -> NoReturn:
    raise UnspeakableError


def _turn(pid: int) -> object:
    return TurncoatError() if os.getpid() == pid else 3


def segfault() -> None:
    ctypes.string_at(0)


def bus_error() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as memory:
            file.truncate(0)
            memory[0]


def overflow() -> None:
    """Exhaust the stack in C, where no limit of Python's applies."""
    sys.setrecursionlimit(1_000_000)
    nest: list[Any] = []
    for _ in range(3_000):
        nest = [nest]
    resource.setrlimit(
        resource.RLIMIT_STACK, (1 << 16, resource.getrlimit(resource.RLIMIT_STACK)[1])
    )
    repr(nest)


def raise_unfit() -> None:
    raise Unfit("unfit")


def interrupt() -> None:
    raise KeyboardInterrupt


ENDS: dict[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": segfault,
    "abort": os.abort,
    "bus error": bus_error,
    "overflow": overflow,
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "sys.exit 0": sys.exit,
    "sys.exit 4": lambda: sys.exit(4),
    "unfit": raise_unfit,
    "interrupt": interrupt,
}


def wait_for(gate: Path) -> None:
    """Wait until there is a file *gate*, busy as far as anybody else can see."""
    while not gate.exists():
        time.sleep(0.001)


class Subject(Worker):
    """A worker that is told how to start and how to end.

    Its notes begin with its *label*. *init* says how `init` goes; with the
    suffix ` again` that is so as soon as there is a file *gate*.
    """

    kind: ClassVar[str] = "subject"

    def init(
        self,
        log: Path | None = None,
        init: str = "ready",
        label: str = "",
        gate: Path | None = None,
    ) -> InitResult:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.label = label
        mode, again, _ = init.partition(" again")
        if again:
            mode = mode if gate and gate.exists() else "ready"
        if mode == "wait" and gate is not None:
            self.log = log
            self.note("begins")
            wait_for(gate)
        if mode in ENDS:
            ENDS[mode]()
        super().init(log, mode)
        return Ignore() if mode == "ignore" else NoReply(then=mode if mode != "ready" else None)

    def handle_continue(self, then: Any) -> Result:
        """End as soon as `init` is done, if *then* says so after an `and then `."""
        _, late, end = then.partition("and then ")
        if late:
            ENDS[end]()
        return None

    def note(self, text: str) -> None:
        """Append a line to the log."""
        super().note(f"{self.label} {text}".strip())

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case str() if request in ENDS:
                self.note(f"call {request}")
                ENDS[request]()
                return Reply(None)
            case ("until", Path() as gate):
                self.note("busy")
                wait_for(gate)
                return Reply("done")
            case ("stop", reason):
                return Stop(reason)
            case ("stop with reply", reason, reply):
                return Stop(reason, reply=reply)
            case ("refuse", error):
                return Refuse(error)
            case "refuse fragile":
                return Refuse(FragileError())
            case "refuse unspeakable":
                return Refuse(UnspeakableError())
            case ("raise", str() as message):
                raise ValueError(message)
            case "refuse turncoat":
                return Refuse(TurncoatError())
            case "exits when sent":
                return Reply(Parting())
            case "unspeakable":
                return Reply(Unspeakable())
            case "fragile":
                return Reply(Fragile())
            case ("make", type() as cls):
                return Reply(cls())
            case "open all":
                with contextlib.suppress(OSError):
                    while True:
                        os.dup(0)
                return Reply(None)
            case ("note in", Path() as log):
                self.log = log
                return Reply(None)
            case "nothing":
                return None  # type: ignore[return-value] # the bad return value is the point
            case "waiting":
                return Reply(len(self.waiting))
            case "cast a lambda":
                self.cast(self.ref, lambda: None)
                return Reply(None)
            case "family":
                family = "setsid sleep 1000 & sleep 1000 & wait"
                subprocess.Popen(["sh", "-c", family], start_new_session=True)
                return Reply(os.getpid())
            case "daemon":
                daemon = "setsid sleep 1000 > /dev/null 2>&1 & echo $!"
                done = subprocess.run(["sh", "-c", daemon], stdout=subprocess.PIPE, check=True)
                return Reply(int(done.stdout))
            case _:
                return super().handle_call(request, caller)

    def handle_cast(self, request: Any) -> Result:
        match request:
            case ("until", Path() as gate):
                self.note("busy")
                wait_for(gate)
            case ("room for", int() as count):
                window.MAX_QUEUED_MESSAGES = count
            case "raise":
                raise RuntimeError("the handler was told to raise")
            case "stop":
                return Stop(Shutdown("told to"))
            case "unknown":
                return GenServer.handle_cast(self, request)
            case _:
                self.note(f"cast {request}")
        return None


class Mourner(Subject):
    """Notes, as it begins and ends, which of those that note in the same log are alive."""

    kind: ClassVar[str] = "mourner"

    def init(self, log: Path, label: str, init: str = "ready") -> InitResult:  # type: ignore[override] # idem
        self.log, self.label = log, label
        self.note(f"starts beside {self.others()}")
        return super().init(log, init, label)

    def terminate(self, reason: Any) -> None:
        del reason
        self.note(f"terminates beside {self.others()}")

    def others(self) -> str:
        """Return the labels of the living."""
        lines = self.log.read_text().splitlines() if self.log and self.log.exists() else []
        inits = [line.split() for line in lines if " init " in line]
        return "".join(sorted(label for label, _, pid in inits if Path("/proc", pid).exists()))


class NeedsArguments(Subject):
    """A server whose author has written an `__init__`, which there is none to write."""

    def __init__(self, number: int) -> None:
        self.number = number


class BadLastWords(Subject):
    """A server that sends something that cannot be sent while it ends."""

    def terminate(self, reason: Any) -> None:
        super().terminate(reason)
        self.cast(self.ref, lambda: None)


class Registrar(Subject):
    """A server that goes by the kind of the registry, and is none."""

    kind: ClassVar[str] = "registry"


class Diary(GenServer):
    """Notes the order in which its callbacks run."""

    kind: ClassVar[str] = "diary"

    def init(
        self, log: Path | None = None, *, then: object = None, timeout: float | None = None
    ) -> InitResult:
        self.log = log
        self.entries: list[object] = ["init"]
        return NoReply(then=then, timeout=timeout)

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        match request:
            case "read":
                return Reply(list(self.entries))
            case ("timeout", seconds):
                self.entries.append(request)
                return Reply(None, timeout=seconds)
            case _:
                return Reply(None)

    def handle_cast(self, request: Any) -> Result:
        match request:
            case ("until", Path() as gate):
                wait_for(gate)
                return None
            case ("then", then):
                self.entries.append(request)
                return NoReply(then=then)
            case ("timeout", seconds):
                self.entries.append(request)
                return NoReply(timeout=seconds)
            case _:
                self.entries.append(request)
                return None

    def handle_info(self, message: Any) -> Result:
        self.entries.append(message)
        if self.log is not None:  # asking would end the idleness
            with self.log.open("a") as log:
                log.write(f"{message}\n")
        return None

    def handle_continue(self, then: Any) -> Result:
        match then:
            case ("countdown", 0):
                self.entries.append("counted down")
                return None
            case ("countdown", int() as left):
                return NoReply(then=("countdown", left - 1))
            case _:
                self.entries.append(("continued", then))
        match then:
            case ("then", rest):
                return NoReply(then=rest)
            case _:
                return None


class Talker(GenServer):
    """Does to another process what it is called with, and keeps what comes of it."""

    kind: ClassVar[str] = "talker"

    def init(self) -> None:
        self.messages: list[object] = []
        self.questions: dict[int, tuple[ActorRef, LookUp]] = {}

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case ("request", ActorRef() as ref, content):
                return Reply(self.send_request(ref, content))
            case ("room for", int() as count):
                window.MAX_QUEUED_MESSAGES = count
            case ("request yourself", content):
                return Reply(self.send_request(self.ref, content))
            case ("cast", ActorRef() as ref, content):
                self.cast(ref, content)
            case ("send", ActorRef() as ref, content):
                self.send(ref, content)
            case ("send yourself", content):
                self.send(self.ref, content)
            case ("send later", content):
                self.send_after(0.01, content)
            case ("monitor", ActorRef() as ref):
                return Reply(self.monitor(ref))
            case ("demonitor", int() as token):
                self.demonitor(token)
            case ("watch", ActorRef() as ref):
                return Reply(self.watch_process(ref))
            case ("look up when it is down", ActorRef() as ref, ActorRef() as registry, name):
                self.questions[self.monitor(ref)] = registry, LookUp(name)
            case ("by", str() as method, args):
                getattr(self, method)(*args)
            case "messages":
                return Reply(list(self.messages))
            case _:
                return super().handle_call(request, caller)
        return Reply(None)

    def handle_cast(self, request: Any) -> Result:
        self.messages.append(("cast", request))
        return None

    def handle_info(self, message: Any) -> Result:
        self.messages.append(message)
        if isinstance(message, Down) and message.token in self.questions:
            self.send_request(*self.questions.pop(message.token))
        return None


class Watcher(GenServer):
    """Watches processes, ends with the first of them, and notes what it hears."""

    kind: ClassVar[str] = "watcher"

    def init(self, log: Path) -> None:
        self.log = log

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        del caller
        match request:
            case ("watch", refs):
                return Reply([self.watch_process(ref) for ref in refs])
            case ("until", Path() as gate):
                self.note("busy")
                wait_for(gate)
                return Reply(None)
            case _:
                return Reply(None)

    def handle_info(self, message: Any) -> Result:
        self.note(f"hears of {type(message).__name__}")
        return Stop()

    def terminate(self, reason: Any) -> None:
        self.note(f"terminate {reason}")

    def note(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text + "\n")


class Pool(DynamicSupervisor):
    """A dynamic supervisor with the flags that it is given."""

    kind: ClassVar[str] = "pool"

    def init(self, options: DynamicFlags | None = None) -> DynamicFlags | Ignore:
        return options or DynamicFlags()


def subject(child_id: str, *args: Any, **options: Any) -> ChildSpec:
    """Return the spec of a `Subject`."""
    return ChildSpec(id=child_id, start=Start(Subject, *args), **options)


def mourner(child_id: str, log: Path, **options: Any) -> ChildSpec:
    """Return the spec of a `Mourner`."""
    return ChildSpec(id=child_id, start=Start(Mourner, log, child_id), **options)


def group(child_id: str, flags: Flags, children: Sequence[ChildSpec], **options: Any) -> ChildSpec:
    """Return the spec of a supervisor."""
    options.setdefault("type", ChildType.SUPERVISOR)
    return ChildSpec(id=child_id, start=Start(Group, flags, children), **options)


def pool(child_id: str = "pool", **options: Any) -> ChildSpec:
    """Return the spec of a dynamic supervisor."""
    flags = DynamicFlags(**options)
    return ChildSpec(id=child_id, start=Start(Pool, flags), type=ChildType.SUPERVISOR)
