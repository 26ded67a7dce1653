"""`DynamicSupervisor`: starts with no children; they come and go on demand.

Differs from `Supervisor`: no order between children, always one_for_one, and
nothing waits for anything: children start, stop and restart side by side, so
one slow `init` blocks nobody (deviation from Elixir, where the start function
runs inside the supervisor). A shutdown stops all children at once.

Children are known by the id of their spec, which must be unique (Elixir knows
them by pid): a stale id cannot hit the wrong process after a restart.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from attrs import field, frozen

from jidocode.base.exits import ExitReason
from jidocode.base.records import Record
from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import (
    ChildRunningError,
    InvalidChildSpecError,
    MaxChildrenError,
    SupervisorError,
)
from jidocode.otp.server.machine import Exit, InitDone
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import Ignore
from jidocode.otp.supervision.children import Child
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
    is_count,
)
from jidocode.otp.supervision.strategy import Strategy, Verdict


def _is_for_dynamic(_: object, __: object, value: Any) -> None:
    if not isinstance(value, Flags):
        raise InvalidChildSpecError(f"flags must be Flags, got {quote(value)}")
    if value.strategy is not Strategy.ONE_FOR_ONE:
        raise InvalidChildSpecError("a dynamic supervisor's strategy is always ONE_FOR_ONE")
    if value.auto_shutdown is not AutoShutdown.NEVER:
        raise InvalidChildSpecError("a dynamic supervisor's auto_shutdown is always NEVER")


def _is_max_children(_: object, __: object, value: Any) -> None:
    if value is not None and not is_count(value):
        raise InvalidChildSpecError(f"max_children must be None or an int >= 0, got {quote(value)}")


@frozen(eq=False, repr=False, kw_only=True)
class DynamicFlags(Record):
    """What a dynamic supervisor does (Elixir: DynamicSupervisor.init/1).

    Attributes:
        flags: Restart budget and back-off; the strategy is always
            one_for_one, auto_shutdown always never.
        max_children: How many children there may be, counting those that are
            starting or restarting; None for no limit.
    """

    flags: Flags = field(factory=Flags, validator=_is_for_dynamic)
    max_children: int | None = field(default=None, validator=_is_max_children)


class DynamicSupervisor:
    """A supervisor of children that come and go (Elixir: DynamicSupervisor)."""

    kind: ClassVar[str] = "dynamic_supervisor"
    """What this process is, in one word, for refs, trees and logs."""

    @classmethod
    def child_spec(cls, *args: object, **options: Unpack[ChildSpecOptions]) -> ChildSpec:
        """Return a permanent supervisor spec that starts this class with *args*.

        *options* are the other fields of `ChildSpec`; `id` is the kind unless given.
        """
        options.setdefault("id", cls.kind)
        options.setdefault("type", ChildType.SUPERVISOR)
        return ChildSpec(start=Start(cls, *args), **options)

    def init(self, *args: Any, **kwargs: Any) -> DynamicFlags | Ignore:
        """Return the flags (called once, first)."""
        del args, kwargs
        return DynamicFlags()


class DynamicSupervisorLoop(Keeper):
    """Drives one `DynamicSupervisor`: events in, effects out."""

    def __init__(self, supervisor: DynamicSupervisor, ref: ActorRef) -> None:
        super().__init__(supervisor, ref)
        self._options = DynamicFlags()
        self._starters: dict[str, Caller] = {}
        self._stoppers: dict[str, list[Caller]] = {}
        self._exit: ExitReason | None = None

    def _begin(self, result: Any) -> None:
        if not isinstance(result, DynamicFlags):
            raise InvalidChildSpecError(f"init must return DynamicFlags, got {quote(result)}")
        self._options = result
        self._use(result.flags)
        self._effects.append(InitDone())

    # News of lives

    def _ready(self, child: Child, ref: ActorRef) -> None:
        self._reply(self._starters.pop(child.id, None), ref)

    def _ended(self, child: Child, life: Life) -> None:
        first_start_failed = life.ref is None and child.died_at is None
        wanted = not (life.on_request or life.init_ignored or first_start_failed)
        if not wanted or life.verdict is not Verdict.RESTART:
            self._drop(child, life)
        elif life.ref is None:
            self._try_later(child, life)
        else:
            self._announce_death(child, life)
            self._restart(child, life)

    def _drop(self, child: Child, life: Life) -> None:
        """Forget a child that is not wanted back, and answer whoever asked for its start."""
        if not life.init_ignored:
            self._announce_end(child, life, restarting=False)
        self._forget(child)
        starter = self._starters.pop(child.id, None)
        if life.init_ignored:
            self._reply(starter, None)
        else:
            self._refuse(starter, start_error(child, life))

    def _forget(self, child: Child) -> None:
        super()._forget(child)
        for caller in self._stoppers.pop(child.id, ()):
            self._reply(caller, None)

    def _restart(self, child: Child, life: Life) -> None:
        if self._may_restart(child, life):
            self._start(child)

    def _retry(self, child: Child) -> None:
        if child.pending is not None:
            self._restart(child, child.pending)

    # Ends

    def _remove(self, child: Child) -> None:
        """Stop *child*, or forget it at once if it has no process."""
        if child.life is None:
            self._forget(child)
        else:
            self._stop(child)

    def _shut_down(self, reason: ExitReason) -> None:
        if self._exit is None:
            self._exit = reason
            for child in list(self.children.values()):
                self._remove(child)

    def _work(self) -> None:
        for event in self._take_decided():
            self._change(event)
        if self._exit is not None and not self.children:
            self._end(Exit(self._exit))

    # Requests

    def _change(self, event: RequestReceived) -> None:
        if self._exit is not None:
            return  # whoever waits for an answer hears of the exit
        caller, request = event.caller, event.request
        try:
            match request:
                case StartChild():
                    self._start_child(event, check_child(request.spec, self.flags))
                case TerminateChild(child_id):
                    child = self.children.find(child_id)
                    self._stoppers.setdefault(child.id, []).append(caller)
                    self._remove(child)
                case RestartChild(child_id) | DeleteChild(child_id):
                    self.children.find(child_id)
                    raise ChildRunningError(child_id)  # one that does not run is forgotten
                case _:
                    unknown = f"a dynamic supervisor does not know {quote(request)} as a call"
                    self._refuse(caller, SupervisorError(unknown))
        except SupervisorError as error:
            self._refuse(caller, error)

    def _start_child(self, event: RequestReceived, spec: ChildSpec) -> None:
        if not self._may_start(spec, event):
            return
        limit = self._options.max_children
        if limit is not None and len(self.children) >= limit:
            raise MaxChildrenError(limit)
        child = self.children.add(spec)
        self._starters[child.id] = event.caller
        self._start(child)
