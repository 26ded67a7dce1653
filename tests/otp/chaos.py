"""What the two supervisor machines share: a world in which everything goes wrong.

Processes live and die on their own. What they say and how their deaths become
known is delivered late, twice, in any order, or in part; words of one process
keep their order. The world knows the truth, checks that the supervisor's view
never contradicts it, and compares the supervisor's commands with those of a
reference, which is written after OTP's sequential code and not after the machine.
"""

from __future__ import annotations

import abc
from collections import deque
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Struct, field

from jidocode.base.exits import NORMAL, SHUTDOWN, Crashed, ExitReason, is_normal
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import AlreadyStartedError
from jidocode.otp.server.machine import Exit, InitDone, InitFailed, SendError, SendReply
from jidocode.otp.server.messages import Caller
from jidocode.otp.supervision.dynamic_supervisor import DynamicSupervisorLoop
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    HeartbeatMissed,
    SupervisorEvent,
)
from jidocode.otp.supervision.life import NOTE_GRACE
from jidocode.otp.supervision.machine import (
    After,
    Announce,
    AskToStop,
    ChildEvent,
    ChildFailed,
    ChildGone,
    ChildIgnored,
    ChildReady,
    Claim,
    ClaimTimeout,
    ExitNoted,
    InitTimeout,
    KeeperEffect,
    KeeperEvent,
    Kill,
    NameClaimed,
    NameTaken,
    NoteTimeout,
    RefuseStart,
    RegistryDown,
    RegistryUp,
    Release,
    RequestReceived,
    RetryRestart,
    ShutdownRequested,
    Spawn,
    StopTimeout,
)
from jidocode.otp.supervision.management import (
    ChildStatus,
    CountChildren,
    Request,
    WhichChildren,
)
from jidocode.otp.supervision.specs import BRUTAL_KILL, ChildSpec, Flags
from jidocode.otp.supervision.strategy import Restart
from jidocode.otp.supervision.supervisor import SupervisorLoop
from tests.otp.machines import worker

Command = tuple[Any, ...]
"""What a supervisor has done to the world, in the world's words."""


class Process(Struct):
    """A process as it really is, and what of it is still to be heard.

    Attributes:
        words: Its own messages, in order.
        notices: Of its death, in no order.
    """

    spec: ChildSpec
    incarnation: int
    alive: bool = True
    initialising: bool = True
    told_to_stop: bool = False
    words: deque[ChildEvent] = field(default_factory=deque[ChildEvent])
    notices: list[ChildEvent] = field(default_factory=list[ChildEvent])

    @property
    def ref(self) -> ActorRef:
        """Its reference."""
        return ActorRef("worker", self.incarnation, 1000 + self.incarnation)


class Fate(Struct, eq=False):
    """What a supervisor can know of one start, and what follows from that.

    It is over when the death is known, unless somebody might still say why:
    then a moment later.
    """

    spec: ChildSpec
    incarnation: int
    ready: bool = False
    ignored: bool = False
    dead: bool = False
    by_signal: bool = False
    said: ExitReason | None = None
    told_to_stop: bool = False
    killed: bool = False
    unwanted: bool = False
    over: bool = False

    @property
    def serves(self) -> bool:
        """Whether it runs, as far as one knows."""
        return self.ready and not (self.dead or self.told_to_stop or self.killed)

    @property
    def ended_well(self) -> bool:
        """Whether it is known to have left in order."""
        return self.said is not None and is_normal(self.said) and not self.by_signal

    def hear(self, event: ChildEvent) -> None:
        """Take in what was heard of it."""
        match event:
            case ChildReady():
                self.ready = self.ready or not self.killed
            case ChildIgnored():
                self.ignored = not self.killed
            case ChildFailed(reason=reason) | ExitNoted(reason=reason):
                self.said = self.said or reason
            case ChildGone(status=status):
                self.dead = True
                self.by_signal = self.by_signal or (status is not None and status < 0)
            case _:
                raise AssertionError(event)
        explained = self.by_signal or self.said is not None or self.ignored
        self.over = self.over or (self.dead and (self.killed or explained))


