"""`ChangeStream`: a session's changes, one by one, as they happen; and the one for coroutines."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Self

from jidocode.base.closing import AsyncClosing, Closing
from jidocode.base.stop import Stop, Stopped
from jidocode.base.waiting import acquire
from jidocode.errors import ActorExitedError, HostExitedError, SessionNotFoundError
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.session.conversation.changes import Change
from jidocode.session.requests import (
    AsyncChannel,
    Channel,
    Question,
    Script,
    ask,
    carry_out,
    carry_out_async,
    request,
)
from jidocode.session.state import operations

ANSWER_TIME = 5.0
"""Seconds that a State has to answer, beyond those that it was asked to wait."""
_LONGEST_WAIT = 5.0


Rest = Callable[[int], list[Change]]
"""Returns what follows a number in the journal of a session that has ended, page by page."""
AsyncRest = Callable[[int], Coroutine[Any, Any, list[Change]]]
"""The same for coroutines."""

_ENDS = (SessionNotFoundError, HostExitedError)
"""How a stream hears that its session has ended. Whoever reads slowly has not asked for all then,
and there is no State any more to ask. So the rest is read from the journal, and then it is told."""


def no_rest(_after_seq: int) -> list[Change]:
    """Return nothing: what was not read in time is gone."""
    return []


async def no_async_rest(_after_seq: int) -> list[Change]:
    """Return nothing: what was not read in time is gone."""
    return []


class _Reading:
    """How far a stream has been read, and how it goes on.

    Attributes:
        page: What has come and was not read yet.
        after_seq: The number of the last change that was read.
    """

    def __init__(self, after_seq: int) -> None:
        self.page: deque[Change] = deque()
        self.after_seq = after_seq

    def next_change(self, deadline: float) -> Script[Change | None]:
        """Return the next change; None at *deadline* (monotonic seconds)."""
        while not self.page:
            left = max(0.0, deadline - time.monotonic())
            try:
                page = yield from ask(self._question(min(left, _LONGEST_WAIT)))
            except ActorExitedError:
                continue  # the next State is asked from the same number on
            self.page.extend(page)
            if not page and time.monotonic() >= deadline:
                return None
        return self.take()

    def take(self) -> Change:
        """Return the next change, which has come."""
        change = self.page.popleft()
        self.after_seq = change.seq
        return change

    def _question(self, wait: float) -> Question[list[Change]]:
        question = request(operations.events, after_seq=self.after_seq, wait=wait)
        return Question(question, wait + ANSWER_TIME)


class ChangeStream(Closing):
    """All changes of a session from one number on: iterate over it, or `get` them.

    With a journal it goes on across restarts of the State, without a gap and without a
    double. One thread at a time reads; any other may `close` it meanwhile.
    """

    def __init__(self, channel: Channel, after_seq: int, rest: Rest = no_rest) -> None:
        """Ask over *channel* for what comes after *after_seq*, and for the *rest* at the end."""
        self._channel = channel
        self._rest = rest
        self._reading = _Reading(after_seq)
        self._stop = Stop()
        self._owner = os.getpid()
        self._turn = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._stop.requested

    def get(self, timeout: float | None = None) -> Change | None:
        """Return the next change; None after *timeout* seconds, or once it is closed.

        Raises:
            InvalidTimeError: *timeout* is no time.
            SessionNotFoundError: The session has ended; it says how, if that is known. What
                was written before comes first, if the session has a journal.
            EventGapError: The next change is not there any more; see `StateClient.events`.
            CallTimeoutError: The State does not answer, or is not back in time.
            HostError: The system is gone, or this is a fork of its app.
        """
        seconds, deadline = _patience(timeout)
        self._start_anew_in_fork()
        taken = [False]
        try:
            if not acquire(self._turn, seconds, taken) or self._stop.requested:
                return None
            return carry_out(self._reading.next_change(deadline), self._channel, self._stop)
        except Stopped:
            return None
        except _ENDS:
            self._reading.page.extend(self._rest(self._reading.after_seq))
            if not self._reading.page:
                raise
            return self._reading.take()
        finally:
            if taken[-1]:  # no call, in which a handler might raise
                self._turn.release()

    def _start_anew_in_fork(self) -> None:
        """Hold nothing that another thread of the app held, so that asking says what is wrong."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._turn, self._stop = threading.Lock(), Stop()
            self._reading.page.clear()

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


class AsyncChangeStream(AsyncClosing):
    """All changes of a session from one number on: iterate over it by `async for`, or `get` them.

    With a journal it goes on across restarts of the State, without a gap and without a
    double; also after a `get` that was cancelled. One task at a time reads; any other may
    `aclose` it meanwhile. One that is not closed holds nothing but memory.
    """

    def __init__(
        self, channel: AsyncChannel, after_seq: int, rest: AsyncRest = no_async_rest
    ) -> None:
        """Ask over *channel* for what comes after *after_seq*, and for the *rest* at the end."""
        self._channel = channel
        self._rest = rest
        self._reading = _Reading(after_seq)
        self._stop = Stop()
        self._is_read = False

    @property
    def closed(self) -> bool:
        """Whether `aclose` was called."""
        return self._stop.requested

    async def get(self, timeout: float | None = None) -> Change | None:  # noqa: ASYNC109 - as `ChangeStream.get`
        """Return the next change; None after *timeout* seconds, or once it is closed.

        Raises:
            RuntimeError: Another task is reading.
            Exception: Whatever `ChangeStream.get` raises.
        """
        _, deadline = _patience(timeout)
        if self._is_read:
            raise RuntimeError("another task is reading this stream")
        if self._stop.requested:
            return None
        self._is_read = True
        try:
            script = self._reading.next_change(deadline)
            return await carry_out_async(script, self._channel, self._stop)
        except Stopped:
            return None
        except _ENDS:
            self._reading.page.extend(await self._rest(self._reading.after_seq))
            if not self._reading.page:
                raise
            return self._reading.take()
        finally:
            self._is_read = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        change = await self.get()
        if change is None:
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        """End it, also for a task that waits in it."""
        self._stop.request()


def _patience(timeout: float | None) -> tuple[float, float]:
    """Return *timeout* in seconds, and when it is over (monotonic)."""
    seconds = INFINITY if timeout is None else timeout
    require_seconds("timeout", seconds)
    return seconds, time.monotonic() + seconds
