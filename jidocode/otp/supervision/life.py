"""One life of one child process, from its name to its grave.

Everything that decides what a piece of news about a single child means stands
in this file: the table below is the machine, and `Life` interprets it. What a
death means for the siblings is decided by the supervisors, not here.

A death has up to five witnesses: the actor system's exit notice (which may come
twice, or never), the process descriptor, the exit status, and the child's own
exit note. They may come in any order and any number; a life ends exactly once,
with the best reason known. News that the table has no entry for is stale: it
changes nothing. An entry that leads back to the same state keeps what was
heard, and does nothing else.
"""

from __future__ import annotations

import enum

from msgspec import Struct

from jidocode.base.exits import SHUTDOWN, Crashed, ExitReason, best_reason
from jidocode.base.refs import ActorRef, Name
from jidocode.otp.supervision.specs import BRUTAL_KILL, INFINITY, ChildSpec, ChildType

NOTE_GRACE = 0.1
"""Seconds that a dead child's exit note may still be under way."""

MISSED_HEARTBEATS = 2
"""Probes in a row that may go unanswered; one could be a supervisor's own pause."""


class LifeState(enum.Enum):
    """Where a child's life stands."""

    CLAIMING = "claiming"
    """Its name is being claimed; there is no process yet."""
    STARTING = "starting"
    """The process runs `init`."""
    RUNNING = "running"
    STOPPING = "stopping"
    """It was told to stop, and has time for it."""
    KILLING = "killing"
    """It was killed, for it failed, ignored, hung or was told to; its end is awaited."""
    SILENT = "silent"
    """It is dead by no signal that is known, and what it said may still come."""
    ENDED = "ended"


class News(enum.Enum):
    """What can be heard of a child."""

    CLAIMED = "name claimed"
    REFUSED = "name taken"
    READY = "ready"
    IGNORED = "init ignored"
    FAILED = "init failed"
    INIT_TIMEOUT = "init timed out"
    STOP = "stop"
    BRUTAL_STOP = "brutal stop"
    STOP_TIMEOUT = "stop timed out"
    UNRESPONSIVE = "no heartbeat"
    GONE = "gone with a known cause"
    GONE_SILENTLY = "gone without a word"
    NOTED = "exit note"
    NOTE_TIMEOUT = "no note came"


TRANSITIONS: dict[LifeState, dict[News, LifeState]] = {
    LifeState.CLAIMING: {
        News.CLAIMED: LifeState.STARTING,
        News.REFUSED: LifeState.ENDED,
        News.STOP: LifeState.ENDED,
        News.BRUTAL_STOP: LifeState.ENDED,
    },
    LifeState.STARTING: {
        News.READY: LifeState.RUNNING,
        News.IGNORED: LifeState.KILLING,
        News.FAILED: LifeState.KILLING,
        News.INIT_TIMEOUT: LifeState.KILLING,
        News.STOP: LifeState.KILLING,
        News.BRUTAL_STOP: LifeState.KILLING,
        News.NOTED: LifeState.STARTING,
        News.GONE: LifeState.ENDED,
        News.GONE_SILENTLY: LifeState.SILENT,
    },
    LifeState.RUNNING: {
        News.UNRESPONSIVE: LifeState.KILLING,
        News.STOP: LifeState.STOPPING,
        News.BRUTAL_STOP: LifeState.KILLING,
        News.NOTED: LifeState.RUNNING,
        News.GONE: LifeState.ENDED,
        News.GONE_SILENTLY: LifeState.SILENT,
    },
    LifeState.STOPPING: {
        News.STOP_TIMEOUT: LifeState.KILLING,
        News.UNRESPONSIVE: LifeState.KILLING,
        News.NOTED: LifeState.STOPPING,
        News.GONE: LifeState.ENDED,
        News.GONE_SILENTLY: LifeState.SILENT,
    },
    LifeState.KILLING: {
        News.NOTED: LifeState.KILLING,
        News.GONE: LifeState.ENDED,
        News.GONE_SILENTLY: LifeState.ENDED,
    },
    LifeState.SILENT: {
        News.READY: LifeState.SILENT,
        News.IGNORED: LifeState.ENDED,
        News.FAILED: LifeState.ENDED,
        News.STOP: LifeState.ENDED,
        News.BRUTAL_STOP: LifeState.ENDED,
        News.NOTED: LifeState.ENDED,
        News.GONE: LifeState.ENDED,
        News.GONE_SILENTLY: LifeState.SILENT,
        News.NOTE_TIMEOUT: LifeState.ENDED,
    },
    LifeState.ENDED: {},
}


