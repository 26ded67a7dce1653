"""Who gets the events of a State: actors that subscribed, and callers that wait.

Every event has a number, so who comes back after a crash says which one was
the last, and gets the next: no gap, no double. If it is not there any more,
that is said (`EventGapError`).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from jidocode.base.refs import ActorRef
from jidocode.errors import EventGapError, InvalidRequestError, JournalError
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import Refuse, Reply
from jidocode.session.arguments import require_ref
from jidocode.session.conversation.changes import Change
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.requests import Request
from jidocode.session.state.operations import OPERATIONS

MAX_SUBSCRIBERS = 64
"""Actors that get the events of a State."""
MAX_WAITING = 1024
"""Callers that wait for an event. Each is forgotten when its time is over, so one that has
given up, or is dead, keeps its place for seconds: there must be room for those that come back."""
PAGE = 100
"""Events in one message to a subscriber."""


class Subscribe(Struct, frozen=True):
    """Ask a State to send *subscriber* every event after *after_seq*; answered with `last_seq`.

    They come to its `handle_info` as `Events`, as long as both processes live;
    if the State dies, subscribe to the next one with the number of the last
    event. A second subscription takes the place of the first. Refused with
    `EventGapError` if the event after *after_seq* is not there.
    """

    subscriber: ActorRef
    after_seq: int = 0


class Unsubscribe(Struct, frozen=True):
    """Ask a State to send *subscriber* no more events; fine if it gets none."""

    subscriber: ActorRef


class Events(Struct, frozen=True):
    """Events for a subscriber, with numbers that follow each other.

    Attributes:
        state: Who sends them.
        events: At least one.
    """

    state: ActorRef
    events: Sequence[Change]


class SubscriptionLost(Struct, frozen=True):
    """No more events come, because the next one cannot be read.

    Attributes:
        state: Who says so.
        error: Why: mostly an `EventGapError`.
    """

    state: ActorRef
    error: Exception


class WaitOver(Struct, frozen=True):
    """A caller waited long enough (a State sends this to itself)."""

    number: int


class SendMore(Struct, frozen=True):
    """A subscriber has more to get (a State sends this to itself)."""

    subscriber: ActorRef


class _Subscriber(Struct):
    token: int
    after_seq: int


class _Waiting(Struct, frozen=True):
    caller: Caller
    request: Request[list[Change]]


class Subscriptions:
    """Sends a conversation's events on, in the name of the *server* that holds it."""

    def __init__(self, server: GenServer, conversation: Conversation) -> None:
        self._server = server
        self._conversation = conversation
        self._published = conversation.last_seq
        self._subscribers: dict[ActorRef, _Subscriber] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._waits = 0

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self._subscribers or self._waiting)

    def subscribe(self, request: Subscribe) -> int:
        """Take a subscriber in and send it what there is; return the last number.

        Raises:
            EventGapError: The event after its number is not there.
            InvalidRequestError: The request breaks a rule, or there are too many.
        """
        ref = require_ref("a subscriber", request.subscriber)
        self._conversation.events(after_seq=request.after_seq, limit=1)
        self.unsubscribe(ref)
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise InvalidRequestError(f"a State has at most {MAX_SUBSCRIBERS} subscribers")
        token = self._server.watch_process(ref)
        self._subscribers[ref] = _Subscriber(token, request.after_seq)
        self.send(ref)
        return self._conversation.last_seq

    def unsubscribe(self, ref: ActorRef) -> None:
        """Forget a subscriber, if it is one."""
        known = self._subscribers.pop(require_ref("a subscriber", ref), None)
        if known is not None:
            self._server.demonitor(known.token)

    def wait(self, caller: Caller, request: Request[list[Change]], seconds: float) -> None:
        """Keep *caller*, who asked for events, until there is one, for at most *seconds*.

        Raises:
            InvalidRequestError: Too many wait.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise InvalidRequestError(f"at most {MAX_WAITING} callers wait for an event")
        self._waits += 1
        self._waiting[self._waits] = _Waiting(caller, request)
        self._server.send_after(seconds, WaitOver(self._waits))

    def wait_over(self, number: int) -> None:
        """Answer a caller that waited in vain."""
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._server.reply(waiting.caller, [])

    def publish(self) -> None:
        """Send what is new to everybody; called after whatever may have changed something."""
        if self._conversation.last_seq == self._published:
            return
        self._published = self._conversation.last_seq
        # All that wait know the last event, so what has come now is news to each of them.
        for waiting in self._waiting.values():
            match OPERATIONS.answer(waiting.request, self._conversation):
                case Reply(page):
                    self._server.reply(waiting.caller, page)
                case Refuse(error):
                    self._server.refuse(waiting.caller, error)
                case None:
                    pass
        self._waiting.clear()
        for ref in list(self._subscribers):
            self.send(ref)

    def send(self, ref: ActorRef) -> None:
        """Send a subscriber its next events, and what is left of them later."""
        known = self._subscribers.get(ref)
        if known is None or known.after_seq == self._conversation.last_seq:
            return
        try:
            events = self._conversation.events(after_seq=known.after_seq, limit=PAGE)
        except (EventGapError, JournalError) as error:
            self.unsubscribe(ref)
            self._server.send(ref, SubscriptionLost(self._server.ref, error))
            return
        known.after_seq = events[-1].seq
        self._server.send(ref, Events(self._server.ref, events))
        if known.after_seq < self._conversation.last_seq:
            self._server.send_after(0, SendMore(ref))
