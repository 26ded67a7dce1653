"""The log: from every process of a system to wherever the app's loguru sinks point.

One datagram socket connects them, inherited by fork and written to by all. A
line is one datagram, so lines cannot mix, and the kernel keeps their order.
No process of ours imports loguru for it; a child that uses loguru itself finds
its lines sent the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jidocode._host import threads
from jidocode.base import log
from jidocode.base.log import Line
from jidocode.base.text import quote

if TYPE_CHECKING:
    import logging

    from loguru import Message

MAX_TEXT = 32_768
"""Characters of a text or a value that a line carries, if all of it fits."""
MAX_LINE = 200_000
"""Bytes of a line: a datagram has 212,960 at most."""
SEND_SECONDS = 0.2
"""Seconds that a process waits for an app that does not read its log; then a line is dropped."""
CLOSE_SECONDS = 5.0
"""How long `close` waits for sinks that have not taken what has arrived; they may still do so."""


def open_channel() -> tuple[Receiver, socket.socket]:
    """Return the app's end and the system's end of a new log."""
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    writing.setblocking(False)  # noqa: FBT003 - socket's own signature
    return Receiver(reading), writing


class Shipper:
    """Sends this process's lines to the app.

    Attributes:
        process: What the lines are said to come from.
        descriptor: The socket that they are written to.
    """

    def __init__(self, descriptor: int, process: str) -> None:
        """Write to the socket *descriptor*, which all processes inherit."""
        self.process = process
        self.descriptor = descriptor
        self._dropped = 0

    def install(self) -> None:
        """Take all lines of this process and of its forks: ours, `logging`'s and loguru's."""
        import logging  # noqa: PLC0415 - the app has no use for it here

        log.send_lines_to(self.ship)
        logging.basicConfig(handlers=[_handler(self.ship)], force=True)
        if "loguru" in sys.modules:
            self._take_over_loguru()
        else:
            sys.meta_path.insert(0, _OnImport("loguru", self._take_over_loguru))

    def ship(self, line: Line) -> None:
        """Send one line; wait a moment if the app is slow, then drop and count it."""
        cut = MAX_TEXT
        datagram = self._pack(line, cut)
        while len(datagram) > MAX_LINE and cut:
            cut //= 2
            datagram = self._pack(line, cut)
        if not self._send(datagram) and not (self._is_writable() and self._send(datagram)):
            self._dropped += 1
        else:
            self._dropped = 0

    def _take_over_loguru(self) -> None:
        from loguru import logger  # noqa: PLC0415 - it is imported already

        logger.remove()
        logger.enable(log.PACKAGE)
        logger.add(self._take, level=0, format="{message}", backtrace=False, diagnose=False)

    def _take(self, message: Message) -> None:
        record = message.record
        text, error = record["message"], record["exception"]
        if error is not None:
            text = f"{text}\n{_traceback(error.type, error.value, error.traceback)}"
        self.ship(
            Line(
                level=record["level"].name,
                number=record["level"].no,
                text=text,
                name=record["name"],
                function=record["function"],
                line=record["line"],
                extra=record["extra"],
            )
        )

    def _pack(self, line: Line, cut: int) -> bytes:
        fields = {
            "level": line.level,
            "number": line.number,
            "text": line.text[:cut],
            "name": line.name,
            "function": line.function,
            "line": line.line,
            "extra": {
                "pid": os.getpid(),
                "process": self.process,
                **{_text(key)[:cut]: _text(value)[:cut] for key, value in line.extra.items()},
            },
            "dropped": self._dropped,
        }
        return json.dumps(fields).encode("ascii")

    def _send(self, datagram: bytes) -> bool:
        try:
            os.write(self.descriptor, datagram)
        except OSError:  # full, or the app is gone: there is nobody to tell
            return False
        return True

    def _is_writable(self) -> bool:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        return bool(poll.poll(SEND_SECONDS * 1000))


class _OnImport(MetaPathFinder, Loader):
    """Calls *then* when the module *name* has been imported, once."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then
        self._loader: Loader | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module where it would be found without this, and load it through this."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                self._loader, spec.loader = spec.loader, self
                return spec
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Have the module's own loader do it."""
        return self._loader.create_module(spec) if self._loader else None

    def exec_module(self, module: ModuleType) -> None:
        """Have the module's own loader do it, and go on with what was to come then."""
        if self._loader is not None and module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
            self._loader.exec_module(module)
            self._then()


def _handler(ship: Callable[[Line], None]) -> logging.Handler:
    """Return what takes the records of `logging`."""
    import logging  # noqa: PLC0415 - see `Shipper.install`

    class ToShipper(logging.Handler):
        """Hands what is logged by `logging` on."""

        def emit(self, record: logging.LogRecord) -> None:
            """Pass *record* on."""
            try:
                text = record.getMessage()
            except Exception:  # noqa: BLE001 - a wrong call in a library must not end its process
                self.handleError(record)
                return
            if record.exc_info and record.exc_info[0]:
                text = f"{text}\n{_traceback(*record.exc_info)}"
            ship(
                Line(
                    level=record.levelname,
                    number=record.levelno,
                    text=text,
                    name=record.name,
                    function=record.funcName,
                    line=record.lineno,
                )
            )

    return ToShipper(logging.WARNING)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever was bound; the rest of the line shall arrive
        return quote(value)


def _traceback(*error: Any) -> str:
    import traceback  # noqa: PLC0415 - rarely needed

    return "".join(traceback.format_exception(*error))


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
            threads.join(self._thread, CLOSE_SECONDS)

    def _relay(self) -> None:
        with self._socket:
            while datagram := self._socket.recv(MAX_LINE):
                try:
                    self._hand_over(json.loads(datagram))
                except Exception:  # noqa: BLE001 - a sink of the app's that is to raise
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))

    @staticmethod
    def _hand_over(fields: dict[str, Any]) -> None:
        dropped = fields.pop("dropped")
        if dropped:
            log.warning("{} log records of {} were lost", dropped, fields["extra"]["process"])
        log.write_to_loguru(Line(**fields))
