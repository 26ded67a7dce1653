"""What users hold of a command: how it ended, what it has written, what is known of it."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from jidocode.base.records import Record

StreamName = Literal["stdout", "stderr"]
"""Which of the two a command has written to."""


@frozen(eq=False, repr=False)
class CapturedOutput(Record):
    """What is kept of a command's output: its beginning and its end. Its `repr` shows neither.

    Attributes:
        head: The bytes that came first.
        tail: The bytes that came last.
        cut: How many bytes came between them and are not kept.
    """

    head: bytes = field(default=b"", repr=False)
    tail: bytes = field(default=b"", repr=False)
    cut: int = 0

    @property
    def data(self) -> bytes:
        """All bytes that are kept, those that came last right behind those that came first."""
        return self.head + self.tail

    @property
    def size(self) -> int:
        """How many bytes the command has written."""
        return len(self.head) + self.cut + len(self.tail)

    @property
    def text(self) -> str:
        """What is kept, as UTF-8 text, with U+FFFD for what is none.

        Where something was cut out there is a line that says how much.
        """
        if not self.cut:
            return self.data.decode("utf-8", "replace")
        head, tail = (part.decode("utf-8", "replace") for part in (self.head, self.tail))
        return f"{head}\n[... {self.cut} bytes cut out ...]\n{tail}"


@frozen(eq=False, repr=False, kw_only=True)
class CommandResult(Record):
    """How a command ended. Its `repr` shows nothing that it was given or has written.

    Attributes:
        id: The command's.
        argv: What was run.
        exit_code: What its main process exited with; None if a signal ended it.
        signal: The number of the signal that ended its main process, None if it exited.
        raw_stdout: What is kept of its standard output; with `merge` or `tty` of both.
        raw_stderr: What is kept of its standard error.
        seconds: From its start to the end of its main process.
        timed_out: Whether its time was over, so that it was ended.
        cancelled: Whether somebody cancelled it while it ran.
        saved: Bytes of its output in the file `save_output`; 0 without one.
        protected_changes: Protected paths (`Settings.protected_paths`) that were changed while
            it ran, by it or by whatever else ran then; relative to the project. At most 100.
        undone_changes: Those of them that are as they were again.
        set_aside: Where what was there instead is now; relative to the project. At most 100.
    """

    id: str
    argv: tuple[str, ...] = field(repr=False)
    exit_code: int | None
    signal: int | None
    raw_stdout: CapturedOutput = field(repr=False)
    raw_stderr: CapturedOutput = field(repr=False)
    seconds: float
    timed_out: bool = False
    cancelled: bool = False
    saved: int = 0
    protected_changes: tuple[str, ...] = field(default=(), repr=False)
    undone_changes: tuple[str, ...] = field(default=(), repr=False)
    set_aside: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0

    @property
    def stdout(self) -> str:
        """Its standard output as text; see `CapturedOutput.text`."""
        return self.raw_stdout.text

    @property
    def stderr(self) -> str:
        """Its standard error as text; see `CapturedOutput.text`."""
        return self.raw_stderr.text

    @property
    def overflowed(self) -> bool:
        """Whether it has written more than is kept."""
        return bool(self.raw_stdout.cut or self.raw_stderr.cut)


@frozen(eq=False, repr=False, kw_only=True)
class CommandInfo(Record):
    """What is known of a command that runs, or has ended lately.

    Attributes:
        id: Names it, for any client of the session.
        argv: What was run.
        pid: Its main process, which is the head of a process group.
        started_at: When it was started, in seconds since the epoch.
        seconds: How long it has run, or ran.
        running: Whether it runs. What it has started may outlive its main process a moment.
        exit_code: What it exited with; None if it runs, or a signal ended it.
        signal: The number of the signal that ended it; None if it runs, or exited.
    """

    id: str
    argv: tuple[str, ...] = field(repr=False)
    pid: int
    started_at: float
    seconds: float
    running: bool
    exit_code: int | None = None
    signal: int | None = None


@frozen(eq=False, repr=False, kw_only=True)
class OutputChunk(Record):
    """A part of a command's output. Its `repr` does not show it.

    Attributes:
        offset: How many bytes came before it; more than was asked for, if what
            stood there was cut out.
        data: The bytes; none if there are none yet, or no more.
        next_offset: Where the next part begins.
        ended: Whether no more will come after these.
    """

    offset: int
    data: bytes = field(repr=False)
    next_offset: int
    ended: bool

    @property
    def text(self) -> str:
        """The bytes as UTF-8 text, with U+FFFD for what is none."""
        return self.data.decode("utf-8", "replace")