class Reference(abc.ABC):
    """A supervisor after OTP's code, which works on fates and gives commands."""

    def __init__(self, flags: Flags, names: Registry) -> None:
        self.flags = flags
        self.names = names
        self.now = 0.0
        self.commands: list[Command] = []
        self.fates: dict[int, Fate] = {}
        self.timers: dict[tuple[object, ...], float] = {}
        self.restarts: list[float] = []

    @abc.abstractmethod
    def go_on(self) -> None:
        """Do what can be done now."""

    @abc.abstractmethod
    def call(self, number: int, request: Request) -> None:
        """Take a request in."""

    @abc.abstractmethod
    def shut_down(self, reason: ExitReason) -> None:
        """Take the order to stop in."""

    @abc.abstractmethod
    def retry(self, child_id: str, incarnation: int) -> None:
        """It is time to try a restart again."""

    @abc.abstractmethod
    def ended(self, fate: Fate) -> None:
        """A start that had succeeded, or not, has come to its end."""

    @abc.abstractmethod
    def counts(self) -> tuple[int, int]:
        """Return how many specs there are, and how many of them run."""

    def start_process(self, spec: ChildSpec, incarnation: int) -> Fate:
        """Start a process, unless its name is taken."""
        fate = Fate(spec, incarnation)
        self.fates[incarnation] = fate
        if spec.name in self.names.held or spec.name not in self.names.taken:
            self.commands.append(("spawn", spec.id, incarnation))
            self.timers["init", incarnation] = self.now + spec.init_timeout
        else:
            fate.over = True
        return fate

    def kill(self, fate: Fate) -> None:
        """Kill a process that may still live, once."""
        if not (fate.dead or fate.killed):
            fate.killed = True
            self.commands.append(("kill", fate.incarnation))

    def ask_to_stop(self, fate: Fate) -> None:
        """Stop a process by its shutdown rule; it is over at once if it is dead."""
        fate.unwanted = True
        if fate.dead:
            fate.over = True
        elif not fate.ready or fate.spec.shutdown in (BRUTAL_KILL, 0):
            self.kill(fate)
        elif not (fate.told_to_stop or fate.killed):
            fate.told_to_stop = True
            self.commands.append(("stop", fate.incarnation))
            if fate.spec.shutdown != float("inf"):
                assert isinstance(fate.spec.shutdown, (int, float))
                self.timers["stop", fate.incarnation] = self.now + fate.spec.shutdown

    def hear(self, event: ChildEvent) -> None:
        """Take in what was heard of a process."""
        fate = self.fates[event.incarnation]
        was_over, was_dead = fate.over, fate.dead
        if was_over:
            return
        fate.hear(event)
        if isinstance(event, (ChildFailed, ChildIgnored)):
            self.kill(fate)
        if fate.dead and not was_dead and not fate.over:
            self.timers["note", fate.incarnation] = self.now + NOTE_GRACE
        if fate.over:
            self.ended(fate)

    def ring(self, event: object) -> None:
        """Let a timer of the machine run out, if it is one of ours; others are stale."""
        match event:
            case RetryRestart(child_id, incarnation):
                due = self.timers.pop(("retry", child_id, incarnation))
                self.retry(child_id, incarnation)
            case InitTimeout(incarnation) | StopTimeout(incarnation) | NoteTimeout(incarnation):
                due = self.timers.pop((DEADLINES[type(event)], incarnation))
                self._deadline(self.fates[incarnation], event)
            case _:
                raise AssertionError(event)
        assert due == self.now

    def _deadline(self, fate: Fate, event: InitTimeout | StopTimeout | NoteTimeout) -> None:
        if fate.over:
            return
        if isinstance(event, NoteTimeout):
            fate.over = True
            self.ended(fate)
        elif isinstance(event, StopTimeout) or not fate.ready:
            self.kill(fate)

    def may_restart(self, fate: Fate) -> bool:
        """Count a restart (OTP: add_restart)."""
        self.restarts = [t for t in self.restarts if self.now - t <= self.flags.max_seconds]
        self.restarts.append(self.now)
        if len(self.restarts) > self.flags.max_restarts:
            self.commands.append(("gave up", fate.spec.id))
            return False
        return True

    def comes_back(self, fate: Fate) -> bool:
        """Whether its restart type and its end want it back (OTP: do_restart)."""
        match fate.spec.restart:
            case Restart.PERMANENT:
                return True
            case Restart.TRANSIENT:
                return not fate.ended_well
            case Restart.TEMPORARY:
                return False


