"""How a server waits in a callback for one message while all others wait for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from jidocode._host import wire
from jidocode._host.transport.address import Address
from jidocode._host.transport.messenger import Ending, Turn
from jidocode._host.transport.thespian import ThespianEnvelope, ThespianTransport
from jidocode.errors import CallError

_AT_ONCE = (
    wire.Answer,
    wire.Part,
    wire.Grant,
    wire.Hangup,
    wire.Ping,
    wire.Heartbeat,
    wire.RegistryAt,
    Turn,
)
"""What is handled also while a callback waits; see `SelectiveReceive`."""


class SelectiveReceive:
    """Lets a callback wait while the messages for the server's other callbacks are kept.

    OTP's selective receive: what does not match stays in the mailbox, in its order.
    """

    # A callback that waits runs the run loop again, inside its own turn of it. Whatever is
    # the process's own affair goes on there: answers are taken, heartbeats and pings
    # answered, deaths and timers noticed. Whatever would come to a callback of the server is
    # kept: messages as they are, and what the shell has made of news (a `Down`, a timer, the
    # `Response` of another request) as a step to take later (`take`). When the callback has
    # returned, all of it is put back in front of what has come since (`release`).
    #
    # Not earlier: the next wait of the same callback would look at all of it again, and with
    # thousands that wait, each of thousands of calls would cost as much as all of them. None
    # of it can be the answer of a call that was made later.

    def __init__(
        self,
        transport: ThespianTransport,
        deliver: Callable[[object, Address], object],
        on_stop_order: Callable[[], object],
    ) -> None:
        """Receive by *transport*, and *deliver* what is handled at once.

        *on_stop_order* is told when an order to stop is among what has to wait.
        """
        self._transport = transport
        self._deliver = deliver
        self._on_stop_order = on_stop_order
        self._kept: deque[ThespianEnvelope] = deque()
        self._done: Callable[[], object] | None = None

    def wait_until(self, done: Callable[[], object]) -> None:
        """Wait until *done*, which is asked after each message that is handled at once.

        Raises:
            CallError: The callback waits already: who interrupts it, such as the handler of
                a signal, cannot wait in the midst of that; or the process ends.
        """
        if self._done is not None:
            raise CallError("a call was made in the middle of another one, by the same thread")
        self._done = done
        try:
            if not done() and self._transport.serve(self._receive)[0] is not Ending.STOPPED:
                raise CallError("the process ends")
        finally:
            self._done = None

    def look(self) -> None:
        """Handle what has come and is handled at once; wait for nothing."""
        if self._done is None:
            self._done = lambda: False
            try:
                self._transport.serve(self._receive, time.monotonic())
            finally:
                self._done = None

    def _receive(self, envelope: Any) -> bool:
        if type(envelope.message) is wire.StopOrder:
            self._on_stop_order()
        if type(envelope.message) in _AT_ONCE:
            self._deliver(envelope.message, envelope.origin)
        else:
            self._kept.append(envelope)
        return self._done is not None and not self._done()

    def take(self, step: Callable[[], object]) -> None:
        """Take *step*, which leads into a callback of the server: now, or when none waits."""
        if self._done is None:
            step()
        else:
            turn = Turn(partial(self.take, step))
            self._kept.append(ThespianEnvelope(self._transport.address, turn))

    def release(self) -> None:
        """Put back what was kept; to be called when a callback has returned."""
        if self._kept:
            kept, self._kept = self._kept, deque()
            self._transport.put_back(kept)
