"""What static and dynamic supervisors have in common: keeping children.

A `Keeper` starts and stops lives, turns news about them into one call of
`_ready` or `_ended` each, and answers questions. Which child is started or
stopped when is decided by its two subclasses, `SupervisorLoop` and
`DynamicSupervisorLoop`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

import attrs

from jidocode.errors import CallError, ChildNotFoundError, SupervisorError, shown
from jidocode.otp.children import (
    ChildEffect,
    ChildEvent,
    ChildReady,
    Claim,
    Life,
    LifeState,
)
from jidocode.otp.events import ChildExited, ChildStarted, ChildStartFailed, SupervisorEvent
from jidocode.otp.exits import ExitReason
from jidocode.otp.management import (
    ChildCounts,
    ChildInfo,
    ChildStatus,
    CountChildren,
    GetChildSpec,
    Request,
    WhichChildren,
)
from jidocode.otp.refs import ActorRef, Name
from jidocode.otp.server import (
    Caller,
    Exit,
    InitFailed,
    Initialised,
    InitIgnored,
    SendError,
    SendReply,
)
from jidocode.otp.specs import ChildSpec, ChildType

# ----- events and effects of a supervisor, beyond those of its children ----------


@attrs.frozen
class RequestReceived:
    """*caller* waits for the answer to *request*."""

    caller: Caller
    request: Request


@attrs.frozen
class RetryRestart:
    """Try again to restart a child; stale unless *incarnation* was its last try."""

    child_id: str
    incarnation: int


@attrs.frozen
class RegistryUp:
    """A registry is there, the first one or a new one that knows nothing yet."""


@attrs.frozen
class ShutdownRequested:
    """Stop all children and end with *reason*."""

    reason: ExitReason


KeeperEvent = ChildEvent | RequestReceived | RetryRestart | RegistryUp | ShutdownRequested


@attrs.frozen
class Announce:
    """Tell the registry and the app."""

    event: SupervisorEvent


@attrs.frozen
class Release:
    """Give *name* back: its child will not come again."""

    name: Name


KeeperEffect = (
    ChildEffect
    | Announce
    | Release
    | SendReply
    | SendError
    | Initialised
    | InitIgnored
    | InitFailed
    | Exit
)


@attrs.define
class Child:
    """A spec that a supervisor keeps, with its present life if it has one."""

    spec: ChildSpec
    life: Life | None = None
    claimed: bool = False
    restarts: int = 0
    retry: int | None = None
    """The incarnation whose failed restart waits for another try."""
    died_at: float | None = None
    """When its last process was known to be dead, while it is being replaced."""

    @property
    def id(self) -> str:
        """The id of the spec."""
        return self.spec.id

    @property
    def ref(self) -> ActorRef | None:
        """The process, once its `init` is done and until its end."""
        return self.life.ref if self.life else None

    @property
    def running(self) -> bool:
        """Whether it has answered and was not told to stop."""
        return self.life is not None and self.life.state is LifeState.RUNNING

    @property
    def status(self) -> ChildStatus:
        """How it stands, for those who ask."""
        if self.life is None:
            return ChildStatus.STOPPED if self.retry is None else ChildStatus.RESTARTING
        match self.life.state:
            case LifeState.CLAIMING | LifeState.STARTING:
                return ChildStatus.STARTING if self.died_at is None else ChildStatus.RESTARTING
            case LifeState.RUNNING:
                return ChildStatus.RUNNING
            case _:
                return ChildStatus.STOPPING


class Keeper(abc.ABC):
    """Keeps children by id, in start order, and their lives by incarnation."""

    def __init__(self, ref: ActorRef) -> None:
        self.ref = ref
        self.children: dict[str, Child] = {}
        self._by_incarnation: dict[int, Child] = {}
        self._incarnations = 0
        self._registry_up = False
        self._effects: list[KeeperEffect] = []
        self.now = 0.0

    def handle(self, event: KeeperEvent, now: float) -> list[KeeperEffect]:
        """Take *event* in at monotonic time *now* (seconds); return what to do."""
        self.now = now
        match event:
            case RequestReceived():
                self._request(event.caller, event.request)
            case RetryRestart():
                self._retry(event)
            case RegistryUp():
                self._claim_again()
            case ShutdownRequested():
                self._shut_down(event.reason)
            case _:
                self._news(event)
        return self._take()

    # For the subclasses to decide

    @abc.abstractmethod
    def _ready(self, child: Child) -> None:
        """*child* answers now (called once per life)."""

    @abc.abstractmethod
    def _ended(self, child: Child, life: Life) -> None:
        """*life* of *child* is over, whether it had been ready or not (called once per life)."""

    @abc.abstractmethod
    def _change(self, caller: Caller, request: Request) -> None:
        """Serve a *request* that changes something."""

    @abc.abstractmethod
    def _retry(self, event: RetryRestart) -> None:
        """Try a failed restart again."""

    @abc.abstractmethod
    def _shut_down(self, reason: ExitReason) -> None:
        """Stop all children, then end with *reason*."""

    # Lives

    def _start(self, child: Child) -> None:
        self._incarnations += 1
        life = Life(child.spec, self._incarnations)
        child.life, child.retry = life, None
        self._by_incarnation[life.incarnation] = child
        claim = self._registry_up and not child.claimed
        self._do(life.begin(claim=claim))

    def _stop(self, child: Child) -> None:
        """Stop *child*; `_ended` follows, within this call if it has no process yet."""
        life = child.life
        if life is not None:
            self._do(life.stop())
            self._settle(child, life)

    def _news(self, event: ChildEvent) -> None:
        child = self._by_incarnation.get(event.incarnation)
        life = child.life if child else None
        if child is None or life is None or life.incarnation != event.incarnation:
            return
        was = life.state
        self._do(life.handle(event))
        if was is LifeState.CLAIMING and life.state is LifeState.STARTING:
            child.claimed = True
        if isinstance(event, ChildReady) and was is LifeState.STARTING:
            self._announce_start(child, event.ref)
            self._ready(child)
        else:
            self._settle(child, life)

    def _settle(self, child: Child, life: Life) -> None:
        if life.state is not LifeState.ENDED or child.life is not life:
            return
        child.life = None
        del self._by_incarnation[life.incarnation]
        self._ended(child, life)

    def _announce_start(self, child: Child, ref: ActorRef) -> None:
        recovered_after = None
        if child.died_at is not None:
            child.restarts += 1
            recovered_after = self.now - child.died_at
            child.died_at = None
        self._effects.append(
            Announce(
                ChildStarted(
                    supervisor=self.ref,
                    child_id=child.id,
                    ref=ref,
                    name=child.spec.name,
                    recovered_after=recovered_after,
                )
            )
        )

    def _announce_end(self, child: Child, life: Life, *, restarting: bool) -> None:
        """Announce the end of *life*; must come before what is done about it."""
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
                restarting=restarting,
            )
        self._effects.append(Announce(event))

    # Names

    def _claim_again(self) -> None:
        """Tell a registry that knows nothing what belongs to whom."""
        self._registry_up = True
        for child in self.children.values():
            life, name = child.life, child.spec.name
            child.claimed = life is not None and life.state is not LifeState.CLAIMING
            if life is not None and name is not None:
                self._effects.append(Claim(life.incarnation, name, child.spec.value, life.ref))

    def _forget(self, child: Child) -> None:
        """Drop the spec of *child*, and its name with it."""
        del self.children[child.id]
        if child.claimed and child.spec.name is not None:
            self._effects.append(Release(child.spec.name))

    # Requests

    def _request(self, caller: Caller, request: Request) -> None:
        match request:
            case WhichChildren():
                self._reply(caller, tuple(self._info(child) for child in self.children.values()))
            case CountChildren():
                self._reply(caller, self._counts())
            case GetChildSpec():
                self._get_spec(caller, request.child_id)
            case _:
                self._change(caller, request)

    def _get_spec(self, caller: Caller, child_id: str) -> None:
        try:
            self._reply(caller, self._known(child_id).spec)
        except ChildNotFoundError as error:
            self._refuse(caller, error)

    def _known(self, child_id: Any) -> Child:
        child = self.children.get(child_id) if isinstance(child_id, str) else None
        if child is None:
            raise ChildNotFoundError(shown(child_id))
        return child

    @staticmethod
    def _info(child: Child) -> ChildInfo:
        return ChildInfo(child.id, child.ref, child.status, child.spec.type, child.restarts)

    def _counts(self) -> ChildCounts:
        children = self.children.values()
        supervisors = sum(child.spec.type is ChildType.SUPERVISOR for child in children)
        return ChildCounts(
            specs=len(children),
            active=sum(child.running for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )

    def _reply(self, caller: Caller | None, value: object) -> None:
        if caller is not None:
            self._effects.append(SendReply(caller, value))

    def _refuse(self, caller: Caller | None, error: SupervisorError | CallError) -> None:
        if caller is not None:
            self._effects.append(SendError(caller, error))

    def _do(self, effects: Iterable[KeeperEffect]) -> None:
        self._effects.extend(effects)

    def _take(self) -> list[KeeperEffect]:
        effects, self._effects = self._effects, []
        return effects
