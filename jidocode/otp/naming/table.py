"""Which process runs under which name: the tables of the process registry.

`Registry` holds at most one process per name; `DuplicateTable`, its small
sibling, any number per key. Both are pure tables: events in, effects out. The
table has changed before its effects are carried out, so whoever hears `Down`
or `Gone` no longer finds the dead process under its name.

The rules of `Registry`:

1. A name is held by an *owner*, the supervisor of the process, from before the
   init of the process until the owner releases it or dies. Between two lives
   of the process the name is held without one.
2. The name of an owner that let go or died is *orphaned* while its last
   process is not known to be dead, and new claims wait for that death.
3. Only a later incarnation replaces an earlier one, and only under the same
   owner. The replaced one is dead: supervisors start one life after the other.
4. `gone` is a death with its reason, as a supervisor tells it. `vanished` is a
   death as a watch on the process sees it, without the reason. While a living
   owner answers for the process, the table waits for its word.
5. The table asks for a watch (`Watch`) on every process that it depends on and
   that perhaps nobody else answers for: owners, orphaned processes, processes
   without a name that are or were of interest. So a lost notice holds up nothing
   for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from jidocode.base.exits import Killed
from jidocode.base.refs import is_name
from jidocode.base.text import quote
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.monitors import Monitors, Send

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from jidocode.base.exits import ExitReason
    from jidocode.base.refs import ActorRef, Name


class Live(Struct, frozen=True):
    """A look-up's answer: *ref* runs under the name. It may have died a moment ago."""

    ref: ActorRef
    value: object = None


class Restarting(Struct, frozen=True):
    """A look-up's answer: the name is held, and no process runs under it at the moment."""

    value: object = None


class NotFound(Struct, frozen=True):
    """A look-up's answer: nobody holds the name."""


class Granted(Struct, frozen=True):
    """To an owner: the name is yours, for the start that *incarnation* counts."""

    name: Name
    incarnation: int


class Refused(Struct, frozen=True):
    """To an owner: the name is taken (OTP: `already_started`), by *holder* if it runs."""

    name: Name
    incarnation: int
    holder: ActorRef | None


class Registered(Struct, frozen=True):
    """To a listener: *ref* runs under the name."""

    name: Name
    ref: ActorRef
    value: object


class Unregistered(Struct, frozen=True):
    """To a listener: *ref* gave the name up, and may live on."""

    name: Name
    ref: ActorRef


class Gone(Struct, frozen=True):
    """To a listener: *ref* died under the name, of whatever cause.

    Elixir's registry does not tell its listeners of crashes; this one does.
    """

    name: Name
    ref: ActorRef
    reason: ExitReason


class Answer(Struct, frozen=True):
    """An effect: the waiting look-up *token* is over."""

    token: Hashable
    found: Live | NotFound


class Watch(Struct, frozen=True):
    """An effect: watch the process of *ref*, and call `vanished` when it has ended.

    If there is no such process, call `vanished` with `NoProcess`.
    """

    ref: ActorRef


Effect = Send | Answer | Watch


class Entry(Struct, frozen=True):
    """A held name.

    Attributes:
        name: The name.
        owner: The supervisor that holds it, or held it last if *orphaned*.
        newest: The highest incarnation that the owner claimed it for, or registered.
        value: Whatever the owner or the process keeps with the name.
        ref: The process, None between two lives.
        orphaned: The owner let go or died; the process is not known to be dead.
    """

    name: Name
    owner: ActorRef
    newest: int
    value: object = None
    ref: ActorRef | None = None
    orphaned: bool = False

    def is_held_by(self, owner: ActorRef) -> bool:
        """Whether *owner* holds the name and has not let go of it."""
        return self.owner == owner and not self.orphaned

    def is_late(self, ref: ActorRef) -> bool:
        """Whether *ref* is older than *newest*, or no newer than the process that is there."""
        return ref.incarnation < self.newest + (self.ref is not None)


def check_name(name: object) -> None:
    """Raise `InvalidChildSpecError` unless *name* is a name."""
    if not is_name(name):
        raise InvalidChildSpecError(f"a name is a pair of str, not {quote(name)}")


