"""One life of one child process, from its name to its grave.

Everything that decides what a piece of news about a single child means stands
in this file: the table `TRANSITIONS` is the machine, and `Life` interprets it.
What a death means for the siblings is decided by the supervisors, not here.

A death has two witnesses. The host reaps the process and tells its exit status.
The process itself may have said why it leaves (`ExitNoted`), or that its `init`
failed or ignored. The two travel on different paths, so either may come first,
and one that was killed says nothing; a host that learns of a death in several
ways may tell it several times, with the status or without. In whatever order,
number and subset they come, a life ends exactly once, with the best reason known.
"""

from __future__ import annotations

import enum

from msgspec import Struct

from jidocode.base.exits import SHUTDOWN, Crashed, ExitReason, best_reason
from jidocode.base.refs import ActorRef
from jidocode.otp.naming.messages import OneLife
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.machine import (
    After,
    AskToStop,
    CauseUnknown,
    ChildEffect,
    ChildEvent,
    ChildFailed,
    ChildGone,
    ChildIgnored,
    ChildReady,
    Claim,
    ClaimTimeout,
    DeathSeen,
    ExitNoted,
    HeartbeatDue,
    HeartbeatLost,
    InitTimeout,
    Kill,
    KillRequested,
    NameClaimed,
    NameReserved,
    NameTaken,
    NoteTimeout,
    Probe,
    PulseHeard,
    Spawn,
    StopRequested,
    StopTimeout,
)
from jidocode.otp.supervision.specs import BRUTAL_KILL, ChildSpec, ChildType
from jidocode.otp.supervision.strategy import Restart, Verdict, verdict

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
    """It was asked to stop, and has time for it."""
    KILLING = "killing"
    """It was killed, for it failed, ignored, hung or had to; its end is awaited."""
    SILENT = "silent"
    """It is dead of an unknown cause, and what it said may still come."""
    ENDED = "ended"


# An event without an entry is stale and changes nothing. One that leads back to the same
# state is remembered, and has no other effect. Beats have no entries: an answer, or a
# probe that is due, changes no state, and a lost heartbeat does. Nor has a death that was
# seen: what is below the process may still live, so it ends no life, and only is known.
TRANSITIONS: dict[LifeState, dict[type[ChildEvent], LifeState]] = {
    LifeState.CLAIMING: {
        NameClaimed: LifeState.STARTING,
        # There is no process: nothing to kill, and no death to wait for.
        NameTaken: LifeState.ENDED,
        NameReserved: LifeState.ENDED,
        ChildFailed: LifeState.ENDED,
        # Two supervisors may each wait for a name of the other's, whose holder is to be
        # restarted by the one that waits: neither would ever go on.
        ClaimTimeout: LifeState.ENDED,
        StopRequested: LifeState.ENDED,
        KillRequested: LifeState.ENDED,
    },
    LifeState.STARTING: {
        ChildReady: LifeState.RUNNING,
        # One that ignored or failed leaves by itself, but what runs at its exit may hang,
        # and its name must not pass on while it lives. So it is killed, and its death awaited.
        ChildIgnored: LifeState.KILLING,
        ChildFailed: LifeState.KILLING,
        InitTimeout: LifeState.KILLING,
        # It was started while there was no registry that could refuse it.
        NameReserved: LifeState.KILLING,
        # OTP waits for `init`. Here a process is busy with it and reads no mail, so a
        # request to stop would wait as long as it hangs.
        StopRequested: LifeState.KILLING,
        KillRequested: LifeState.KILLING,
        # It died in `init`; or its death, or its note, has overtaken `ChildReady`.
        ExitNoted: LifeState.STARTING,
        ChildGone: LifeState.ENDED,
        CauseUnknown: LifeState.SILENT,
    },
    LifeState.RUNNING: {
        HeartbeatLost: LifeState.KILLING,
        NameReserved: LifeState.KILLING,
        StopRequested: LifeState.STOPPING,
        KillRequested: LifeState.KILLING,
        # A word is no death: it may yet hang on its way out, or be killed, which is then why.
        ExitNoted: LifeState.RUNNING,
        ChildGone: LifeState.ENDED,
        CauseUnknown: LifeState.SILENT,
    },
    LifeState.STOPPING: {
        StopTimeout: LifeState.KILLING,
        # Of supervisors without a deadline alone: nothing else would end one that hangs.
        HeartbeatLost: LifeState.KILLING,
        ExitNoted: LifeState.STOPPING,
        ChildGone: LifeState.ENDED,
        CauseUnknown: LifeState.SILENT,
    },
    LifeState.KILLING: {
        # A note that was under way: the child may have left in order before the signal came.
        ExitNoted: LifeState.KILLING,
        ChildGone: LifeState.ENDED,
        # Why it was killed is known, so no note is waited for.
        CauseUnknown: LifeState.ENDED,
    },
    # A death by signal ends a life at once, for nothing that the child said would outweigh
    # it. Any other death may have a note that is still on its way, and would be reported as
    # a crash without it: a transient child that had finished would be started again.
    LifeState.SILENT: {
        # It died of its first request: it had started, so its restart is no failed start.
        ChildReady: LifeState.SILENT,
        ChildIgnored: LifeState.ENDED,
        ChildFailed: LifeState.ENDED,
        # Whoever wants it gone need not wait to learn why.
        StopRequested: LifeState.ENDED,
        KillRequested: LifeState.ENDED,
        ExitNoted: LifeState.ENDED,
        ChildGone: LifeState.ENDED,
        # Told once more, perhaps with the status this time.
        CauseUnknown: LifeState.SILENT,
        NoteTimeout: LifeState.ENDED,
    },
    LifeState.ENDED: {},
}


