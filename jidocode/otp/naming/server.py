"""`RegistryServer`: the process that owns the tables of names and monitors.

The tables decide; this server only turns messages into calls of a table and a
table's effects into messages. Supervisors speak to it (claims, and what they
announce about their children), everybody else asks it.

If it is killed, nothing is lost: the supervisors tell its successor what they
hold (OTP's registry takes its owners down with it, or forgets them). Until that is over,
whoever waits for a process under a name (`AwaitLive`) is not told that there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec import Struct

from jidocode.base.exits import ExitReason, NoProcess
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.messages import (
    REGISTRY,
    RESERVED_KINDS,
    ROOT_KIND,
    AwaitLive,
    ClaimName,
    Count,
    DemonitorProcess,
    Entries,
    Keys,
    LookUp,
    MonitorProcess,
    NameReserved,
    NotFound,
    OneLife,
    RegisterName,
    ReleaseName,
    ReportComplete,
    Subscribe,
    Unsubscribe,
)
from jidocode.otp.naming.monitors import Notify
from jidocode.otp.naming.table import (
    AnswerLookUp,
    Confirm,
    NameTable,
    TableEffect,
    Watch,
    check_name,
)
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller, Down
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply, Result
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    HeartbeatMissed,
)

REASON_GRACE = 0.25
"""Seconds that a supervisor's word on the death of a child may be under way."""


LOOK_SECONDS = 0.01
"""Seconds in which a watch tells of a process that was dead already: it takes one round."""


class _LookOver(Struct, frozen=True):
    """To itself: if *ref*, which has *name*, had been dead, its watch had told so by now."""

    name: Name
    ref: ActorRef


REBUILDING_SECONDS = 1.0
"""For how long a later registry does not know of all names that its predecessor knew."""


class _Rebuilt(Struct, frozen=True):
    """To itself: the supervisors have had the time to say what they hold."""


class _GraceOver(Struct, frozen=True):
    """To itself: the watch saw *ref* end, and its supervisor has had time to say why."""

    ref: ActorRef


