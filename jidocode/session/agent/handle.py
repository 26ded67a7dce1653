"""`TurnHandle`: a turn under way, as whoever has prompted holds it; `TurnProgress` is behind it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from jidocode.base.changes import Changes
from jidocode.errors import CallTimeoutError
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.session.agent.messages import TurnEvent, TurnResult, joined


class TurnProgress:
    """What has come of a turn: its driver says it here, and handles read it.

    Any thread may read, and none has to wait for a lock then: the main thread may be interrupted
    by a signal, and leave one taken. What drives a turn are other threads.

    Attributes:
        id: The turn's.
        accepted: Whether it is taken.
        result: How it ended; None if it has not.
        changes: Tells whenever there may be more to read.
    """

    def __init__(self, turn_id: str, cancel: Callable[[], None]) -> None:
        """Be that of the turn *turn_id*, which *cancel* cancels."""
        self.id = turn_id
        self.accepted = False
        self.result: TurnResult | None = None
        self.changes = Changes()
        self._cancel = cancel
        self._driving = threading.Lock()
        self._events: deque[TurnEvent] = deque()
        self._refused: BaseException | None = None

    def __repr__(self) -> str:
        state = "under way" if self.result is None else str(self.result.outcome)
        return f"{self.id}, {state}"

    # For its driver

    def wait_accepted(self) -> None:
        """Return when the turn has begun, or waits for others; raise what it is refused with."""
        self.changes.wait_for(
            lambda: self.accepted or self._refused or self.result or None, INFINITY
        )
        if self._refused is not None:
            raise self._refused

    def accept(self) -> None:
        """It is taken."""
        self.accepted = True
        self.changes.tell()

    def refuse(self, error: BaseException) -> None:
        """It is not taken."""
        self._refused = error
        self.changes.tell()

    def put(self, event: TurnEvent) -> None:
        """Something happens; nothing does after its end."""
        with self._driving:
            if self.result is None:
                self._add(event)
        self.changes.tell()

    def end(self, result: TurnResult) -> None:
        """It has ended."""
        with self._driving:
            self.result = result
        self.changes.tell()

    def _add(self, event: TurnEvent) -> None:
        try:
            last = self._events.pop()
        except IndexError:  # all is read
            self._events.append(event)
            return
        one = joined(last, event)
        self._events.extend((last, event) if one is None else (one,))

    # For handles

    def request_cancel(self) -> None:
        """Have it end, and wait for nothing."""
        if self.result is None:
            self._cancel()

    def look(self) -> tuple[TurnEvent, ...] | None:
        """Return what happens next, nothing after the end, None if nothing has yet."""
        has_ended = self.result is not None  # first: what comes before the end is there then
        try:
            return (self._events.popleft(),)
        except IndexError:
            return () if has_ended else None

    def look_result(self) -> TurnResult | None:
        """Return how it ended; None if it has not."""
        return self.result

    def read(self) -> tuple[TurnEvent, ...]:
        """Return what happens next, as soon as it does; nothing after the end."""
        return self.changes.wait_for(self.look, INFINITY) or ()

    def wait_ended(self, seconds: float) -> TurnResult | None:
        """Return how it ended, as soon as it has; None if it has not within *seconds*."""
        return self.changes.wait_for(self.look_result, time.monotonic() + seconds)


class TurnHandle:
    """A turn under way: an iterator of what happens in it. `AgentClient.prompt` makes it.

    It goes on whether or not anybody reads. What has not been read is kept, in pieces as large as
    can be; what one has read, no other reads. Any thread may use it.

    Attributes:
        id: The turn's, and that of the user's message in the State, which is written down when
            the turn begins: one that is cancelled while it waits for its turn has none.
    """

    def __init__(self, progress: TurnProgress) -> None:
        """Be that of the turn with this *progress*."""
        self._progress = progress
        self.id = progress.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._progress!r}>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TurnEvent:
        """Return what happens next, as soon as it does; it ends with the turn."""
        found = self._progress.read()
        if not found:
            raise StopIteration
        return found[0]

    @property
    def done(self) -> bool:
        """Whether `result` would not wait."""
        return self._progress.result is not None

    def result(self, timeout: float | None = None) -> TurnResult:
        """Return how the turn ended, as soon as it has.

        Raises:
            CallTimeoutError: It has not within *timeout* seconds, and goes on.
            InvalidTimeError: *timeout* is no time.
        """
        seconds = INFINITY if timeout is None else timeout
        require_seconds("timeout", seconds)
        result = self._progress.wait_ended(seconds)
        if result is None:
            raise CallTimeoutError(f"turn {self.id}", seconds)
        return result

    def cancel(self) -> TurnResult:
        """End the turn, and return how it ended; one that has ended is left as it is.

        The request to the model is closed, commands that its calls of tools run get a SIGTERM,
        and each of its calls has a result. A tool of the app's own, or a policy that is being
        asked, goes on in its thread, for it cannot be ended, and what it returns is dropped; a
        coroutine function is cancelled. An agent that gives no sign of life is ended by force.
        """
        self._progress.request_cancel()
        return self.result()
