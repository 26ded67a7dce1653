"""`TurnHandle`: a turn under way, as whoever has prompted holds it; `TurnProgress` is behind it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Self

from jidocode.base.waiting import wait_for
from jidocode.errors import CallTimeoutError
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.session.agent.messages import TurnEvent, TurnResult, joined


class TurnProgress:
    """What has come of a turn: its driver says it here, and handles read it. Any thread may.

    Attributes:
        id: The turn's.
        accepted: Whether it is taken.
        result: How it ended; None if it has not.
    """

    def __init__(self, turn_id: str, cancel: Callable[[], None]) -> None:
        """Be that of the turn *turn_id*, which *cancel* cancels."""
        self.id = turn_id
        self.accepted = False
        self.result: TurnResult | None = None
        self._cancel = cancel
        self._changed = threading.Condition()
        self._events: deque[TurnEvent] = deque()
        self._refused: BaseException | None = None
        self._tell: Callable[[], object] | None = None

    def __repr__(self) -> str:
        state = "under way" if self.result is None else str(self.result.outcome)
        return f"{self.id}, {state}"

    # For its driver

    def wait_accepted(self) -> None:
        """Return when the turn has begun, or waits for others; raise what it is refused with."""
        with self._changed:
            wait_for(self._changed, lambda: self.accepted or bool(self._refused or self.result))
        if self._refused is not None:
            raise self._refused

    def accept(self) -> None:
        """It is taken."""
        with self._changing():
            self.accepted = True

    def refuse(self, error: BaseException) -> None:
        """It is not taken."""
        with self._changing():
            self._refused = error

    def put(self, event: TurnEvent) -> None:
        """Something happens; nothing does after its end."""
        with self._changing():
            if self.result is None:
                self._add(event)

    def end(self, result: TurnResult) -> None:
        """It has ended."""
        with self._changing():
            self.result = result

    # For handles

    def request_cancel(self) -> None:
        """Have it end, and wait for nothing."""
        if self.result is None:
            self._cancel()

    def listen(self, tell: Callable[[], object]) -> None:
        """Have *tell* called, in another thread, whenever there may be more to read."""
        self._tell = tell

    def look(self) -> tuple[TurnEvent, ...] | None:
        """Return what happens next, nothing after the end, None if nothing has yet."""
        with self._changed:
            return self._look()

    def look_result(self) -> TurnResult | None:
        """Return how it ended; None if it has not."""
        return self.result

    def read(self) -> tuple[TurnEvent, ...]:
        """Return what happens next, as soon as it does; nothing after the end."""
        with self._changed:
            wait_for(self._changed, lambda: bool(self._events or self.result))
            return self._look() or ()

    def wait_ended(self, seconds: float) -> TurnResult | None:
        """Return how it ended, as soon as it has; None if it has not within *seconds*."""
        with self._changed:
            wait_for(self._changed, lambda: self.result is not None, seconds)
        return self.result

    def _look(self) -> tuple[TurnEvent, ...] | None:
        if self._events:
            return (self._events.popleft(),)
        return None if self.result is None else ()

    def _add(self, event: TurnEvent) -> None:
        one = joined(self._events[-1], event) if self._events else None
        if one is None:
            self._events.append(event)
        else:
            self._events[-1] = one

    @contextmanager
    def _changing(self) -> Generator[None]:
        """Change something within the block, and tell whoever waits, or listens, of it."""
        with self._changed:
            yield
            self._changed.notify_all()
        if self._tell is not None:
            self._tell()


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
