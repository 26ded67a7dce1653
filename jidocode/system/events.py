"""What happens in a system, as a stream: starts, exits, restarts, refusals.

The facts come from the supervisors as they happen, those of one session in
their order. Each reader has a buffer of its own: one that is slow loses the
oldest facts, is told how many, and holds up nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from attrs import field, frozen

from jidocode._host.deadline import deadline_after
from jidocode._host.forks import Owner
from jidocode._host.sharing import Changes, WeakBag
from jidocode.base.records import Record
from jidocode.base.refs import Name
from jidocode.errors import RateLimitedError, SessionLimitError
from jidocode.otp.supervision.events import (
    Announced,
    ChildExited,
    ChildStarted,
    ChildStartFailed,
    ChildStarting,
    GaveUp,
    HeartbeatMissed,
)
from jidocode.session.conversation.reports import Repair
from jidocode.session.record import is_session_id


@frozen(eq=False, repr=False)
class SessionRefused(Record):
    """A session was not let in, for the limit or the rate."""

    error: SessionLimitError | RateLimitedError


Fact = (
    ChildStarting
    | ChildStarted
    | ChildExited
    | ChildStartFailed
    | HeartbeatMissed
    | GaveUp
    | SessionRefused
    | Repair
    | Announced
)
"""What can happen: a `match` that has a case for each of these has missed none."""


@frozen(eq=False, repr=False)
class Event(Record):
    """One fact.

    Attributes:
        fact: What happened: `ChildStarting`, `ChildStarted` (it is ready; with
            *recovered_after* if it was a restart), `ChildExited`,
            `ChildStartFailed`, `HeartbeatMissed`, `GaveUp`, `SessionRefused`,
            `Repair` (State found its journal damaged), or `Announced`, with
            whatever a child has announced.
        session_id: The session it happened in; None outside of sessions.
        at: When the app heard of it, in UTC.
    """

    fact: Fact
    session_id: str | None
    at: datetime = field(factory=lambda: datetime.now(UTC))


class EventStream:
    """One reader's events, oldest first; iterate over it, or `get` them.

    The stream of one session ends with that session's `ChildExited`, every stream with the
    system or when it is closed: iteration stops then, after what is in the buffer.

    Attributes:
        dropped: How many events were lost because this reader was too slow.
    """

    def __init__(self, hub: EventHub, session_id: str | None, buffer: int) -> None:
        self.dropped = 0
        self._hub = hub
        self._session_id = session_id
        self._buffer = buffer
        self._events: deque[Event] = deque()
        self._changes = Changes()
        self._closed = False

    def get(self, timeout: float | None = None) -> Event | None:
        """Return the next event; None after *timeout* seconds, or if there will be none.

        Raises:
            InvalidTimeError: *timeout* is no time.
            HostError: This process is a fork of the app.
        """
        self._hub.owner.check()
        deadline = deadline_after(timeout)
        found = self._changes.wait_for(self._look, deadline)
        return found[0] if found else None

    def _look(self) -> tuple[Event | None] | None:
        closed = self._closed  # before the look: what came before the end is seen by it
        try:
            return (self._events.popleft(),)
        except IndexError:
            return (None,) if closed else None

    @property
    def closed(self) -> bool:
        """Whether nothing more comes; what is in the buffer can still be read."""
        return self._closed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self.get()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Hear no more; any thread may, also while another waits, and a signal handler."""
        if self._hub.owner.is_here:
            self._hub.forget(self)
            self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def end(self) -> None:
        """Take in that there will be no more (called by the hub)."""
        self._closed = True
        self._changes.tell()

    def put(self, event: Event) -> None:
        """Take *event* in, unless it is of another session (called by the hub, in one thread)."""
        if self._session_id is not None and event.session_id != self._session_id:
            return
        self._events.append(event)
        if len(self._events) > self._buffer:
            with suppress(IndexError):  # its reader has been as fast
                self._events.popleft()
                self.dropped += 1
        self._changes.tell()
        if isinstance(event.fact, ChildExited) and event.fact.name == ("session", self._session_id):
            self.end()


class EventHub:
    """Gives every event to every stream; a stream that nobody holds is forgotten.

    Attributes:
        owner: The process in which streams can be read.
    """

    def __init__(self, buffer: int) -> None:
        self.owner = Owner()
        self._buffer = buffer
        self._streams = WeakBag[EventStream]()
        self._closed = False

    def stream(self, session_id: str | None) -> EventStream:
        """Return a new stream, of one session if given; raises `HostError` in a fork."""
        self.owner.check()
        stream = EventStream(self, session_id, self._buffer)
        self._streams.add(stream)
        if self._closed:
            stream.close()
        return stream

    def publish(self, fact: Fact, session_id: str | None) -> None:
        """Give *fact* to all streams; for the reader thread alone."""
        if isinstance(fact, Announced) and isinstance(fact.value, Repair):
            fact = fact.value  # State's own
        event = Event(fact, session_id)
        for stream in self._streams:
            stream.put(event)

    def publish_news(self, fact: Fact, names: Sequence[Name]) -> None:
        """Give *fact*, of the process that goes by *names*, its own and those above it."""
        self.publish(fact, _session_of(names))

    def forget(self, stream: EventStream) -> None:
        """Give *stream* nothing more."""
        self._streams.discard(stream)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for stream in self._streams:
            stream.close()


def _session_of(names: Sequence[Name]) -> str | None:
    for kind, name_id in names:
        if kind == "session":
            return name_id
    # What a starting session's children do is heard before where they hang.
    return next((name_id for _, name_id in names if is_session_id(name_id)), None)
