"""`Supervisor`: children known in advance, started in order, restarted by strategy.

Differs from `DynamicSupervisor`, which starts empty and keeps no order: here
the children are a list, and the order in it is a promise. They start from left
to right, one after the other, and stop from right to left.

`SupervisorLoop` is the machine. It does one operation at a time (start all,
restart a group, serve one request, shut down), as OTP's supervisor does; the
deaths and requests that arrive meanwhile wait, in order. Questions are answered
at once, and a shutdown ends any operation: both are deviations from OTP, which
blocks.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

from msgspec import Struct, field

from jidocode.base.exits import SHUTDOWN, ExitReason, FailedChild, Shutdown
from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import (
    ChildRestartingError,
    ChildRunningError,
    InvalidChildSpecError,
    SupervisorError,
)
from jidocode.otp.server.machine import Exit, InitDone, InitFailed
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import Ignore
from jidocode.otp.supervision.children import Child, Children
from jidocode.otp.supervision.keeper import Keeper, start_error
from jidocode.otp.supervision.life import Life
from jidocode.otp.supervision.machine import RequestReceived
from jidocode.otp.supervision.management import (
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
)
from jidocode.otp.supervision.specs import (
    AutoShutdown,
    ChildSpec,
    ChildSpecOptions,
    ChildType,
    Flags,
    Start,
    check_child,
    check_children,
)
from jidocode.otp.supervision.strategy import Restart, Verdict, restart_group


class Supervisor:
    """A process that starts, watches, restarts and stops others (OTP: supervisor).

    Subclass it and say in `init` what its children are. It holds no state of
    its own and runs no code of yours after `init`.
    """

    kind: ClassVar[str] = "supervisor"
    """What this process is, in one word, for refs, trees and logs."""

    @classmethod
    def child_spec(cls, *args: object, **options: Unpack[ChildSpecOptions]) -> ChildSpec:
        """Return a permanent supervisor spec that starts this class with *args*.

        *options* are the other fields of `ChildSpec`; `id` is the kind unless given.
        """
        options.setdefault("id", cls.kind)
        options.setdefault("type", ChildType.SUPERVISOR)
        return ChildSpec(start=Start(cls, *args), **options)

    def init(self, *args: Any, **kwargs: Any) -> tuple[Flags, Sequence[ChildSpec]] | Ignore:
        """Return the flags and the children, in start order (called once, first)."""
        raise NotImplementedError


class Purpose(enum.Enum):
    """What an operation is for."""

    INIT = "start all"
    ROLL_BACK = "stop what was started, the start has failed"
    RESTART = "restart a group"
    START_CHILD = "start one child"
    RESTART_CHILD = "start one stopped child"
    TERMINATE_CHILD = "stop one child"
    SHUT_DOWN = "stop all"


_ENDS = (Purpose.ROLL_BACK, Purpose.SHUT_DOWN)
"""After these there is no supervisor."""


class Operation(Struct, kw_only=True):
    """Stop some children in order, then start some in order, one at a time.

    OTP's supervisor does the like in one go, and hears of nothing until it is done. Here
    it is data: between two steps the supervisor answers questions, and a shutdown ends it.
    """

    purpose: Purpose
    stop: deque[str] = field(default_factory=deque[str])
    """Still to be stopped, last started first."""
    start: deque[str] = field(default_factory=deque[str])
    """Still to be started, in start order."""
    current: str | None = None
    """The child whose stop or start is under way."""
    is_starting: bool = False
    """Whether all stops are done."""
    caller: Caller | None = None
    """Who asked for it, and is answered at its end."""
    reason: ExitReason = SHUTDOWN
    """With what the supervisor ends, if it is for that."""

    def stops(self, child_id: str) -> bool:
        """Whether *child_id* is being stopped, or will be."""
        return not self.is_starting and (child_id == self.current or child_id in self.stop)

    def starts(self, child_id: str) -> bool:
        """Whether the start of *child_id* is under way."""
        return self.is_starting and child_id == self.current


class SupervisorLoop(Keeper):
    """Drives one `Supervisor`: events in, effects out."""

    def __init__(self, supervisor: Supervisor, ref: ActorRef) -> None:
        super().__init__(supervisor, ref)
        self._operation: Operation | None = None
        # Requests to serve and lives that ended, in the order they came.
        self._waiting: deque[RequestReceived | Life] = deque()

    def _begin(self, result: Any) -> None:
        match result:
            case (Flags() as flags, specs):
                self.children = Children.of(check_children(specs, flags))
                self._use(flags)
                self._operation = Operation(purpose=Purpose.INIT, start=deque(self.children))
            case _:
                raise InvalidChildSpecError(
                    f"init must return Flags and a sequence of children, got {quote(result)}"
                )

    # Work

    def _work(self) -> None:
        """Go on with the operation and then with what waits, as far as that needs no news."""
        while not self._is_over:
            operation = self._operation
            if operation is None:
                self._waiting.extendleft(reversed(self._take_decided()))
                if not self._waiting:
                    return
                self._take_up(self._waiting.popleft())
            elif operation.current is not None:
                return
            elif operation.stop:
                self._stop_next(operation)
            elif operation.start:
                self._start_next(operation)
            else:
                self._operation = None
                self._finish(operation)

    def _take_up(self, waiting: RequestReceived | Life) -> None:
        if isinstance(waiting, RequestReceived):
            self._serve(waiting)
            return
        child = self.children.get(waiting.spec.id)
        # Its end is no longer due if a group restart or a request was faster.
        if child is not None and child.pending is waiting:
            self._act_on_end(child, waiting)

    def _stop_next(self, operation: Operation) -> None:
        child = self.children[operation.stop.popleft()]
        if child.life is None:
            self._stopped(child, operation)
        else:
            operation.current = child.id
            self._stop(child)

    def _start_next(self, operation: Operation) -> None:
        operation.is_starting = True
        operation.current = operation.start.popleft()
        self._start(self.children[operation.current])

    def _finish(self, operation: Operation) -> None:
        match operation.purpose:
            case Purpose.INIT:
                self._effects.append(InitDone())
            case Purpose.ROLL_BACK:
                self._end(InitFailed(operation.reason))
            case Purpose.SHUT_DOWN:
                self._end(Exit(operation.reason))
            case Purpose.TERMINATE_CHILD:
                self._reply(operation.caller, None)
            case Purpose.RESTART | Purpose.START_CHILD | Purpose.RESTART_CHILD:
                pass

    # News of lives

    def _ready(self, child: Child, ref: ActorRef) -> None:
        operation = self._operation
        if operation is not None and operation.starts(child.id):
            operation.current = None
            self._reply(operation.caller, ref)

    def _ended(self, child: Child, life: Life) -> None:
        operation = self._operation
        if operation is not None and operation.starts(child.id):
            operation.current = None
            self._not_started(operation, child, life)
        elif operation is not None and operation.stops(child.id):
            comes_back = child.id in operation.start
            self._announce_end(child, life, restarting=comes_back)
            if comes_back:
                child.died_at = self.now
            if child.id == operation.current:
                operation.current = None
                self._stopped(child, operation)
        else:
            self._announce_death(child, life)
            self._waiting.append(life)

    def _stopped(self, child: Child, operation: Operation) -> None:
        """Have *child* wait for its new start, or keep or forget it without a process."""
        if child.id in operation.start:
            child.pending = None
        elif child.spec.restart is Restart.TEMPORARY:
            self._forget(child)
        else:
            self._rest(child)

    def _not_started(self, operation: Operation, child: Child, life: Life) -> None:
        if life.init_ignored:
            self._ignored(operation, child)
            return
        match operation.purpose:
            case Purpose.INIT:
                self._announce_end(child, life, restarting=False)
                failed = FailedChild(child.id, life.reason)
                self._stop_all(Purpose.ROLL_BACK, Shutdown(failed=failed))
            case Purpose.RESTART:
                self._try_later(child, life)
                self._operation = None
            case Purpose.START_CHILD:
                self._announce_end(child, life, restarting=False)
                self._forget(child)
                self._refuse(operation.caller, start_error(child, life))
            case _:
                self._announce_end(child, life, restarting=False)
                self._rest(child)
                self._refuse(operation.caller, start_error(child, life))

    def _ignored(self, operation: Operation, child: Child) -> None:
        if child.spec.restart is Restart.TEMPORARY:
            self._forget(child)
        else:
            self._rest(child)
        self._reply(operation.caller, None)

    # What to do about an end

    def _act_on_end(self, child: Child, life: Life) -> None:
        child.pending = None
        match life.verdict:
            case Verdict.RESTART:
                self._restart(child, life)
            case Verdict.KEEP:
                self._rest(child)
                self._maybe_auto_shutdown(child)
            case Verdict.FORGET:
                self._forget(child)
                self._maybe_auto_shutdown(child)

    def _restart(self, child: Child, life: Life) -> None:
        if self._may_restart(child, life):
            group = self._group(child)
            self._operation = Operation(
                purpose=Purpose.RESTART,
                stop=deque(other.id for other in reversed(group) if other is not child),
                start=deque(
                    other.id for other in group if other.spec.restart is not Restart.TEMPORARY
                ),
            )

    def _group(self, child: Child) -> list[Child]:
        """Return who shares the fate of *child*, in start order."""
        group = restart_group(self.flags.strategy, child.id, list(self.children))
        return [self.children[child_id] for child_id in group]

    def _retry(self, child: Child) -> None:
        if child.pending is not None:
            self._waiting.append(child.pending)

    def _maybe_auto_shutdown(self, child: Child) -> None:
        """End with the first significant child, or the last (OTP: do_auto_shutdown)."""
        if not child.spec.significant:
            return
        others = any(
            other.spec.significant and (other.life is not None or other.pending is not None)
            for other in self.children.values()
        )
        if self.flags.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not others:
            self._shut_down(SHUTDOWN)

    # Ends of the supervisor itself; whoever waits for an answer hears of the exit

    def _shut_down(self, reason: ExitReason) -> None:
        if self._operation is None or self._operation.purpose not in _ENDS:
            self._stop_all(Purpose.SHUT_DOWN, reason)

    def _stop_all(self, purpose: Purpose, reason: ExitReason) -> None:
        """Stop the child that is under way, then all others, last started first."""
        for child in self.children.values():
            child.died_at = None  # nobody comes back
        under_way = self._operation.current if self._operation else None
        last_first = list(reversed(self.children))
        stop = sorted(last_first, key=lambda child_id: child_id != under_way)
        self._operation = Operation(purpose=purpose, stop=deque(stop), reason=reason)

    # Requests

    def _change(self, event: RequestReceived) -> None:
        self._waiting.append(event)

    def _serve(self, event: RequestReceived) -> None:
        caller, request = event.caller, event.request
        try:
            match request:
                case StartChild():
                    spec = check_child(request.spec, self.flags)
                    if self._may_start(spec, event):
                        self._begin_start(Purpose.START_CHILD, caller, self.children.add(spec))
                case TerminateChild(child_id):
                    self._terminate_child(caller, self.children.find(child_id))
                case RestartChild(child_id):
                    child = self._stopped_child(child_id)
                    if self._may_start(child.spec, event):
                        self._begin_start(Purpose.RESTART_CHILD, caller, child)
                case DeleteChild(child_id):
                    self._forget(self._stopped_child(child_id))
                    self._reply(caller, None)
                case _:
                    unknown = f"a supervisor does not know {quote(request)} as a call"
                    self._refuse(caller, SupervisorError(unknown))
        except SupervisorError as error:
            self._refuse(caller, error)

    def _begin_start(self, purpose: Purpose, caller: Caller, child: Child) -> None:
        self._operation = Operation(purpose=purpose, start=deque([child.id]), caller=caller)

    def _terminate_child(self, caller: Caller, child: Child) -> None:
        if child.pending is not None:
            # The restart that ends here was to bring back siblings, too.
            for other in self._group(child):
                if other.life is None and other.pending is None:
                    self._rest(other)
        self._operation = Operation(
            purpose=Purpose.TERMINATE_CHILD, stop=deque([child.id]), caller=caller
        )

    def _stopped_child(self, child_id: str) -> Child:
        child = self.children.find(child_id)
        if child.life is not None:
            raise ChildRunningError(child.id)
        if child.pending is not None:
            raise ChildRestartingError(child.id)
        return child
