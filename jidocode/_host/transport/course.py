"""The course of a `Link`: in which state its connection is, and what may happen next.

Rule 1: everything that decides whether a link writes, waits, tries again or ends
stands in this file. Rule 2: nothing here touches a socket, a clock or a lock.

The table is the machine. What is not in it does not happen: an event that has no
place in the present state is refused and changes nothing. That is how late news are
told from new ones. Several threads meet a broken connection at about the same time,
each reports it, and the run loop repairs it once::

            CONNECT          FILL
      IDLE ---------> OPEN <-------> BLOCKED
       ^                |     DRAIN     |
       | REOPEN         |  BREAK        |  REFUSE (nobody listens there)
      PAUSED <------- BROKEN           REFUSED
              PAUSE                     |
                     RETIRE, from anywhere, to RETIRED
"""

from __future__ import annotations

import enum
import math

MAX_ATTEMPTS = 20
"""How often in a row a connection may break before anything was acknowledged over it."""
LONGEST_PAUSE = 1.0
SHORTEST_PAUSE = 0.001
"""Seconds until the next attempt: twice as many each time."""


class State(enum.Enum):
    """Where a link stands."""

    IDLE = enum.auto()
    """No connection; who has something to send opens one."""
    OPEN = enum.auto()
    """Who has something to send writes it."""
    BLOCKED = enum.auto()
    """The kernel takes no more, or this turn has sent enough: the run loop goes on."""
    BROKEN = enum.auto()
    """It broke, or could not be opened; the run loop has to see to it."""
    REFUSED = enum.auto()
    """Nobody listens there; the run loop has to end it."""
    PAUSED = enum.auto()
    """Closed until the next attempt."""
    RETIRED = enum.auto()
    """Over. Whoever wants to send takes a new link."""


class Event(enum.Enum):
    """What happens to a link."""

    CONNECT = enum.auto()
    FILL = enum.auto()
    DRAIN = enum.auto()
    BREAK = enum.auto()
    REFUSE = enum.auto()
    PAUSE = enum.auto()
    REOPEN = enum.auto()
    RETIRE = enum.auto()


IDLE, OPEN = State.IDLE, State.OPEN  # `writes` is asked for each message

TABLE: dict[State, dict[Event, State]] = {
    State.IDLE: {
        Event.CONNECT: State.OPEN,
        Event.BREAK: State.BROKEN,
        Event.REFUSE: State.REFUSED,
        Event.RETIRE: State.RETIRED,
    },
    State.OPEN: {
        Event.FILL: State.BLOCKED,
        Event.BREAK: State.BROKEN,
        Event.REFUSE: State.REFUSED,
        Event.RETIRE: State.RETIRED,
    },
    State.BLOCKED: {
        Event.DRAIN: State.OPEN,
        Event.BREAK: State.BROKEN,
        Event.REFUSE: State.REFUSED,
        Event.RETIRE: State.RETIRED,
    },
    State.BROKEN: {
        Event.REFUSE: State.REFUSED,
        Event.PAUSE: State.PAUSED,
        Event.RETIRE: State.RETIRED,
    },
    State.REFUSED: {
        Event.RETIRE: State.RETIRED,
    },
    State.PAUSED: {
        Event.REOPEN: State.IDLE,
        Event.RETIRE: State.RETIRED,
    },
    State.RETIRED: {},
}


class Course:
    """The state of one link.

    Attributes:
        state: Where it stands.
        attempts: How many connections have broken since something was acknowledged.
    """

    __slots__ = ("attempts", "state")

    def __init__(self) -> None:
        self.state = State.IDLE
        self.attempts = 0

    def take(self, event: Event) -> bool:
        """Go where the table leads; False, and nothing changed, if it has no such way."""
        after = TABLE[self.state].get(event)
        if after is None:
            return False
        self.state = after
        if event is Event.PAUSE:
            self.attempts += 1
        return True

    @property
    def writes(self) -> bool:
        """Whether who has something to send writes it himself."""
        return self.state is OPEN or self.state is IDLE

    @property
    def is_broken(self) -> bool:
        """Whether the run loop has to see to it."""
        return self.state is State.BROKEN or self.state is State.REFUSED

    @property
    def is_hopeless(self) -> bool:
        """Whether there have been attempts enough."""
        return self.attempts >= MAX_ATTEMPTS

    def pause(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        return min(LONGEST_PAUSE, math.ldexp(SHORTEST_PAUSE, self.attempts))

    def succeeded(self) -> None:
        """The peer has acknowledged something over this connection."""
        self.attempts = 0
