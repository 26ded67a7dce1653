"""`jidocode run`: a program in an open session, confined as all of its commands are."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from jidocode.cli.options import attach, open_session, session_argument, system_option

if TYPE_CHECKING:
    from jidocode.session.commands.handle import CommandHandle

_SIGNALLED = 128
"""What a shell adds to the number of a signal that has ended a program."""


def _program(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> Sequence[str]:
    """Return the words of the program; click leaves the `--` before them there."""
    words = value[1:] if value[:1] == ("--",) else value
    if not words:
        raise click.MissingParameter(ctx=ctx, param=param)
    return words


@click.command("run", context_settings={"allow_interspersed_args": False})
@system_option
@session_argument
@click.argument("argv", metavar="-- PROGRAM [ARGUMENT]...", nargs=-1, callback=_program)
def command(system_name: str, session: str, argv: Sequence[str]) -> None:
    """Run a program in an open session, in its project; SESSION is an id or a name.

    It has nothing to read. Its output comes as it is written, its exit status is that of this
    command: 128 and the number of the signal if one has ended it. Ctrl-C, SIGTERM and SIGHUP
    end all of it.
    """
    with attach(system_name, read_only=False) as system:
        commands = open_session(system, session).commands
        ending = _Ending()
        handle = commands.start(list(argv))
        try:
            ending.begin()
            status = _follow(handle)
        except BaseException:
            from jidocode.errors import JidocodeError

            with suppress(JidocodeError):  # it has ended, or the session, or the system
                handle.cancel()
            raise
    raise click.exceptions.Exit(status)


class _Ending:
    """Lets the first of the signals end the program, whenever it comes, and no other one.

    While the program is being started, it is not known how to end it: one that comes then is
    kept until `begin`, a second one ends the start. One that comes while the program is being
    ended would leave it running, so nothing comes of it.
    """

    def __init__(self) -> None:
        self._number = 0
        self._begun = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as below nohup
                signal.signal(number, self._take)

    def begin(self) -> None:
        """End the program from now on when a signal comes, and now if one has."""
        self._begun = True
        if self._number:
            self._end()

    def _take(self, number: int, _frame: object) -> None:
        is_first, self._number = not self._number, self._number or number
        if is_first is self._begun:
            self._end()

    def _end(self) -> NoReturn:
        self._begun = True
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(_SIGNALLED + self._number)


def _follow(handle: CommandHandle) -> int:
    """Print what the command writes until it has ended; return its exit status."""
    other = threading.Thread(target=_copy_errors, args=[handle], daemon=True)
    other.start()
    _copy(handle, "stdout")
    result = handle.wait()
    other.join()
    if result.exit_code is not None:
        return result.exit_code
    return _SIGNALLED + (result.signal or 0)


def _copy(handle: CommandHandle, stream: Literal["stdout", "stderr"]) -> None:
    out = sys.stdout if stream == "stdout" else sys.stderr
    for data in handle.output(stream):
        if out is not None:  # pyright: ignore[reportUnnecessaryComparison] # it is closed
            out.buffer.write(data)
            out.buffer.flush()


def _copy_errors(handle: CommandHandle) -> None:
    from jidocode.errors import JidocodeError

    # Nobody reads it any more; or the command is not known any more, which `wait` says, too.
    with suppress(OSError, JidocodeError):
        _copy(handle, "stderr")
