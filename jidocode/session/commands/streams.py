"""The standard streams of a command: pipes, or a terminal; our ends of them and its own."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import Self

from jidocode.session.commands.result import StreamName
from jidocode.session.commands.wanted import Size

STREAMS: tuple[StreamName, StreamName] = ("stdout", "stderr")


class Streams:
    """Our ends do not block; each is closed on its own, and what is left by `close`.

    Attributes:
        input: Where its input is written, None if it has none, or no more.
        outputs: Where its output is read, and its standard error if that is apart.
        theirs: Its own standard input, output and error.
        is_tty: Whether they are a terminal.
    """

    def __init__(self, *, is_tty: bool) -> None:
        self.is_tty = is_tty
        self.input: int | None = None
        self.outputs: dict[StreamName, int] = {}
        self.theirs: list[int] = []
        self._open: set[int] = set()

    @classmethod
    def pipes(cls, *, has_input: bool, merge: bool) -> Self:
        """Return pipes.

        Raises:
            OSError: No descriptor is left.
        """
        streams = cls(is_tty=False)
        try:
            if has_input:
                theirs, streams.input = streams._own(os.pipe())
            else:
                (theirs,) = streams._own((os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC),))
            ends = [streams._own(os.pipe()) for _ in range(1 if merge else 2)]
        except OSError:
            streams.close()
            raise
        for name, (reading, _) in zip(STREAMS, ends, strict=False):
            streams.outputs[name] = reading
        streams.theirs = [theirs, ends[0][1], ends[-1][1]]
        for end in (streams.input, *streams.outputs.values()):
            if end is not None:
                os.set_blocking(end, False)
        return streams

    @classmethod
    def terminal(cls, size: Size) -> Self:
        """Return a terminal of *size*.

        Raises:
            OSError: There is none left.
        """
        streams = cls(is_tty=True)
        ours, theirs = streams._own(os.openpty())
        (streams.input,) = streams._own((os.dup(ours),))  # to be watched for itself
        os.set_blocking(ours, False)
        streams.outputs, streams.theirs = {"stdout": ours}, [theirs] * 3
        streams.resize(size)
        return streams

    def resize(self, size: Size) -> None:
        """Tell the programs at the terminal that it has another *size*."""
        fcntl.ioctl(self.outputs["stdout"], termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))

    def close_theirs(self) -> None:
        """Close its own ends, of which it has copies now."""
        for descriptor in set(self.theirs):
            self._close(descriptor)
        self.theirs = []

    def close_input(self) -> None:
        """Close the input; of a pipe, it reads the end then."""
        if self.input is not None:
            self._close(self.input)
            self.input = None

    def close_output(self, name: StreamName) -> None:
        """Close one of `outputs`."""
        self._close(self.outputs.pop(name))

    def close(self) -> None:
        """Close what is open; again is fine."""
        for descriptor in set(self._open):
            self._close(descriptor)
        self.input, self.outputs, self.theirs = None, {}, []

    def _own(self, descriptors: tuple[int, ...]) -> tuple[int, ...]:
        self._open.update(descriptors)
        return descriptors

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)
