"""The app's messenger: what the main thread sends, no signal handler is in the way of.

A handler runs in the main thread, between any two steps of Python, and what it interrupts
goes on only when it returns. If that is the sending of a message, the lock of the link is
held meanwhile: a handler that calls the same process would wait for its own thread, and
one that closes the system for a reader thread that waits for it.

So where a handler may come, the main thread only puts down what is to be sent, in one step,
and the reader thread sends it, or whichever thread sends next: what the main thread has sent
comes before what others send after that. It takes two changes of threads more; a main thread
without handlers, and every other thread, sends by itself.

And so does the loop of coroutines in the main thread, which has handlers as a rule (asyncio sets
one for Ctrl-C). No handler calls what has to be awaited, so none needs what a loop holds.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from jidocode._host.handlers import has_handlers
from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.messenger import Gather, Messenger
from jidocode._host.transport.outbound import Link
from jidocode._host.transport.window import Parcel
from jidocode.base import log
from jidocode.errors import HostError


class AppMessenger(Messenger):
    """A messenger of an app, whose run loop is in a thread of its own."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._hands_over = False
        self._put_down: deque[tuple[LoopbackAddress, Parcel]] = deque()
        # Not the main thread's. Reentrant because only such a lock tells its owner: a finalizer
        # may send where its own thread is sending.
        self._sending: Any = threading.RLock()

    def post(self, address: LoopbackAddress, parcel: Parcel, gather: Gather | None = None) -> None:
        """Send *parcel* to *address*, by the reader thread if a handler may interrupt this one."""
        if gather is None and self._is_interruptible():
            if self._closed:
                raise HostError("this transport is closed")
            self._put_down.append((address, parcel))
            self.poller.call_at(0.0, self._send_what_was_put_down)
            self.poller.wake_for_timer()
        else:
            if self._put_down:
                self._send_what_was_put_down()
            super().post(address, parcel, gather)

    def _is_interruptible(self) -> bool:
        if threading.get_ident() != threading.main_thread().ident:
            return False
        # Once it is so, it stays so: for the order of what one thread sends.
        self._hands_over = self._hands_over or has_handlers()
        return self._hands_over

    def _send_what_was_put_down(self) -> None:
        if self._sending._is_owned():  # noqa: SLF001 - `Condition` asks it, too
            return
        with self._sending:
            while self._put_down:
                links = [self._queue_first() for _ in range(len(self._put_down))]
                for link in dict.fromkeys(links):  # all that is for one peer at once
                    if link is not None:
                        link.flush()

    def _queue_first(self) -> Link | None:
        try:
            return self.queue(*self._put_down[0])
        except HostError as error:  # closed meanwhile, and nobody waits any more
            log.debug("a message was not sent: {}", error)
            return None
        finally:
            self._put_down.popleft()  # only now: until then all others wait for it
