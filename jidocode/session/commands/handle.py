"""`CommandHandle`: one command, as its app holds it; and the one for coroutines."""

from __future__ import annotations

from jidocode.errors import InvalidRequestError
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.session.arguments import require_wait
from jidocode.session.commands import limits, operations
from jidocode.session.commands.reading import AsyncCommandOutput, CommandOutput, Place
from jidocode.session.commands.result import CommandInfo, CommandResult, OutputChunk, StreamName
from jidocode.session.requests import (
    AsyncChannel,
    AsyncClient,
    Channel,
    Client,
    Question,
    asked,
    request,
)

ANSWER_TIME = 5.0
"""Seconds that the process has to answer, beyond those that it was asked to wait."""


class CommandMethods:
    """What both handles of a command ask."""

    id: str
    """The command's."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @asked
    def info(self) -> Question[CommandInfo]:
        """Return what is known of it."""
        return Question(request(operations.command_info, self.id))

    @asked
    def read(
        self,
        offset: int = 0,
        *,
        stream: StreamName = "stdout",
        size: int = 2**16,
        wait: float = 0.0,
    ) -> Question[OutputChunk]:
        """Return a part of its output; any number may read, each from where it likes.

        Args:
            offset: How many bytes come before; 0, and then `OutputChunk.next_offset`. If what
                stood there was cut out, the part begins behind that.
            stream: Which one; with *merge* or *tty* there is only stdout.
            size: Bytes at most, up to 1 MiB.
            wait: Seconds to wait for output if there is none yet, at most 60.
        """
        require_wait("wait", wait, most=limits.MAX_WAIT)
        question = request(operations.read_output, self.id, offset, stream, size=size, wait=wait)
        return Question(question, wait + ANSWER_TIME if wait else None)

    @asked
    def _follow(self, place: Place, wait: float) -> Question[OutputChunk]:
        """Return what comes next at *place*; the command waits for whoever asks."""
        question = request(
            operations.read_output,
            self.id,
            place.offset,
            place.stream,
            wait=wait,
            reader=place.reader,
        )
        return Question(question, wait + ANSWER_TIME)

    @asked
    def _leave(self, place: Place) -> Question[None]:
        """Have the command wait no more for whoever has read at *place*."""
        return Question(request(operations.leave_output, self.id, place.stream, place.reader))

    @asked
    def write(self, data: str | bytes) -> Question[None]:
        """Let it read *data*; text as UTF-8. It need not read it at once.

        Raises:
            BrokenPipeError: It has no input, or reads none any more.
            BlockingIOError: It has 16 MiB that it has not read.
        """
        return Question(request(operations.write_input, self.id, as_bytes(data)))

    @asked
    def close_stdin(self) -> Question[None]:
        """Let it read the end of its input; at a terminal, that is what Ctrl-D does."""
        return Question(request(operations.close_input, self.id))

    @asked
    def resize(self, rows: int, columns: int) -> Question[None]:
        """Give its terminal another size.

        Raises:
            InvalidRequestError: It has none.
        """
        return Question(request(operations.resize_terminal, self.id, rows, columns))

    @asked
    def signal(self, number: int) -> Question[None]:
        """Send a signal to its process group, as Ctrl-C does SIGINT; nothing if it has ended."""
        return Question(request(operations.signal_command, self.id, number))

    @asked
    def wait(self, timeout: float | None = None) -> Question[CommandResult]:
        """Return its result when it has ended.

        Raises:
            CommandRunningError: It has not within *timeout* seconds; for ever by default.
            InvalidTimeError: *timeout* is no time.
        """
        seconds = INFINITY if timeout is None else timeout
        require_seconds("timeout", seconds)
        question = request(operations.await_command, self.id, seconds)
        return Question(question, seconds + ANSWER_TIME)

    @asked
    def cancel(self) -> Question[CommandResult]:
        """End all of it, and return its result: SIGTERM, and SIGKILL 2 seconds later.

        All processes that it has started are gone then, daemons too. What has ended already
        is left as it is.
        """
        seconds = limits.GRACE_SECONDS + ANSWER_TIME
        return Question(request(operations.cancel_command, self.id), seconds)


class CommandHandle(CommandMethods, Client):
    """A command, known by its id: any client of the session can have a handle of it.

    Every method raises `NoCommandError` if the command is not known any more: because
    many others have ended after it, or the process that ran it has.

    Attributes:
        id: The command's.
    """

    def __init__(self, channel: Channel, command_id: str) -> None:
        """Ask over *channel*; `CommandsClient` makes it."""
        super().__init__(channel)
        self.id = command_id

    def output(self, stream: StreamName = "stdout") -> CommandOutput:
        """Return its output from the beginning, and as it comes, until it has ended.

        Read it by `for`. A command that writes faster waits for that, as at a pipe; unless nobody
        goes on for 10 seconds (`CommandOutput.hold`), or it is closed. Up to 100 of each stream may
        be read at once.

        It is kept by the process that runs the command, and what was not read when that ends, with
        its session or by a crash, is gone; `save_output` keeps all of it.

        Raises:
            OutputCutError: Some was cut out: it was written long before this began, or when
                nobody went on.
            CommandError: 100 others are being read.
            SessionNotFoundError: The session has ended.
            NoCommandError: The process that ran it has ended, or others have ended after it.
        """
        return CommandOutput(self._follow, self._leave, stream)


class AsyncCommandHandle(CommandMethods, AsyncClient):
    """A command, as coroutines see it: the methods of `CommandHandle`, to be awaited.

    Attributes:
        id: The command's.
    """

    def __init__(self, channel: AsyncChannel, command_id: str) -> None:
        """Ask over *channel*; `AsyncCommandsClient` makes it."""
        super().__init__(channel)
        self.id = command_id

    def output(self, stream: StreamName = "stdout") -> AsyncCommandOutput:
        """Return its output from the beginning, and as it comes, until it has ended.

        Read it by `async for`. The command waits for it, and it raises, as `CommandHandle.output`.
        """
        return AsyncCommandOutput(self._follow, self._leave, stream)


def as_bytes(data: str | bytes) -> bytes:
    """Return *data*, a text as UTF-8; what is neither, whoever takes it refuses.

    Raises:
        InvalidRequestError: It is text that has no UTF-8.
    """
    try:
        return data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"input is no text that can be encoded: {error.reason}"
        ) from error
