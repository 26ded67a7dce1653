"""`RunningCommand`: one command, from its order to its result, as the server has it.

All of it happens in the thread of the event loop. Whoever waits has a `Future`.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from msgspec.structs import replace

from jidocode.errors import (
    CommandError,
    CommandRunningError,
    CommandStartError,
    ConfinementError,
    InvalidRequestError,
    ProgramNotFoundError,
    SessionError,
)
from jidocode.otp.seconds import INFINITY
from jidocode.session.commands import limits, words
from jidocode.session.commands.channel import Channel
from jidocode.session.commands.following import FollowedOutput
from jidocode.session.commands.loop import EventLoop, Timer
from jidocode.session.commands.result import CommandInfo, CommandResult, OutputChunk, StreamName
from jidocode.session.commands.saving import SavedOutput
from jidocode.session.commands.streams import Streams
from jidocode.session.commands.waiter import Waiter
from jidocode.session.commands.wanted import Size, Wanted
from jidocode.session.commands.watch import Changes
from jidocode.session.confinement.namespaces import explain

READ_SIZE = 2**16
LAST_READS = 64
"""After the end, as much is read as fits into a pipe; another holder may write for ever."""
RETRY_SECONDS = 0.1
"""Until a runner that has not read what it was told before is told again to end its command."""
END_OF_INPUT = b"\x04"
"""What is typed at a terminal to end the input (VEOF)."""


class RunningCommand:
    """A command, and whoever waits for it.

    Attributes:
        wanted: What was asked for, but for its input and its variables, which may be long.
        started: Resolved to its pid when its program is executed, or to why it is not.
        ended: Resolved to its result when nothing is left of it.
        result: The same, None until then.
    """

    def __init__(  # noqa: PLR0913 - some are keywords
        self,
        loop: EventLoop,
        wanted: Wanted,
        channel: Channel,
        streams: Streams,
        *,
        output_limit: int,
        saved: SavedOutput | None,
        on_free: Callable[[Channel], object],
        on_build: Callable[[int], object],
        changes: Callable[[], Changes],
        on_end: Callable[[], object],
    ) -> None:
        """Follow the command whose order has been sent by *channel*.

        *on_free* gets that back, if its runner waits for another command.
        *changes* is asked what was changed while it ran, once, when nothing is left of it.
        """
        self.wanted = replace(wanted, stdin=None, env={})
        self.started: Future[int] = Future()
        self.ended: Future[CommandResult] = Future()
        self.result: CommandResult | None = None
        self._loop = loop
        self._channel = channel
        self._streams = streams
        self._saved = saved
        self._on_free = on_free
        self._on_build = on_build
        self._changes = changes
        self._on_end = on_end
        self._runner_is_free = False
        self._began = time.monotonic()
        self._began_at = time.time()
        self._seconds: float | None = None
        self._status: int | None = None
        self._pid: int | None = None
        self._timed_out = self._cancelled = False
        self._outputs: dict[StreamName, FollowedOutput] = {
            "stdout": FollowedOutput(loop, output_limit),
            "stderr": FollowedOutput(loop, output_limit),
        }
        self._waiters: dict[Future[CommandResult], Timer] = {}
        self._end_is_due = False
        self._input = bytearray()
        self._writes = False
        self._input_ends = not wanted.keep_stdin
        self._has_stdin = wanted.stdin is not None or streams.is_tty
        loop.watch(channel, self._take_word)
        for name, descriptor in streams.outputs.items():
            self._outputs[name].watch(descriptor, partial(self._take_output, name))
        if wanted.stdin is not None:
            self._write(wanted.stdin)
        self._waiter: Waiter | None = None
        self._deadline: Timer | None = None
        if wanted.timeout is not None and wanted.timeout != INFINITY:
            self._deadline = loop.call_later(wanted.timeout, self._time_out)

    # What is asked

    def info(self) -> CommandInfo:
        """Return what is known of it."""
        seconds = time.monotonic() - self._began if self._seconds is None else self._seconds
        return CommandInfo(
            id=self.wanted.id,
            argv=self.wanted.argv,
            pid=self._pid or 0,
            started_at=self._began_at,
            seconds=seconds,
            running=self.result is None,
            exit_code=self.result.exit_code if self.result else None,
            signal=self.result.signal if self.result else None,
        )

    @property
    def kept(self) -> int:
        """Bytes of its output and characters of its arguments that are kept."""
        output = sum(output.written.kept for output in self._outputs.values())
        return output + sum(map(len, self.wanted.argv))

    def read(
        self, offset: int, stream: StreamName, size: int, wait: float, reader: int = 0
    ) -> OutputChunk | Future[OutputChunk]:
        """Return what there is of *stream* from *offset* on; see `FollowedOutput.read`."""
        return self._outputs[stream].read(offset, size, wait, reader)

    def expect_readers(self) -> None:
        """Wait for a first reader, who cannot come before the command is known to run."""

        def expect(_started: object = None) -> None:
            for output in self._outputs.values():
                output.expect_reader()

        expect()
        self.started.add_done_callback(expect)

    def leave(self, stream: StreamName, reader: int) -> None:
        """Wait for *reader* of *stream* no more."""
        self._outputs[stream].leave(reader)

    def write(self, data: bytes) -> None:
        """Let it read *data*, behind all that was written before.

        Raises:
            BrokenPipeError: It has no input, or reads none any more.
            BlockingIOError: There is too much that it has not read yet.
        """
        if not self._has_stdin:
            raise BrokenPipeError(errno.EPIPE, "the command was started without stdin")
        if self._streams.input is None or self._input_ends:
            raise BrokenPipeError(errno.EPIPE, "the command reads no input any more")
        if len(self._input) + len(data) > limits.MAX_INPUT:
            raise BlockingIOError(errno.EAGAIN, "the command has not read what was written before")
        self._write(data)

    def close_stdin(self) -> None:
        """Let it read the end of its input, behind what was written."""
        if self._streams.is_tty:
            if self._streams.input is not None:
                self._write(END_OF_INPUT)
        elif not self._input_ends:
            self._input_ends = True
            self._write(b"")

    def resize(self, size: Size) -> None:
        """Give its terminal another size.

        Raises:
            InvalidRequestError: It has none.
        """
        if not self._streams.is_tty:
            raise InvalidRequestError("the command has no terminal")
        if self._streams.outputs:
            self._streams.resize(size)

    def signal(self, number: int) -> None:
        """Send its group a signal, if it runs."""
        if self._status is None:
            try:
                self._channel.send(words.word(words.SIGNAL, number))
            except BlockingIOError as error:
                problem = "the command has not heeded what it was told before"
                raise CommandError(problem) from error

    def cancel(self) -> None:
        """End it, if it runs."""
        if self._status is None and not self._timed_out:
            self._cancelled = True
        self.end(limits.GRACE_SECONDS)

    def end(self, grace: float) -> None:
        """End all of it within *grace* seconds, and then by SIGKILL."""
        if self.result is not None:
            return
        try:
            self._channel.send(words.word(words.END, int(grace * 1000)))
        except BlockingIOError:  # its runner is stopped, or gets no processor
            if not self._end_is_due:
                self._end_is_due = True
                self._loop.call_later(RETRY_SECONDS, partial(self._end_again, grace))

    def end_with(self, process: int) -> None:
        """End it when *process* does, the one that waits for its result: nobody else can get it."""
        self._waiter = Waiter(self._loop, process, self.cancel)

    def _end_again(self, grace: float) -> None:
        self._end_is_due = False
        self.end(grace)

    def wait(self, seconds: float) -> CommandResult | Future[CommandResult]:
        """Return its result, or a future of that, which fails after *seconds*."""
        if self.result is not None:
            return self.result
        if seconds == INFINITY:
            return self.ended
        future: Future[CommandResult] = Future()

        def give_up() -> None:
            del self._waiters[future]  # some ask again and again, for as long as it runs
            future.set_exception(CommandRunningError(self.wanted.id, seconds))

        self._waiters[future] = self._loop.call_later(seconds, give_up)
        return future

    # What happens

    def _time_out(self) -> None:
        if self._status is None:
            self._timed_out = True
            self.end(limits.GRACE_SECONDS)

    def _take_word(self) -> None:
        message, descriptors = self._channel.receive()
        letter, number = words.parse(message) if message else (words.GONE, 0)
        if letter == words.STARTED:
            self._pid = number
            self.started.set_result(number)
        elif letter == words.EXITED:
            self._note_exit(number)
        elif letter == words.DONE:
            self._runner_is_free = True
            self._note_exit(number)
            self._finish()
        elif letter == words.BUILT:
            self._on_build(descriptors[0])
        elif letter == words.FAILED:
            self._fail(self._start_error(number))
        elif letter == words.OBSTRUCTED:
            obstacle = words.parse_obstacle(number)
            self._fail(ConfinementError(explain(obstacle)))
        elif not self.started.done():  # its runner has ended, or never began
            self._fail(self._start_error(errno.EAGAIN))
        else:
            self._note_exit(-signal.SIGKILL)  # if it had not ended, it was killed with its runner
            self._finish()

    def _note_exit(self, status: int) -> None:
        if self._status is None:
            self._status = status
            self._seconds = time.monotonic() - self._began

    def _start_error(self, number: int) -> CommandStartError:
        program = self.wanted.argv[0]
        if number == errno.ENOENT:
            return ProgramNotFoundError(program)
        return CommandStartError(program, os.strerror(number), number)

    def _fail(self, error: SessionError) -> None:
        self._close()
        if self._saved is not None:
            self._saved.discard()
        self.started.set_exception(error)
        self._on_end()

    def _finish(self) -> None:
        """Read what is left to read, and tell the result."""
        for name in list(self._streams.outputs):
            for _ in range(LAST_READS):
                if not self._take_output(name):
                    break
        self._close()
        if self._saved is not None:
            self._saved.close()
        status = self._status or 0
        changes = self._changes()
        self.result = CommandResult(
            id=self.wanted.id,
            argv=self.wanted.argv,
            exit_code=None if status < 0 else status,
            signal=-status if status < 0 else None,
            raw_stdout=self._outputs["stdout"].written.captured(),
            raw_stderr=self._outputs["stderr"].written.captured(),
            seconds=self._seconds or 0.0,
            timed_out=self._timed_out,
            cancelled=self._cancelled,
            saved=self._saved.size if self._saved else 0,
            protected_changes=changes.paths,
            undone_changes=changes.undone,
            set_aside=changes.set_aside,
        )
        self.ended.set_result(self.result)
        waiters, self._waiters = self._waiters, {}
        for future, timer in waiters.items():
            timer.cancel()
            future.set_result(self.result)
        for output in self._outputs.values():
            output.end()
        self._on_end()

    def _close(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._waiter is not None:
            self._waiter.forget()
        self._stop_writing()
        self._input.clear()
        for output in self._outputs.values():
            output.unwatch()
        self._streams.close()
        self._loop.unwatch(self._channel)
        if self._runner_is_free:
            self._on_free(self._channel)
        else:
            self._channel.close()

    def _take_output(self, name: StreamName) -> bool:
        """Take in what can be read; return whether there may be more."""
        descriptor = self._streams.outputs[name]
        try:
            data = os.read(descriptor, READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the terminal open
            data = b""
        if not data:
            if self._streams.is_tty:
                self._stop_writing()
                self._streams.close_input()
            self._outputs[name].unwatch()
            self._streams.close_output(name)
            return False
        if self._saved is not None:
            self._saved.write(data)
        self._outputs[name].append(data)
        return True

    def _write(self, data: bytes) -> None:
        self._input += data
        if not self._writes and self._streams.input is not None:
            self._write_some()

    def _write_some(self) -> None:
        """Write what the pipe takes; go on when it takes more."""
        descriptor = self._streams.input
        assert descriptor is not None  # noqa: S101 - it is watched only as long as it is there
        try:
            while self._input:
                del self._input[: os.write(descriptor, self._input[:READ_SIZE])]
        except BlockingIOError:
            if not self._writes:
                self._loop.watch(descriptor, self._write_some, writes=True)
                self._writes = True
            return
        except OSError:  # nobody reads: EPIPE, at a terminal EIO
            self._input.clear()
            self._input_ends = True
        self._stop_writing()
        if self._input_ends and not self._streams.is_tty:
            self._streams.close_input()

    def _stop_writing(self) -> None:
        if self._writes and self._streams.input is not None:
            self._loop.unwatch(self._streams.input)
        self._writes = False
