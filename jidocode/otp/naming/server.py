"""`RegistryServer`: the process that owns a `Registry` table.

The table decides; this server only turns messages into calls of the table and
the table's effects into messages. Supervisors speak to it (claims, and what
they announce about their children), everybody else asks it.

If it is killed, nothing is lost: the supervisors tell its successor what they
hold (OTP's registry takes its owners down with it, or forgets them).
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from jidocode.base.exits import ExitReason, Killed, NoProcess
from jidocode.base.records import Discreet
from jidocode.base.refs import ActorRef, Name
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.duplicates import DuplicateTable
from jidocode.otp.naming.monitors import Send
from jidocode.otp.naming.table import Answer, Effect, Registry, Watch, check_name
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
"""Seconds that a supervisor's word on the death of a child without a name may be under way."""

# ----- from supervisors -----------------------------------------------------------


class ClaimName(Discreet, frozen=True):
    """*name* is for the start *incarnation* of a child of *owner*."""

    hidden = ("value",)

    name: Name
    owner: ActorRef
    incarnation: int
    value: object = None


class RegisterName(Struct, frozen=True):
    """*ref*, a child of *owner*, runs under *name* (said again to a registry that lost it)."""

    name: Name
    owner: ActorRef
    ref: ActorRef


class ReleaseName(Struct, frozen=True):
    """*owner* will not use *name* again."""

    name: Name
    owner: ActorRef


class Reported(Struct, frozen=True):
    """*owner* has claimed and registered all that is its own."""

    owner: ActorRef


# ----- from watchers ----------------------------------------------------------------


class MonitorProcess(Struct, frozen=True):
    """*watcher* wants one `Down` with *token* when *target* dies."""

    token: int
    target: ActorRef
    watcher: ActorRef


class DemonitorProcess(Struct, frozen=True):
    """*watcher* does not want the `Down` with *token* any more."""

    token: int
    watcher: ActorRef


# ----- questions --------------------------------------------------------------------


class LookUp(Struct, frozen=True):
    """Answered at once with `Live`, `Restarting` or `NotFound`."""

    name: Name


class AwaitLive(Struct, frozen=True):
    """Answered with `Live` once a process runs under *name*, `NotFound` if nobody holds it."""

    name: Name


class Entries(Struct, frozen=True):
    """Answered with the entries of all held names, of one *kind* if given, in claim order."""

    kind: str | None = None


class Keys(Struct, frozen=True):
    """Answered with the names under which *ref* runs, in claim order."""

    ref: ActorRef


class Count(Struct, frozen=True):
    """Answered with the number of held names, of one *kind* if given."""

    kind: str | None = None


class GetMeta(Struct, frozen=True):
    """Answered with what is kept beside the names under *key*, None if nothing is."""

    key: str


class LookUpDuplicates(Struct, frozen=True):
    """Answered with all processes under *key* and their values; send to each to dispatch."""

    key: Name


# ----- from any process ----------------------------------------------------------------


class PutMeta(Struct, frozen=True):
    """Keep *value* beside the names under *key*; None deletes it. Lost with the registry."""

    key: str
    value: object


class Subscribe(Struct, frozen=True):
    """*listener* wants to hear `Registered`, `Unregistered` and `Gone` of all names."""

    listener: ActorRef


class Unsubscribe(Struct, frozen=True):
    """*listener* wants to hear no more."""

    listener: ActorRef


class RegisterDuplicate(Struct, frozen=True):
    """*ref* joins the processes under *key*, where any number may be, with *value*."""

    key: Name
    ref: ActorRef
    value: object = None


class UnregisterDuplicate(Struct, frozen=True):
    """*ref* leaves the processes under *key*."""

    key: Name
    ref: ActorRef


class _Vanished(Struct, frozen=True):
    """To itself: the watch saw *ref* end, and its supervisor has had time to say why."""

    ref: ActorRef


