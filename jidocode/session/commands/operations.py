"""What the Commands of a session may be asked: all of it is about its command table."""

from __future__ import annotations

import signal as signals
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.otp.seconds import INFINITY, is_seconds
from jidocode.session.arguments import require_int, require_wait
from jidocode.session.commands import limits
from jidocode.session.commands.inspection import begin_inspection
from jidocode.session.commands.result import CommandInfo, CommandResult, OutputChunk, StreamName
from jidocode.session.commands.streams import STREAMS
from jidocode.session.commands.table import CommandTable
from jidocode.session.commands.wanted import Wanted, check_input, check_size
from jidocode.session.confinement.report import ConfinementReport
from jidocode.session.requests import Operations

_Value = TypeVar("_Value")


class Later(Exception):  # noqa: N818 - no failure: the server answers when the future is done
    """The answer is not there yet.

    Attributes:
        future: It will have it.
    """

    def __init__(self, future: Future[Any]) -> None:
        super().__init__(future)
        self.future = future


def _answer(value: _Value | Future[_Value]) -> _Value:
    if isinstance(value, Future):
        raise Later(cast("Future[Any]", value))
    return value


def run_command(holder: CommandTable, wanted: Wanted) -> CommandResult:
    """Start a command, and return its result."""
    if wanted.timeout is None:
        wanted = replace(wanted, timeout=holder.default_timeout)
    command = holder.start(wanted)
    answer: Future[CommandResult] = Future()

    def take_start(started: Future[int]) -> None:
        error = started.exception()
        if error is not None:
            answer.set_exception(error)

    command.started.add_done_callback(take_start)
    command.ended.add_done_callback(lambda ended: answer.set_result(ended.result()))
    if wanted.waiter:
        command.end_with(wanted.waiter)
    raise Later(answer)


def start_command(holder: CommandTable, wanted: Wanted) -> CommandInfo:
    """Start a command, and return what is known of it once its program is executed."""
    command = holder.start(wanted)
    command.expect_readers()
    answer: Future[CommandInfo] = Future()

    def take(started: Future[int]) -> None:
        error = started.exception()
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(command.info())

    command.started.add_done_callback(take)
    raise Later(answer)


def list_commands(holder: CommandTable) -> list[CommandInfo]:
    """Return what is known of all commands that run, and those that ended lately."""
    return sorted((command.info() for command in holder), key=lambda info: info.started_at)


def command_info(holder: CommandTable, command_id: str) -> CommandInfo:
    """Return what is known of a command."""
    return holder.find(command_id).info()


def read_output(  # noqa: PLR0913 - some are keywords
    holder: CommandTable,
    command_id: str,
    offset: int,
    stream: StreamName = "stdout",
    *,
    size: int = 2**16,
    wait: float = 0.0,
    reader: int = 0,
) -> OutputChunk:
    """Return a part of a command's output; the command waits for *reader*, if that is not 0."""
    require_int("offset", offset, least=0, most=limits.MAX_NUMBER)
    require_int("size", size, least=1)
    require_wait("wait", wait, most=limits.MAX_WAIT)
    _require_place(stream, reader)
    command = holder.find(command_id)
    return _answer(command.read(offset, stream, min(size, limits.MAX_CHUNK), wait, reader))


def leave_output(holder: CommandTable, command_id: str, stream: StreamName, reader: int) -> None:
    """Have a command wait for *reader* no more."""
    _require_place(stream, reader)
    holder.find(command_id).leave(stream, reader)


def _require_place(stream: object, reader: object) -> None:
    if stream not in STREAMS:
        raise InvalidRequestError(f"stream must be stdout or stderr, not {quote(stream)}")
    require_int("reader", reader, least=0, most=limits.MAX_NUMBER)


def write_input(holder: CommandTable, command_id: str, data: bytes) -> None:
    """Let a command read *data*."""
    check_input(data)
    holder.find(command_id).write(data)


def close_input(holder: CommandTable, command_id: str) -> None:
    """Let a command read the end of its input."""
    holder.find(command_id).close_stdin()


def resize_terminal(holder: CommandTable, command_id: str, rows: int, columns: int) -> None:
    """Give a command's terminal another size."""
    holder.find(command_id).resize(check_size((rows, columns)))


def signal_command(holder: CommandTable, command_id: str, number: int) -> None:
    """Send a command's group a signal."""
    require_int("a signal", number, least=1)
    if number not in signals.valid_signals():
        raise InvalidRequestError(f"there is no signal {quote(number)}")
    holder.find(command_id).signal(int(number))


def cancel_command(holder: CommandTable, command_id: str) -> CommandResult:
    """End all of a command, and return its result when nothing is left of it."""
    command = holder.find(command_id)
    command.cancel()
    return _answer(command.wait(INFINITY))


def await_command(holder: CommandTable, command_id: str, seconds: float) -> CommandResult:
    """Return a command's result when it has ended."""
    if not is_seconds(seconds):
        raise InvalidRequestError(f"timeout must be seconds >= 0, not {quote(seconds)}")
    return _answer(holder.find(command_id).wait(seconds))


def confinement(holder: CommandTable) -> ConfinementReport:
    """Return what holds the commands of the session."""
    raise Later(begin_inspection(holder.scratch, holder.sandbox_mode))


OPERATIONS: Operations[CommandTable] = Operations(
    run_command,
    start_command,
    list_commands,
    command_info,
    read_output,
    leave_output,
    write_input,
    close_input,
    resize_terminal,
    signal_command,
    cancel_command,
    await_command,
    confinement,
)