class Registry(Struct):
    """The names that the supervisor holds, and those that others hold."""

    held: set[Name] = field(default_factory=set[Name])
    taken: set[Name] = field(default_factory=set[Name])


DEADLINES: dict[type, str] = {InitTimeout: "init", StopTimeout: "stop", NoteTimeout: "note"}
ELSEWHERE = ActorRef("worker", 1, 99)
"""Who has the names that are taken."""
NAMES: dict[str, Name] = {"a": ("k", "1"), "c": ("k", "3")}
CHILD_IDS = ("a", "b", "c", "d")


def specs(child_id: str, restarts: tuple[Restart, ...] = tuple(Restart)) -> st.SearchStrategy[Any]:
    """Return specs for *child_id*; some children have a name."""
    return st.builds(
        worker,
        st.just(child_id),
        restart=st.sampled_from(restarts),
        shutdown=st.sampled_from([5.0, 1.0, BRUTAL_KILL]),
        init_timeout=st.sampled_from([2.0, 10.0]),
        name=st.just(NAMES.get(child_id)),
    )


def flags(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Flags]:
    """Return flags with small and large budgets."""
    return st.builds(
        Flags,
        max_restarts=st.sampled_from([3, 1, 100, 0]),
        max_seconds=st.sampled_from([1.0, 5.0]),
        backoff=st.sampled_from([0.0, 0.5]),
        **options,
    )


WEIGHTS = {
    "process ends": 6,
    "something is heard": 5,
    "all is heard": 4,
    "all goes well": 4,
    "init ends": 4,
    "process obeys": 3,
    "request": 4,
    "time passes": 4,
    "elsewhere": 1,
    "the end": 1,
}
"""What can happen, and how often it does."""


