"""The dynamic supervisor in a world where everything goes wrong, beside a plain model.

The model is Elixir's DynamicSupervisor without its blocking: it starts, stops
and restarts children side by side, so it is a table and a few short reactions.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import invariant

from jidocode.base.exits import ExitReason, Shutdown
from jidocode.otp.supervision.dynamic_supervisor import DynamicFlags, DynamicSupervisorLoop
from jidocode.otp.supervision.management import Request, StartChild, TerminateChild
from jidocode.otp.supervision.specs import Flags, Start
from tests.otp.chaos import CHILD_IDS, Chaos, Fate, Reference, Registry, flags, specs
from tests.otp.machines import SUPERVISOR, Pool


class ElixirSupervisor(Reference):
    """dynamic_supervisor.ex, with children by id."""

    def __init__(self, options: Flags, limit: int | None, names: Registry) -> None:
        super().__init__(options, names)
        self.limit = limit
        self.children: dict[str, Fate] = {}
        self.tried_again: set[Fate] = set()
        self.waiting_for_retry: set[str] = set()
        self.starters: dict[Fate, int] = {}
        self.stoppers: dict[str, list[int]] = {}
        self.leaving: ExitReason | None = None
        self.put_off: list[tuple[int, Any]] = []
        self.commands.append(("initialised",))

    def go_on(self) -> None:
        for fate in list(self.children.values()):
            number = self.starters.get(fate)
            if fate.ready and number is not None:
                del self.starters[fate]
                self.commands.append(("reply", number, fate.incarnation))
        self.bury_refused()
        put_off, self.put_off = self.put_off, []
        for number, spec in put_off:
            if self.leaving is None:
                self.start_child(number, spec)
        self.bury_refused()
        if self.leaving is not None and not self.children:
            self.commands.append(("exit", self.leaving))

    def bury_refused(self) -> None:
        """Starts whose name was taken end before they begin."""
        for fate in list(self.children.values()):
            if fate.over and fate.spec.id not in self.waiting_for_retry:
                self.ended(fate)

    def counts(self) -> tuple[int, int]:
        return len(self.children), sum(fate.serves for fate in self.children.values())

    def call(self, number: int, request: Request) -> None:
        if self.leaving is not None:
            return
        match request:
            case StartChild(spec):
                self.start_child(number, spec)
            case TerminateChild(child_id) if child_id in self.children:
                self.stoppers.setdefault(child_id, []).append(number)
                self.stop(self.children[child_id])
            case _:
                self.commands.append(("refuse", number, "ChildNotFoundError"))

    def start_child(self, number: int, spec: Any) -> None:
        present = self.children.get(spec.id)
        if present is not None and present.serves:
            self.commands.append(("refuse", number, "AlreadyStartedError"))
        elif present is not None:  # nobody knows yet what becomes of it
            self.put_off.append((number, spec))
        elif self.limit is not None and len(self.children) >= self.limit:
            self.commands.append(("refuse", number, "MaxChildrenError"))
        else:
            self.starters[self.begin(spec)] = number

    def begin(self, spec: Any) -> Fate:
        fate = self.start_process(spec, len(self.fates) + 1)
        self.children[spec.id] = fate
        return fate

    def stop(self, fate: Fate) -> None:
        if fate.spec.id in self.waiting_for_retry:
            self.forget(fate)
            return
        self.ask_to_stop(fate)
        if fate.over:
            self.forget(fate)

    def forget(self, fate: Fate) -> None:
        del self.children[fate.spec.id]
        self.waiting_for_retry.discard(fate.spec.id)
        for number in self.stoppers.pop(fate.spec.id, []):
            self.commands.append(("reply", number, None))
        starter = self.starters.pop(fate, None)
        if starter is not None and fate.ignored:
            self.commands.append(("reply", starter, None))
        elif starter is not None:
            spawned = ("spawn", fate.spec.id, fate.incarnation) in self.commands
            error = "StartFailedError" if spawned else "AlreadyStartedError"
            self.commands.append(("refuse", starter, error))

    def ended(self, fate: Fate) -> None:
        asked = fate.told_to_stop or fate.spec.id in self.stoppers or self.leaving is not None
        restarted = fate in self.tried_again
        if asked or fate.ignored or not (fate.ready or restarted):
            self.forget(fate)
        elif not fate.ready:
            self.waiting_for_retry.add(fate.spec.id)
            retry = ("retry", fate.spec.id, fate.incarnation)
            self.timers[retry] = self.now + self.flags.backoff
        elif self.comes_back(fate):
            self.restart(fate)
        else:
            self.forget(fate)

    def restart(self, fate: Fate) -> None:
        if self.may_restart(fate):
            self.waiting_for_retry.discard(fate.spec.id)
            self.tried_again.add(self.begin(fate.spec))
        else:
            self.waiting_for_retry.add(fate.spec.id)
            self.shut_down(Shutdown(f"gave up on '{fate.spec.id}'"))

    def retry(self, child_id: str, incarnation: int) -> None:
        fate = self.children.get(child_id)
        if child_id in self.waiting_for_retry and fate and fate.incarnation == incarnation:
            self.restart(fate)

    def shut_down(self, reason: ExitReason) -> None:
        if self.leaving is None:
            self.leaving = reason
            for fate in list(self.children.values()):
                self.stop(fate)


class DynamicSupervisorInChaos(Chaos):
    """Any children, starts and stops, with and without a limit."""

    def begin(self, data: st.DataObject) -> None:
        self.reset()
        options = data.draw(flags())
        self.limit = data.draw(st.sampled_from([None, None, 0, 1, 3]))
        self.reference = ElixirSupervisor(options, self.limit, self.names)
        start = Start(Pool, DynamicFlags(flags=options, max_children=self.limit))
        self.loop = DynamicSupervisorLoop.of(start, SUPERVISOR)
        self.carry_out(self.loop.start(start, 0.0, registry_up=True))
        self.compare()

    def somebody_asks(self, data: st.DataObject) -> None:
        child_id = data.draw(st.sampled_from(CHILD_IDS))
        request: Any = data.draw(st.sampled_from([StartChild, StartChild, TerminateChild]))
        self.ask(request(data.draw(specs(child_id)) if request is StartChild else child_id))

    @invariant()
    def limit_holds(self) -> None:
        """There are never more processes than places."""
        assert self.limit is None or len(self.living()) <= self.limit


TestDynamicSupervisorInChaos = DynamicSupervisorInChaos.TestCase
TestDynamicSupervisorInChaos.settings = settings(
    max_examples=60, stateful_step_count=50, derandomize=True
)