class RegistryServer(GenServer):
    """Names and monitors for everything in its tree (Elixir: Registry)."""

    kind: ClassVar[str] = "registry"
    table: NameTable
    system_names: ClassVar[frozenset[Name]] = frozenset([REGISTRY])
    """The names of the kind `system` that there are; they are for children of the root."""
    reporters: set[ActorRef]
    """The supervisors that have claimed and registered all that is their own."""
    root: ActorRef | None
    """The root of the tree, once it has claimed the name of the registry."""

    def init(self) -> None:
        """Start with an empty table; the supervisors fill it."""
        self.reporters = set()
        self.root = None
        self.table = NameTable()
        self._watches: dict[int, ActorRef] = {}
        # Questions about names that may still be told of.
        self._early: list[Callable[[], object]] = []
        self._is_rebuilt = self.ref.incarnation == 1
        if not self._is_rebuilt:
            self.send_after(REBUILDING_SECONDS, _Rebuilt())

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer a question; refuse one about what is no name."""
        try:
            return self._answer(request, caller)
        except InvalidChildSpecError as error:
            return Refuse(error)

    def _answer(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case LookUp(name):
                check_name(name)
                return self._look_up(name, caller)
            case AwaitLive(name, dead):
                check_name(name)
                self._await_live(name, caller, dead)
                return NoReply()
            case Entries():
                kind = request.kind
                return Reply(self.table.select(lambda entry: kind in (None, entry.name[0])))
            case Keys(ref):
                return Reply(self.table.keys(ref))
            case Count():
                return Reply(self.table.count(request.kind))
            case _:
                return super().handle_call(request, caller)

    def handle_cast(self, request: Any) -> Result:
        """Take in what supervisors and watchers say."""
        match request:
            case ClaimName(name, owner, incarnation) if not self._may_hold(name, owner):
                self.send(owner, NameReserved(name, incarnation))
            case RegisterName(name, owner, ref) if not self._may_hold(name, owner):
                self.send(owner, NameReserved(name, ref.incarnation))
            case ChildStarted(name=tuple() as name, supervisor=owner) if not self._may_hold(
                name, owner
            ):
                self.send(owner, NameReserved(name, request.ref.incarnation))
            case ClaimName(name, owner, incarnation, OneLife(value)):
                effects = self.table.claim(name, owner, incarnation, value=value, one_life=True)
                self.carry_out(effects)
            case ClaimName(name, owner, incarnation, value):
                self.carry_out(self.table.claim(name, owner, incarnation, value=value))
            case RegisterName(name, owner, ref):
                self.carry_out(self.table.register(name, owner, ref))
                self._answer_early()
            case ReleaseName(name, owner):
                self.carry_out(self.table.release(name, owner))
            case ChildStarted(name=tuple() as name):
                self.carry_out(self.table.register(name, request.supervisor, request.ref))
                self._answer_early()
            case ReportComplete(owner):
                self.reporters.add(owner)
            case ChildExited():
                self.reporters.discard(request.ref)
                self.carry_out(self.table.process_died(request.ref, request.reason))
            case ChildStarted() | ChildStartFailed() | HeartbeatMissed() | GaveUp():
                pass
            case MonitorProcess(token, target, watcher):
                self.carry_out(self.table.monitor(token, target, watcher))
            case DemonitorProcess(token, watcher):
                self.table.demonitor(token, watcher)
            case _:
                return self._keep(request)
        return None

    def _may_hold(self, name: Name, owner: ActorRef) -> bool:
        if name == REGISTRY and self.root is None and owner.kind == ROOT_KIND:
            self.root = owner
        return self.may_hold(name, owner)

    def may_hold(self, name: Name, owner: ActorRef) -> bool:
        """Whether *name* may be that of a child of *owner*.

        Subclasses reserve more. While it is not known who the owner has to be, for this
        registry has just been started, its kind decides.
        """
        if name[0] not in RESERVED_KINDS:
            return True
        is_root = owner == self.root if self.root else owner.kind == ROOT_KIND
        return is_root and name in self.system_names

    def _keep(self, request: Any) -> Result:
        """Take in what any process may say."""
        match request:
            case Subscribe(listener):
                self.table.subscribe(listener)
            case Unsubscribe(listener):
                self.table.unsubscribe(listener)
            case _:
                return super().handle_cast(request)
        return None

    def handle_info(self, message: Any) -> Result:
        """Take in the end of a watched process."""
        match message:
            case Down(token=token) if token in self._watches:
                self._ended(self._watches.pop(token), message.reason)
            case _Rebuilt():
                self._is_rebuilt = True
                self._answer_early()
            case _GraceOver(ref):
                self.carry_out(self.table.give_up_on(ref))
            case _LookOver(name, ref):
                self.carry_out(self.table.confirm(name, ref))
            case _:
                return super().handle_info(message)
        return None

    def _look_up(self, name: Name, caller: Caller) -> Reply | NoReply:
        found = self.table.lookup(name)
        if self._is_rebuilt or not isinstance(found, NotFound):
            return Reply(found)
        self._early.append(lambda: self._answer_look_up(name, caller))
        return NoReply()

    def _answer_look_up(self, name: Name, caller: Caller) -> None:
        result = self._look_up(name, caller)
        if isinstance(result, Reply):
            self.reply(caller, result.value)

    def _await_live(self, name: Name, caller: Caller, dead: ActorRef | None) -> None:
        if self._is_rebuilt or not isinstance(self.table.lookup(name), NotFound):
            self.carry_out(self.table.await_live(name, caller, dead))
        else:
            self._early.append(lambda: self._await_live(name, caller, dead))

    def _answer_early(self) -> None:
        early, self._early = self._early, []
        for ask_again in early:
            ask_again()

    def _ended(self, ref: ActorRef, reason: ExitReason) -> None:
        if isinstance(reason, NoProcess) or self.table.keys(ref):
            self.carry_out(self.table.process_vanished(ref, reason))
        else:
            # The table knows of nobody who could answer for it, but there may be somebody.
            self.table.suspect(ref)
        self.send_after(REASON_GRACE, _GraceOver(ref))

    def carry_out(self, effects: list[TableEffect]) -> None:
        """Turn the table's *effects* into messages."""
        for effect in effects:
            match effect:
                case Notify(ActorRef() as receiver, message):
                    self.send(receiver, message)
                case AnswerLookUp(Caller() as caller, found):
                    self.reply(caller, found)
                case Watch(ref):
                    self._watches[self.watch_process(ref)] = ref
                case Confirm(name, ref):
                    self.send_after(LOOK_SECONDS, _LookOver(name, ref))
                case _:
                    raise AssertionError(effect)
