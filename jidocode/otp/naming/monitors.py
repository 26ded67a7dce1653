"""Who wants to know when a process dies: the table of monitors.

A pure table: it is told of deaths, and returns the `Down` messages to send.
The name table knows processes by name; this one knows them by `ActorRef` only,
so a monitor never follows a name to the next life of its holder.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct

from jidocode.base.exits import NoProcess
from jidocode.otp.server.messages import Down

if TYPE_CHECKING:
    from collections.abc import Hashable

    from jidocode.base.exits import ExitReason
    from jidocode.base.refs import ActorRef

TOMBSTONES = 4096
"""How many dead refs are remembered: more than can have messages under way."""


class Notify(Struct, frozen=True):
    """Send *message* to *to*, whatever names a receiver to the host."""

    to: Hashable
    message: object


class Tombstones:
    """The refs that died last, so that a late message of the dead is known as one."""

    def __init__(self) -> None:
        self._refs: OrderedDict[ActorRef, None] = OrderedDict()

    def add(self, ref: ActorRef) -> None:
        """Remember *ref*, and forget the oldest beyond `TOMBSTONES`."""
        self._refs[ref] = None
        if len(self._refs) > TOMBSTONES:
            self._refs.popitem(last=False)

    def __contains__(self, ref: ActorRef) -> bool:
        return ref in self._refs


class Monitors:
    """All monitors of one registry, each told apart by its watcher and the watcher's token."""

    def __init__(self) -> None:
        # Target to its monitors, in the order in which they were set.
        self._monitors: dict[ActorRef, dict[tuple[Hashable, int], None]] = {}
        self._targets: dict[tuple[Hashable, int], ActorRef] = {}
        self._dead = Tombstones()

    def monitor(self, token: int, target: ActorRef, watcher: Hashable) -> list[Notify]:
        """Have *watcher* told, once, when *target* dies; n monitors bring n `Down`s.

        A *token* that the watcher has in use already changes nothing. A target
        known to be dead brings `Down` with `NoProcess` at once (OTP: `noproc`).
        """
        if target in self._dead:
            return [Notify(watcher, Down(token, target, NoProcess()))]
        key = (watcher, token)
        self._monitors.setdefault(self._targets.setdefault(key, target), {})[key] = None
        return []

    def demonitor(self, token: int, watcher: Hashable) -> None:
        """Drop a monitor: no `Down` is returned for it any more; unknown ones are fine."""
        key = (watcher, token)
        target = self._targets.pop(key, None)
        if target is None:
            return
        del self._monitors[target][key]
        if not self._monitors[target]:
            del self._monitors[target]

    def process_died(self, ref: ActorRef, reason: ExitReason) -> list[Notify]:
        """Return the `Down`s for a dead *ref*; a second notice of a death returns none."""
        self._dead.add(ref)
        keys = self._monitors.pop(ref, {})
        for key in keys:
            del self._targets[key]
        return [Notify(watcher, Down(token, ref, reason)) for watcher, token in keys]

    def watcher_died(self, watcher: Hashable) -> None:
        """Drop all monitors that *watcher* has set."""
        for token in [token for asker, token in self._targets if asker == watcher]:
            self.demonitor(token, watcher)

    def is_dead(self, ref: ActorRef) -> bool:
        """Whether *ref* is one of the `TOMBSTONES` last known deaths."""
        return ref in self._dead
