"""`Registry`: a server of keys and the processes that registered under them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, ClassVar, Literal

from msgspec import Struct

from jidocode.base.refs import ActorRef
from jidocode.base.text import quote
from jidocode.errors import AlreadyRegisteredError, InvalidChildSpecError, NotRegisteredError
from jidocode.otp.naming.messages import WhereIs
from jidocode.otp.registry.locks import LockClaim, LockTable
from jidocode.otp.registry.messages import (
    Count,
    Entries,
    Entry,
    GetMeta,
    Keys,
    Listen,
    Lock,
    LookUp,
    OwnRequest,
    PutMeta,
    Register,
    Registered,
    Release,
    Unlisten,
    Unregister,
    Unregistered,
    UpdateValue,
)
from jidocode.otp.registry.table import KeyTable
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller, Down
from jidocode.otp.server.results import CallResult, NoReply, Refuse, Reply, Result


class _Decide(Struct, frozen=True):
    """To itself: by now it is known whether the holder of the key lived when this was asked."""

    request: Register
    caller: Caller
    watch: int


class Registry(GenServer):
    """Keys and the processes that registered under them (Elixir: Registry).

    Put one into a tree: `Registry.child_spec("unique", name=("registry", "jobs"))`, and ask it
    by the functions of `jidocode.otp.registry`. A process is registered until it ends, and
    registers itself: nobody else can. If the registry itself restarts it is empty; whoever
    registers in `init` and belongs to it restarts with it under rest_for_one.

    *keys* is `unique` for at most one process per key, `duplicate` for any number.
    """

    kind: ClassVar[str] = "key_registry"

    def init(self, keys: Literal["unique", "duplicate"]) -> None:
        """Begin without an entry."""
        if keys not in ("unique", "duplicate"):
            problem = f"keys of a registry are 'unique' or 'duplicate', not {quote(keys)}"
            raise InvalidChildSpecError(problem)
        self._table = KeyTable(unique=keys == "unique")
        self._locks = LockTable()
        self._meta: dict[Hashable, object] = {}
        self._known: set[ActorRef] = set()  # whose end is watched
        self._watched: dict[int, ActorRef] = {}
        self._listeners: dict[ActorRef, None] = {}

    def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Answer one of the requests in `messages`."""
        if isinstance(request, OwnRequest):
            return self._take(request, caller)
        return self._answer(request, caller)

    def _answer(self, request: Any, caller: Caller) -> CallResult:
        match request:
            case LookUp(key):
                return Reply(self._table.lookup(key))
            case WhereIs(key) if self._table.unique:
                return Reply(self._table.holder_of(key))
            case WhereIs():
                return Refuse(TypeError(f"{self.ref} has duplicate keys: no target"))
            case Keys(ref):
                return Reply(self._table.keys(ref))
            case Entries():
                return Reply(list(self._table))
            case Count():
                return Reply(len(self._table))
            case PutMeta(key, None):
                self._meta.pop(key, None)
                return Reply()
            case PutMeta(key, value):
                self._meta[key] = value
                return Reply()
            case GetMeta(key):
                return Reply(self._meta.get(key))
            case _:
                return super().handle_call(request, caller)

    def _take(self, request: OwnRequest, caller: Caller) -> CallResult:
        if request.ref.address != caller.address:
            return Refuse(TypeError(f"{request.ref} can only be registered by itself"))
        match request:
            case Register(key):
                holder = self._table.holder_of(key)
                if holder is None:
                    return self._register(request)
                # It may be dead, and that not known here yet: a new watch tells at once.
                watch = self.watch_process(holder)
                self._watched[watch] = holder
                self.send_after(0.0, _Decide(request, caller, watch))
                return NoReply()
            case Unregister(key, ref):
                self._tell_removed(self._table.remove(key, ref))
            case UpdateValue(key, ref, value):
                if not self._table.update(key, ref, value):
                    return Refuse(NotRegisteredError(quote(key), ref))
            case Listen(ref):
                self._listeners[ref] = None
                self._watch(ref)
            case Unlisten(ref):
                self._listeners.pop(ref, None)
            case Lock(key, ref, token):
                self._watch(ref)
                self._grant(self._locks.claim(LockClaim(key, ref, token, caller)))
                return NoReply()
        return Reply()

    def _register(self, request: Register) -> CallResult:
        holder = self._table.holder_of(request.key)
        if holder is not None:
            return Refuse(AlreadyRegisteredError(quote(request.key), holder))
        entry = Entry(request.key, request.ref, request.value)
        self._table.add(entry)
        self._watch(entry.ref)
        for listener in self._listeners:
            self.send(listener, Registered(self.ref, entry))
        return Reply()

    def handle_cast(self, request: Any) -> Result:
        """Take in that a lock is free."""
        if not isinstance(request, Release):
            return super().handle_cast(request)
        self._grant(self._locks.release(request.token))
        return None

    def _grant(self, claims: list[LockClaim]) -> None:
        for claim in claims:
            self.reply(claim.caller, self.ref)

    def handle_info(self, message: Any) -> Result:
        """Take in that a process has ended."""
        match message:
            case Down(token=token) if token in self._watched:
                self._ended(self._watched.pop(token))
            case _Decide(request, caller, watch):
                if self._watched.pop(watch, None) is not None:
                    self.demonitor(watch)
                match self._register(request):
                    case Refuse(error):
                        self.refuse(caller, error)
                    case _:
                        self.reply(caller, None)
            case _:
                return super().handle_info(message)
        return None

    def _watch(self, ref: ActorRef) -> None:
        if ref not in self._known:
            self._known.add(ref)
            self._watched[self.watch_process(ref)] = ref

    def _ended(self, ref: ActorRef) -> None:
        self._known.discard(ref)
        self._listeners.pop(ref, None)
        self._tell_removed(self._table.remove_all(ref))
        self._grant(self._locks.remove_all(ref))

    def _tell_removed(self, removed: list[Entry]) -> None:
        for entry in removed:
            for listener in self._listeners:
                self.send(listener, Unregistered(self.ref, entry))