# ----- events: news from the host about the child of one incarnation ------------


class NameClaimed(Struct, frozen=True):
    """The registry has given the child's name to its supervisor."""

    incarnation: int


class NameTaken(Struct, frozen=True):
    """The name belongs to somebody else: *holder*, if it has a process."""

    incarnation: int
    holder: ActorRef | None


class ChildReady(Struct, frozen=True):
    """`init` is done; *ref* is the process."""

    incarnation: int
    ref: ActorRef


class ChildIgnored(Struct, frozen=True):
    """`init` returned `Ignore`."""

    incarnation: int


class ChildFailed(Struct, frozen=True):
    """`init` failed with *reason*, or the process could not be made at all."""

    incarnation: int
    reason: ExitReason


class ExitNoted(Struct, frozen=True):
    """The child says that it leaves with *reason*; it may not be gone yet."""

    incarnation: int
    reason: ExitReason


class ChildGone(Struct, frozen=True):
    """The process is dead; *status* as `subprocess` counts it, None if not seen."""

    incarnation: int
    status: int | None


class PulseHeard(Struct, frozen=True):
    """The child has answered a `Probe`."""

    incarnation: int


class HeartbeatDue(Struct, frozen=True):
    """Time to look whether the child has answered, and to probe it again."""

    incarnation: int


class ChildTimeout(Struct, frozen=True):
    """A deadline of the child passed: *news* says which."""

    incarnation: int
    news: News


ChildEvent = (
    NameClaimed
    | NameTaken
    | ChildReady
    | ChildIgnored
    | ChildFailed
    | ExitNoted
    | ChildGone
    | PulseHeard
    | HeartbeatDue
    | ChildTimeout
)


_Told = (
    NameClaimed
    | NameTaken
    | ChildReady
    | ChildIgnored
    | ChildFailed
    | ExitNoted
    | ChildGone
    | ChildTimeout
)
"""The events that are news in the sense of the table."""


# ----- effects: what the host shall do -------------------------------------------


class Claim(Struct, frozen=True):
    """Claim *name* at the registry; the answer is `NameClaimed` or `NameTaken`.

    *ref* is the live process behind it, if there is one already.
    """

    incarnation: int
    name: Name
    value: object
    ref: ActorRef | None = None


class Spawn(Struct, frozen=True):
    """Start a process for *spec*."""

    incarnation: int
    spec: ChildSpec


class AskToStop(Struct, frozen=True):
    """Tell the process to stop with reason `shutdown`, behind what waits in its mailbox."""

    incarnation: int


class Kill(Struct, frozen=True):
    """Kill the process and everything below it, at once."""

    incarnation: int


class Probe(Struct, frozen=True):
    """Ask the process for a sign of life; the answer is `PulseHeard`."""

    incarnation: int


class After(Struct, frozen=True):
    """Feed *event* back after *delay* seconds, behind what waits already."""

    delay: float
    event: object


ChildEffect = Claim | Spawn | AskToStop | Kill | Probe | After


