"""`Listening`: hears what happens in a system, and of the calls that this process makes to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager, suppress
from functools import partial
from typing import Generic, TypeVar

from jidocode._host import threads
from jidocode.base import log
from jidocode.base.closing import Closing
from jidocode.base.text import describe, quote
from jidocode.session.commands.result import CommandResult
from jidocode.session.commands.wanted import Wanted
from jidocode.session.requests import Request
from jidocode.system.asynchronous.system import AsyncSessionSystem
from jidocode.system.events import Event, EventStream, SupervisionStream
from jidocode.system.observing import End, Observer
from jidocode.system.running_sessions import RunningSystem
from jidocode.system.steps import Ask
from jidocode.system.system import SessionSystem

_V = TypeVar("_V")
_REMEMBERED = 1000
"""Commands, and processes that are away, of which something is remembered."""


def running(system: SessionSystem | AsyncSessionSystem) -> RunningSystem:
    """Return what both kinds of system are made of.

    Raises:
        TypeError: It is neither.
        HostError: It was not started, or this is a fork of the app.
    """
    if not isinstance(system, SessionSystem | AsyncSessionSystem):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise TypeError(
            f"system must be a SessionSystem or AsyncSessionSystem, got {quote(system)}"
        )
    return system._system  # noqa: SLF001 - the one place that knows


_here = threading.local()


@contextmanager
def unobserved() -> Generator[None]:
    """Tell nobody of the calls of this thread in the block: to count is not to be counted."""
    _here.unobserved = True
    try:
        yield
    finally:
        _here.unobserved = False


class Listening(Closing):
    """Hears events in a thread of its own, and has an observer told of calls, until closed."""

    def __init__(
        self, system: RunningSystem, observer: Observer | None, on_event: Callable[[Event], None]
    ) -> None:
        """Have *observer*, if any, told of calls to *system*, and *on_event* of what happens."""
        self._observers = system.observers
        self.events = system.hub.stream(None, SupervisionStream)
        # It holds the stream, and not the system: one that nobody holds any more ends.
        self._thread = threading.Thread(
            target=_listen, args=(self.events, on_event), name="jidocode-metrics", daemon=True
        )
        threads.start(self._thread)
        self._number = (
            None if observer is None else self._observers.add(partial(_observe, observer))
        )

    def close(self) -> None:
        """Hear no more; closing twice is fine."""
        if self._number is not None:
            self._observers.remove(self._number)
        self.events.close()
        threads.join(self._thread, 1.0)


def _observe(observer: Observer, step: Ask) -> End:
    return _ignore if getattr(_here, "unobserved", False) else observer(step)


def _ignore(answer: object, error: BaseException | None) -> None:
    """Hear of the end of a call that is not observed."""


def _listen(events: EventStream, on_event: Callable[[Event], None]) -> None:
    for event in events:
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001 - the next ones are to be heard all the same
            log.warning("an event was not counted: {}", describe(error))


class Recent(Generic[_V]):
    """What is known of the latest of many things; what came first is forgotten first.

    Without a lock: a signal handler may make calls, too.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, _V] = {}

    def put(self, key: Hashable, value: _V) -> bool:
        """Know *value* of *key*, unless something is known of it already; return whether it is."""
        is_new = self._kept.setdefault(key, value) is value
        if len(self._kept) > _REMEMBERED:
            with suppress(StopIteration, RuntimeError):  # another thread has just done that
                self._kept.pop(next(iter(self._kept)), None)
        return is_new

    def take(self, key: Hashable) -> _V | None:
        """Return what is known of *key*, and forget it."""
        return self._kept.pop(key, None)


class CommandsSeen:
    """The commands that calls of this process begin, and of which they bring the result.

    A result may be asked for any number of times: each command ends once.
    """

    def __init__(self) -> None:
        self._begun = Recent[int]()
        self._over = Recent[object]()

    def begun(self, request: object, at: int) -> None:
        """Take in that *request* is sent, *at* nanoseconds: it may be to begin a command."""
        match request:
            case Request(args=(Wanted(id=command_id),)):
                self._begun.put(command_id, at)
            case _:
                pass

    def ended(self, answer: object, now: int) -> tuple[CommandResult, int] | None:
        """Return the command whose first result *answer* is, and when it began; None if it is none.

        Of one that another process has begun nobody here knows when; it is taken to have ended
        just *now*.
        """
        if not isinstance(answer, CommandResult) or not self._over.put(answer.id, object()):
            return None
        begun = self._begun.take(answer.id)
        return answer, now - int(answer.seconds * 1e9) if begun is None else begun
