"""What the app knows of the tree, from what the supervisors announce.

A supervisor's news come in order, so this copy is never older than the last
word that has arrived, and a call needs no look-up: it is the cache of names,
filled and emptied by the processes that know. Threads wait here for a name
whose process is being replaced.

One thread at a time takes in what is announced, the reader; all others look, and nobody
holds a lock (see `sharing`). So each step leaves something that may be looked at: who is
expected back is expected before it is gone, and until it is back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from jidocode._host.descriptors import has_ended
from jidocode._host.wire import DirectoryState
from jidocode.base.changes import Changes
from jidocode.base.exits import ExitReason, Killed
from jidocode.base.refs import ActorRef, Name
from jidocode.otp.supervision.events import (
    ChildExited,
    ChildRunning,
    ChildStarted,
    ChildStartFailed,
    SupervisorEvent,
)

REMEMBERED_DEATHS = 4096
REMEMBERED_NAMES = 4096


class _Place(Struct, frozen=True):
    supervisor: ActorRef
    child_id: str
    name: Name | None


class Directory:
    """Live processes by name, and recent deaths with their reasons; thread-safe.

    Attributes:
        changes: Tells when there was news.
    """

    def __init__(self, on_death: Callable[[ActorRef, ExitReason], None]) -> None:
        """Call *on_death* for every process that ends, once, in the thread that hears of it."""
        self._on_death = on_death
        self.changes = Changes()
        self._places: dict[ActorRef, _Place] = {}
        self._names: dict[Name, ActorRef] = {}
        self._expected: dict[Name, ActorRef] = {}
        self._leaving: set[ActorRef] = set()
        self._deaths: OrderedDict[ActorRef, ExitReason] = OrderedDict()
        self._ends: OrderedDict[Name, ExitReason] = OrderedDict()

    # News

    def take(self, event: SupervisorEvent) -> list[ChildExited]:
        """Take in what a supervisor announces; return the ends of what was lost with its child."""
        match event:
            case ChildStarted():
                self._started(_Place(event.supervisor, event.child_id, event.name), event.ref)
            case ChildExited():
                expected = event.name if event.restarting else None
                return self._ended(event.ref, event.reason, expected, event.supervisor)
            case ChildStartFailed() if event.name is not None and not event.restarting:
                if self._expected.pop(event.name, None):
                    self._pass_on(event.name)
                self.changes.tell()
            case _:
                pass
        return []

    def has_answered_last(self, ref: ActorRef) -> None:
        """Take in that *ref* is about to end: it has given the last of its answers.

        Any thread may. Of its start may nothing be known yet, of its end something will be.
        """
        self._leaving.add(ref)
        if ref in self._deaths:  # after that: the reader may be at it
            self._leaving.discard(ref)

    def root_started(self, ref: ActorRef, name: Name) -> None:
        """Take in that the root of the tree runs."""
        self._started(_Place(ref, name[1], name), ref)

    def root_ended(
        self, name: Name, incarnation: int, reason: ExitReason, *, restarting: bool
    ) -> list[ChildExited]:
        """Take in that this life of the root is gone; return the ends of all that was below.

        That may be heard after the next one has said that it runs.
        """
        lost: list[ChildExited] = []
        for ref, place in list(self._places.items()):
            if place.name == name and ref.incarnation == incarnation:
                expected = name if restarting and self.find(name) == ref else None
                lost += self._ended(ref, reason, expected, ref)
        self.changes.tell()
        return lost

    def close(self, reason: ExitReason) -> None:
        """Take in that nothing is left."""
        for ref in list(self._places):
            self._ended(ref, reason, None, ref)
        self.changes.tell()

    def _started(self, place: _Place, ref: ActorRef) -> None:
        supervisor, name = place.supervisor, place.name
        if supervisor in self._deaths:  # late news of one that is gone with all its children
            if ref not in self._deaths:
                self._ended(ref, Killed(), None, supervisor)
            return
        self._places[ref] = place
        if name is not None and not self._is_anothers(name, supervisor, ref):
            self._names[name] = ref
            self._ends.pop(name, None)
            self._expected.pop(name, None)
        self.changes.tell()

    def _is_anothers(self, name: Name, supervisor: ActorRef, ref: ActorRef) -> bool:
        """Whether *name* is known to be that of another supervisor's child.

        Who is started while there is no registry may not have its name, which only the next
        registry says.
        """
        if supervisor == ref:  # a new root, heard of before the end of the old one
            return False
        holder = self._names.get(name)
        owner = self._expected.get(name) if holder is None else self._places[holder].supervisor
        return owner not in (None, supervisor)

    def _ended(
        self, ref: ActorRef, reason: ExitReason, expected: Name | None, supervisor: ActorRef
    ) -> list[ChildExited]:
        if expected is not None:
            self._expected[expected] = supervisor
        lost = self._forget(ref, reason)
        if expected is not None:
            self._ends.pop(expected, None)
        # What those that are dead now had expected back does not come.
        for name, boss in list(self._expected.items()):
            if name != expected and boss in self._deaths:
                self._expected.pop(name, None)
                self._pass_on(name)
        self.changes.tell()
        self._on_death(ref, reason)
        for each in lost:
            self._on_death(each.ref, each.reason)
        return lost

    def _forget(self, ref: ActorRef, reason: ExitReason) -> list[ChildExited]:
        """Bury *ref* and whatever was below it; return the ends of what was below."""
        place = self._places.pop(ref, None)
        if place is not None and place.name is not None and self._names.get(place.name) == ref:
            self._ends[place.name] = reason
            del self._names[place.name]
            if place.name not in self._expected:
                self._pass_on(place.name)
            while len(self._ends) > REMEMBERED_NAMES:
                self._ends.popitem(last=False)
        self._deaths[ref] = reason
        self._leaving.discard(ref)
        while len(self._deaths) > REMEMBERED_DEATHS:
            self._deaths.popitem(last=False)
        lost: list[ChildExited] = []
        for below, place in list(self._places.items()):
            if place.supervisor == ref and below in self._places:
                lost += [_lost(below, place), *self._forget(below, Killed())]
        return lost

    def _pass_on(self, name: Name) -> None:
        """Give *name* to who has said that it has it before the last one was known to be dead."""
        for ref, place in self._places.items():
            if place.name == name:
                self._names[name] = ref

    def wake(self) -> None:
        """Have all that wait look again whether they give up."""
        self.changes.tell()

    # For another app

    def snapshot(self) -> DirectoryState:
        """Return all that is known, for a directory that is to go on from here."""
        return DirectoryState(
            places={
                ref: (place.supervisor, place.child_id, place.name)
                for ref, place in self._places.items()
            },
            names=dict(self._names),
            expected=dict(self._expected),
            leaving=set(self._leaving),
            deaths=dict(self._deaths),
            ends=dict(self._ends),
        )

    def restore(self, state: DirectoryState) -> None:
        """Know what another directory has known; nothing is known here yet."""
        self._deaths.update(state.deaths)
        self._ends.update(state.ends)
        self._leaving.update(state.leaving)
        self._expected.update(state.expected)
        self._places.update((ref, _Place(*place)) for ref, place in state.places.items())
        self._names.update(state.names)
        self.changes.tell()

    # Questions

    def find(self, name: Name) -> ActorRef | None:
        """Return the process that runs under *name*, if one is known."""
        ref = self._names.get(name)
        return None if self._leaving and ref in self._leaving else ref

    def find_living(self, name: Name) -> ActorRef | None:
        """Return the process that runs under *name*, if one is known, and not gone."""
        ref = self.find(name)
        return None if ref is None or self.is_gone(ref) else ref

    def leaving(self, name: Name) -> ActorRef | None:
        """Return the process under *name* that is about to end, if one is."""
        ref = self._names.get(name)
        return ref if ref in self._leaving else None

    def is_gone(self, ref: ActorRef) -> bool:
        """Whether *ref* is known to have ended, or to be about to."""
        return ref in self._deaths or ref in self._leaving

    def names_above(self, ref: ActorRef) -> list[Name]:
        """Return the names of *ref* and of the supervisors above it, nearest first."""
        names: list[Name] = []
        while (place := self._places.get(ref)) is not None:
            if place.name is not None:
                names.append(place.name)
            if place.supervisor == ref:  # the root
                break
            ref = place.supervisor
        return names

    def death_of(self, ref: ActorRef) -> ExitReason | None:
        """Return why *ref* ended, if it is known to have ended."""
        return self._deaths.get(ref)

    def end_of(self, name: Name) -> ExitReason | None:
        """Return how the last process under *name* ended, if none runs and that is known."""
        return self._ends.get(name)

    def is_expected(self, name: Name) -> bool:
        """Whether the process under *name* is being replaced."""
        return name in self._expected

    def running(self) -> list[ChildRunning]:
        """Return every process that is known to run, each one before all that is below it."""
        below: dict[ActorRef | None, list[ActorRef]] = {}
        for ref, place in self._places.items():
            # Whose supervisor is not known yet hangs nowhere, as the root.
            is_below = place.supervisor != ref and place.supervisor in self._places
            below.setdefault(place.supervisor if is_below else None, []).append(ref)
        found: list[ChildRunning] = []
        rest = below.pop(None, [])[::-1]
        while rest:
            ref = rest.pop()
            rest += below.pop(ref, [])[::-1]
            place = self._places[ref]
            found.append(
                ChildRunning(
                    supervisor=place.supervisor, child_id=place.child_id, ref=ref, name=place.name
                )
            )
        return found

    def live(self) -> list[ActorRef]:
        """Return every process that is known to run, the root first."""
        return list(self._places)

    def places(self) -> dict[ActorRef, tuple[ActorRef, Name | None]]:
        """Return each process that is known to run with its supervisor and name, the root first."""
        copy = dict(self._places)  # in one step: the reader changes it
        return {ref: (place.supervisor, place.name) for ref, place in copy.items()}

    def wait_for(self, name: Name, deadline: float, give_up: Callable[[], bool]) -> ActorRef | None:
        """Return the process under *name* as soon as there is one.

        None if *deadline* (monotonic seconds) passes, or when *give_up* says so
        after some news.
        """
        found = self.changes.wait_for(lambda: self.look_for(name, give_up), deadline)
        return found[0] if found else None

    def look_for(
        self, name: Name, give_up: Callable[[], bool]
    ) -> tuple[ActorRef] | tuple[None] | None:
        """Return the process under *name*, or that there is none when *give_up* says so.

        None if it is to be waited for.
        """
        ref = self.find_living(name)
        if ref is None and give_up():
            ref = self.find_living(name)  # it may have come just before that
            return (None,) if ref is None else (ref,)
        return (ref,) if ref else None


class LateDirectory(Directory):
    """That of an app whose news come by way of another process, and so after answers.

    What runs under a name may have ended before the answer that the app has got already. So the
    kernel is asked, as the processes of the system do, which hear no news.
    """

    def is_gone(self, ref: ActorRef) -> bool:
        """Whether *ref* has ended, or is known to be about to."""
        if super().is_gone(ref):
            return True
        if not has_ended(ref.os_pid):
            return False
        if ref in self._places:  # or else nothing may ever be heard of it
            self.has_answered_last(ref)
        return True


def _lost(ref: ActorRef, place: _Place) -> ChildExited:
    """Return the end of a process that its supervisor did not live to announce."""
    return ChildExited(
        supervisor=place.supervisor,
        child_id=place.child_id,
        ref=ref,
        reason=Killed(),
        name=place.name,
    )
