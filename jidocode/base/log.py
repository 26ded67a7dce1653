"""jidocode's own log lines, and where they go.

In an app they go to loguru, and only if the app has imported it: else nobody can have
asked for them, and to import it would cost a start as much as all the rest. In the
processes of a system they go to whatever `send_lines_to` names.

A library is quiet until its app says `logger.enable("jidocode")`, before or after; what the
app's own modules log in the processes of a system is no library's, and is heard at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from loguru import Logger

PACKAGE = "jidocode"
REMEMBERED_PLACES = 1024


class Line(NamedTuple):
    """One line of the log, of jidocode's own or of whoever uses loguru in a process.

    Attributes:
        level: Name of its level.
        number: Its severity, for a reader that does not know that level.
        text: What it says, a traceback included.
        name: The module that wrote it, or the name of the `logging` logger.
        path: Its file.
        function: The function.
        line: The line in its file.
        extra: What was bound to it.
    """

    level: str
    number: int
    text: str
    name: str | None
    path: str
    function: str
    line: int
    extra: Mapping[str, object]


def debug(text: str, *values: object, **extra: object) -> None:
    """Log *text*, with *values* for its braces, at the level DEBUG."""
    _write("DEBUG", 10, text, values, extra)


def warning(text: str, *values: object, **extra: object) -> None:
    """Log *text*, with *values* for its braces, at the level WARNING."""
    _write("WARNING", 30, text, values, extra)


def error(text: str, *values: object, **extra: object) -> None:
    """Log *text*, with *values* for its braces, at the level ERROR."""
    _write("ERROR", 40, text, values, extra)


def write_to_loguru(line: Line) -> None:
    """Hand *line* to this process's loguru; one of jidocode's own only if that is imported."""
    if "loguru" not in sys.modules and _is_ours(line):
        return
    from loguru import logger  # noqa: PLC0415 - see above

    _silence(logger)
    try:
        level: str | int = logger.level(line.level).name
    except ValueError:  # only the other process knows it
        level = line.number
    write = _writer_at(line.name, line.path, line.function, line.line)
    write(logger.bind(**line.extra), level, line.text)


def send_lines_to(target: Callable[[Line], None]) -> None:
    """Have every line of this process, and of its forks, go to *target*."""
    global _target  # noqa: PLW0603 - a process has one log
    _target = target


_target: Callable[[Line], None] = write_to_loguru
_silenced = False


def _write(
    level: str, number: int, text: str, values: tuple[object, ...], extra: Mapping[str, object]
) -> None:
    caller = sys._getframe(2)  # noqa: SLF001 - as `logging` does it
    _target(
        Line(
            level=level,
            number=number,
            text=text.format(*values),
            name=caller.f_globals.get("__name__"),
            path=caller.f_code.co_filename,
            function=caller.f_code.co_name,
            line=caller.f_lineno,
            extra=extra,
        )
    )


def _silence(logger: Logger) -> None:
    """Disable the package's lines once, but for what the app has said already.

    What it has said is only in loguru's own list, which a test holds against loguru; there
    the last word on a module has dropped all earlier ones on what is below it.
    """
    global _silenced  # noqa: PLW0603 - once a process
    if _silenced:
        return
    _silenced = True
    core: Any = getattr(logger, "_core", None)
    heard: list[tuple[str, bool]] = getattr(core, "activation_list", [])
    wishes = {name: wish for name, wish in heard if name.startswith(f"{PACKAGE}.")}
    if f"{PACKAGE}." in wishes:
        return
    logger.disable(PACKAGE)
    for name, wish in sorted(wishes.items()):  # a package before what is in it
        (logger.enable if wish else logger.disable)(name.removesuffix("."))


def _is_ours(line: Line) -> bool:
    return line.name is not None and f"{line.name}.".startswith(f"{PACKAGE}.")


def _write_here(logger: Logger, level: str | int, text: str) -> None:
    logger.log(level, "{}", text)


@lru_cache(REMEMBERED_PLACES)
def _writer_at(
    name: str | None, path: str, function: str, line: int
) -> Callable[[Logger, str | int, str], None]:
    """Return a `_write_here` that stands in that line of that module.

    loguru takes from the frame that calls it whether a record is wanted, which comes
    before all that `patch` could put right, and where it was written.
    """
    code = _write_here.__code__.replace(
        co_filename=path,
        co_name=function,
        co_firstlineno=max(line - 1, 0),  # the call is in the second line
    )
    return FunctionType(code, {} if name is None else {"__name__": name})
