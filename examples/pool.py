"""A pool of workers for jobs, as a supervision tree (used by `worker_pool.py`).

Pool                rest_for_one: who restarts takes along those below it here
├── collector       the jobs that wait, those that are being done, and the results
├── registry        which worker has which number
└── workers         a dynamic supervisor: as many as are wanted
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar

from jidocode.otp import (
    BRUTAL_KILL,
    INFINITY,
    Caller,
    ChildSpec,
    Down,
    DynamicFlags,
    DynamicSupervisor,
    Flags,
    GenServer,
    NoReply,
    Registry,
    Reply,
    Supervisor,
    registry,
)

POOL, COLLECTOR = ("pool", "all"), ("pool", "collector")
NUMBERS, WORKERS = ("pool", "numbers"), ("pool", "workers")


class Collector(GenServer):
    """Hands out jobs and keeps the results; the job of a worker that dies goes to another one."""

    kind: ClassVar[str] = "collector"

    def init(self) -> None:
        """Begin with nothing to do."""
        self.jobs: deque[int] = deque()
        self.results: dict[int, int] = {}
        self.idle: deque[tuple[Caller, int]] = deque()
        self.given: dict[int, int] = {}

    def handle_call(self, request: Any, caller: Caller) -> Reply | NoReply:
        """Take jobs in, give one to a worker as soon as there is one, or show the results."""
        match request:
            case ("submit", jobs):
                self.jobs.extend(jobs)
                self.hand_out()
                return Reply(len(self.jobs))
            case ("take", worker):
                self.idle.append((caller, self.monitor(worker)))
                self.hand_out()
                return NoReply()
            case "results":
                return Reply(self.results)
            case _:
                raise ValueError(request)

    def handle_cast(self, request: tuple[int, int]) -> None:
        """Keep a result."""
        job, result = request
        self.results[job] = result
        for monitor in [monitor for monitor, given in self.given.items() if given == job]:
            self.demonitor(monitor)
            del self.given[monitor]

    def handle_info(self, message: Any) -> None:
        """Take back the job of a worker that is dead."""
        if isinstance(message, Down):
            self.idle = deque(each for each in self.idle if each[1] != message.token)
            if message.token in self.given:
                self.jobs.append(self.given.pop(message.token))
                self.hand_out()

    def hand_out(self) -> None:
        """Bring jobs and idle workers together."""
        while self.jobs and self.idle:
            caller, monitor = self.idle.popleft()
            self.given[monitor] = self.jobs.popleft()
            self.reply(caller, self.given[monitor])


class Worker(GenServer):
    """Takes one job after the other; whatever goes wrong, its next life goes on."""

    kind: ClassVar[str] = "worker"

    def init(self, number: int) -> NoReply:
        """Be known by *number*, and begin."""
        registry.register(self, NUMBERS, number)
        return NoReply(then="work")

    def handle_continue(self, then: object) -> NoReply:
        """Do one job."""
        job = self.call(COLLECTOR, ("take", self.ref), timeout=INFINITY)
        self.cast(COLLECTOR, (job, job * job))
        return NoReply(then=then)


class Workers(DynamicSupervisor):
    """Supervises the workers."""

    kind: ClassVar[str] = "workers"

    def init(self) -> DynamicFlags:
        """Allow them to die often."""
        return DynamicFlags(flags=Flags(max_restarts=100))


class Pool(Supervisor):
    """The whole pool."""

    kind: ClassVar[str] = "pool"

    def init(self) -> tuple[Flags, Sequence[ChildSpec]]:
        """Return what it consists of."""
        return Flags(strategy="rest_for_one", max_restarts=100), [
            Collector.child_spec(name=COLLECTOR),
            Registry.child_spec("unique", id="registry", name=NUMBERS),
            Workers.child_spec(name=WORKERS),
        ]


def worker(number: int) -> ChildSpec:
    """Return the spec of a worker, which waits in its handler and so is stopped by a kill."""
    return Worker.child_spec(number, id=f"worker {number}", shutdown=BRUTAL_KILL)
