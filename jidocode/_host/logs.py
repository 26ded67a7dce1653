"""The log, at the app's end: from every process of a system to the app's loguru sinks.

One datagram socket connects them, inherited by fork and written to by all. A
line is one datagram, so lines cannot mix, and the kernel keeps their order.
`shipper` is the other end.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from typing import Any

from jidocode._host import threads
from jidocode._host.forks import close_in_forks
from jidocode._host.tail import Tail
from jidocode.base import log
from jidocode.base.log import Line

MAX_LINE = 200_000
"""Bytes of a line: a datagram has 212,960 at most."""
CLOSE_SECONDS = 5.0
"""How long `close` waits for sinks that have not taken what has arrived; they may still do so."""


def open_channel() -> tuple[Receiver, socket.socket]:
    """Return the app's end and the system's end of a new log."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    reading.settimeout(None)  # the app may have set another for all sockets: it would end the relay
    writing.settimeout(0)
    return Receiver(reading), writing


class Receiver:
    """Hands the records of a system's processes to the app's loguru.

    In a thread of its own: the app's sinks may be slow, or fail, and calls go on.

    Attributes:
        tail: The last of them.
    """

    def __init__(self, reading: socket.socket) -> None:
        """Read from *reading*, the app's end."""
        self.tail = Tail()
        self._socket = reading
        close_in_forks(reading, lambda socket: [socket.fileno()])
        self._is_closing = False
        self._thread = threading.Thread(target=self._relay, name="jidocode-log", daemon=True)

    def start(self) -> None:
        """Begin."""
        threads.start(self._thread)

    def close(self) -> None:
        """Hand over what has arrived, and end; a sink may be the one who calls."""
        self._is_closing = True
        with contextlib.suppress(OSError):  # closed already
            self._socket.shutdown(socket.SHUT_RD)
        if not self._thread.is_alive():
            self._socket.close()
        else:
            threads.join(self._thread, CLOSE_SECONDS)

    def _relay(self) -> None:
        with self._socket:
            # A child may write to any descriptor by mistake: what is empty is no end, either.
            while (datagram := self._socket.recv(MAX_LINE)) or not self._is_closing:
                try:
                    self._hand_over(datagram)
                except BaseException:  # noqa: BLE001 - a sink of the app's that is to raise
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))

    def _hand_over(self, datagram: bytes) -> None:
        try:
            fields: dict[str, Any] = json.loads(datagram)
            dropped, process = fields.pop("dropped"), fields["extra"]["process"]
            line = Line(**fields)
        except Exception:  # noqa: BLE001 - it may be anything, nested a thousand times
            log.warning("a process wrote {} bytes to the log that are no line", len(datagram))
            return
        self.tail.add(line, dropped, len(datagram))
        if dropped:
            log.warning("{} log records of {} were lost", dropped, process)
        log.write_to_loguru(line)
