"""`ChangeStream`: a session's changes, one by one, as they happen."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Self

from jidocode.base.closing import Closing
from jidocode.base.stop import Stop, Stopped
from jidocode.errors import ActorExitedError
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.session.conversation.changes import Change
from jidocode.session.requests import Channel, request
from jidocode.session.state import operations

ANSWER_TIME = 5.0
"""Seconds that a State has to answer, beyond those that it was asked to wait."""
_LONGEST_WAIT = 5.0


class ChangeStream(Closing):
    """All changes of a session from one number on: iterate over it, or `get` them.

    With a journal it goes on across restarts of the State, without a gap and without a
    double. One thread at a time reads; any other may `close` it meanwhile.
    """

    def __init__(self, channel: Channel, after_seq: int) -> None:
        """Ask over *channel* for what comes after *after_seq*."""
        self._channel = channel
        self._after_seq = after_seq
        self._page: deque[Change] = deque()
        self._stop = Stop()
        self._owner = os.getpid()
        self._reading = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._stop.requested

    def get(self, timeout: float | None = None) -> Change | None:
        """Return the next change; None after *timeout* seconds, or once it is closed.

        Raises:
            InvalidTimeError: *timeout* is no time.
            SessionNotFoundError: The session has ended; it says how, if that is known.
            EventGapError: The next change is not there any more; see `StateClient.events`.
            CallTimeoutError: The State does not answer, or is not back in time.
            HostError: The system is gone, or this is a fork of its app.
        """
        timeout = INFINITY if timeout is None else timeout
        require_seconds("timeout", timeout)
        deadline = time.monotonic() + timeout
        self._start_anew_in_fork()
        if not self._reading.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            return None
        try:
            return self._next(deadline)
        except Stopped:
            return None
        finally:
            self._reading.release()

    def _start_anew_in_fork(self) -> None:
        """Hold nothing that another thread of the app held, so that asking says what is wrong."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._reading, self._stop = threading.Lock(), Stop()
            self._page.clear()

    def _next(self, deadline: float) -> Change | None:
        while not self._stop.requested:
            if self._page:
                change = self._page.popleft()
                self._after_seq = change.seq
                return change
            left = max(0.0, deadline - time.monotonic())
            try:
                self._page.extend(self._ask(min(left, _LONGEST_WAIT)))
            except ActorExitedError:
                continue  # the next State is asked from the same number on
            if not self._page and time.monotonic() >= deadline:
                return None
        return None

    def _ask(self, wait: float) -> list[Change]:
        question = request(operations.events, after_seq=self._after_seq, wait=wait)
        return self._channel(question, timeout=wait + ANSWER_TIME, stop=self._stop)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        change = self.get()
        if change is None:
            raise StopIteration
        return change

    def close(self) -> None:
        """End it, also for a thread that waits in it; any thread may, and a signal handler."""
        if self._owner == os.getpid():
            self._stop.request()
