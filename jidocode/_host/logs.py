"""The log: from every process of a system to wherever the app's loguru sinks point.

One datagram socket connects them, inherited by fork and written to by all. A
record is one datagram, so records cannot mix, and the kernel keeps their order.
The app is quiet until it says `logger.enable("jidocode")`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from loguru import logger

from jidocode._host import threads
from jidocode.base.text import quote

if TYPE_CHECKING:
    from loguru import Message, Record

MAX_TEXT = 32_768
"""Characters of a message, a traceback or a value that a record carries, if all of it fits."""
MAX_RECORD = 200_000
"""Bytes of a record: a datagram has 212,960 at most."""
PATIENCE = 0.2
"""Seconds that a process waits for an app that does not read its log; then a record is dropped."""
FAREWELL_SECONDS = 5.0
"""How long `close` waits for sinks that have not taken what has arrived; they may still do so."""


def open_channel() -> tuple[Receiver, socket.socket]:
    """Return the app's end and the system's end of a new log."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    writing.setblocking(False)  # noqa: FBT003 - socket's own signature
    return Receiver(reading), writing


class Shipper:
    """Sends this process's records to the app (a loguru sink).

    Attributes:
        process: What the records are said to come from.
        descriptor: The socket that they are written to.
    """

    def __init__(self, descriptor: int, process: str) -> None:
        """Write to the socket *descriptor*, which all processes inherit."""
        self.process = process
        self.descriptor = descriptor
        self._dropped = 0

    def install(self) -> None:
        """Become the one sink of this process and its children, for loguru and for `logging`."""
        logger.remove()
        logger.enable("jidocode")
        logger.add(self, level=0, format="{message}", backtrace=False, diagnose=False)
        logging.basicConfig(handlers=[_ToLoguru(logging.WARNING)], force=True)

    def __call__(self, message: Message) -> None:
        """Send one record; wait a moment if the app is slow, then drop and count it."""
        cut = MAX_TEXT
        datagram = _pack(message.record, self.process, self._dropped, cut)
        while len(datagram) > MAX_RECORD and cut:
            cut //= 2
            datagram = _pack(message.record, self.process, self._dropped, cut)
        if not self._send(datagram) and not (self._is_writable() and self._send(datagram)):
            self._dropped += 1
        else:
            self._dropped = 0

    def _send(self, datagram: bytes) -> bool:
        try:
            os.write(self.descriptor, datagram)
        except OSError:  # full, or the app is gone: there is nobody to tell
            return False
        return True

    def _is_writable(self) -> bool:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        return bool(poll.poll(PATIENCE * 1000))


class _ToLoguru(logging.Handler):
    """Hands what is logged by `logging` to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass *record* on."""
        level = record.levelname if record.levelname in _LEVELS else record.levelno
        try:
            logger.opt(exception=record.exc_info).log(level, record.getMessage())
        except Exception:  # noqa: BLE001 - a wrong call in a library must not end its process
            self.handleError(record)


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _pack(record: Record, process: str, dropped: int, cut: int) -> bytes:
    error = record["exception"]
    fields = {
        "level": record["level"].name,
        "number": record["level"].no,
        "message": record["message"][:cut],
        "name": record["name"],
        "function": record["function"],
        "line": record["line"],
        "extra": {_text(key)[:cut]: _text(value)[:cut] for key, value in record["extra"].items()},
        "error": None if error is None else _traceback(error)[:cut],
        "pid": record["process"].id,
        "process": process,
        "dropped": dropped,
    }
    return json.dumps(fields).encode("ascii")


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever was bound; the rest of the record shall arrive
        return quote(value)


def _traceback(error: Any) -> str:
    import traceback  # noqa: PLC0415 - rarely needed

    return "".join(traceback.format_exception(error.type, error.value, error.traceback))


class Receiver:
    """Hands the records of a system's processes to the app's loguru.

    In a thread of its own: the app's sinks may be slow, or fail, and calls go on.
    """

    def __init__(self, reading: socket.socket) -> None:
        """Read from *reading*, the app's end."""
        self._socket = reading
        self._thread = threading.Thread(target=self._relay, name="jidocode-log", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Hand over what has arrived, and end; a sink may be the one who calls."""
        with contextlib.suppress(OSError):  # closed already
            self._socket.shutdown(socket.SHUT_RD)
        if not self._thread.is_alive():
            self._socket.close()
        else:
            threads.join(self._thread, FAREWELL_SECONDS)

    def _relay(self) -> None:
        with self._socket:
            while datagram := self._socket.recv(MAX_RECORD):
                try:
                    self._hand_over(json.loads(datagram))
                except Exception:  # noqa: BLE001 - a sink of the app's that is to raise
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))

    def _hand_over(self, fields: dict[str, Any]) -> None:
        if fields["dropped"]:
            logger.warning("{} log records of {} were lost", fields["dropped"], fields["process"])
        text = fields["message"]
        if fields["error"]:
            text = f"{text}\n{fields['error']}"
        origin = logger.bind(
            **{"pid": fields["pid"], "process": fields["process"]} | fields["extra"]
        )
        restored = origin.patch(partial(_restore, fields))
        try:
            restored.log(fields["level"], text)
        except ValueError:  # a level that only the other process knows
            restored.log(fields["number"], text)


def _restore(fields: dict[str, Any], record: Record) -> None:
    record["name"] = fields["name"]
    record["function"] = fields["function"]
    record["line"] = fields["line"]
