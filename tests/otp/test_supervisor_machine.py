"""The supervisor in a world where everything goes wrong, beside OTP's supervisor.

The reference below is supervisor.erl as the sequential program that it is: it
blocks while a child starts or stops, and takes one message after the other from
its mailbox. Its generator yields wherever OTP's process would wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve
from hypothesis import settings, strategies as st
from msgspec import Struct

from jidocode.base.exits import SHUTDOWN, ExitReason, Shutdown
from jidocode.otp.supervision.management import (
    DeleteChild,
    Request,
    RestartChild,
    StartChild,
    TerminateChild,
)
from jidocode.otp.supervision.specs import AutoShutdown, ChildSpec, Flags, Start
from jidocode.otp.supervision.strategy import Restart, Strategy
from jidocode.otp.supervision.supervisor import SupervisorLoop
from tests.otp.chaos import CHILD_IDS, Chaos, Fate, Reference, Registry, flags, specs
from tests.otp.machines import SUPERVISOR, Tree

Waiting = Iterator[None]


class Record(Struct):
    """OTP's child record: `pid` is a start, or None; `restarting` while it is to be tried again."""

    spec: ChildSpec
    pid: Fate | None = None
    restarting: bool = False

    @property
    def runs(self) -> bool:
        """Whether it has a process that is not known to have ended."""
        return self.pid is not None and not self.pid.over and not self.restarting


class ErlangSupervisor(Reference):
    """supervisor.erl."""

    def __init__(self, options: Flags, children: Sequence[ChildSpec], names: Registry) -> None:
        super().__init__(options, names)
        self.children = [Record(spec) for spec in children]
        self.mailbox: deque[tuple[Any, ...]] = deque()
        self.put_off: list[tuple[Any, ...]] = []
        self.under_way: Record | None = None
        self.leaving = False
        self.program = self.main()

    # Messages

    def go_on(self) -> None:
        next(self.program, None)

    def call(self, number: int, request: Request) -> None:
        self.mailbox.append(("call", number, request))

    def retry(self, child_id: str, incarnation: int) -> None:
        self.mailbox.append(("try_again", child_id, incarnation))

    def ended(self, fate: Fate) -> None:
        self.mailbox.append(("EXIT", fate))

    def shut_down(self, reason: ExitReason) -> None:
        # OTP's supervisor would end what it is doing first: the one deviation.
        if not self.leaving:
            self.program = self.leave(reason)

    def counts(self) -> tuple[int, int]:
        return len(self.children), sum(
            bool(child.pid and child.pid.serves) for child in self.children
        )

    # The program

    def main(self) -> Waiting:
        failed: list[Record] = []
        yield from self.start_children(list(self.children), failed)
        if failed:
            self.leaving = True
            yield from self.stop_children(self.children)
            self.commands.append(("failed",))
            return
        self.commands.append(("initialised",))
        while True:
            self.take_back()
            while not self.mailbox:
                yield
                self.take_back()
            end: list[ExitReason] = []
            yield from self.handle(self.mailbox.popleft(), end)
            if end:
                yield from self.leave(end[0])
                return

    def leave(self, reason: ExitReason) -> Waiting:
        """Stop whoever is being started or stopped right now, then the others in reverse."""
        self.leaving = True
        if self.under_way is not None:
            yield from self.stop_children([self.under_way])
        yield from self.stop_children(self.children)
        self.commands.append(("exit", reason))

    def handle(self, message: tuple[Any, ...], end: list[ExitReason]) -> Waiting:
        match message:
            case ("EXIT", fate):
                for child in self.children:
                    if child.pid is fate and not child.restarting:
                        yield from self.do_restart(child, end)
                        return
            case ("try_again", child_id, incarnation):
                tried = self.find(child_id)
                # A cancelled try never runs, not even for a later life.
                if tried and tried.restarting and tried.pid is self.fates[incarnation]:
                    yield from self.restart(tried, end)
            case ("call", number, request):
                yield from self.serve(number, request)
            case _:
                raise AssertionError(message)

    # The one deviation here: a start waits until it is known who has the id

    def take_back(self) -> None:
        """Put the starts that wait no more before all other messages."""
        decided = [each for each in self.put_off if not self.is_open(each[2].spec.id)]
        self.put_off = [each for each in self.put_off if each not in decided]
        self.mailbox.extendleft(reversed(decided))

    def is_open(self, child_id: str) -> bool:
        child = self.find(child_id)
        return child is not None and child.pid is not None and not child.pid.serves

    def find(self, child_id: str) -> Record | None:
        return next((child for child in self.children if child.spec.id == child_id), None)

    # Starts and stops, each of which blocks

    def start(self, child: Record) -> Waiting:
        self.under_way, child.restarting = child, False
        child.pid = fate = self.start_process(child.spec, len(self.fates) + 1)
        while not (fate.ready or fate.over):
            yield
        self.under_way = None

    def start_children(self, group: list[Record], failed: list[Record]) -> Waiting:
        for child in group:
            yield from self.start(child)
            assert child.pid is not None
            if child.pid.ready:
                continue
            if not child.pid.ignored:
                failed.append(child)
                return
            self.delete(child)

    def stop(self, child: Record) -> Waiting:
        fate = child.pid
        if fate is not None and not fate.over:
            self.under_way = child
            self.ask_to_stop(fate)
            yield from self.wait_for_the_end(fate)
            self.under_way = None
        child.pid, child.restarting = None, False

    @staticmethod
    def wait_for_the_end(fate: Fate) -> Waiting:
        while not fate.over:
            yield

    def stop_children(self, group: list[Record]) -> Waiting:
        """Last started first; temporary ones are not kept (terminate_children)."""
        for child in reversed(list(group)):
            yield from self.stop(child)
            self.delete(child)

    def delete(self, child: Record) -> None:
        """Keep the spec without a process, unless it is temporary (del_child)."""
        child.pid, child.restarting = None, False
        if child.spec.restart is Restart.TEMPORARY and child in self.children:
            self.children.remove(child)

    # Restarts

    def do_restart(self, child: Record, end: list[ExitReason]) -> Waiting:
        assert child.pid is not None
        if self.comes_back(child.pid):
            yield from self.restart(child, end)
        else:
            self.delete(child)
            if self.auto_shutdown(child):
                end.append(SHUTDOWN)

    def auto_shutdown(self, child: Record) -> bool:
        match self.flags.auto_shutdown:
            case AutoShutdown.NEVER:
                return False
            case AutoShutdown.ANY_SIGNIFICANT:
                return child.spec.significant
            case AutoShutdown.ALL_SIGNIFICANT:
                return child.spec.significant and not any(
                    other.spec.significant and other.pid is not None for other in self.children
                )

    def restart(self, child: Record, end: list[ExitReason]) -> Waiting:
        assert child.pid is not None
        if not self.may_restart(child.pid):
            self.delete(child)
            end.append(Shutdown(f"gave up on '{child.spec.id}'"))
            return
        position = self.children.index(child)
        match self.flags.strategy:
            case Strategy.ONE_FOR_ONE:
                group = [child]
            case Strategy.ONE_FOR_ALL:
                group = list(self.children)
            case Strategy.REST_FOR_ONE:
                group = self.children[position:]
        yield from self.stop_children(group)
        failed: list[Record] = []
        yield from self.start_children([c for c in group if c in self.children], failed)
        for other in failed:
            assert other.pid is not None
            other.restarting = True
            retry = ("retry", other.spec.id, other.pid.incarnation)
            self.timers[retry] = self.now + self.flags.backoff

    # Requests

    def serve(self, number: int, request: Request) -> Waiting:
        match request:
            case StartChild(spec) if self.is_open(spec.id):
                self.put_off.append(("call", number, request))
            case StartChild(spec):
                yield from self.start_child(number, spec)
            case TerminateChild(child_id) | RestartChild(child_id) | DeleteChild(child_id):
                child = self.find(child_id)
                if child is None:
                    self.commands.append(("refuse", number, "ChildNotFoundError"))
                elif isinstance(request, TerminateChild):
                    yield from self.stop(child)
                    self.delete(child)
                    self.commands.append(("reply", number, None))
                elif child.pid is not None:
                    error = "ChildRunningError" if child.runs else "ChildRestartingError"
                    self.commands.append(("refuse", number, error))
                elif isinstance(request, RestartChild):
                    yield from self.start_for(number, child)
                else:
                    self.children.remove(child)
                    self.commands.append(("reply", number, None))
            case _:
                raise AssertionError(request)

    def start_child(self, number: int, spec: ChildSpec) -> Waiting:
        present = self.find(spec.id)
        if present is not None:
            error = "AlreadyStartedError" if present.runs else "AlreadyPresentError"
            self.commands.append(("refuse", number, error))
            return
        child = Record(spec)
        self.children.append(child)
        yield from self.start_for(number, child)
        if child.pid is None and ("refuse", number) == self.commands[-1][:2]:
            self.children.remove(child)

    def start_for(self, number: int, child: Record) -> Waiting:
        yield from self.start(child)
        fate = child.pid
        assert fate is not None
        if fate.ready:
            self.commands.append(("reply", number, fate.incarnation))
        elif fate.ignored:
            self.delete(child)
            self.commands.append(("reply", number, None))
        else:
            taken = (("spawn", child.spec.id, fate.incarnation)) not in self.commands
            error = "AlreadyStartedError" if taken else "StartFailedError"
            child.pid = None
            self.commands.append(("refuse", number, error))


