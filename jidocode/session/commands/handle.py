"""`CommandHandle`: one command that runs, or has ended lately, as its app holds it."""

from __future__ import annotations

from collections.abc import Iterator

from jidocode.errors import InvalidRequestError
from jidocode.otp.seconds import INFINITY, require_seconds
from jidocode.session.arguments import require_wait
from jidocode.session.commands import limits, operations
from jidocode.session.commands.result import CommandInfo, CommandResult, OutputChunk, StreamName
from jidocode.session.requests import Channel, request

ANSWER_TIME = 5.0
"""Seconds that the process has to answer, beyond those that it was asked to wait."""
POLL_SECONDS = 5.0
"""How long one question of an iterator waits for output."""


class CommandHandle:
    """A command, known by its id: any client of the session can have a handle of it.

    Every method raises `NoCommandError` if the command is not known any more: because
    many others have ended after it, or the process that ran it has.

    Attributes:
        id: The command's.
    """

    def __init__(self, channel: Channel, command_id: str) -> None:
        """Ask over *channel*; `CommandsClient` makes it."""
        self._channel = channel
        self.id = command_id

    def __repr__(self) -> str:
        return f"<CommandHandle {self.id}>"

    def info(self) -> CommandInfo:
        """Return what is known of it."""
        return self._channel(request(operations.command_info, self.id))

    def read(
        self,
        offset: int = 0,
        *,
        stream: StreamName = "stdout",
        size: int = 2**16,
        wait: float = 0.0,
    ) -> OutputChunk:
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
        return self._channel(question, timeout=wait + ANSWER_TIME if wait else None)

    def output(self, stream: StreamName = "stdout") -> Iterator[bytes]:
        """Yield its output from the beginning, and as it comes, until it has ended."""
        offset = 0
        while True:
            chunk = self.read(offset, stream=stream, wait=POLL_SECONDS)
            if chunk.data:
                yield chunk.data
            if chunk.ended:
                return
            offset = chunk.next_offset

    def write(self, data: str | bytes) -> None:
        """Let it read *data*; text as UTF-8. It need not read it at once.

        Raises:
            BrokenPipeError: It has no input, or reads none any more.
            BlockingIOError: It has 16 MiB that it has not read.
        """
        self._channel(request(operations.write_input, self.id, as_bytes(data)))

    def close_stdin(self) -> None:
        """Let it read the end of its input; at a terminal, that is what Ctrl-D does."""
        self._channel(request(operations.close_input, self.id))

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size.

        Raises:
            InvalidRequestError: It has none.
        """
        self._channel(request(operations.resize_terminal, self.id, rows, columns))

    def signal(self, number: int) -> None:
        """Send a signal to its process group, as Ctrl-C does SIGINT; nothing if it has ended."""
        self._channel(request(operations.signal_command, self.id, number))

    def wait(self, timeout: float | None = None) -> CommandResult:
        """Return its result when it has ended.

        Raises:
            CommandRunningError: It has not within *timeout* seconds; for ever by default.
            InvalidTimeError: *timeout* is no time.
        """
        seconds = INFINITY if timeout is None else timeout
        require_seconds("timeout", seconds)
        question = request(operations.await_command, self.id, seconds)
        return self._channel(question, timeout=seconds + ANSWER_TIME)

    def cancel(self) -> CommandResult:
        """End all of it, and return its result: SIGTERM, and SIGKILL 2 seconds later.

        All processes that it has started are gone then, daemons too. What has ended already
        is left as it is.
        """
        seconds = limits.GRACE_SECONDS + ANSWER_TIME
        return self._channel(request(operations.cancel_command, self.id), timeout=seconds)


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
