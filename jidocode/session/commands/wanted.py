"""What is asked for when a command is to be started, and the rules for it."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence

from jidocode.base.structs import Discreet
from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.otp.seconds import is_seconds
from jidocode.session.arguments import require_int
from jidocode.session.commands import limits
from jidocode.session.confinement.arguments import absolute_paths
from jidocode.session.confinement.limits import CommandLimits
from jidocode.session.confinement.network import (
    FullNetwork,
    Network,
    NoNetwork,
    Ports,
)

NO_NETWORK: Network = NoNetwork()
SHELL = "/bin/sh"
Command = str | Sequence[str]
"""A line for the shell, or a program and its arguments."""
Size = tuple[int, int]
"""Rows and columns of a terminal."""
DEFAULT_SIZE: Size = (24, 80)
_MAX_PID = 2**22
MAX_SIDE = 2**16 - 1
"""Rows, or columns, that a terminal can have."""


class Wanted(Discreet, frozen=True):
    """A command that somebody wants; `check_wanted` says what it must be.

    Attributes:
        id: A fresh one.
        argv: What to run.
        cwd: A folder of the project.
        env: Changes of its environment; None takes a variable away.
        stdin: What it can read; None for nothing at all.
        keep_stdin: Whether more may be written to it.
        timeout: Seconds until it is ended.
        output_limit: Bytes of each stream that are kept.
        merge: Whether its standard error goes where its standard output goes.
        tty: The size of its terminal, None if it has none.
        save_output: A new file that all of its output is written to.
        network: Which sockets it may have.
        read: Absolute paths that it may read, too.
        write: Absolute paths that it may change, too.
        limits: What each of its processes may use.
        ptrace: Whether it may debug what it has started.
        waiter: The process that waits for its result, and with whose end it ends; 0 for none.
    """

    hidden = ("argv", "cwd", "env", "stdin", "save_output", "read", "write")

    id: str
    argv: tuple[str, ...]
    cwd: str = "."
    env: Mapping[str, str | None] = {}
    stdin: bytes | None = None
    keep_stdin: bool = False
    timeout: float | None = None
    output_limit: int | None = None
    merge: bool = False
    tty: Size | None = None
    save_output: str | None = None
    network: Network = NO_NETWORK
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    limits: CommandLimits | None = None
    ptrace: bool = False
    waiter: int = 0


def as_argv(command: Command) -> tuple[str, ...]:
    """Return the program and its arguments that *command* stands for.

    Raises:
        InvalidRequestError: It is neither a line nor a sequence.
    """
    if isinstance(command, str):
        return (SHELL, "-c", command)
    # Not whatever can be iterated over: that may have no end, or no order.
    if not isinstance(command, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise InvalidRequestError(
            f"a command must be a str or a list of them, not {quote(command)}"
        )
    return tuple(command)


def check_wanted(wanted: Wanted) -> None:
    """Raise InvalidRequestError if *wanted* breaks a rule."""
    if not wanted.argv or not wanted.argv[0]:
        raise InvalidRequestError("a command needs a program")
    size = sum(_check_text("an argument", each) for each in wanted.argv)
    if not isinstance(wanted.env, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] # as below
        raise InvalidRequestError(f"env must be a mapping of names, not {quote(wanted.env)}")
    for name, value in wanted.env.items():
        size += _check_variable(name, value)
    if size > limits.MAX_ARGUMENTS:
        raise InvalidRequestError(
            f"arguments and variables have {size} bytes, and may have {limits.MAX_ARGUMENTS}"
        )
    _check_grants(wanted)
    if wanted.stdin is not None:
        check_input(wanted.stdin)
    if wanted.timeout is not None and (not is_seconds(wanted.timeout) or not wanted.timeout):
        raise InvalidRequestError(f"timeout must be seconds > 0, not {quote(wanted.timeout)}")
    if wanted.output_limit is not None:
        require_int("output_limit", wanted.output_limit, least=limits.MIN_OUTPUT)
        if wanted.output_limit > limits.MAX_OUTPUT:
            raise InvalidRequestError(f"output_limit may be {limits.MAX_OUTPUT} at most")
    if wanted.tty is not None:
        check_size(wanted.tty)
    require_int("waiter", wanted.waiter, least=0)
    if wanted.waiter > _MAX_PID:
        raise InvalidRequestError(f"waiter must be a process, not {wanted.waiter}")


def _check_grants(wanted: Wanted) -> None:
    if not isinstance(wanted.network, (NoNetwork, Ports, FullNetwork)):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise InvalidRequestError(
            f"network must be NoNetwork(), Ports(...) or FullNetwork(), not {quote(wanted.network)}"
        )
    absolute_paths(wanted.read)
    absolute_paths(wanted.write)
    if wanted.limits is not None and not isinstance(wanted.limits, CommandLimits):  # pyright: ignore[reportUnnecessaryIsInstance] # callers may ignore the types
        raise InvalidRequestError(f"limits must be CommandLimits(...), not {quote(wanted.limits)}")
    if not isinstance(wanted.ptrace, bool):  # pyright: ignore[reportUnnecessaryIsInstance] # as above
        raise InvalidRequestError(f"ptrace must be True or False, not {quote(wanted.ptrace)}")


def _check_text(what: str, text: object) -> int:
    """Return the bytes of *text*, one more for its end."""
    if not isinstance(text, str):
        raise InvalidRequestError(f"{what} must be a str, not {quote(text)}")
    if "\0" in text:
        raise InvalidRequestError(f"{what} must not have a NUL in it")
    try:
        size = len(os.fsencode(text)) + 1
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{what} is no text that can be encoded") from error
    if size > limits.MAX_ARGUMENT:
        raise InvalidRequestError(
            f"{what} has {size} bytes, and may have {limits.MAX_ARGUMENT}: "
            f"{os.strerror(errno.E2BIG)}"
        )
    return size


def _check_variable(name: object, value: object) -> int:
    if not isinstance(name, str) or not name or "=" in name:
        raise InvalidRequestError(f"a variable's name must be a str without =, not {quote(name)}")
    if value is None:
        return 0
    if not isinstance(value, str):
        raise InvalidRequestError(f"the variable {quote(name)} must be a str, not {quote(value)}")
    return _check_text(f"the variable {quote(name)}", f"{name}={value}")


def check_input(data: object) -> None:
    """Raise InvalidRequestError unless *data* is bytes, and not too many."""
    if not isinstance(data, bytes):
        raise InvalidRequestError(f"input must be bytes or a str, not {quote(data)}")
    if len(data) > limits.MAX_INPUT:
        raise InvalidRequestError(
            f"input has {len(data)} bytes, and may have {limits.MAX_INPUT} at once"
        )


def check_size(size: object) -> Size:
    """Return *size* if it is that of a terminal, else raise InvalidRequestError."""
    match size:
        case (int() as rows, int() as columns) if (
            0 < min(rows, columns) <= MAX_SIDE >= max(rows, columns)
        ):
            return rows, columns
        case _:
            pass
    raise InvalidRequestError(
        f"a terminal's size is (rows, columns), each 1 to {MAX_SIDE}, not {quote(size)}"
    )