class Life(Struct):
    """The life of the process that *incarnation* names, as `TRANSITIONS` has it."""

    spec: ChildSpec
    incarnation: int
    state: LifeState = LifeState.CLAIMING
    ref: ActorRef | None = None
    """The process, from the end of its `init` on."""
    holder: ActorRef | None = None
    """Who has the name, if that was why it ended."""
    name_reserved: bool = False
    """Whether it ended because it may not have its name."""
    init_ignored: bool = False
    """Whether it ended because its `init` returned `Ignore`."""
    on_request: bool = False
    """Whether its supervisor wanted it to end."""
    seen_dead: bool = False
    """Whether its process is known to be dead, though it was not told yet."""
    missed: int = 0
    """Probes in a row that the process has not answered."""
    _failure: ExitReason | None = None
    _note: ExitReason | None = None
    _status: int | None = None

    def begin(self, *, claim: bool) -> list[ChildEffect]:
        """Claim the name first if *claim*, otherwise start at once."""
        if claim and self.spec.name is not None:
            timeout = _deadline(self.spec.init_timeout, ClaimTimeout(self.incarnation))
            return [self.claim(), *timeout]
        return self.handle(NameClaimed(self.incarnation))

    def claim(self) -> Claim:
        """Return the claim to the name that the spec gives, for the process that there may be."""
        spec = self.spec
        value = OneLife(spec.value) if spec.restart is Restart.TEMPORARY else spec.value
        assert spec.name is not None  # noqa: S101 - nobody claims what has no name
        return Claim(self.incarnation, spec.name, value, self.ref)

    def stop(self) -> list[ChildEffect]:
        """End the life by the spec's shutdown rule (OTP supervisor: `shutdown/1`)."""
        self.on_request = True
        brutal = self.spec.shutdown is BRUTAL_KILL or self.spec.shutdown == 0
        request = KillRequested if brutal else StopRequested
        return self.handle(request(self.incarnation))

    def handle(self, event: ChildEvent) -> list[ChildEffect]:
        """Take *event* in, which is about this incarnation; return what to do."""
        match event:
            case PulseHeard():
                self.missed = 0
                return []
            case DeathSeen():
                self.seen_dead = True
                return []
            case HeartbeatDue():
                return self._beat() if self._must_answer() else []
            case ChildGone(incarnation, status) if not self._explains(status):
                event = CauseUnknown(incarnation, status)
            case _:
                pass
        target = TRANSITIONS[self.state].get(type(event))
        if target is None:
            return []
        self._remember(event)
        if target is self.state:
            return []
        self.state = target
        return self._enter(target)

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to be dead, and nothing else of it."""
        return self.state is LifeState.SILENT or self.seen_dead

    @property
    def reason(self) -> ExitReason:
        """Why it ended, or ends, as far as known."""
        return self._failure or best_reason(self._note, self._status)

    @property
    def verdict(self) -> Verdict:
        """What is to be done about its end, as far as known; a failed restart is tried again.

        Not if it may not have its name: it never may.
        """
        if self.name_reserved:
            return Verdict.FORGET if self.spec.restart is Restart.TEMPORARY else Verdict.KEEP
        return Verdict.RESTART if self.ref is None else verdict(self.spec.restart, self.reason)

    def _explains(self, status: int | None) -> bool:
        """Whether a death with *status* needs no more words: it was a signal, or it has a note."""
        return self._note is not None or (status is not None and status < 0)

    def _must_answer(self) -> bool:
        # One that is stopping has its deadline instead, but for a supervisor, which needs none.
        forever = self.spec.shutdown == INFINITY and self.spec.type is ChildType.SUPERVISOR
        return self.state is LifeState.RUNNING or (self.state is LifeState.STOPPING and forever)

    def _beat(self) -> list[ChildEffect]:
        """Probe again, unless too many probes were not answered."""
        if self.missed == MISSED_HEARTBEATS:
            return self.handle(HeartbeatLost(self.incarnation))
        self.missed += 1
        return [Probe(self.incarnation), *self._next_beat()]

    def _next_beat(self) -> list[ChildEffect]:
        if self.spec.heartbeat is None:
            return []
        return [After(self.spec.heartbeat, HeartbeatDue(self.incarnation))]

    def _remember(self, event: ChildEvent) -> None:
        """Keep what *event* says about the process and about why it ends."""
        match event:
            case ChildReady():
                self.ref = event.ref
            case ExitNoted():
                self._note = self._note or event.reason
            case ChildGone() | CauseUnknown():
                self._status = event.status if self._status is None else self._status
            case ChildIgnored():
                self.init_ignored = True
            case ChildFailed():
                self._failure = event.reason
            case NameTaken():
                self.holder = event.holder
                self._failure = Crashed(f"its name is taken by {event.holder}")
            case NameReserved():
                self.name_reserved = True
                self._failure = Crashed("its name is reserved")
            case ClaimTimeout():
                limit = self.spec.init_timeout
                self._failure = Crashed(f"its name was not free within {limit:g} s")
            case InitTimeout():
                self._failure = Crashed(f"init took longer than {self.spec.init_timeout:g} s")
            case HeartbeatLost():
                silence = self.missed * (self.spec.heartbeat or 0.0)
                self._failure = Crashed(f"no heartbeat for {silence:g} s")
            case StopRequested() | KillRequested() if self.state is LifeState.CLAIMING:
                self._failure = SHUTDOWN
            case _:
                pass

    def _enter(self, state: LifeState) -> list[ChildEffect]:
        """Return what to do on entering *state*."""
        me = self.incarnation
        match state:
            case LifeState.STARTING:
                timeout = _deadline(self.spec.init_timeout, InitTimeout(me))
                return [Spawn(me, self.spec), *timeout]
            case LifeState.RUNNING:
                return self._next_beat()
            case LifeState.STOPPING:
                return [AskToStop(me), *_deadline(self.spec.shutdown, StopTimeout(me))]
            case LifeState.KILLING:
                return [Kill(me)]
            case LifeState.SILENT:
                return _deadline(NOTE_GRACE, NoteTimeout(me))
            case _:
                return []


def _deadline(
    delay: object, event: ClaimTimeout | InitTimeout | StopTimeout | NoteTimeout
) -> list[ChildEffect]:
    """Return the timer for *event*, unless *delay* has no end."""
    if not isinstance(delay, (int, float)) or delay == INFINITY:
        return []
    return [After(float(delay), event)]
