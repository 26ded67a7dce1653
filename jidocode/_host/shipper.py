"""The log, at the end of a system's processes: whatever they log goes to the app.

Ours, what is logged by `logging`, and what a child logs by loguru, which no process of
ours imports: if a child does, its lines are sent the same way.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from jidocode._host.logs import MAX_LINE
from jidocode.base import log
from jidocode.base.log import Line
from jidocode.base.text import quote

if TYPE_CHECKING:
    import logging
    from importlib.abc import Loader

    from loguru import Message

MAX_TEXT = 32_768
"""Characters of a text or a value that a line carries, if all of it fits."""
MACHINE_WORD = 64
"""Bits of an int that a line carries as an int."""
SEND_SECONDS = 0.2
"""Seconds that a process waits for an app that does not read its log; then a line is dropped."""


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
        # A child's modules may set levels after that; without one of theirs, INFO is heard.
        logging.basicConfig(handlers=[_handler(self.ship)], level=logging.INFO, force=True)
        if "loguru" in sys.modules:
            self._take_over_loguru()
        else:
            sys.meta_path.insert(0, _OnImport("loguru", self._take_over_loguru))

    def ship(self, line: Line) -> None:
        """Send one line; wait a moment if the app is slow, then drop and count it.

        After one that was dropped it does not wait again until one has gone through: a
        supervisor that reports goes on with its work, whatever a sink of the app's does.
        """
        cut = MAX_TEXT
        datagram = self._pack(line, cut)
        while len(datagram) > MAX_LINE and cut:
            cut //= 2
            datagram = self._pack(line, cut)
        is_sent = self._send(datagram)
        if not is_sent and not self._dropped:
            is_sent = self._is_writable() and self._send(datagram)
        self._dropped = 0 if is_sent else self._dropped + 1

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
                path=record["file"].path,
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
            "path": line.path[:cut],
            "function": line.function,
            "line": line.line,
            "extra": {
                "pid": os.getpid(),
                "process": self.process,
                **{_text(key)[:cut]: _value(value, cut) for key, value in line.extra.items()},
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


class _OnImport:
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
                self._loader, spec.loader = spec.loader, cast("Loader", self)
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

    standard = {*vars(logging.makeLogRecord({})), "message", "asctime"}

    class ToShipper(logging.Handler):
        """Hands what is logged by `logging` on."""

        def emit(self, record: logging.LogRecord) -> None:
            """Pass *record* on."""
            try:
                text = self.format(record)
            except Exception:  # noqa: BLE001 - a wrong call in a library must not end its process
                self.handleError(record)
                return
            ship(
                Line(
                    level=record.levelname,
                    number=record.levelno,
                    text=text,
                    name=record.name,
                    path=record.pathname,
                    function=record.funcName or "<unknown>",
                    line=record.lineno,
                    extra={
                        key: value for key, value in vars(record).items() if key not in standard
                    },
                )
            )

    handler = ToShipper()
    handler.setFormatter(logging.Formatter())
    return handler


def _value(value: object, cut: int) -> object:
    """Return *value* as it is, if JSON has its type and it is short, else its text."""
    if value is None or type(value) in {bool, float}:
        return value
    if type(value) is int and value.bit_length() <= MACHINE_WORD:
        return value
    return _text(value)[:cut]


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever was bound; the rest of the line shall arrive
        return quote(value)


def _traceback(*error: Any) -> str:
    import traceback  # noqa: PLC0415 - rarely needed

    return "".join(traceback.format_exception(*error))