class SupervisorInChaos(Chaos):
    """Any strategy, any children, any requests."""

    def begin(self, data: st.DataObject) -> None:
        self.reset()
        self.options = options = data.draw(
            flags(strategy=st.sampled_from(Strategy), auto_shutdown=st.sampled_from(AutoShutdown))
        )
        child_ids = CHILD_IDS[: data.draw(st.sampled_from([3, 2, 4, 1, 0]))]
        children = [self.draw_spec(data, child_id) for child_id in child_ids]
        self.reference = ErlangSupervisor(options, children, self.names)
        start = Start(Tree, (options, children))
        self.loop = SupervisorLoop.of(start, SUPERVISOR)
        self.carry_out(self.loop.start(start, 0.0, registry_up=True))
        while self.replies:
            self.carry_out(self.loop.handle(self.replies.popleft(), self.now))
        self.reference.go_on()
        self.compare()

    def draw_spec(self, data: st.DataObject, child_id: str) -> ChildSpec:
        spec: ChildSpec = data.draw(specs(child_id))
        can_be = self.options.auto_shutdown is not AutoShutdown.NEVER
        if can_be and spec.restart is not Restart.PERMANENT:
            return evolve(spec, significant=data.draw(st.booleans()))
        return spec

    def somebody_asks(self, data: st.DataObject) -> None:
        child_id = data.draw(st.sampled_from(CHILD_IDS))
        if data.draw(st.sampled_from([True, False, False, False])):
            self.ask(StartChild(self.draw_spec(data, child_id)))
        else:
            changes: list[Request] = [
                TerminateChild(child_id),
                RestartChild(child_id),
                DeleteChild(child_id),
            ]
            self.ask(data.draw(st.sampled_from(changes)))


TestSupervisorInChaos = SupervisorInChaos.TestCase
TestSupervisorInChaos.settings = settings(max_examples=60, stateful_step_count=50, derandomize=True)
