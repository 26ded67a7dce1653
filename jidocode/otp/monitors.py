"""Who wants to know when a process dies: the table of monitors.

A pure table: it is told of deaths and returns the `Down` messages to send.
`registry.py` knows processes by name; this file knows them by `ActorRef` only,
so a monitor never follows a name to the next life of its holder.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import attrs

from jidocode.otp.exits import NoProcess

if TYPE_CHECKING:
    from collections.abc import Hashable

    from jidocode.otp.exits import ExitReason
    from jidocode.otp.refs import ActorRef

TOMBSTONES = 4096
"""How many dead refs are remembered: more than can have messages under way."""


@attrs.frozen
class Down:
    """A monitored process is dead (OTP: `DOWN`).

    Attributes:
        token: The monitor's token.
        ref: The life that ended.
        reason: Why; `NoProcess` if it was dead when the monitor was set.
    """

    token: Hashable
    ref: ActorRef
    reason: ExitReason


@attrs.frozen
class Send:
    """An effect: send *message* to *to*, whatever names a receiver to the host."""

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
    """All monitors of one registry."""

    def __init__(self) -> None:
        # Target to token to watcher, in the order in which they were set.
        self._watchers: dict[ActorRef, dict[Hashable, Hashable]] = {}
        self._targets: dict[Hashable, ActorRef] = {}
        self._dead = Tombstones()

    def monitor(self, token: Hashable, target: ActorRef, watcher: Hashable) -> list[Send]:
        """Have *watcher* told, once, when *target* dies; n monitors bring n `Down`s.

        *token* tells the monitors of all watchers apart; one that is in use
        already changes nothing. A target known to be dead brings `Down` with
        `NoProcess` at once (OTP: `noproc`).
        """
        if target in self._dead:
            return [Send(watcher, Down(token, target, NoProcess()))]
        if token not in self._targets:
            self._targets[token] = target
            self._watchers.setdefault(target, {})[token] = watcher
        return []

    def demonitor(self, token: Hashable) -> None:
        """Drop a monitor: no `Down` is returned for it any more; unknown tokens are fine."""
        target = self._targets.pop(token, None)
        if target is None:
            return
        tokens = self._watchers[target]
        del tokens[token]
        if not tokens:
            del self._watchers[target]

    def gone(self, ref: ActorRef, reason: ExitReason) -> list[Send]:
        """Return the `Down`s for a dead *ref*; a second notice of a death returns none."""
        if ref in self._dead:
            return []
        self._dead.add(ref)
        tokens = self._watchers.pop(ref, {})
        for token in tokens:
            del self._targets[token]
        return [Send(watcher, Down(token, ref, reason)) for token, watcher in tokens.items()]

    def watcher_gone(self, watcher: Hashable) -> None:
        """Drop all monitors that *watcher* has set."""
        tokens = [
            token for token, ref in self._targets.items() if self._watchers[ref][token] == watcher
        ]
        for token in tokens:
            self.demonitor(token)

    def is_dead(self, ref: ActorRef) -> bool:
        """Whether *ref* is one of the `TOMBSTONES` last known deaths."""
        return ref in self._dead
