"""`DynamicSupervisor`: starts with no children; they come and go on demand.

Differs from `Supervisor`: no order between children, always one_for_one, and
nothing waits for anything: children start, stop and restart side by side, so
one slow `init` blocks nobody (deviation from Elixir, where the start function
runs inside the supervisor). A shutdown stops all children at once.

Children are known by the id of their spec, which must be unique (Elixir knows
them by pid): a stale id cannot hit the wrong process after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import attrs

from jidocode.errors import (
    AlreadyStartedError,
    InvalidChildSpecError,
    MaxChildrenError,
    SupervisorError,
    shown,
)
from jidocode.otp.children import After, Life
from jidocode.otp.events import GaveUp
from jidocode.otp.exits import SHUTDOWN, ExitReason, Shutdown
from jidocode.otp.intensity import RestartIntensity
from jidocode.otp.keeper import Announce, Child, Keeper, KeeperEffect, RetryRestart
from jidocode.otp.management import Request, StartChild, TerminateChild
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
from jidocode.otp.specs import ChildSpec, ChildType, Flags, Start, check_child
from jidocode.otp.strategy import Restart, Verdict, verdict
from jidocode.otp.supervisor import start_error


def _check_max_children(_options: object, _field: object, value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidChildSpecError(f"max_children must be None or an int >= 0, got {shown(value)}")


@attrs.frozen(kw_only=True)
class DynamicFlags:
    """What a dynamic supervisor does (Elixir: DynamicSupervisor.init/1).

    Attributes:
        flags: Restart budget; the strategy is always one_for_one.
        max_children: How many children there may be, counting those that are
            starting or restarting; None for no limit.
        extra_arguments: Put before the arguments of each child's `init`.
    """

    flags: Flags = attrs.field(factory=Flags)
    max_children: int | None = attrs.field(default=None, validator=_check_max_children)
    extra_arguments: Sequence[object] = ()


class DynamicSupervisor:
    """A supervisor of children that come and go (Elixir: DynamicSupervisor)."""

    kind: ClassVar[str] = "dynamic_supervisor"
    """What this process is, in one word, for refs, trees and logs."""

    @classmethod
    def child_spec(cls, *args: object, **options: Any) -> ChildSpec:
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
        super().__init__(ref)
        self._supervisor = supervisor
        self._options = DynamicFlags()
        self._intensity = RestartIntensity(0, 1.0)
        self._starters: dict[str, Caller] = {}
        self._stoppers: dict[str, list[Caller]] = {}
        self._exit: ExitReason | None = None

    @classmethod
    def of(cls, start: Start, ref: ActorRef) -> Self:
        """Return the loop of a fresh dynamic supervisor of *start*'s class."""
        return cls(start.target(), ref)

    def start(self, start: Start, now: float, *, registry_up: bool = False) -> list[KeeperEffect]:
        """Run `init` with the arguments of *start*."""
        self.now, self._registry_up = now, registry_up
        try:
            options = self._supervisor.init(*start.args, **start.kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the start failed with it
            return [InitFailed(crash_reason(error))]
        if isinstance(options, Ignore):
            return [InitIgnored()]
        self._options = options
        flags = options.flags
        self._intensity = RestartIntensity(flags.max_restarts, flags.max_seconds)
        return [Initialised()]

    # News of lives

    def _ready(self, child: Child) -> None:
        self._reply(self._starters.pop(child.id, None), child.ref)
        if child.spec.restart is Restart.TEMPORARY:
            # It is never started again: its arguments need no keeping (OTP: save_child).
            child.spec = attrs.evolve(child.spec, start=Start(child.spec.start.target))

    def _ended(self, child: Child, life: Life) -> None:
        if self._exit is not None or life.on_request or life.ignored:
            self._drop(child, life)
        elif life.ref is None and child.died_at is not None:
            self._try_later(child, life)
        elif life.ref is None:
            self._drop(child, life)
        else:
            self._died(child, life)

    def _drop(self, child: Child, life: Life) -> None:
        """Forget a child that is not wanted back, and answer whoever waits for that."""
        if not life.ignored:
            self._announce_end(child, life, restarting=False)
        self._forget(child)
        starter = self._starters.pop(child.id, None)
        if life.ignored:
            self._reply(starter, None)
        else:
            self._refuse(starter, start_error(child, life))
        for caller in self._stoppers.pop(child.id, ()):
            self._reply(caller, None)
        self._maybe_exit()

    def _died(self, child: Child, life: Life) -> None:
        restarting = verdict(child.spec.restart, life.reason) is Verdict.RESTART
        if not restarting:
            self._drop(child, life)
            return
        self._announce_end(child, life, restarting=True)
        child.died_at = self.now
        self._restart(child, life.reason)

    def _restart(self, child: Child, reason: ExitReason) -> None:
        if self._intensity.allow(self.now):
            self._start(child)
        else:
            self._effects.append(
                Announce(GaveUp(supervisor=self.ref, child_id=child.id, reason=reason))
            )
            self._shut_down(SHUTDOWN)

    def _try_later(self, child: Child, life: Life) -> None:
        self._announce_end(child, life, restarting=True)
        child.retry = life.incarnation
        retry = RetryRestart(child.id, life.incarnation)
        self._effects.append(After(self._options.flags.backoff, retry))

    def _retry(self, event: RetryRestart) -> None:
        child = self.children.get(event.child_id)
        if child is not None and child.retry == event.incarnation:
            child.retry = None
            self._restart(child, Shutdown("the restart failed"))

    # Shutdown

    def _shut_down(self, reason: ExitReason) -> None:
        if self._exit is not None:
            return
        self._exit = reason
        for child in list(self.children.values()):
            if child.life is None:
                self._forget(child)
            else:
                self._stop(child)
        self._maybe_exit()

    def _maybe_exit(self) -> None:
        if self._exit is not None and not self.children:
            self._effects.append(Exit(self._exit))

    # Requests

    def _change(self, caller: Caller, request: Request) -> None:
        try:
            match request:
                case StartChild():
                    self._start_child(caller, request.spec)
                case TerminateChild():
                    self._terminate_child(caller, request.child_id)
                case _:
                    raise InvalidChildSpecError(
                        f"a dynamic supervisor does not serve {type(request).__name__}"
                    )
        except SupervisorError as error:
            self._refuse(caller, error)

    def _start_child(self, caller: Caller, spec: object) -> None:
        spec = check_child(spec, self._options.flags)
        present = self.children.get(spec.id)
        if present is not None:
            raise AlreadyStartedError(spec.id, present.ref)
        limit = self._options.max_children
        if self._exit is not None or (limit is not None and len(self.children) >= limit):
            raise MaxChildrenError(0 if self._exit is not None else len(self.children))
        if self._options.extra_arguments:
            start = spec.start.with_extra(self._options.extra_arguments)
            spec = attrs.evolve(spec, start=start)
        child = self.children[spec.id] = Child(spec)
        self._starters[spec.id] = caller
        self._start(child)

    def _terminate_child(self, caller: Caller, child_id: str) -> None:
        child = self._known(child_id)
        if child.life is None:
            self._forget(child)
            self._reply(caller, None)
        else:
            self._stoppers.setdefault(child.id, []).append(caller)
            self._stop(child)
