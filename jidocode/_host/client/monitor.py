"""Tells an app that one process is gone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import overload

from jidocode._host.deadline import deadline_after
from jidocode._host.forks import Owner
from jidocode._host.sharing import WeakBag
from jidocode.base.changes import Changes
from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef
from jidocode.otp.server.messages import Down


class Monitor:
    """Tells once, to whoever waits, that a process is gone (OTP: monitor).

    Attributes:
        ref: The process.
        down: What it tells; None until there is something to tell.
        changes: Tells when there is.
    """

    def __init__(
        self, token: int, ref: ActorRef, owner: Owner, forget: Callable[[Monitor], None]
    ) -> None:
        self.token = token
        self.ref = ref
        self._owner = owner
        self._forget = forget
        self.changes = Changes()
        self.down: Down | None = None

    def report(self, reason: ExitReason) -> None:
        """Take in that the process is gone."""
        self.down = Down(self.token, self.ref, reason)
        self.changes.tell()

    @overload
    def wait(self) -> Down: ...

    @overload
    def wait(self, timeout: float | None) -> Down | None: ...

    def wait(self, timeout: float | None = None) -> Down | None:
        """Return the `Down` as soon as there is one; None after *timeout* seconds.

        Raises:
            InvalidTimeError: *timeout* is no time.
            HostError: This process is a fork of the app.
        """
        self._owner.check()
        deadline = deadline_after(timeout)
        return self.changes.wait_for(lambda: self.down, deadline)

    def cancel(self) -> None:
        """Watch no longer (OTP: demonitor)."""
        self._forget(self)


class Monitors:
    """The monitors of one app that somebody still holds, and that have nothing to tell yet."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._tokens = itertools.count(1)
        self._waiting = WeakBag[Monitor]()

    def add(self, ref: ActorRef) -> Monitor:
        """Return a new monitor of *ref*."""
        monitor = Monitor(next(self._tokens), ref, self._owner, self._waiting.discard)
        self._waiting.add(monitor)
        return monitor

    def report(self, ref: ActorRef, reason: ExitReason) -> None:
        """Have all monitors of *ref* tell that it is gone."""
        for monitor in [monitor for monitor in self._waiting if monitor.ref == ref]:
            self._waiting.discard(monitor)
            monitor.report(reason)
