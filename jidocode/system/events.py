"""What happens in a system, as a stream: starts, exits, restarts, refusals.

The facts come from the supervisors as they happen, those of one session in
their order. Each reader has a buffer of its own: one that is slow loses the
oldest facts, is told how many, and holds up nobody.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self, cast

from attrs import field, frozen
from msgspec import Struct
from msgspec.structs import replace

from jidocode._host import wire
from jidocode._host.client.directory import Directory
from jidocode._host.client.news import News
from jidocode._host.deadline import Deadline
from jidocode._host.forks import Owner
from jidocode._host.sharing import WeakBag
from jidocode.base import log
from jidocode.base.changes import Changes
from jidocode.base.closing import Closing
from jidocode.base.faults import require_sound
from jidocode.base.records import Record
from jidocode.base.refs import Name
from jidocode.base.stepwise import carry_out
from jidocode.base.text import quote
from jidocode.otp.naming.messages import REGISTRY
from jidocode.otp.seconds import INFINITY
from jidocode.otp.supervision.events import (
    Announced,
    ChildExited,
    ChildRunning,
    ChildStarted,
    ChildStartFailed,
    ChildStarting,
    GaveUp,
    HeartbeatMissed,
)
from jidocode.session.admission.messages import SessionRefused
from jidocode.session.conversation.reports import ModelAnswered, Repair
from jidocode.session.project.protection import ProtectedPathsChanged
from jidocode.session.record import is_session_id
from jidocode.system.steps import AwaitChange, Plan, await_change

Fact = (
    ChildRunning
    | ChildStarting
    | ChildStarted
    | ChildExited
    | ChildStartFailed
    | HeartbeatMissed
    | GaveUp
    | SessionRefused
    | Repair
    | ModelAnswered
    | ProtectedPathsChanged
    | Announced
)
"""What can happen: a `match` that has a case for each of these has missed none."""


@frozen(eq=False, repr=False)
class Event(Record):
    """One fact.

    Attributes:
        fact: What happened: `ChildRunning` (it has run before), `ChildStarting`,
            `ChildStarted` (it is ready; with *recovered_after* if it was a restart),
            `ChildExited`, `ChildStartFailed`, `HeartbeatMissed`, `GaveUp`, `SessionRefused`,
            `Repair` (State found its journal damaged), `ModelAnswered`, `ProtectedPathsChanged`
            (by an operation of the Manager, or while commands ran), or `Announced`, with whatever
            a child has announced.
        session_id: The session it happened in; None outside of sessions.
        at: When the app heard of it, in UTC.
    """

    fact: Fact
    session_id: str | None
    at: datetime = field(factory=lambda: datetime.now(UTC))


_OWN = (Repair, ModelAnswered, ProtectedPathsChanged, SessionRefused)
"""What the package's own processes announce."""


class _Unread(Struct, frozen=True):
    """An event that a child has announced, before somebody wants to know it.

    Each reader unpickles it, for himself and in his own thread: that runs code of the child's,
    which may take any time, and nobody else waits for it.
    """

    payload: bytes
    session_id: str | None
    at: datetime
    is_own: bool = False
    """Whether the registry or State has announced it, and no child of an app's."""
    again: bool = False
    """Whether a reader has been interrupted over it."""


