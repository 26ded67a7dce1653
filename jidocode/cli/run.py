"""`jidocode run`: a program in an open session, confined as all of its commands are."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from jidocode.base.end_signals import end_signals
from jidocode.base.waiting import until
from jidocode.cli.ending import SIGNALLED
from jidocode.cli.options import (
    attach,
    open_session,
    sentence,
    session_argument,
    system_option,
)

if TYPE_CHECKING:
    from jidocode.errors import JidocodeError
    from jidocode.session.commands.handle import CommandHandle
    from jidocode.session.commands.reading import CommandOutput

_FAILED, _CANNOT_BE_EXECUTED, _NOT_FOUND = 125, 126, 127
"""What `env` and `timeout` end with, if not with the status of their program."""
_PATIENCE = 5.0
"""Seconds until the program has to be told that its output is still wanted."""


def _program(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> Sequence[str]:
    """Return the words of the program; click leaves the `--` before them there."""
    words = value[1:] if value[:1] == ("--",) else value
    if not words:
        raise click.MissingParameter(ctx=ctx, param=param)
    return words


@click.command(
    "run",
    short_help="Run a program in an open session.",
    context_settings={"allow_interspersed_args": False},
)
@system_option
@session_argument
@click.argument("argv", metavar="-- PROGRAM [ARGUMENT]...", nargs=-1, callback=_program)
def command(system_name: str, session: str, argv: Sequence[str]) -> None:
    """Run a program in an open session, in its project; SESSION is an id or a name.

    It has nothing to read. Its output comes as it is written, its exit status is that of this
    command: 128 and the number of the signal if one has ended it. Ctrl-C, SIGTERM and SIGHUP
    end all of it. 127 is that there is no such program, 126 that it cannot be executed, and 125
    whatever else keeps it from running, or from being followed to its end.
    """
    ending = _Ending()
    try:
        status = _run(system_name, session, argv, ending)
    except click.ClickException as error:
        error.show()
        status = _FAILED
    except Exception as error:
        said = sentence(error)
        if said is None:
            raise
        click.ClickException(said).show()
        status = _status(error)
    raise click.exceptions.Exit(status)


def _status(error: Exception) -> int:
    from jidocode.errors import CommandStartError, ProgramNotFoundError

    if isinstance(error, ProgramNotFoundError):
        return _NOT_FOUND
    return _CANNOT_BE_EXECUTED if isinstance(error, CommandStartError) else _FAILED


def _run(system_name: str, session: str, argv: Sequence[str], ending: _Ending) -> int:
    with attach(system_name, read_only=False) as system:
        commands = open_session(system, session).commands
        ending.hold()
        handle = commands.start(list(argv))
        try:
            ending.release()
            return _follow(handle)
        except BaseException:
            from jidocode.errors import JidocodeError

            with suppress(JidocodeError):  # it has ended, or the session, or the system
                handle.cancel()
            raise


class _Ending:
    """Has the first of the signals end this command, and no other one.

    While the program is being started, it is not known how to end it: one that comes then is
    kept until `release`, a second one ends the start. One that comes while the program is being
    ended would leave it running, so nothing comes of it.
    """

    def __init__(self) -> None:
        self._number = 0
        self._holds = False
        for number in end_signals():
            signal.signal(number, self._take)

    def hold(self) -> None:
        """Keep a signal that comes from now on."""
        self._holds = True

    def release(self) -> None:
        """Keep none any more; end by the one that was kept."""
        self._holds = False
        if self._number:
            self._end()

    def _take(self, number: int, _frame: object) -> None:
        is_first, self._number = not self._number, self._number or number
        if is_first is not self._holds:
            self._end()

    def _end(self) -> NoReturn:
        self._holds = False
        sys.exit(SIGNALLED + self._number)


def _follow(handle: CommandHandle) -> int:
    """Print what the command writes until it has ended; return its exit status."""
    failures: list[JidocodeError] = []
    other = threading.Thread(target=_copy_errors, args=(handle, failures), daemon=True)
    other.start()
    _copy(handle, "stdout")
    result = handle.wait()
    until(partial(_has_ended, other))
    if failures:
        raise failures[0]
    if result.exit_code is not None:
        return result.exit_code
    return SIGNALLED + (result.signal or 0)


def _has_ended(thread: threading.Thread, seconds: float) -> bool:
    thread.join(seconds)
    return not thread.is_alive()


def _copy(handle: CommandHandle, stream: Literal["stdout", "stderr"]) -> None:
    out = sys.stdout if stream == "stdout" else sys.stderr
    with handle.output(stream) as output:
        for data in output:
            _write(out.fileno(), data, output)


def _write(descriptor: int, data: bytes, output: CommandOutput) -> None:
    """Write *data*; whoever reads it, a pager perhaps, may take any time."""
    while data:
        if until(partial(_takes_more, descriptor), _PATIENCE):
            data = data[os.write(descriptor, data[: select.PIPE_BUF]) :]
        else:
            output.hold()


def _takes_more(descriptor: int, seconds: float) -> bool:
    return bool(select.select([], [descriptor], [], seconds)[1])


def _copy_errors(handle: CommandHandle, failures: list[JidocodeError]) -> None:
    from jidocode.errors import JidocodeError

    try:
        with suppress(OSError):  # nobody reads it any more
            _copy(handle, "stderr")
    except JidocodeError as error:
        failures.append(error)