class Registry:
    """Names and their processes, at most one process per name.

    Every method that changes something returns the effects to carry out, in
    order. `claim` and `register` raise `InvalidChildSpecError` for a name that
    is no pair of str.

    Attributes:
        meta: What users of the table keep beside it, in a key space of its own.
    """

    def __init__(self) -> None:
        self.meta: dict[Hashable, object] = {}
        self._entries: dict[Name, Entry] = {}
        # Waiting claims with incarnation and value, first come, first served.
        self._claims: dict[tuple[Name, ActorRef], tuple[int, object]] = {}
        self._waits: dict[Hashable, Name] = {}
        self._listeners: dict[Hashable, None] = {}
        self._monitors = Monitors()
        self._watched: set[ActorRef] = set()
        # Ended processes whose living owners have not told the reason yet.
        self._vanished: set[ActorRef] = set()

    # Owners.

    def claim(
        self, name: Name, owner: ActorRef, incarnation: int, *, value: object = None
    ) -> list[Effect]:
        """Hold *name* for a child of *owner*, before the child's init runs.

        The owner is sent `Granted` or `Refused` with the same *incarnation*: at
        once, or when the last process of an orphaned name is dead. Claiming
        what one holds is granted again and changes the value; claiming what one
        waits for keeps the place and changes what is claimed. A dead owner gets
        no answer.
        """
        check_name(name)
        if self._monitors.is_dead(owner):
            return []
        return [*self._watch(owner), *self._decide(name, owner, incarnation, value)]

    def release(self, name: Name, owner: ActorRef) -> list[Effect]:
        """Let go of *name*, or take back a waiting claim; nothing if *owner* has neither."""
        self._claims.pop((name, owner), None)
        entry = self._entries.get(name)
        return self._orphan(entry) if entry and entry.is_held_by(owner) else []

    def register(self, name: Name, owner: ActorRef, ref: ActorRef) -> list[Effect]:
        """Have *ref*, ready now, run under *name*.

        A name that nobody holds is claimed with it: that is how supervisors
        rebuild a lost table. The owner is sent `Refused` if another one holds
        the name. A dead *ref*, or a late one of an earlier incarnation, changes
        nothing. The late ref of a dead owner keeps the name orphaned until it dies.
        """
        check_name(name)
        if self._monitors.is_dead(ref):
            return []
        orphaned = self._monitors.is_dead(owner)
        entry = self._entries.get(name) or Entry(name, owner, ref.incarnation, orphaned=orphaned)
        if entry.owner != owner:
            return [Send(owner, Refused(name, ref.incarnation, entry.ref))]
        if entry.is_late(ref):
            return []
        self._entries[name] = replace(entry, ref=ref, newest=ref.incarnation)
        return [
            *self._watch(ref if entry.orphaned else owner),
            *self._replaced(name, entry.ref),
            *self._tell(Registered(name, ref, entry.value)),
            *self._answer(name, Live(ref, entry.value)),
        ]

    # Processes.

    def unregister(self, name: Name, ref: ActorRef) -> list[Effect]:
        """Take *ref*, exactly that life, from *name*; its owner goes on holding the name."""
        entry = self._entries.get(name)
        if entry is None or entry.ref != ref:
            return []
        self._entries[name] = replace(entry, ref=None)
        return [
            *self._tell(Unregistered(name, ref)),
            *self._look_after(ref),
            *(self._free(name) if entry.orphaned else []),
        ]

    def update_value(self, name: Name, holder: ActorRef, value: object) -> bool:
        """Change the value of *name*; False unless *holder* is its owner or its process."""
        entry = self._entries.get(name)
        if entry is None or holder not in (entry.owner, entry.ref):
            return False
        self._entries[name] = replace(entry, value=value)
        return True

    # Deaths.

    def gone(self, ref: ActorRef, reason: ExitReason) -> list[Effect]:
        """Take note that *ref* died of *reason*; a second notice changes nothing.

        Effects: `Down` to its monitors, `Gone` to the listeners, then what
        follows for the names that it held as a process or as an owner.
        """
        if self._monitors.is_dead(ref):
            return []
        self._watched.discard(ref)
        self._vanished.discard(ref)
        self.watcher_gone(ref)
        self._claims = {key: claim for key, claim in self._claims.items() if key[1] != ref}
        names = self.keys(ref)
        for name in names:
            self._entries[name] = replace(self._entries[name], ref=None)
        effects: list[Effect] = [*self._monitors.gone(ref, reason)]
        for name in names:
            effects += self._tell(Gone(name, ref, reason))
        for name in names:
            if self._entries[name].orphaned:
                effects += self._free(name)
        return effects + self._owner_gone(ref)

    def vanished(self, ref: ActorRef, reason: ExitReason) -> list[Effect]:
        """Take note that a watch saw *ref* end.

        Args:
            ref: The process.
            reason: What to say if no owner answers for it: `Killed()`, or
                `NoProcess()` if there was nothing to watch.

        While a living owner answers for *ref*, this waits for the owner's
        `gone`, its next `register` or its `release`.
        """
        if self._monitors.is_dead(ref):
            return []
        if self._is_answered_for(ref):
            self._vanished.add(ref)
            return []
        return self.gone(ref, reason)

    def suspect(self, ref: ActorRef) -> None:
        """Take note that *ref* ended, and that why may still be told: claims wait for that."""
        if not self._monitors.is_dead(ref):
            self._vanished.add(ref)

    # Look-ups.

    def lookup(self, name: Name) -> Live | Restarting | NotFound:
        """Return what is known of *name* now."""
        entry = self._entries.get(name)
        if entry is None:
            return NotFound()
        if entry.ref is None:
            return Restarting(entry.value)
        return Live(entry.ref, entry.value)

    def await_live(self, name: Name, token: Hashable) -> list[Effect]:
        """Answer *token* as soon as a process runs under *name*, or nobody holds it."""
        found = self.lookup(name)
        if not isinstance(found, Restarting):
            return [Answer(token, found)]
        self._waits[token] = name
        return []

    def cancel_wait(self, token: Hashable) -> None:
        """Forget the waiting look-up *token*; unknown ones are fine."""
        self._waits.pop(token, None)

    def keys(self, ref: ActorRef) -> list[Name]:
        """Return the names under which *ref* runs, in claim order."""
        return [entry.name for entry in self._entries.values() if entry.ref == ref]

    def values(self, name: Name) -> list[object]:
        """Return the value of *name*, none if nobody holds it."""
        return [self._entries[name].value] if name in self._entries else []

    def count(self, kind: str | None = None) -> int:
        """Count the held names, those of one *kind* if given."""
        return sum(kind in (None, entry.name[0]) for entry in self._entries.values())

    def select(self, predicate: Callable[[Entry], bool]) -> list[Entry]:
        """Return the held names for which *predicate* is true, in claim order."""
        return [entry for entry in self._entries.values() if predicate(entry)]

    # Listeners and monitors.

    def subscribe(self, listener: Hashable) -> None:
        """Send `Registered`, `Unregistered` and `Gone` of all names to *listener*."""
        self._listeners[listener] = None

    def unsubscribe(self, listener: Hashable) -> None:
        """Send *listener* nothing more; unknown ones are fine."""
        self._listeners.pop(listener, None)

    def monitor(self, token: int, target: ActorRef, watcher: Hashable) -> list[Effect]:
        """Send *watcher* one `Down` when *target* dies; see `Monitors.monitor`."""
        effects: list[Effect] = [*self._monitors.monitor(token, target, watcher)]
        return effects or self._look_after(target)

    def demonitor(self, token: int, watcher: Hashable) -> None:
        """Drop a monitor: no `Down` is returned for it any more; unknown ones are fine."""
        self._monitors.demonitor(token, watcher)

    def watcher_gone(self, watcher: Hashable) -> None:
        """Drop the monitors and the subscription of *watcher*."""
        self._monitors.watcher_gone(watcher)
        self.unsubscribe(watcher)

    # Steps.

    def _decide(self, name: Name, owner: ActorRef, incarnation: int, value: object) -> list[Effect]:
        entry = self._entries.get(name) or Entry(name, owner, incarnation)
        if entry.orphaned or entry.owner in self._vanished:
            self._claims[name, owner] = incarnation, value
            return []
        if entry.owner != owner:
            return [Send(owner, Refused(name, incarnation, entry.ref))]
        newest = max(incarnation, entry.newest)
        self._entries[name] = replace(entry, newest=newest, value=value)
        return [Send(owner, Granted(name, incarnation))]

    def _free(self, name: Name) -> list[Effect]:
        """Give *name* to the first waiting claim, or to nobody."""
        del self._entries[name]
        effects: list[Effect] = []
        for owner in [owner for claimed, owner in self._claims if claimed == name]:
            incarnation, value = self._claims.pop((name, owner))
            effects += self._decide(name, owner, incarnation, value)
        return effects or self._answer(name, NotFound())

    def _orphan(self, entry: Entry) -> list[Effect]:
        """Take *entry* from its owner: free it, or have it wait for its process to end."""
        self._entries[entry.name] = replace(entry, orphaned=True)
        if entry.ref is None:
            return self._free(entry.name)
        return self._look_after(entry.ref)

    def _owner_gone(self, owner: ActorRef) -> list[Effect]:
        effects: list[Effect] = []
        for name in [entry.name for entry in self.select(lambda entry: entry.is_held_by(owner))]:
            effects += self._orphan(self._entries[name])
        return effects

    def _replaced(self, name: Name, old: ActorRef | None) -> list[Effect]:
        """Take note of the death of *old*, which nobody told before its successor came."""
        if old is None:
            return []
        return [*self.gone(old, Killed()), *self._tell(Gone(name, old, Killed()))]

    def _is_answered_for(self, ref: ActorRef) -> bool:
        # A process that owns its own name cannot tell its own end.
        return any(
            entry.ref == ref and entry.owner != ref and not entry.orphaned
            for entry in self._entries.values()
        )

    def _look_after(self, ref: ActorRef) -> list[Effect]:
        """Make sure that the death of *ref* is noticed, also if no living owner tells it."""
        if self._is_answered_for(ref):
            return []
        if ref in self._vanished:
            return self.gone(ref, Killed())
        return self._watch(ref)

    def _watch(self, ref: ActorRef) -> list[Effect]:
        if ref in self._watched:
            return []
        self._watched.add(ref)
        return [Watch(ref)]

    def _tell(self, event: Registered | Unregistered | Gone) -> list[Effect]:
        return [Send(listener, event) for listener in self._listeners]

    def _answer(self, name: Name, found: Live | NotFound) -> list[Effect]:
        tokens = [token for token, waited in self._waits.items() if waited == name]
        for token in tokens:
            del self._waits[token]
        return [Answer(token, found) for token in tokens]