class Life(Struct):
    """The life of the process that *incarnation* names; see the module's table."""

    spec: ChildSpec
    incarnation: int
    state: LifeState = LifeState.CLAIMING
    ref: ActorRef | None = None
    """The process, from the end of its `init` on."""
    holder: ActorRef | None = None
    """Who has the name, if that was why it ended and a process is known."""
    ignored: bool = False
    refused: bool = False
    on_request: bool = False
    _failure: ExitReason | None = None
    _note: ExitReason | None = None
    _status: int | None = None
    missed: int = 0
    """Heartbeats in a row that the process has not answered."""

    def begin(self, *, claim: bool) -> list[ChildEffect]:
        """Claim the name first if *claim*, otherwise start at once."""
        if claim and self.spec.name is not None:
            return [Claim(self.incarnation, self.spec.name, self.spec.value)]
        return self.handle(NameClaimed(self.incarnation))

    def stop(self) -> list[ChildEffect]:
        """End the life by the spec's shutdown rule."""
        self.on_request = True
        if self.state is LifeState.CLAIMING:
            self._failure = SHUTDOWN
        brutal = self.spec.shutdown is BRUTAL_KILL or self.spec.shutdown == 0
        return self._enter(News.BRUTAL_STOP if brutal else News.STOP)

    def handle(self, event: ChildEvent) -> list[ChildEffect]:
        """Take *event* in."""
        if isinstance(event, PulseHeard):
            self.missed = 0
            return []
        if isinstance(event, HeartbeatDue):
            return self._beat() if self._must_answer() else []
        news = self._news_of(event)
        if news in TRANSITIONS[self.state]:
            self._remember(event)
        return self._enter(news)

    @property
    def reason(self) -> ExitReason:
        """Why it ended; asked once it has."""
        return self._failure or best_reason(self._note, self._status)

    def _must_answer(self) -> bool:
        # One that is stopping has its deadline instead, but for a supervisor, which needs none.
        forever = self.spec.shutdown == INFINITY and self.spec.type is ChildType.SUPERVISOR
        return self.state is LifeState.RUNNING or (self.state is LifeState.STOPPING and forever)

    def _beat(self) -> list[ChildEffect]:
        """Probe again, unless too many probes were not answered."""
        if self.missed == MISSED_HEARTBEATS:
            silence = self.missed * (self.spec.heartbeat or 0.0)
            self._failure = Crashed(f"no heartbeat for {silence:g} s")
            return self._enter(News.UNRESPONSIVE)
        self.missed += 1
        return [Probe(self.incarnation), *self._next_beat()]

    def _next_beat(self) -> list[ChildEffect]:
        if self.spec.heartbeat is None:
            return []
        return [After(self.spec.heartbeat, HeartbeatDue(self.incarnation))]

    def _news_of(self, event: _Told) -> News:
        match event:
            case NameClaimed():
                return News.CLAIMED
            case NameTaken():
                return News.REFUSED
            case ChildReady():
                return News.READY
            case ChildIgnored():
                return News.IGNORED
            case ChildFailed():
                return News.FAILED
            case ExitNoted():
                return News.NOTED
            case ChildGone():
                by_signal = event.status is not None and event.status < 0
                return News.GONE if by_signal or self._note is not None else News.GONE_SILENTLY
            case ChildTimeout():
                return event.news

    def _remember(self, event: _Told) -> None:
        match event:
            case NameTaken():
                self.refused, self.holder = True, event.holder
                self._failure = Crashed(f"its name is taken by {event.holder or 'another child'}")
            case ChildReady():
                self.ref = event.ref
            case ChildIgnored():
                self.ignored = True
            case ChildFailed():
                self._failure = event.reason
            case ExitNoted():
                self._note = self._note or event.reason
            case ChildGone():
                self._status = event.status if self._status is None else self._status
            case ChildTimeout(news=News.INIT_TIMEOUT):
                self._failure = Crashed(f"init took longer than {self.spec.init_timeout:g} s")
            case NameClaimed() | ChildTimeout():
                pass

    def _enter(self, news: News) -> list[ChildEffect]:
        target = TRANSITIONS[self.state].get(news, self.state)
        if target is self.state:
            return []
        self.state = target
        return self._effects_of(target)

    def _effects_of(self, state: LifeState) -> list[ChildEffect]:
        match state:
            case LifeState.STARTING:
                spawn = Spawn(self.incarnation, self.spec)
                return [spawn, *self._deadline(News.INIT_TIMEOUT, self.spec.init_timeout)]
            case LifeState.RUNNING:
                return self._next_beat()
            case LifeState.STOPPING:
                ask = AskToStop(self.incarnation)
                return [ask, *self._deadline(News.STOP_TIMEOUT, self.spec.shutdown)]
            case LifeState.KILLING:
                return [Kill(self.incarnation)]
            case LifeState.SILENT:
                return self._deadline(News.NOTE_TIMEOUT, NOTE_GRACE)
            case _:
                return []

    def _deadline(self, news: News, delay: object) -> list[ChildEffect]:
        if not isinstance(delay, (int, float)) or delay == INFINITY:
            return []
        return [After(float(delay), ChildTimeout(self.incarnation, news))]