class EventStream(Closing):
    """One reader's events, oldest first; iterate over it, or `get` them.

    The stream of one session ends with that session's `ChildExited`, every stream with the
    system or when it is closed: iteration stops then, after what is in the buffer.

    Attributes:
        dropped: How many events were lost because this reader was too slow.
    """

    def __init__(
        self, hub: EventHub, session_id: str | None, buffer: int, *, has_begun: bool = True
    ) -> None:
        self.dropped = 0
        self._hub = hub
        self._session_id = session_id
        self._buffer = buffer
        self._events: deque[Event | _Unread] = deque()
        self._changes = Changes()
        self._closed = False
        self._has_begun = has_begun

    def get(self, timeout: float | None = None) -> Event | None:
        """Return the next event; None after *timeout* seconds, or if there will be none.

        What a child has announced is unpickled here, which may take longer than that; what
        cannot be read is logged and left out.

        Raises:
            InvalidTimeError: *timeout* is no time.
            HostError: This process is a fork of the app.
        """
        return carry_out(
            self._reading(timeout), lambda step: await_change(cast("AwaitChange", step))
        )

    def _reading(self, timeout: float | None) -> Plan[Event | None]:
        """Return the next event; see `get`."""
        self._hub.owner.check()
        deadline = Deadline.after(INFINITY if timeout is None else timeout)
        for skipped in itertools.count():
            if skipped > self._buffer and not deadline.left:
                return None  # there comes more that cannot be read than it takes to find out
            found: tuple[Event | _Unread | None] | None = yield AwaitChange(
                self._changes, self._look, deadline
            )
            event = found[0] if found else None
            if not isinstance(event, _Unread):
                return event
            read = self._read(event)
            if read is not None:
                return read
        return None

    def _look(self) -> tuple[Event | _Unread | None] | None:
        closed = self._closed  # before the look: what came before the end is seen by it
        try:
            return (self._events.popleft(),)
        except IndexError:
            return (None,) if closed else None

    def _read(self, unread: _Unread) -> Event | None:
        try:
            value = wire.read(unread.payload, require_sound)
        except wire.UnreadableError as error:
            log.warning("news cannot be read here: {}", quote(str(error)))
            return None
        except BaseException:
            # A signal handler's, so the event is for whoever asks next. But who has raised it is a
            # guess, and what cannot be read shall not keep all that follows: once is enough.
            if not unread.again:
                self._events.appendleft(replace(unread, again=True))
            raise
        fact = value if isinstance(value, _OWN) else Announced(value)
        return Event(fact, unread.session_id, unread.at)

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
            self._end()

    def _end(self) -> None:
        """Take in that there will be no more (called by the hub)."""
        self._closed = True
        self._changes.tell()

    def _begin(self, snapshot: Iterable[Event]) -> None:
        """Begin with *snapshot*, all of which is kept (called in the thread that calls `_put`)."""
        before = [each for each in snapshot if self._session_id in {None, each.session_id}]
        self._buffer += len(before)
        self._events.extend(before)
        self._has_begun = True
        self._changes.tell()

    def _put(self, event: Event | _Unread) -> None:
        """Take *event* in, unless it is of another session (called by the hub, in one thread)."""
        if not self._has_begun:
            return
        if self._session_id is not None and event.session_id != self._session_id:
            return
        self._events.append(event)
        if len(self._events) > self._buffer:
            with suppress(IndexError):  # its reader has been as fast
                self._events.popleft()
                self.dropped += 1
        self._changes.tell()
        fact = event.fact if isinstance(event, Event) else None
        if isinstance(fact, ChildExited) and fact.name == ("session", self._session_id):
            self._end()


class SupervisionStream(EventStream):
    """What supervisors, the registry and State tell; what others announce is not read for it."""

    def _put(self, event: Event | _Unread) -> None:
        """Take *event* in, if supervisors, the registry or State tell of it."""
        if isinstance(event, Event) or event.is_own:
            super()._put(event)


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

    def stream(self, session_id: str | None, kind: type[EventStream] = EventStream) -> EventStream:
        """Return a new stream, of one session if given; raises `HostError` in a fork."""
        return self._add(kind(self, session_id, self._buffer))

    def late_stream(self, session_id: str | None) -> EventStream:
        """Return a stream that takes nothing in before `begin`; otherwise as `stream`."""
        return self._add(EventStream(self, session_id, self._buffer, has_begun=False))

    def _add(self, stream: EventStream) -> EventStream:
        self.owner.check()
        self._streams.add(stream)
        if self._closed:
            stream.close()
        return stream

    @staticmethod
    def begin(stream: EventStream, directory: Directory) -> None:
        """Have *stream* begin with what runs; for the reader thread alone.

        There all news pass one by one, so none is missed, and none told twice.
        """
        stream._begin(  # noqa: SLF001 - the two halves of one thing
            Event(each, _session_of(directory.names_above(each.ref)))
            for each in directory.running()
        )

    def publish_news(self, news: News, names: Sequence[Name]) -> None:
        """Give *news* of the process that goes by *names*, its own and those above it, to all.

        For the reader thread alone.
        """
        session_id = _session_of(names)
        if isinstance(news, wire.News):
            is_own = news.name in {REGISTRY, ("state", session_id)}
            self._give(_Unread(news.payload, session_id, datetime.now(UTC), is_own))
        else:
            self._give(Event(news, session_id))

    def _give(self, event: Event | _Unread) -> None:
        for stream in self._streams:
            stream._put(event)  # noqa: SLF001 - idem

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