class RegistryServer(GenServer):
    """Names and monitors for everything in its tree (Elixir: Registry)."""

    kind: ClassVar[str] = "registry"
    table: Registry
    reported: set[ActorRef]
    """The supervisors that have told all they have."""

    def init(self) -> None:
        """Start with an empty table; the supervisors fill it."""
        self.reported = set()
        self.table = Registry()
        self.duplicates = DuplicateTable()
        self._watches: dict[int, ActorRef] = {}

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
                return Reply(self.table.lookup(name))
            case AwaitLive(name):
                check_name(name)
                self.carry_out(self.table.await_live(name, caller))
                return NoReply()
            case Entries():
                kind = request.kind
                return Reply(self.table.select(lambda entry: kind in (None, entry.name[0])))
            case Keys(ref):
                return Reply(self.table.keys(ref))
            case Count():
                return Reply(self.table.count(request.kind))
            case GetMeta(key):
                return Reply(self.table.meta.get(key))
            case LookUpDuplicates(key):
                check_name(key)
                return Reply(self.duplicates.lookup(key))
            case _:
                return super().handle_call(request, caller)

    def handle_cast(self, request: Any) -> Result:
        """Take in what supervisors and watchers say."""
        match request:
            case ClaimName(name, owner, incarnation, value):
                self.carry_out(self.table.claim(name, owner, incarnation, value=value))
            case RegisterName(name, owner, ref):
                self.carry_out(self.table.register(name, owner, ref))
            case ReleaseName(name, owner):
                self.carry_out(self.table.release(name, owner))
            case ChildStarted(name=tuple() as name):
                self.carry_out(self.table.register(name, request.supervisor, request.ref))
            case Reported(owner):
                self.reported.add(owner)
            case ChildExited():
                self.reported.discard(request.ref)
                self.duplicates.gone(request.ref)
                self.carry_out(self.table.gone(request.ref, request.reason))
            case ChildStarted() | ChildStartFailed() | HeartbeatMissed() | GaveUp():
                pass
            case MonitorProcess(token, target, watcher):
                self.carry_out(self.table.monitor(token, target, watcher))
            case DemonitorProcess(token, watcher):
                self.table.demonitor(token, watcher)
            case _:
                return self._keep(request)
        return None

    def _keep(self, request: Any) -> Result:
        """Take in what any process may say."""
        match request:
            case PutMeta(key, None):
                self.table.meta.pop(key, None)
            case PutMeta(key, value):
                self.table.meta[key] = value
            case Subscribe(listener):
                self.table.subscribe(listener)
            case Unsubscribe(listener):
                self.table.unsubscribe(listener)
            case RegisterDuplicate(key, ref, value):
                self.carry_out([*self.duplicates.register(key, ref, value=value)])
            case UnregisterDuplicate(key, ref):
                self.duplicates.unregister(key, ref)
            case _:
                return super().handle_cast(request)
        return None

    def handle_info(self, message: Any) -> Result:
        """Take in the end of a watched process."""
        match message:
            case Down(token=token) if token in self._watches:
                self._ended(self._watches.pop(token), message.reason)
            case _Vanished(ref):
                self.carry_out(self.table.vanished(ref, Killed()))
            case _:
                return super().handle_info(message)
        return None

    def _ended(self, ref: ActorRef, reason: ExitReason) -> None:
        self.duplicates.gone(ref)
        if isinstance(reason, NoProcess) or self.table.keys(ref):
            self.carry_out(self.table.vanished(ref, reason))
        else:
            # The table knows of nobody who could answer for it, but there may be somebody.
            self.table.suspect(ref)
            self.send_after(REASON_GRACE, _Vanished(ref))

    def carry_out(self, effects: list[Effect]) -> None:
        """Turn the table's *effects* into messages."""
        for effect in effects:
            match effect:
                case Send(ActorRef() as receiver, message):
                    self.send(receiver, message)
                case Answer(Caller() as caller, found):
                    self.reply(caller, found)
                case Watch(ref):
                    self._watches[self.watch_process(ref)] = ref
                case _:
                    raise AssertionError(effect)
