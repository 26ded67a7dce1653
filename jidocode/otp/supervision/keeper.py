"""What static and dynamic supervisors have in common: keeping children.

A `Keeper` starts and stops lives, turns news about them into at most one call
of `_ready` and exactly one of `_ended` for each, and answers questions. Which
child is started or stopped when is decided by its two subclasses,
`SupervisorLoop` and `DynamicSupervisorLoop`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any, Protocol, Self

from attrs import evolve

from jidocode.base.exits import Crashed, ExitReason, Shutdown
from jidocode.base.refs import ActorRef
from jidocode.base.text import quote, word
from jidocode.errors import (
    AlreadyStartedError,
    ChildNotFoundError,
    InvalidChildSpecError,
    StartFailedError,
    SupervisorError,
)
from jidocode.otp.server.loop import crash_reason
from jidocode.otp.server.machine import Exit, InitFailed, InitIgnored, SendError, SendReply
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import Ignore
from jidocode.otp.supervision.children import Child, Children
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    HeartbeatMissed,
    SupervisorEvent,
)
from jidocode.otp.supervision.intensity import RestartIntensity
from jidocode.otp.supervision.life import Life, LifeState
from jidocode.otp.supervision.machine import (
    After,
    Announce,
    ChildEvent,
    ChildFailed,
    HeartbeatDue,
    KeeperEffect,
    KeeperEvent,
    NameClaimed,
    NameReserved,
    NameTaken,
    RefuseStart,
    RegistryDown,
    RegistryUp,
    Release,
    RequestReceived,
    RetryRestart,
    ShutdownRequested,
)
from jidocode.otp.supervision.management import (
    CountChildren,
    GetChildSpec,
    UpdateChild,
    WhichChildren,
)
from jidocode.otp.supervision.specs import ChildSpec, Flags, Start
from jidocode.otp.supervision.strategy import Restart, Verdict


class Initialises(Protocol):
    """A supervisor, seen from the machine that drives it."""

    def init(self, *args: Any, **kwargs: Any) -> object:
        """Return what to do; the machine calls it once, first."""


class Keeper(abc.ABC):
    """Keeps children by id, in start order, and their lives by incarnation."""

    def __init__(self, supervisor: Initialises, ref: ActorRef) -> None:
        self._supervisor = supervisor
        self.ref = ref
        self.children = Children()
        self._by_incarnation: dict[int, Child] = {}
        self._incarnations = 0
        self._registry_up = False
        self._use(Flags())
        self._is_over = False
        self._effects: list[KeeperEffect] = []
        self._open: list[tuple[RequestReceived, ChildSpec]] = []
        self.now = 0.0

    @classmethod
    def of(cls, start: Start, ref: ActorRef) -> Self:
        """Return the loop of a fresh supervisor of *start*'s class."""
        return cls(start.target(), ref)

    def start(self, start: Start, now: float, *, registry_up: bool = False) -> list[KeeperEffect]:
        """Run `init` with the arguments of *start* and begin with what it returns."""
        self.now, self._registry_up = now, registry_up
        try:
            result = self._supervisor.init(*start.args, **start.kwargs)
            if isinstance(result, Ignore):
                self._end(InitIgnored())
            else:
                self._begin(result)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the start failed with it
            self._end(InitFailed(crash_reason(error)))
        self._work()
        return self._take_effects()

    def handle(self, event: KeeperEvent, now: float) -> list[KeeperEffect]:
        """Take *event* in at monotonic time *now* (seconds); return what to do."""
        self.now = now
        if self._is_over:
            return []
        match event:
            case RequestReceived():
                self._request(event)
            case RetryRestart():
                child = self.children.get(event.child_id)
                if child is not None and self._is_pending(child, event.incarnation):
                    self._retry(child)
            case RegistryUp():
                self._claim_again()
            case RegistryDown():
                self._go_on_unclaimed()
            case ShutdownRequested():
                self._shut_down(event.reason)
            case _:
                self._hear(event)
        self._work()
        return self._take_effects()

    def _use(self, flags: Flags) -> None:
        self.flags = flags
        self._intensity = RestartIntensity(flags.max_restarts, flags.max_seconds)

    # For the subclasses to decide

    @abc.abstractmethod
    def _begin(self, result: Any) -> None:
        """Begin with what `init` returned, or raise `InvalidChildSpecError`."""

    @abc.abstractmethod
    def _ready(self, child: Child, ref: ActorRef) -> None:
        """*child* has started as *ref* (called once per life); it may be dead already."""

    @abc.abstractmethod
    def _ended(self, child: Child, life: Life) -> None:
        """*life* of *child* is over, whether it had been ready or not (called once per life)."""

    @abc.abstractmethod
    def _change(self, event: RequestReceived) -> None:
        """Serve a request that changes something."""

    @abc.abstractmethod
    def _retry(self, child: Child) -> None:
        """Try the failed restart of *child* again."""

    @abc.abstractmethod
    def _shut_down(self, reason: ExitReason) -> None:
        """Stop all children, then end with *reason*."""

    @abc.abstractmethod
    def _work(self) -> None:
        """Do what can be done now (called last, after any event)."""

    # Lives

    def _start(self, child: Child) -> None:
        self._incarnations += 1
        life = Life(child.spec, self._incarnations)
        child.life, child.pending = life, None
        self._by_incarnation[life.incarnation] = child
        rival = self.children.rival_of(child)
        if rival is not None:
            # Only a group that is started together, or anew, has one without a process in it.
            shared = ChildFailed(life.incarnation, Crashed("its name is taken by another child"))
            taken = NameTaken(life.incarnation, rival.ref)
            self._do(life.handle(shared if rival.ref is None else taken))
            self._settle(child, life)
            return
        claim = self._registry_up and not child.has_claim and child.spec.name is not None
        child.has_claim = child.has_claim or claim
        self._do(life.begin(claim=claim))

    def _stop(self, child: Child) -> None:
        """Stop *child*; `_ended` follows, within this call if it has no process yet."""
        life = child.life
        if life is not None:
            self._do(life.stop())
            self._settle(child, life)

    def _hear(self, event: ChildEvent) -> None:
        """Take in news of a life, unless that is over."""
        child = self._by_incarnation.get(event.incarnation)
        life = child.life if child else None
        if child is None or life is None:
            return
        was_ready = life.ref is not None
        if isinstance(event, HeartbeatDue) and life.missed and life.ref is not None:
            self._announce_missed(child, life.ref, life.missed)
        self._do(life.handle(event))
        if isinstance(event, NameTaken | NameReserved):
            child.has_claim = False
        if life.ref is not None and not was_ready:
            self._drop_arguments(child, life)
            self._announce_start(child, life.ref)
            self._ready(child, life.ref)
        self._settle(child, life)

    def _settle(self, child: Child, life: Life) -> None:
        """Have `_ended` act once *life* is over."""
        if life.state is not LifeState.ENDED or child.life is not life:
            return
        child.life, child.last_exit = None, life.reason
        del self._by_incarnation[life.incarnation]
        self._ended(child, life)

    @staticmethod
    def _drop_arguments(child: Child, life: Life) -> None:
        """Forget what a temporary child was started with: it has one life (OTP: save_child)."""
        if child.spec.restart is Restart.TEMPORARY:
            bare = Start(child.spec.start.target)
            child.spec = life.spec = evolve(child.spec, start=bare)

    @staticmethod
    def _is_pending(child: Child, incarnation: int) -> bool:
        return child.pending is not None and child.pending.incarnation == incarnation

    # Restarts

    def _may_restart(self, child: Child, life: Life) -> bool:
        """Count a restart after *life*; if it is one too many, give up instead."""
        if self._intensity.allow(self.now):
            return True
        self._announce(GaveUp(supervisor=self.ref, child_id=child.id, reason=life.reason))
        self._shut_down(Shutdown(f"gave up on {quote(child.id)}"))
        return False

    def _try_later(self, child: Child, life: Life) -> None:
        """Try the restart that failed with *life* again, behind what waits already."""
        self._announce_death(child, life)
        self._effects.append(After(self.flags.backoff, RetryRestart(child.id, life.incarnation)))

    def _end(self, last: Exit | InitFailed | InitIgnored) -> None:
        """Leave; nothing that is heard after it changes anything."""
        self._effects.append(last)
        self._is_over = True

    # Announcements; what has happened is announced before what is done about it

    def _announce(self, event: SupervisorEvent) -> None:
        self._effects.append(Announce(event, self._intensity.count(self.now)))

    def _announce_start(self, child: Child, ref: ActorRef) -> None:
        recovered_after = None
        if child.died_at is not None:
            child.restarts += 1
            recovered_after = self.now - child.died_at
            child.died_at = None
        self._announce(
            ChildStarted(
                supervisor=self.ref,
                child_id=child.id,
                ref=ref,
                name=child.spec.name,
                recovered_after=recovered_after,
            )
        )

    def _announce_missed(self, child: Child, ref: ActorRef, missed: int) -> None:
        self._announce(
            HeartbeatMissed(
                supervisor=self.ref,
                child_id=child.id,
                ref=ref,
                missed=missed,
                name=child.spec.name,
            )
        )

    def _announce_death(self, child: Child, life: Life) -> None:
        """Announce the end of a *life* that nobody asked for."""
        comes_back = life.verdict is Verdict.RESTART
        self._announce_end(
            child, life, restarting=comes_back and not self._intensity.is_spent(self.now)
        )
        child.pending = life
        if comes_back and child.died_at is None:
            child.died_at = self.now

    def _announce_end(self, child: Child, life: Life, *, restarting: bool) -> None:
        event: SupervisorEvent
        if life.ref is not None:
            event = ChildExited(
                supervisor=self.ref,
                child_id=child.id,
                ref=life.ref,
                reason=life.reason,
                name=child.spec.name,
                on_request=life.on_request,
                restarting=restarting,
            )
        else:
            event = ChildStartFailed(
                supervisor=self.ref,
                child_id=child.id,
                reason=life.reason,
                name=child.spec.name,
                on_request=life.on_request,
                restarting=restarting,
            )
        self._announce(event)

    # Names

    def _claim_again(self) -> None:
        """Tell a registry that knows nothing what belongs to whom."""
        self._registry_up = True
        for child in self.children.values():
            life, name = child.life, child.spec.name
            child.has_claim = life is not None and name is not None
            if life is not None and name is not None:
                self._effects.append(life.claim())

    def _go_on_unclaimed(self) -> None:
        """Start those that wait for the registry: its own restart may wait for them.

        The next registry is told of them by `_claim_again`.
        """
        self._registry_up = False
        for child in list(self.children.values()):
            if child.life is not None and child.life.state is LifeState.CLAIMING:
                child.has_claim = False
                self._do(child.life.handle(NameClaimed(child.life.incarnation)))

    def _rest(self, child: Child) -> None:
        """Leave *child* without a process, and its name to others."""
        child.pending = child.died_at = None
        if child.has_claim and child.spec.name is not None:
            self._effects.append(Release(child.spec.name))
        child.has_claim = False

    def _forget(self, child: Child) -> None:
        """Drop the spec of *child*."""
        del self.children[child.id]
        self._rest(child)

    # Requests

    def _may_start(self, spec: ChildSpec, event: RequestReceived) -> bool:
        """Whether *spec*, which *event* asks to start, can be; otherwise see to *event*.

        Another child may have the same id or name. While that is starting, ending or
        restarting, *event* waits for what becomes of it; if it runs, it is named to the caller.
        """
        if self.children.is_open(spec):
            self._open.append((event, spec))
            return False
        holder = self.children.holder_of(spec)
        if holder is None or holder.ref is None:
            return True
        self._effects.append(RefuseStart(event, spec.id, holder.ref))
        return False

    def _take_decided(self) -> list[RequestReceived]:
        """Return the starts that need not wait any more, and wait for them no longer."""
        waiting, self._open = self._open, []
        decided: list[RequestReceived] = []
        for event, spec in waiting:
            if self.children.is_open(spec):
                self._open.append((event, spec))
            else:
                decided.append(event)
        return decided

    def _request(self, event: RequestReceived) -> None:
        """Answer a question at once; leave the rest to the subclass."""
        match event.request:
            case WhichChildren():
                self._reply(event.caller, self.children.infos())
            case CountChildren():
                self._reply(event.caller, self.children.counts())
            case GetChildSpec() | UpdateChild():
                self._look_up(event.caller, event.request)
            case _:
                self._change(event)

    def _look_up(self, caller: Caller, request: GetChildSpec | UpdateChild) -> None:
        try:
            child = self.children.find(request.child_id)
        except ChildNotFoundError as error:
            self._refuse(caller, error)
            return
        if isinstance(request, UpdateChild):
            self._update(child, request)
            self._reply(caller, None)
        else:
            self._reply(caller, child.spec)

    def _update(self, child: Child, change: UpdateChild) -> None:
        spec = child.spec
        if change.start is not None and spec.restart is not Restart.TEMPORARY:
            spec = evolve(spec, start=change.start)
        if change.value is not None:
            spec = evolve(spec, value=change.value)
        child.spec = spec
        if child.life is not None:
            child.life.spec = spec
            if child.has_claim and spec.name is not None:
                # Claiming what one holds tells the registry the new value.
                self._effects.append(child.life.claim())

    def _reply(self, caller: Caller | None, value: object) -> None:
        if caller is not None:
            self._effects.append(SendReply(caller, value))

    def _refuse(self, caller: Caller | None, error: SupervisorError) -> None:
        if caller is not None:
            self._effects.append(SendError(caller, error))

    def _do(self, effects: Iterable[KeeperEffect]) -> None:
        self._effects.extend(effects)

    def _take_effects(self) -> list[KeeperEffect]:
        effects, self._effects = self._effects, []
        return effects


def start_error(child: Child, life: Life) -> SupervisorError:
    """Return the error for whoever asked for a start that ended with *life*."""
    if life.holder is not None:
        return AlreadyStartedError(child.id, life.holder)
    if life.name_reserved:
        return InvalidChildSpecError(f"the name of child {word(child.id)} is reserved")
    return StartFailedError(child.id, life.reason)
