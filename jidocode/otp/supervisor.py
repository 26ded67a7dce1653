"""`Supervisor`: children known in advance, started in order, restarted by strategy.

Differs from `DynamicSupervisor`, which starts empty and keeps no order: here
the children are a list, and the order in it is a promise. They start from left
to right, one after the other, and stop from right to left.

`SupervisorLoop` is the machine. It does one operation at a time (start all,
restart a group, serve one request, shut down), as OTP's supervisor does; what
arrives meanwhile waits, in order. Questions are answered at once, and a
shutdown ends any operation: both are deviations from OTP, which blocks.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import attrs

from jidocode.errors import (
    AlreadyPresentError,
    AlreadyStartedError,
    ChildRestartingError,
    ChildRunningError,
    InvalidChildSpecError,
    StartFailedError,
    SupervisorError,
    shown,
)
from jidocode.otp.children import After, Life
from jidocode.otp.events import GaveUp
from jidocode.otp.exits import SHUTDOWN, ExitReason, Shutdown, is_normal
from jidocode.otp.intensity import RestartIntensity
from jidocode.otp.keeper import Announce, Child, Keeper, KeeperEffect, RetryRestart
from jidocode.otp.management import (
    DeleteChild,
    Request,
    RestartChild,
    StartChild,
    TerminateChild,
)
from jidocode.otp.refs import ActorRef
from jidocode.otp.server import (
    Caller,
    Exit,
    Ignore,
    InitFailed,
    Initialised,
    InitIgnored,
    crash_reason,
)
from jidocode.otp.specs import (
    AutoShutdown,
    ChildSpec,
    ChildType,
    Flags,
    Start,
    check_child,
    check_children,
)
from jidocode.otp.strategy import Restart, Verdict, affected, verdict


class Supervisor:
    """A process that starts, watches, restarts and stops others (OTP: supervisor).

    Subclass it and say in `init` what its children are. It holds no state of
    its own and runs no code of yours after `init`.
    """

    kind: ClassVar[str] = "supervisor"
    """What this process is, in one word, for refs, trees and logs."""

    @classmethod
    def child_spec(cls, *args: object, **options: Any) -> ChildSpec:
        """Return a permanent supervisor spec that starts this class with *args*.

        *options* are the other fields of `ChildSpec`; `id` is the kind unless given.
        """
        options.setdefault("id", cls.kind)
        options.setdefault("type", ChildType.SUPERVISOR)
        return ChildSpec(start=Start(cls, *args), **options)

    def init(self, *args: Any, **kwargs: Any) -> tuple[Flags, Sequence[ChildSpec]] | Ignore:
        """Return the flags and the children, in start order (called once, first)."""
        raise NotImplementedError


class Kind(enum.Enum):
    """What an operation is for."""

    INIT = "start all"
    ROLL_BACK = "stop what was started, the start has failed"
    RESTART = "restart a group"
    START_CHILD = "start one child"
    RESTART_CHILD = "start one stopped child"
    TERMINATE_CHILD = "stop one child"
    SHUT_DOWN = "stop all"


def _queue(child_ids: Iterable[str]) -> deque[str]:
    return deque(child_ids)


@attrs.define(kw_only=True)
class Operation:
    """Stop some children in order, then start some in order, one at a time."""

    kind: Kind
    stop: deque[str] = attrs.field(factory=deque[str], converter=_queue)
    """Still to be stopped, last started first."""
    start: deque[str] = attrs.field(factory=deque[str], converter=_queue)
    """Still to be started, in start order."""
    current: str | None = None
    """The child whose stop or start is under way."""
    starting: bool = False
    """Whether all stops are done."""
    caller: Caller | None = None
    reason: ExitReason = SHUTDOWN

    def stops(self, child_id: str) -> bool:
        """Whether *child_id* is being stopped, or will be."""
        return not self.starting and (child_id == self.current or child_id in self.stop)

    def starts(self, child_id: str) -> bool:
        """Whether the start of *child_id* is under way."""
        return self.starting and child_id == self.current


class SupervisorLoop(Keeper):
    """Drives one `Supervisor`: events in, effects out."""

    def __init__(self, supervisor: Supervisor, ref: ActorRef) -> None:
        super().__init__(ref)
        self._supervisor = supervisor
        self.flags = Flags()
        self._intensity = RestartIntensity(0, 1.0)
        self._operation: Operation | None = None
        self._deaths: deque[tuple[Child, ExitReason]] = deque()
        self._waiting: deque[tuple[Caller, Request] | RetryRestart] = deque()

    @classmethod
    def of(cls, start: Start, ref: ActorRef) -> Self:
        """Return the loop of a fresh supervisor of *start*'s class."""
        return cls(start.target(), ref)

    def start(self, start: Start, now: float, *, registry_up: bool = False) -> list[KeeperEffect]:
        """Run `init` with the arguments of *start* and start the children."""
        self.now, self._registry_up = now, registry_up
        try:
            result = self._supervisor.init(*start.args, **start.kwargs)
            if isinstance(result, Ignore):
                return [InitIgnored()]
            flags, specs = result
            children = check_children(specs, flags)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the start failed with it
            return [InitFailed(crash_reason(error))]
        self.flags = flags
        self._intensity = RestartIntensity(flags.max_restarts, flags.max_seconds)
        self.children = {spec.id: Child(spec) for spec in children}
        self._begin(Operation(kind=Kind.INIT, start=self.children))
        return self._take()

    # Operations

    def _begin(self, operation: Operation) -> None:
        self._operation = operation
        self._advance()

    def _advance(self) -> None:
        """Do the next steps of the operation, as far as they need no waiting."""
        while (operation := self._operation) is not None and operation.current is None:
            if operation.stop:
                self._stop_next(operation)
            elif operation.start:
                self._start_next(operation)
            else:
                self._operation = None
                self._finish(operation)
                self._go_on()

    def _stop_next(self, operation: Operation) -> None:
        child = self.children.get(operation.stop.popleft())
        if child is not None and child.life is not None:
            operation.current = child.id
            self._stop(child)
        elif child is not None:
            self._stopped(child, operation)

    def _start_next(self, operation: Operation) -> None:
        operation.starting = True
        child = self.children[operation.start.popleft()]
        operation.current = child.id
        self._start(child)

    def _finish(self, operation: Operation) -> None:
        match operation.kind:
            case Kind.INIT:
                self._effects.append(Initialised())
            case Kind.ROLL_BACK:
                self._effects.append(InitFailed(operation.reason))
            case Kind.SHUT_DOWN:
                self._effects.append(Exit(operation.reason))
            case Kind.TERMINATE_CHILD:
                self._reply(operation.caller, None)
            case Kind.RESTART | Kind.START_CHILD | Kind.RESTART_CHILD:
                pass

    def _go_on(self) -> None:
        """Take up what came during the operation: deaths first, then requests."""
        while self._operation is None:
            if self._deaths:
                self._died(*self._deaths.popleft())
            elif self._waiting:
                waiting = self._waiting.popleft()
                if isinstance(waiting, RetryRestart):
                    self._retry(waiting)
                else:
                    self._change(*waiting)
            else:
                return

    # News of lives

    def _ready(self, child: Child) -> None:
        operation = self._operation
        if operation is None or not operation.starts(child.id):
            return
        operation.current = None
        if operation.kind in (Kind.START_CHILD, Kind.RESTART_CHILD):
            self._reply(operation.caller, child.ref)
        self._advance()

    def _ended(self, child: Child, life: Life) -> None:
        operation = self._operation
        if operation is not None and operation.starts(child.id):
            self._not_started(operation, child, life)
        elif operation is not None and operation.stops(child.id):
            will_return = child.id in operation.start
            self._announce_end(child, life, restarting=will_return)
            if will_return:
                child.died_at = self.now
            if operation.current == child.id:
                operation.current = None
                self._stopped(child, operation)
                self._advance()
        else:
            restarting = verdict(child.spec.restart, life.reason) is Verdict.RESTART
            self._announce_end(child, life, restarting=restarting)
            child.died_at = self.now if restarting else None
            if operation is None:
                self._died(child, life.reason)
            else:
                self._deaths.append((child, life.reason))

    def _stopped(self, child: Child, operation: Operation) -> None:
        """Keep or forget a child that an operation has stopped."""
        child.retry = None
        shutting_down = operation.kind in (Kind.SHUT_DOWN, Kind.ROLL_BACK)
        if child.spec.restart is Restart.TEMPORARY and not shutting_down:
            self._forget(child)

    def _not_started(self, operation: Operation, child: Child, life: Life) -> None:
        operation.current = None
        if life.ignored:
            self._ignored(operation, child)
            return
        match operation.kind:
            case Kind.INIT:
                self._announce_end(child, life, restarting=False)
                self._roll_back(f"failed to start child {child.id}: {life.reason}")
            case Kind.RESTART:
                self._announce_end(child, life, restarting=True)
                child.retry = life.incarnation
                retry = RetryRestart(child.id, life.incarnation)
                self._effects.append(After(self.flags.backoff, retry))
                self._operation = None
                self._go_on()
            case _:
                self._announce_end(child, life, restarting=False)
                if operation.kind is Kind.START_CHILD:
                    self._forget(child)
                child.died_at = None
                self._refuse(operation.caller, start_error(child, life))
                self._advance()

    def _ignored(self, operation: Operation, child: Child) -> None:
        child.died_at = None
        if child.spec.restart is Restart.TEMPORARY:
            self._forget(child)
        if operation.kind in (Kind.START_CHILD, Kind.RESTART_CHILD):
            self._reply(operation.caller, None)
        self._advance()

    def _roll_back(self, detail: str) -> None:
        self._begin(
            Operation(
                kind=Kind.ROLL_BACK,
                stop=reversed(self.children),
                reason=Shutdown(detail),
            )
        )

    # Deaths

    def _died(self, child: Child, reason: ExitReason) -> None:
        """Act on the death of *child*, unless a later start has overtaken it."""
        if child.life is not None or self.children.get(child.id) is not child:
            return
        match verdict(child.spec.restart, reason):
            case Verdict.RESTART:
                self._restart(child, reason)
            case Verdict.KEEP:
                self._maybe_auto_shutdown(child, reason)
            case Verdict.FORGET:
                self._forget(child)
                self._maybe_auto_shutdown(child, reason)

    def _restart(self, child: Child, reason: ExitReason) -> None:
        if not self._intensity.allow(self.now):
            self._effects.append(
                Announce(GaveUp(supervisor=self.ref, child_id=child.id, reason=reason))
            )
            self._shut_down(SHUTDOWN)
            return
        group = affected(self.flags.strategy, child.id, list(self.children))
        self._begin(
            Operation(
                kind=Kind.RESTART,
                stop=[other for other in reversed(group) if other != child.id],
                start=[other for other in group if self._comes_back(other)],
            )
        )

    def _comes_back(self, child_id: str) -> bool:
        return self.children[child_id].spec.restart is not Restart.TEMPORARY

    def _retry(self, event: RetryRestart) -> None:
        child = self.children.get(event.child_id)
        if child is None or child.retry != event.incarnation:
            return
        if self._operation is not None:
            self._waiting.append(event)
        else:
            child.retry = None
            self._restart(child, Shutdown("the restart failed"))

    def _maybe_auto_shutdown(self, child: Child, reason: ExitReason) -> None:
        """End with the last significant child, or the first (OTP: do_auto_shutdown)."""
        ended_well = child.spec.restart is Restart.TEMPORARY or is_normal(reason)
        if not (child.spec.significant and ended_well):
            return
        others = any(c.spec.significant and c.life is not None for c in self.children.values())
        if self.flags.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not others:
            self._shut_down(SHUTDOWN)

    def _shut_down(self, reason: ExitReason) -> None:
        operation = self._operation
        if operation is not None and operation.kind in (Kind.SHUT_DOWN, Kind.ROLL_BACK):
            return
        self._deaths.clear()
        self._waiting.clear()
        self._begin(Operation(kind=Kind.SHUT_DOWN, stop=reversed(self.children), reason=reason))

    # Requests

    def _change(self, caller: Caller, request: Request) -> None:
        if self._operation is not None:
            self._waiting.append((caller, request))
            return
        try:
            match request:
                case StartChild():
                    self._start_child(caller, request.spec)
                case TerminateChild():
                    self._terminate_child(caller, self._known(request.child_id))
                case RestartChild():
                    child = self._stopped_child(request.child_id)
                    self._begin_start(Kind.RESTART_CHILD, caller, child)
                case DeleteChild():
                    self._forget(self._stopped_child(request.child_id))
                    self._reply(caller, None)
                case _:
                    raise InvalidChildSpecError(f"unknown request {shown(request)}")
        except SupervisorError as error:
            self._refuse(caller, error)

    def _start_child(self, caller: Caller, spec: object) -> None:
        spec = check_child(spec, self.flags)
        present = self.children.get(spec.id)
        if present is not None and present.ref is not None:
            raise AlreadyStartedError(spec.id, present.ref)
        if present is not None:
            raise AlreadyPresentError(spec.id)
        child = self.children[spec.id] = Child(spec)
        self._begin_start(Kind.START_CHILD, caller, child)

    def _begin_start(self, kind: Kind, caller: Caller, child: Child) -> None:
        self._begin(Operation(kind=kind, start=[child.id], caller=caller))

    def _terminate_child(self, caller: Caller, child: Child) -> None:
        self._begin(Operation(kind=Kind.TERMINATE_CHILD, stop=[child.id], caller=caller))

    def _stopped_child(self, child_id: str) -> Child:
        child = self._known(child_id)
        if child.life is not None:
            raise ChildRunningError(child.id)
        if child.retry is not None:
            raise ChildRestartingError(child.id)
        return child


def start_error(child: Child, life: Life) -> SupervisorError:
    """Return the error for whoever asked for a start that ended with *life*."""
    if life.refused:
        return AlreadyStartedError(child.id, life.holder)
    return StartFailedError(child.id, life.reason)
