"""The app's messenger: what the main thread sends, no signal handler is in the way of.

A handler runs in the main thread, between any two steps of Python, and what it interrupts
goes on only when it returns. If that is the sending of a message, the lock of the link is
held meanwhile: a handler that calls the same process would wait for its own thread, and
one that closes the system for a reader thread that waits for it.

So where a handler may come, the main thread only puts down what is to be sent, in one step,
and the reader thread sends it. That takes some microseconds more; a main thread without
handlers, and every other thread, sends by itself.
"""

from __future__ import annotations

import _signal
import signal
import threading
from functools import partial

from jidocode._host.transport.address import LoopbackAddress
from jidocode._host.transport.messenger import Messenger
from jidocode._host.transport.window import Parcel
from jidocode.base import log
from jidocode.errors import HostError

_SIGNALS = tuple(signal.valid_signals() - {signal.SIGINT})


class AppMessenger(Messenger):
    """A messenger of an app, whose run loop is in a thread of its own."""

    _hands_over = False

    def post(self, address: LoopbackAddress, parcel: Parcel) -> None:
        """Send *parcel* to *address*, by the reader thread if a handler may interrupt this one."""
        if threading.get_ident() != threading.main_thread().ident:
            super().post(address, parcel)
        elif self._closed:
            raise HostError("this transport is closed")
        elif self._hands_over or _has_handlers():
            self._hands_over = True  # from now on, for the order of what one thread sends
            self.call_at(0.0, partial(self._post_for_main, address, parcel))
        else:
            super().post(address, parcel)

    def _post_for_main(self, address: LoopbackAddress, parcel: Parcel) -> None:
        try:
            super().post(address, parcel)
        except HostError as error:  # closed meanwhile, and nobody waits any more
            log.debug("a message was not sent: {}", error)


def _has_handlers() -> bool:
    """Whether a signal may call a function of the app's; Ctrl-C by itself only raises."""
    # The functions of `signal` make an enum's member of each answer, which takes as long as a
    # call; those below them do not.
    look = _signal.getsignal
    if look(signal.SIGINT) is not signal.default_int_handler and callable(look(signal.SIGINT)):
        return True
    return any(map(callable, map(look, _SIGNALS)))
