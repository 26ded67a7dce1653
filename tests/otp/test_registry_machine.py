"""The registry in a world of supervisors that die, with lost, doubled and late notices.

The world below knows which processes really live, and nothing of the table's
rules. Each sender's messages arrive in order, those of different senders in
any order; notices of death get lost or come twice, registrations come again
late, and a watch fires once, at any time after the death. The listener's
events alone must suffice to tell who runs under which name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct, field

from jidocode.base.exits import Crashed, ExitReason, Killed
from jidocode.base.refs import ActorRef, Name
from jidocode.otp.naming.messages import (
    Live,
    NameDown,
    NameGranted,
    NameRefused,
    NameRegistered,
    NameUnregistered,
    Restarting,
)
from jidocode.otp.naming.monitors import Notify
from jidocode.otp.naming.table import AnswerLookUp, Confirm, NameTable, TableEffect, Watch
from jidocode.otp.server.messages import Down

SUPERVISOR_NAMES: list[Name] = [("session", "a"), ("session", "b")]
CHILD_NAMES: list[Name] = [("manager", "a"), ("state", "a")]
WHY = Crashed("told by its supervisor")

Step = Callable[[], list[TableEffect]]


class Slot(Struct, eq=False):
    """A name that a supervisor wants, and the process that it runs under it."""

    claim: tuple[ActorRef, int] | None = None
    granted: bool = False
    process: ActorRef | None = None


class Supervisor(Struct, eq=False):
    """What a supervisor knows, and what it has sent that has not arrived."""

    ref: ActorRef
    starts: int = 0
    slots: dict[Name, Slot] = field(default_factory=dict["Name", Slot])
    outbox: deque[Step] = field(default_factory=deque[Step])


class RegistryMachine(RuleBasedStateMachine):
    """Supervisors under one root want the same few names."""

    def __init__(self) -> None:
        super().__init__()
        self.table = NameTable()
        self.table.subscribe("listener")
        self.pids = 0
        self.alive: set[ActorRef] = set()
        self.lives: list[ActorRef] = []
        self.owners: dict[ActorRef, ActorRef] = {}
        self.registrations: list[tuple[Name, Supervisor, ActorRef]] = []
        self.root = Supervisor(self.born("root", 1))
        self.supervisors: list[Supervisor] = []
        # What the effects say.
        self.running: dict[Name, ActorRef] = {}
        self.newest: dict[tuple[Name, ActorRef], int] = {}
        self.former: set[tuple[Name, ActorRef]] = set()
        self.last_grant: dict[Name, ActorRef] = {}
        self.pending: set[tuple[Name, ActorRef]] = set()
        self.watches: list[ActorRef] = []
        self.looks: list[tuple[Name, ActorRef]] = []
        self.fired: set[ActorRef] = set()
        self.monitors: dict[int, ActorRef] = {}
        self.tokens = 0
        self.waits: dict[int, Name] = {}

    # The world.

    def born(self, kind: str, incarnation: int) -> ActorRef:
        self.pids += 1
        ref = ActorRef(kind, incarnation, self.pids, self.pids)
        self.alive.add(ref)
        self.lives.append(ref)
        return ref

    def spawned(self, supervisor: Supervisor, name: Name) -> ActorRef:
        supervisor.starts += 1
        ref = self.born(name[0], supervisor.starts)
        self.owners[ref] = supervisor.ref
        return ref

    def living(self) -> list[Supervisor]:
        return [item for item in self.supervisors if item.ref in self.alive]

    def everybody(self) -> list[Supervisor]:
        return [self.root, *self.supervisors]

    def slots(self) -> list[tuple[Supervisor, Name, Slot]]:
        return [(item, name, slot) for item in self.living() for name, slot in item.slots.items()]

    def doomed(self) -> list[ActorRef]:
        """Processes that live on, for a moment, without anybody who keeps them."""
        kept = {slot.process for _, _, slot in self.slots()}
        return [ref for ref in self.alive if ref.kind in {"manager", "state"} and ref not in kept]

    # Carrying out the effects.

    def carry_out(self, effects: list[TableEffect]) -> None:
        for effect in effects:
            match effect:
                case Watch(ref):
                    assert ref not in self.watches
                    self.watches.append(ref)
                case Confirm(name, ref):
                    assert ref in self.watches
                    self.looks.append((name, ref))
                case AnswerLookUp(token, found):
                    assert isinstance(token, int)
                    assert self.table.lookup(self.waits.pop(token)) == found
                case Notify("listener", message):
                    self.heard(message)
                case Notify("app", Down(token, ref, reason)):
                    self.down(token, ref, reason)
                case Notify(to, message):
                    assert isinstance(to, ActorRef)
                    self.answered(to, message)

    def heard(self, event: object) -> None:
        match event:
            case NameRegistered(name, ref, _):
                assert name not in self.running
                self.assert_dead(name, lambda other: other != ref)
                owner = self.owners[ref]
                assert ref.incarnation >= self.newest.get((name, owner), 0)
                self.newest[name, owner] = ref.incarnation
                self.former.add((name, ref))
                self.running[name] = ref
            case NameUnregistered(name, ref):
                self.former.discard((name, ref))
                assert self.running.pop(name) == ref
            case NameDown(name, ref, _):
                assert ref not in self.alive
                assert self.running.pop(name) == ref
            case _:
                raise AssertionError(event)

    def down(self, token: int, ref: ActorRef, reason: ExitReason) -> None:
        assert self.monitors.pop(token) == ref
        assert ref not in self.alive
        assert reason is not None
        assert not self.table.keys(ref)

    def answered(self, owner: ActorRef, message: object) -> None:
        match message:
            case NameGranted(name, incarnation):
                self.assert_dead(name, lambda other: self.owners[other] != owner)
                self.last_grant[name] = owner
                self.pending.discard((name, owner))
                for supervisor, wanted, slot in self.slots():
                    if wanted == name:
                        assert supervisor.ref == owner or not slot.granted
                        slot.granted = slot.granted or slot.claim == (owner, incarnation)
            case NameRefused(name, _, holder):
                assert self.last_grant[name] != owner
                # Only a process that is there refuses, as far as the registry can know.
                assert holder == self.running.get(name)
                assert holder is not None or owner not in self.pending_owners(name)
                assert (name, owner) in self.pending or owner not in self.alive
                self.pending.discard((name, owner))
                for supervisor, wanted, _ in self.slots():
                    if (supervisor.ref, wanted) == (owner, name):
                        del supervisor.slots[name]
            case _:
                raise AssertionError(message)

    def pending_owners(self, name: Name) -> set[ActorRef]:
        return {owner for wanted, owner in self.pending if wanted == name}

    def assert_dead(self, name: Name, others: Callable[[ActorRef], bool]) -> None:
        """Check that the processes that ran under *name* do not run any more."""
        for ref in [ref for known, ref in self.former if known == name and others(ref)]:
            assert ref not in self.alive

    # Supervisors.

    @precondition(lambda self: len(self.supervisors) < 6)
    @rule(name=st.sampled_from(SUPERVISOR_NAMES), named=st.booleans(), prompt=st.booleans())
    def start_supervisor(self, name: Name, *, named: bool, prompt: bool) -> None:
        slot = self.root.slots.setdefault(name, Slot())
        if slot.process is not None:
            return
        ref = self.spawned(self.root, name)
        slot.process = ref
        self.supervisors.append(Supervisor(ref))
        if named:
            self.send_registration(self.root, name, ref, prompt=prompt)

    @precondition(lambda self: self.living())
    @rule(data=st.data(), name=st.sampled_from(CHILD_NAMES), prompt=st.booleans())
    def claim(self, data: st.DataObject, name: Name, *, prompt: bool) -> None:
        supervisor = data.draw(st.sampled_from(self.living()))
        slot = supervisor.slots.setdefault(name, Slot())
        if slot.process is not None:
            return

        def arrive() -> list[TableEffect]:
            if self.table._monitors.is_dead(supervisor.ref):
                effects = self.table.claim(name, supervisor.ref, incarnation)
                assert effects == []
                return effects
            self.pending.add((name, supervisor.ref))
            return self.table.claim(name, supervisor.ref, incarnation)

        supervisor.starts += 1
        incarnation = supervisor.starts
        slot.claim = (supervisor.ref, incarnation)
        self.send(supervisor, arrive, prompt=prompt)

    @precondition(lambda self: any(slot.granted for _, _, slot in self.slots()))
    @rule(data=st.data(), prompt=st.booleans())
    def spawn(self, data: st.DataObject, *, prompt: bool) -> None:
        granted = [item for item in self.slots() if item[2].granted]
        supervisor, name, slot = data.draw(st.sampled_from(granted))
        if slot.process is None:
            slot.process = self.spawned(supervisor, name)
            self.send_registration(supervisor, name, slot.process, prompt=prompt)

    def send(self, supervisor: Supervisor, arrive: Step, *, prompt: bool) -> None:
        """Put a message under way; a *prompt* one arrives at once, behind its elders."""
        supervisor.outbox.append(arrive)
        if prompt:
            self.flush(supervisor, len(supervisor.outbox))

    def flush(self, supervisor: Supervisor, count: int) -> None:
        for _ in range(count):
            self.carry_out(supervisor.outbox.popleft()())

    def send_registration(
        self, supervisor: Supervisor, name: Name, ref: ActorRef, *, prompt: bool
    ) -> None:
        def arrive() -> list[TableEffect]:
            self.registrations.append((name, supervisor, ref))
            return self.table.register(name, supervisor.ref, ref)

        self.send(supervisor, arrive, prompt=prompt)

    @precondition(lambda self: self.unnoticed())
    @rule(data=st.data(), copies=st.integers(0, 2), prompt=st.booleans())
    def notice_a_death(self, data: st.DataObject, copies: int, *, prompt: bool) -> None:
        """Have a supervisor see that a child is dead; its notice may be lost, or doubled."""
        supervisor, slot = data.draw(st.sampled_from(self.unnoticed()))
        ref, slot.process = slot.process, None
        assert ref is not None
        for _ in range(copies):
            self.send(supervisor, lambda: self.table.process_died(ref, WHY), prompt=prompt)

    def unnoticed(self) -> list[tuple[Supervisor, Slot]]:
        return [
            (supervisor, slot)
            for supervisor in [self.root, *self.living()]
            for slot in supervisor.slots.values()
            if slot.process is not None and slot.process not in self.alive
        ]

    @precondition(lambda self: self.slots())
    @rule(data=st.data(), prompt=st.booleans())
    def release(self, data: st.DataObject, *, prompt: bool) -> None:
        """Let go of a name, also while its process still runs."""
        supervisor, name, _ = data.draw(st.sampled_from(self.slots()))
        del supervisor.slots[name]

        def arrive() -> list[TableEffect]:
            self.pending.discard((name, supervisor.ref))
            return self.table.release(name, supervisor.ref)

        self.send(supervisor, arrive, prompt=prompt)

    # The rest of the world.

    @precondition(lambda self: any(item.outbox for item in self.everybody()))
    @rule(data=st.data(), count=st.integers(1, 4))
    def deliver(self, data: st.DataObject, count: int) -> None:
        senders = [item for item in self.everybody() if item.outbox]
        sender = data.draw(st.sampled_from(senders))
        self.flush(sender, min(count, len(sender.outbox)))

    @precondition(lambda self: len(self.alive) > 1)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        victims = [ref for ref in self.lives if ref in self.alive and ref != self.root.ref]
        self.alive.discard(data.draw(st.sampled_from(victims)))

    @precondition(lambda self: self.ready_watches())
    @rule(data=st.data())
    def a_watch_fires(self, data: st.DataObject) -> None:
        self.fire(data.draw(st.sampled_from(self.ready_watches())))

    @precondition(lambda self: self.looks)
    @rule(data=st.data())
    def a_look_is_over(self, data: st.DataObject) -> None:
        """A watch on a process that was dead by then has fired before."""
        look = data.draw(st.sampled_from(self.looks))
        self.looks.remove(look)
        if look[1] not in self.alive and look[1] in self.ready_watches():
            self.fire(look[1])
        self.carry_out(self.table.confirm(*look))

    def ready_watches(self) -> list[ActorRef]:
        return [ref for ref in self.watches if ref not in self.alive and ref not in self.fired]

    def fire(self, ref: ActorRef) -> None:
        self.fired.add(ref)
        self.carry_out(self.table.process_vanished(ref, Killed()))

    @precondition(lambda self: self.registrations)
    @rule(data=st.data())
    def a_registration_comes_again(self, data: st.DataObject) -> None:
        """Late, but not for a name that its owner let go of meanwhile."""
        name, supervisor, ref = data.draw(st.sampled_from(self.registrations))
        if name in supervisor.slots:
            self.carry_out(self.table.register(name, supervisor.ref, ref))

    @rule(data=st.data(), name=st.sampled_from(CHILD_NAMES + SUPERVISOR_NAMES))
    def unregister(self, data: st.DataObject, name: Name) -> None:
        self.carry_out(self.table.unregister(name, data.draw(st.sampled_from(self.lives))))

    @rule(data=st.data(), drop=st.booleans())
    def monitor(self, data: st.DataObject, *, drop: bool) -> None:
        target = data.draw(st.sampled_from(self.lives))
        self.tokens += 1
        self.monitors[self.tokens] = target
        self.carry_out(self.table.monitor(self.tokens, target, "app"))
        if drop and self.tokens in self.monitors:
            del self.monitors[self.tokens]
            self.table.demonitor(self.tokens, "app")

    @rule(name=st.sampled_from(CHILD_NAMES), cancel=st.booleans())
    def await_live(self, name: Name, *, cancel: bool) -> None:
        self.tokens += 1
        self.waits[self.tokens] = name
        self.carry_out(self.table.await_live(name, self.tokens))
        if cancel:
            self.waits.pop(self.tokens, None)
            self.table.cancel_wait(self.tokens)

    # What must hold.

    @invariant()
    def the_listener_knows_who_runs_under_which_name(self) -> None:
        for name in CHILD_NAMES + SUPERVISOR_NAMES:
            found = self.table.lookup(name)

            assert (found.ref if isinstance(found, Live) else None) == self.running.get(name)

    @invariant()
    def only_names_between_two_lives_are_waited_for(self) -> None:
        for name in self.waits.values():
            assert isinstance(self.table.lookup(name), Restarting)

    def teardown(self) -> None:
        """Let the world come to rest, then let it end without a word."""
        self.come_to_rest()

        owners = {entry.name: entry.owner for entry in self.table.select(lambda _: True)}
        for name, owner in self.pending:
            if owner in self.alive:  # another one is to bring the name back to life
                assert self.table.lookup(name) == Restarting()
                assert owners[name] in self.alive - {owner}
        for owner in {entry.owner for entry in self.table.select(lambda _: True)}:
            assert owner in self.alive

        self.alive.clear()
        while ready := self.ready_watches():
            self.fire(ready[-1])  # The inner ones first: those are waited for the longest.

        assert self.table.count() == 0
        assert not self.running
        assert not self.monitors
        assert not self.waits
        assert not self.table._claims
        assert not self.table._watched
        assert not self.table._vanished

    def come_to_rest(self) -> None:
        self.alive.difference_update(self.doomed())
        for supervisor in self.everybody():
            self.flush(supervisor, len(supervisor.outbox))
        for ref in self.lives:
            if self.owners.get(ref) in self.alive and ref not in self.alive:
                self.carry_out(self.table.process_died(ref, WHY))
        while ready := self.ready_watches():
            self.fire(ready[0])
        for look in self.looks:
            self.carry_out(self.table.confirm(*look))


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=40, stateful_step_count=40)
