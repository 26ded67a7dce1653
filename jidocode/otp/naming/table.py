"""Which process runs under which name: the table of the process registry.

`NameTable` holds at most one process per name. It is a pure table: events in, effects
out. It has changed before its effects are carried out, so whoever hears `Down` or
`NameDown` no longer finds the dead process under its name.

The rules of `NameTable`:

1. A name is held by an *owner*, the supervisor of the process, from before the
   init of the process until the owner releases it or dies. Between two lives
   of the process the name is held without one. The name of a process that has
   one life only is free when that is dead.
2. The name of an owner that let go or died is *orphaned* while its last
   process is not known to be dead, and new claims wait for that death.
3. The claim of another owner is refused by a living holder alone. While there is
   none, it waits for what comes: the next life, or the end of the hold.
4. Only a later incarnation replaces an earlier one, and only under the same
   owner. The replaced one is dead: supervisors start one life after the other.
5. A process has *died* when its supervisor tells of the death, with its reason,
   and *vanished* when a watch on it sees it end, without the reason. While a
   living owner answers for the process, the table waits for its word.
6. The table asks for a watch (`Watch`) on every process that it depends on and
   that perhaps nobody else answers for: owners, orphaned processes, processes
   without a name that are or were of interest. So a lost notice holds up nothing
   for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from jidocode.base.exits import Killed
from jidocode.base.refs import ActorRef, Name, is_name
from jidocode.base.structs import Discreet
from jidocode.base.text import quote
from jidocode.errors import InvalidChildSpecError
from jidocode.otp.naming.messages import (
    Live,
    NameDown,
    NameGranted,
    NameRefused,
    NameRegistered,
    NameUnregistered,
    NotFound,
    Restarting,
)
from jidocode.otp.naming.monitors import Monitors, Notify

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from jidocode.base.exits import ExitReason


class AnswerLookUp(Struct, frozen=True):
    """The waiting look-up *token* is over; it has *found* this."""

    token: Hashable
    found: Live | NotFound


class Watch(Struct, frozen=True):
    """Watch the process of *ref*, and call `process_vanished` when it has ended.

    If there is no such process, call `process_vanished` with `NoProcess`.
    """

    ref: ActorRef


class Confirm(Struct, frozen=True):
    """Call `confirm` with *name* and *ref* when the watch on *ref* has had time to tell."""

    name: Name
    ref: ActorRef


TableEffect = Notify | AnswerLookUp | Watch | Confirm


class Entry(Discreet, frozen=True):
    """A held name.

    Attributes:
        name: The name.
        owner: The supervisor that holds it, or held it last if *is_orphaned*.
        newest: The highest incarnation that the owner claimed it for, or registered.
        value: Whatever the owner or the process keeps with the name.
        ref: The process, None between two lives.
        one_life: The process is not restarted: the name is free when it is dead.
        is_orphaned: The owner let go or died; the process is not known to be dead.
    """

    hidden = ("value",)

    name: Name
    owner: ActorRef
    newest: int
    value: object = None
    ref: ActorRef | None = None
    one_life: bool = False
    is_orphaned: bool = False

    def is_held_by(self, owner: ActorRef) -> bool:
        """Whether *owner* holds the name and has not let go of it."""
        return self.owner == owner and not self.is_orphaned

    def is_late(self, ref: ActorRef) -> bool:
        """Whether *ref* is older than *newest*, or no newer than the process that is there."""
        return ref.incarnation < self.newest + (self.ref is not None)


def check_name(name: object) -> None:
    """Raise `InvalidChildSpecError` unless *name* is a name."""
    if not is_name(name):
        raise InvalidChildSpecError(f"a name is a pair of str, not {quote(name)}")


class NameTable:
    """Names and their processes, at most one process per name.

    Every method that changes something returns the effects to carry out, in
    order. `claim` and `register` raise `InvalidChildSpecError` for a name that
    is no pair of str.
    """

    def __init__(self) -> None:
        self._entries: dict[Name, Entry] = {}
        # Waiting claims, each as the entry that it would be: first come, first served.
        self._claims: dict[tuple[Name, ActorRef], Entry] = {}
        self._waits: dict[Hashable, Name] = {}
        self._listeners: dict[Hashable, None] = {}
        self._monitors = Monitors()
        self._watched: set[ActorRef] = set()
        # Ended processes whose living owners have not told the reason yet.
        self._vanished: set[ActorRef] = set()

    # Owners.

    def claim(
        self,
        name: Name,
        owner: ActorRef,
        incarnation: int,
        *,
        value: object = None,
        one_life: bool = False,
    ) -> list[TableEffect]:
        """Hold *name* for a child of *owner*, before the child's init runs.

        The owner is sent `NameGranted` or `NameRefused` with the same *incarnation*, as soon as
        it is known who has the name: a process that lives, which refuses the claim; nobody any
        more; or a process whose supervisor has not brought it back, or dealt with its death
        yet, for which the claim waits. With *one_life* the name is free when the process is dead.

        Claiming what one holds is granted again and changes the value; claiming what
        one waits for keeps the place and changes what is claimed. A dead owner gets no answer.
        """
        check_name(name)
        if self._monitors.is_dead(owner):
            return []
        wanted = Entry(name, owner, incarnation, value, one_life=one_life)
        return [*self._watch(owner), *self._decide(wanted)]

    def confirm(self, name: Name, ref: ActorRef) -> list[TableEffect]:
        """Refuse the claims to *name* that wait for the news whether *ref*, which has it, lives.

        It does, or the watch that was asked for with `Confirm` had said so. Nothing changes if
        something else was heard meanwhile: then that decides.
        """
        entry = self._entries.get(name)
        if entry is None or entry.ref != ref or self._is_doubtful(entry):
            return []
        return self._refuse(name, ref)

    def release(self, name: Name, owner: ActorRef) -> list[TableEffect]:
        """Let go of *name*, or take back a waiting claim; nothing if *owner* has neither."""
        self._claims.pop((name, owner), None)
        entry = self._entries.get(name)
        return self._orphan(entry) if entry and entry.is_held_by(owner) else []

    def register(self, name: Name, owner: ActorRef, ref: ActorRef) -> list[TableEffect]:
        """Have *ref*, ready now, run under *name*.

        A name that nobody holds is claimed with it: that is how supervisors
        rebuild a lost table. The owner is sent `NameRefused` if another one holds
        the name, unless it is dead. A dead *ref*, or a late one of an earlier incarnation,
        changes nothing. The late ref of a dead owner keeps the name orphaned until it dies.
        """
        check_name(name)
        if self._monitors.is_dead(ref):
            return []
        is_orphaned = self._monitors.is_dead(owner)
        entry = self._entries.get(name) or Entry(
            name, owner, ref.incarnation, is_orphaned=is_orphaned
        )
        if entry.owner != owner:
            self._claims.pop((name, owner), None)
            refused = Notify(owner, NameRefused(name, ref.incarnation, entry.ref))
            return [] if is_orphaned else [refused]
        if entry.is_late(ref):
            return []
        self._entries[name] = replace(entry, ref=ref, newest=ref.incarnation)
        return [
            *self._watch(ref if entry.is_orphaned else owner),
            *self._bury_predecessor(name, entry.ref),
            *self._tell(NameRegistered(name, ref, entry.value)),
            *self._answer(name, Live(ref, entry.value)),
            *([] if entry.is_orphaned else self._refuse(name, ref)),
        ]

    # Processes.

    def unregister(self, name: Name, ref: ActorRef) -> list[TableEffect]:
        """Take *ref*, exactly that life, from *name*; its owner goes on holding the name."""
        entry = self._entries.get(name)
        if entry is None or entry.ref != ref:
            return []
        self._entries[name] = replace(entry, ref=None)
        return [
            *self._tell(NameUnregistered(name, ref)),
            *self._look_after(ref),
            *(self._free(name) if entry.is_orphaned else []),
        ]

    def update_value(self, name: Name, holder: ActorRef, value: object) -> bool:
        """Change the value of *name*; False unless *holder* is its owner or its process."""
        entry = self._entries.get(name)
        if entry is None or holder not in (entry.owner, entry.ref):
            return False
        self._entries[name] = replace(entry, value=value)
        return True

    # Deaths.

    def process_died(self, ref: ActorRef, reason: ExitReason) -> list[TableEffect]:
        """Take note that *ref* died of *reason*; a second notice changes nothing.

        Effects: `Down` to its monitors, `NameDown` to the listeners, then what
        follows for the names that it held as a process or as an owner.
        """
        if self._monitors.is_dead(ref):
            return []
        self._watched.discard(ref)
        self._vanished.discard(ref)
        self.watcher_died(ref)
        self._claims = {key: claim for key, claim in self._claims.items() if key[1] != ref}
        names = self.keys(ref)
        for name in names:
            self._entries[name] = replace(self._entries[name], ref=None)
        effects: list[TableEffect] = [*self._monitors.process_died(ref, reason)]
        for name in names:
            effects += self._tell(NameDown(name, ref, reason))
        for name in names:
            if self._entries[name].is_orphaned or self._entries[name].one_life:
                effects += self._free(name)
        return effects + self._owner_died(ref)

    def process_vanished(self, ref: ActorRef, reason: ExitReason) -> list[TableEffect]:
        """Take note that a watch saw *ref* end.

        Args:
            ref: The process.
            reason: What to say if no owner answers for it: `Killed()`, or
                `NoProcess()` if there was nothing to watch.

        While a living owner answers for *ref*, this waits for the owner's
        `process_died`, its next `register` or its `release`.
        """
        if self._monitors.is_dead(ref):
            return []
        if self._is_answered_for(ref):
            self._vanished.add(ref)
            return []
        return self.process_died(ref, reason)

    def give_up_on(self, ref: ActorRef) -> list[TableEffect]:
        """Take note that the word of the owner on the end of *ref* did not come in time.

        It is waited for on, if the owner lives and may restart the process: nobody but the
        owner knows whether it does.
        """
        held = [entry for entry in self._entries.values() if entry.ref == ref]
        if ref in self._vanished and all(entry.one_life for entry in held):
            return self.process_died(ref, Killed())
        return self.process_vanished(ref, Killed())

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

    def await_live(
        self, name: Name, token: Hashable, dead: ActorRef | None = None
    ) -> list[TableEffect]:
        """Answer *token* as soon as a process runs under *name*, or nobody holds it.

        *dead* is no such process: whoever asks has heard of its end, and this table may not yet.
        """
        found = self.lookup(name)
        if isinstance(found, NotFound) or (isinstance(found, Live) and found.ref != dead):
            return [AnswerLookUp(token, found)]
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
        """Send `NameRegistered`, `NameUnregistered` and `NameDown` of all names to *listener*."""
        self._listeners[listener] = None

    def unsubscribe(self, listener: Hashable) -> None:
        """Send *listener* nothing more; unknown ones are fine."""
        self._listeners.pop(listener, None)

    def monitor(self, token: int, target: ActorRef, watcher: Hashable) -> list[TableEffect]:
        """Send *watcher* one `Down` when *target* dies; see `Monitors.monitor`."""
        effects: list[TableEffect] = [*self._monitors.monitor(token, target, watcher)]
        return effects or self._look_after(target)

    def demonitor(self, token: int, watcher: Hashable) -> None:
        """Drop a monitor: no `Down` is returned for it any more; unknown ones are fine."""
        self._monitors.demonitor(token, watcher)

    def watcher_died(self, watcher: Hashable) -> None:
        """Drop the monitors and the subscription of *watcher*."""
        self._monitors.watcher_died(watcher)
        self.unsubscribe(watcher)

    # Steps.

    def _decide(self, wanted: Entry) -> list[TableEffect]:
        name, owner = wanted.name, wanted.owner
        entry = self._entries.get(name, wanted)
        if entry.owner == owner and not (entry.is_orphaned or owner in self._vanished):
            newest = max(wanted.newest, entry.newest)
            self._entries[name] = replace(wanted, newest=newest, ref=entry.ref)
            return [Notify(owner, NameGranted(name, wanted.newest))]
        self._claims[name, owner] = wanted
        if entry.ref is None or self._is_doubtful(entry):
            return []
        # It may be dead, and its supervisor too busy, or stopped, to say so.
        return [*self._watch(entry.ref), Confirm(name, entry.ref)]

    def _is_doubtful(self, entry: Entry) -> bool:
        """Whether the process or the owner of *entry* has ended, and what follows is open."""
        return entry.is_orphaned or entry.owner in self._vanished or entry.ref in self._vanished

    def _refuse(self, name: Name, holder: ActorRef) -> list[TableEffect]:
        """Refuse all who wait for *name*: *holder* has it."""
        waiting = [owner for claimed, owner in self._claims if claimed == name]
        claims = [(owner, self._claims.pop((name, owner))) for owner in waiting]
        return [Notify(owner, NameRefused(name, claim.newest, holder)) for owner, claim in claims]

    def _free(self, name: Name) -> list[TableEffect]:
        """Give *name* to the first waiting claim, or to nobody."""
        del self._entries[name]
        effects: list[TableEffect] = []
        for owner in [owner for claimed, owner in self._claims if claimed == name]:
            effects += self._decide(self._claims.pop((name, owner)))
        return effects or self._answer(name, NotFound())

    def _orphan(self, entry: Entry) -> list[TableEffect]:
        """Take *entry* from its owner: free it, or have it wait for its process to end."""
        self._entries[entry.name] = replace(entry, is_orphaned=True)
        if entry.ref is None:
            return self._free(entry.name)
        return self._look_after(entry.ref)

    def _owner_died(self, owner: ActorRef) -> list[TableEffect]:
        effects: list[TableEffect] = []
        for name in [entry.name for entry in self.select(lambda entry: entry.is_held_by(owner))]:
            effects += self._orphan(self._entries[name])
        return effects

    def _bury_predecessor(self, name: Name, old: ActorRef | None) -> list[TableEffect]:
        """Take note of the death of *old*, which nobody told before its successor came."""
        if old is None:
            return []
        return [*self.process_died(old, Killed()), *self._tell(NameDown(name, old, Killed()))]

    def _is_answered_for(self, ref: ActorRef) -> bool:
        # A process that owns its own name cannot tell its own end.
        return any(
            entry.ref == ref and entry.owner != ref and not entry.is_orphaned
            for entry in self._entries.values()
        )

    def _look_after(self, ref: ActorRef) -> list[TableEffect]:
        """Make sure that the death of *ref* is noticed, also if no living owner tells it."""
        if self._is_answered_for(ref):
            return []
        if ref in self._vanished:
            return self.process_died(ref, Killed())
        return self._watch(ref)

    def _watch(self, ref: ActorRef) -> list[TableEffect]:
        if ref in self._watched:
            return []
        self._watched.add(ref)
        return [Watch(ref)]

    def _tell(self, event: NameRegistered | NameUnregistered | NameDown) -> list[TableEffect]:
        return [Notify(listener, event) for listener in self._listeners]

    def _answer(self, name: Name, found: Live | NotFound) -> list[TableEffect]:
        tokens = [token for token, waited in self._waits.items() if waited == name]
        for token in tokens:
            del self._waits[token]
        return [AnswerLookUp(token, found) for token in tokens]
