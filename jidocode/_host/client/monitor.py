"""Tells an app that one process is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable

from jidocode.base.exits import ExitReason
from jidocode.base.refs import ActorRef
from jidocode.otp.server.messages import Down


class Monitor:
    """Tells once, to whoever waits, that a process is gone (OTP: monitor)."""

    def __init__(self, token: int, ref: ActorRef, forget: Callable[[Monitor], None]) -> None:
        self.token = token
        self.ref = ref
        self._forget = forget
        self._told = threading.Event()
        self._down: Down | None = None

    def tell(self, reason: ExitReason) -> None:
        """Take in that the process is gone."""
        self._down = Down(self.token, self.ref, reason)
        self._told.set()

    def wait(self, timeout: float | None = None) -> Down | None:
        """Return the `Down` as soon as there is one; None after *timeout* seconds."""
        self._told.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))
        return self._down

    def cancel(self) -> None:
        """Watch no longer (OTP: demonitor)."""
        self._forget(self)