class Chaos(RuleBasedStateMachine):
    """The world; a subclass adds its kind of supervisor and the requests for it."""

    loop: SupervisorLoop | DynamicSupervisorLoop
    reference: Reference

    def reset(self) -> None:
        """Make the world new."""
        self.now = 0.0
        self.names = Registry()
        self.processes: dict[int, Process] = {}
        self.timers: list[tuple[float, Any]] = []
        self.commands: list[Command] = []
        self.replies: deque[KeeperEvent] = deque()
        self.started: set[int] = set()
        self.exited: set[int] = set()
        self.calls = 0

    @property
    def over(self) -> bool:
        """Whether the supervisor has left."""
        return self.commands[-1:] != [] and self.commands[-1][0] in ("exit", "failed")

    def check_end(self) -> None:
        """Check what is true after the end of the supervisor."""
        assert not self.living()
        assert not self.names.held
        assert self.started == self.exited

    # One event goes to both supervisors, and their commands are compared

    def both(self, event: KeeperEvent) -> None:
        """Feed *event* to the machine and to the reference, and compare what they do."""
        was_over = self.over
        self.carry_out(self.loop.handle(event, self.now))
        while self.replies:
            self.carry_out(self.loop.handle(self.replies.popleft(), self.now))
        if not was_over:
            self.tell_reference(event)
        self.compare()

    def compare(self) -> None:
        assert self.commands == self.reference.commands

    def tell_reference(self, event: KeeperEvent) -> None:
        self.reference.now = self.now
        match event:
            case RequestReceived(caller, request):
                self.reference.call(caller.request_id, request)
            case ShutdownRequested(reason):
                self.reference.shut_down(reason)
            case RetryRestart() | InitTimeout() | StopTimeout() | NoteTimeout():
                self.reference.ring(event)
            case RegistryUp() | RegistryDown() | ClaimTimeout():  # claims are decided at once
                pass
            case _:
                self.reference.hear(event)
        self.reference.go_on()

    def carry_out(self, effects: list[KeeperEffect]) -> None:
        for effect in effects:
            self.play(effect)

    def play(self, effect: KeeperEffect) -> None:
        assert not self.over
        match effect:
            case Spawn(incarnation, spec):
                assert not any(p.alive and p.spec.id == spec.id for p in self.processes.values())
                assert spec.name is None or spec.name in self.names.held
                self.processes[incarnation] = Process(spec, incarnation)
                self.commands.append(("spawn", spec.id, incarnation))
            case Claim(incarnation, name):
                self.claim(incarnation, name)
            case Release(name):
                self.names.held.remove(name)
            case AskToStop(incarnation):
                self.processes[incarnation].told_to_stop = True
                self.commands.append(("stop", incarnation))
            case Kill(incarnation):
                self.commands.append(("kill", incarnation))
                self.kill(self.processes[incarnation])
            case After(delay, event):
                self.timers.append((self.now + delay, event))
            case Announce(event):
                self.heard(event)
            case SendReply(caller, value):
                value = value.incarnation if isinstance(value, ActorRef) else value
                self.commands.append(("reply", caller.request_id, value))
            case RefuseStart(event, child_id, holder):
                self.play(SendError(event.caller, AlreadyStartedError(child_id, holder)))
            case SendError(caller, error):
                self.commands.append(("refuse", caller.request_id, type(error).__name__))
            case InitDone():
                self.commands.append(("initialised",))
            case InitFailed():
                self.commands.append(("failed",))
            case Exit(reason):
                self.commands.append(("exit", reason))
            case _:
                raise AssertionError(effect)

    def claim(self, incarnation: int, name: Name) -> None:
        assert name not in self.names.held
        if name in self.names.taken:
            self.replies.append(NameTaken(incarnation, ELSEWHERE))
        else:
            self.names.held.add(name)
            self.replies.append(NameClaimed(incarnation))

    def heard(self, event: SupervisorEvent) -> None:
        """Check an announcement against the truth, and against those before it."""
        match event:
            case ChildStarted(ref=ref):
                assert not self.processes[ref.incarnation].initialising
                assert ref.incarnation not in self.started
                self.started.add(ref.incarnation)
            case ChildExited(ref=ref):
                assert ref.incarnation in self.started - self.exited
                assert not self.processes[ref.incarnation].alive
                self.exited.add(ref.incarnation)
            case ChildStartFailed() | HeartbeatMissed():
                pass
            case GaveUp(child_id=child_id):
                self.commands.append(("gave up", child_id))

    # What processes do

    def living(self) -> list[Process]:
        return [process for process in self.processes.values() if process.alive]

    def initialising(self) -> list[Process]:
        return [process for process in self.living() if process.initialising]

    def running(self) -> list[Process]:
        return [process for process in self.living() if not process.initialising]

    def told_to_stop(self) -> list[Process]:
        return [process for process in self.living() if process.told_to_stop]

    def kill(self, process: Process) -> None:
        if process.alive:
            self.die(process, -9)

    def die(self, process: Process, status: int) -> None:
        """End *process*; its death will be noticed up to four times."""
        process.alive = False
        gone = ChildGone(process.incarnation, None)
        process.notices = [gone, gone, ChildGone(process.incarnation, status)]

    def lose_some(self, data: st.DataObject, process: Process) -> None:
        """Lose any notices of a death but one."""
        keep = data.draw(st.sets(st.integers(0, 2), min_size=1))
        process.notices = [process.notices[index] for index in sorted(keep)]

    def init_ends(self, data: st.DataObject) -> None:
        """An init returns, fails, ignores, or is killed; a hanging one does none of it."""
        process = data.draw(st.sampled_from(self.initialising()))
        how = data.draw(st.sampled_from(["ready"] * 4 + ["failed", "ignored", "killed"]))
        incarnation = process.incarnation
        if how == "ready":
            process.initialising = False
            process.words.append(ChildReady(incarnation, process.ref))
            return
        if how == "failed":
            reasons: list[ExitReason] = [Crashed("OSError: no"), SHUTDOWN]
            process.words.append(ChildFailed(incarnation, data.draw(st.sampled_from(reasons))))
        elif how == "ignored":
            process.words.append(ChildIgnored(incarnation))
        self.die(process, -9 if how == "killed" else 1)
        self.lose_some(data, process)

    def process_ends(self, data: st.DataObject) -> None:
        """A process leaves with a note or without one, or is killed, perhaps while it leaves."""
        process = data.draw(st.sampled_from(self.running()))
        reasons: list[ExitReason | None] = [NORMAL, SHUTDOWN, Crashed("ValueError: no"), None, None]
        reason = data.draw(st.sampled_from(reasons))
        if reason is not None:
            process.words.append(ExitNoted(process.incarnation, reason))
        self.die(process, data.draw(st.sampled_from([-9, 0, 1])))
        self.lose_some(data, process)

    def process_obeys(self, data: st.DataObject) -> None:
        """A process that was told to stop does so."""
        process = data.draw(st.sampled_from(self.told_to_stop()))
        process.words.append(ExitNoted(process.incarnation, SHUTDOWN))
        self.die(process, 0)

    # What the supervisor hears

    def unheard(self) -> list[Process]:
        return [p for p in self.processes.values() if p.words or p.notices]

    def hear(self, data: st.DataObject) -> None:
        """Something about some process is heard."""
        process = data.draw(st.sampled_from(self.unheard()))
        if process.notices and (not process.words or data.draw(st.booleans())):
            self.both(process.notices.pop(data.draw(st.integers(0, len(process.notices) - 1))))
        else:
            self.both(process.words.popleft())

    def hear_all(self) -> None:
        """All that is under way arrives."""
        while unheard := self.unheard():
            process = unheard[0]
            self.both(process.words.popleft() if process.words else process.notices.pop())

    def all_goes_well(self) -> None:
        """Inits return, who is told to stop does so, and all of it is heard, until it is quiet."""
        while True:
            for process in self.living():
                if process.initialising:
                    process.initialising = False
                    process.words.append(ChildReady(process.incarnation, process.ref))
                elif process.told_to_stop:
                    process.words.append(ExitNoted(process.incarnation, SHUTDOWN))
                    self.die(process, 0)
            if not self.unheard():
                return
            self.hear_all()

    def time_passes(self, seconds: float) -> None:
        """Timers that run out in that time are heard of, in order."""
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= until]:
            timer = min(due, key=lambda each: each[0])
            self.timers.remove(timer)
            self.now = timer[0]
            self.both(timer[1])
        self.now = until

    # What others do

    def ask(self, request: Request) -> None:
        """Send *request* to both."""
        self.calls += 1
        self.both(RequestReceived(Caller("app", self.calls), request))

    def something_happens_elsewhere(self, data: st.DataObject) -> None:
        """Others claim or release a name, or the registry is replaced."""
        name = data.draw(st.sampled_from(sorted(NAMES.values())))
        what = data.draw(st.sampled_from(["claimed", "released", "replaced"]))
        if what == "replaced":
            self.names.held.clear()
            self.both(RegistryUp())
        elif what == "released":
            self.names.taken.discard(name)
        elif name not in self.names.held:
            self.names.taken.add(name)

    @abc.abstractmethod
    def somebody_asks(self, data: st.DataObject) -> None:
        """Somebody asks for a change of a child, known or not."""

    @abc.abstractmethod
    def begin(self, data: st.DataObject) -> None:
        """Start both supervisors."""

    @initialize(data=st.data())
    def at_first(self, data: st.DataObject) -> None:
        """The world is new."""
        self.begin(data)

    # One rule with weights, for swarms of rules would leave most worlds without processes.
    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """One thing after the other; when the supervisor has left, another world begins."""
        if self.over:
            self.check_end()
            self.begin(data)
            return
        impossible = {
            "process ends": not self.running(),
            "something is heard": not self.unheard(),
            "all is heard": not self.unheard(),
            "init ends": not self.initialising(),
            "process obeys": not self.told_to_stop(),
            "all goes well": not (self.unheard() or self.initialising() or self.told_to_stop()),
        }
        possible = {what: n for what, n in WEIGHTS.items() if not impossible.get(what)}
        self.happens(
            data, data.draw(st.sampled_from([w for w, n in possible.items() for _ in range(n)]))
        )

    def happens(self, data: st.DataObject, what: str) -> None:
        match what:
            case "init ends":
                self.init_ends(data)
            case "process ends":
                self.process_ends(data)
            case "process obeys":
                self.process_obeys(data)
            case "something is heard":
                self.hear(data)
            case "all is heard":
                self.hear_all()
            case "all goes well":
                self.all_goes_well()
            case "time passes":
                self.time_passes(data.draw(st.sampled_from([0.0, 0.125, 1.0, 5.0])))
            case "request":
                self.somebody_asks(data)
            case "elsewhere":
                self.something_happens_elsewhere(data)
            case _:
                self.both(ShutdownRequested(NORMAL))

    # What is always true

    @invariant()
    def children_with_a_process_have_their_names(self) -> None:
        """Unless the registry gave it to somebody else meanwhile."""
        for child in self.loop.children.values():
            if child.life is not None and child.spec.name is not None and child.has_claim:
                assert child.spec.name in self.names.held

    @invariant()
    def questions_are_answered_at_once(self) -> None:
        """Whatever is under way."""
        if not self.over:
            event = RequestReceived(Caller("app", 0), CountChildren())
            (effect,) = self.loop.handle(event, self.now)

            assert isinstance(effect, SendReply)
            counts: Any = effect.value
            assert (counts.specs, counts.active) == self.reference.counts()

    @invariant()
    def only_what_is_wanted_to_end_is_stopping(self) -> None:
        """What dies and comes back is restarting, and what has never run is starting."""
        if self.over:
            return
        (effect,) = self.loop.handle(RequestReceived(Caller("app", 0), WhichChildren()), self.now)
        assert isinstance(effect, SendReply)
        infos: Any = effect.value
        for info in infos:
            life = self.loop.children[info.id].life
            if life is None:
                assert info.status in (ChildStatus.STOPPED, ChildStatus.RESTARTING)
                continue
            fate = self.reference.fates[life.incarnation]
            has_run = fate.ready or info.last_exit is not None
            assert (info.status is ChildStatus.STOPPING) == fate.unwanted
            assert (info.status is ChildStatus.RUNNING) == fate.serves
            assert info.status is not ChildStatus.STARTING or not fate.ready
            assert info.status is not ChildStatus.RESTARTING or has_run
            dying_for_good = fate.ready and fate.spec.restart is Restart.TEMPORARY
            assert info.status is not ChildStatus.STOPPED or dying_for_good
            assert info.ref is None or fate.unwanted or fate.serves

    @invariant()
    def no_timer_is_late(self) -> None:
        """The machine has set every timer that the reference waits for."""
        if not self.over:
            assert all(due >= self.now for due in self.reference.timers.values())

    def teardown(self) -> None:
        """Whatever happened: a shutdown ends the supervisor when everybody is dead, and once."""
        self.both(ShutdownRequested(NORMAL))
        for _ in range(2 * len(CHILD_IDS)):
            for process in self.living():
                if process.told_to_stop:
                    self.die(process, -9)
            self.hear_all()
            self.time_passes(5.0)

        assert self.over
        self.check_end()
