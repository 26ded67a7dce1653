"""A world without processes for the supervision machines: what the tests here share.

`World` plays host to one supervisor: it carries out the machine's effects on
processes that are mere records, answers in their place, and keeps a readable
log. Processes behave well unless a test says otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from jidocode.base.exits import NORMAL, SHUTDOWN, Crashed, ExitReason
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import AlreadyStartedError
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.machine import (
    Exit,
    InitDone,
    InitFailed,
    InitIgnored,
    SendError,
    SendReply,
)
from jidocode.otp.server.messages import Caller
from jidocode.otp.supervision.dynamic_supervisor import (
    DynamicFlags,
    DynamicSupervisor,
    DynamicSupervisorLoop,
)
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    HeartbeatMissed,
    SupervisorEvent,
)
from jidocode.otp.supervision.machine import (
    After,
    Announce,
    AskToStop,
    ChildFailed,
    ChildGone,
    ChildIgnored,
    ChildReady,
    Claim,
    DeathSeen,
    ExitNoted,
    KeeperEffect,
    KeeperEvent,
    Kill,
    NameClaimed,
    NameTaken,
    Probe,
    RefuseStart,
    Release,
    RequestReceived,
    ShutdownRequested,
    Spawn,
)
from jidocode.otp.supervision.management import Request
from jidocode.otp.supervision.specs import ChildSpec, Flags, Start
from jidocode.otp.supervision.supervisor import Supervisor, SupervisorLoop

SUPERVISOR = ActorRef("supervisor", 1, 100)


class Worker(GenServer):
    """A child to put into specs; nothing here ever runs it."""

    kind = "worker"


class Tree(Supervisor):
    """A supervisor that is told in its arguments what to return from `init`."""

    def init(self, *args: Any, **_kwargs: Any) -> Any:
        return args[0]


class Pool(DynamicSupervisor):
    """A dynamic supervisor that is told in its arguments what to return from `init`."""

    def init(self, *args: Any, **_kwargs: Any) -> Any:
        return args[0]


def worker(child_id: str, /, **options: Any) -> ChildSpec:
    """Return the spec of a worker."""
    return ChildSpec(id=child_id, start=Start(Worker), **options)


class Process(Struct):
    """A process that a machine had started."""

    spec: ChildSpec
    ref: ActorRef
    alive: bool = True

    def __str__(self) -> str:
        return f"{self.spec.id}#{self.ref.incarnation}"


class World:
    """The host of one supervisor, and all that is around it.

    Attributes:
        loop: The machine.
        log: What the machine wanted, one line each, since the last `take`.
        slow: Ids of children whose `init` does not return until `ready`.
        failing: How often the next starts of a child fail.
        ignoring: Ids of children whose `init` returns `Ignore`.
        stubborn: Ids of children that do not stop when they are told to.
        taken: Names that somebody else holds.
        errors: The errors that requests were refused with, by number.
        events: All announcements.
    """

    def __init__(self, loop: SupervisorLoop | DynamicSupervisorLoop, start: Start) -> None:
        self.loop = loop
        self._start = start
        self.now = 0.0
        self.log: list[str] = []
        self.processes: dict[int, Process] = {}
        self.slow: set[str] = set()
        self.failing: dict[str, int] = {}
        self.ignoring: set[str] = set()
        self.stubborn: set[str] = set()
        self.taken: dict[Name, ActorRef] = {}
        self.silent_registry = False
        self.errors: dict[int, Exception] = {}
        self.events: list[SupervisorEvent] = []
        self._news: deque[KeeperEvent] = deque()
        self._timers: list[tuple[float, Any]] = []
        self._requests = 0

    # What the test does

    def start(self, *, registry_up: bool = False) -> list[str]:
        """Start the supervisor."""
        self._carry_out(self.loop.start(self._start, self.now, registry_up=registry_up))
        self._run()
        return self.take()

    def feed(self, *events: KeeperEvent) -> list[str]:
        """Let *events* happen, and all that follows at once; return the log of it."""
        for event in events:
            self._carry_out(self.loop.handle(event, self.now))
        self._run()
        return self.take()

    def ask(self, request: Request | Any) -> list[str]:
        """Send *request*, numbered from 1."""
        self._requests += 1
        return self.feed(RequestReceived(Caller("app", self._requests), request))

    def answer(self, request: Request | Any) -> object:
        """Return the answer to a *request* that is answered at once."""
        caller = Caller("app", 0)
        effects = self.loop.handle(RequestReceived(caller, request), self.now)

        (effect,) = effects
        assert isinstance(effect, (SendReply, SendError))
        assert effect.caller == caller
        return effect.value if isinstance(effect, SendReply) else effect.error

    def kill(self, *child_ids: str) -> list[str]:
        """Kill the processes of *child_ids* with SIGKILL at the same instant."""
        return self.feed(*(self._dead(self.process(child_id), -9) for child_id in child_ids))

    def end(self, child_id: str, reason: ExitReason = NORMAL) -> list[str]:
        """Have the process of *child_id* leave with *reason*."""
        process = self.process(child_id)
        noted = ExitNoted(process.ref.incarnation, reason)
        return self.feed(noted, self._dead(process, 0))

    def crash(self, child_id: str) -> list[str]:
        """Have the process of *child_id* leave because of an exception."""
        return self.end(child_id, Crashed("ValueError: no"))

    def ready(self, child_id: str) -> list[str]:
        """Have the `init` of a slow child return."""
        ref = self.process(child_id).ref
        return self.feed(ChildReady(ref.incarnation, ref))

    def advance(self, seconds: float) -> list[str]:
        """Let time pass, with all timers that run out in it."""
        until = self.now + seconds
        while due := [timer for timer in self._timers if timer[0] <= until]:
            timer = min(due, key=lambda each: each[0])
            self._timers.remove(timer)
            self.now = timer[0]
            self._news.append(timer[1])
            self._run()
        self.now = until
        return self.take()

    def shut_down(self, reason: ExitReason = SHUTDOWN) -> list[str]:
        """Tell the supervisor to stop."""
        return self.feed(ShutdownRequested(reason))

    def take(self) -> list[str]:
        """Return the log, and begin a new one."""
        log, self.log = self.log, []
        return log

    # What the test looks at

    def process(self, child_id: str) -> Process:
        """Return the living process of *child_id*."""
        (process,) = (
            each for each in self.processes.values() if each.alive and each.spec.id == child_id
        )
        return process

    @property
    def alive(self) -> list[str]:
        """The living processes, in the order of their starts."""
        return [str(process) for process in self.processes.values() if process.alive]

    # How the world goes

    def _run(self) -> None:
        """Deliver news, then timers without delay, until nothing is under way."""
        while True:
            while self._news:
                self._carry_out(self.loop.handle(self._news.popleft(), self.now))
            timer = next((each for each in self._timers if each[0] <= self.now), None)
            if timer is None:
                return
            self._timers.remove(timer)
            self._news.append(timer[1])

    def _carry_out(self, effects: Iterable[KeeperEffect]) -> None:
        for effect in effects:
            line = self._play(effect)
            if line:
                self.log.append(line)

    def _play(self, effect: KeeperEffect) -> str:
        match effect:
            case Spawn(incarnation, spec):
                return self._spawn(incarnation, spec)
            case Claim(incarnation, name):
                return self._claim(incarnation, name)
            case AskToStop(incarnation):
                return f"stop {self._stop(incarnation)}"
            case Kill(incarnation):
                return f"kill {self._kill(incarnation)}"
            case Probe(incarnation):
                return f"probe {self.processes[incarnation]}"
            case After(delay, event):
                self._timers.append((self.now + delay, event))
                return ""
            case Release((kind, name_id)):
                return f"release {kind} {name_id}"
            case Announce(event):
                self.events.append(event)
                return announced(event)
            case SendReply(caller, value):
                return f"reply {caller.request_id}: {value}"
            case RefuseStart(event, _, holder) if not self.processes[holder.incarnation].alive:
                self._news += [DeathSeen(holder.incarnation), event]
                return ""
            case RefuseStart(event, child_id, holder):
                return self._play(SendError(event.caller, AlreadyStartedError(child_id, holder)))
            case SendError(caller, error):
                self.errors[caller.request_id] = error
                return f"refuse {caller.request_id}: {type(error).__name__}: {error}"
            case InitDone():
                return "initialised"
            case InitIgnored():
                return "ignored"
            case InitFailed(reason):
                return f"failed: {reason}"
            case Exit(reason):
                return f"exit: {reason}"

    def _spawn(self, incarnation: int, spec: ChildSpec) -> str:
        child_id = spec.id
        ref = ActorRef("worker", incarnation, 1000 + incarnation)
        process = self.processes[incarnation] = Process(spec, ref)
        if self.failing.get(child_id, 0) > 0:
            self.failing[child_id] -= 1
            self._news.append(ChildFailed(incarnation, Crashed("OSError: no")))
        elif child_id in self.ignoring:
            self._news.append(ChildIgnored(incarnation))
        elif child_id not in self.slow:
            self._news.append(ChildReady(incarnation, ref))
        return f"spawn {process}"

    def _claim(self, incarnation: int, name: Name) -> str:
        if name in self.taken:
            self._news.append(NameTaken(incarnation, self.taken[name]))
        elif not self.silent_registry:
            self._news.append(NameClaimed(incarnation))
        return f"claim {' '.join(name)} #{incarnation}"

    def _stop(self, incarnation: int) -> Process:
        process = self.processes[incarnation]
        if process.alive and process.spec.id not in self.stubborn:
            self._news.append(ExitNoted(incarnation, SHUTDOWN))
            self._news.append(self._dead(process, 0))
        return process

    def _kill(self, incarnation: int) -> Process:
        process = self.processes[incarnation]
        if process.alive:
            self._news.append(self._dead(process, -9))
        return process

    @staticmethod
    def _dead(process: Process, status: int) -> ChildGone:
        process.alive = False
        return ChildGone(process.ref.incarnation, status)


def announced(event: SupervisorEvent) -> str:
    """Return the line for an announcement."""
    match event:
        case ChildStarted(child_id=child_id, ref=ref):
            return f"started {child_id}#{ref.incarnation}"
        case ChildExited(child_id=child_id, ref=ref):
            asked = "stopped" if event.on_request else "exited"
            back = ", restarting" if event.restarting else ""
            return f"{asked} {child_id}#{ref.incarnation}: {event.reason}{back}"
        case ChildStartFailed(child_id=child_id):
            back = ", restarting" if event.restarting else ""
            return f"not started {child_id}: {event.reason}{back}"
        case GaveUp(child_id=child_id):
            return f"gave up {child_id}: {event.reason}"
        case HeartbeatMissed(child_id=child_id, ref=ref):
            return f"missed {child_id}#{ref.incarnation}: {event.missed}"


def supervise(*children: ChildSpec, **flags: Any) -> World:
    """Return the world of a supervisor of *children*, not started yet."""
    start = Start(Tree, (Flags(**flags), children))
    return World(SupervisorLoop.of(start, SUPERVISOR), start)


def supervise_dynamically(max_children: int | None = None, **flags: Any) -> World:
    """Return the world of a dynamic supervisor, not started yet."""
    options = DynamicFlags(flags=Flags(**flags), max_children=max_children)
    start = Start(Pool, options)
    return World(DynamicSupervisorLoop.of(start, SUPERVISOR), start)
