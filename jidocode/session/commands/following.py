"""`FollowedOutput`: one output of a command, as it comes, is kept, and is read by any number.

One that is held is not read from its pipe, which fills then: so the command waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future

from jidocode.session.commands import limits
from jidocode.session.commands.followers import Followers
from jidocode.session.commands.loop import EventLoop, Job, Timer
from jidocode.session.commands.output import HeadAndTail
from jidocode.session.commands.result import OutputChunk


class FollowedOutput:
    """What a command has written to one stream, and who waits for more of it.

    Attributes:
        written: What is kept of it.
    """

    def __init__(self, loop: EventLoop, limit: int) -> None:
        """Keep *limit* bytes, and what followers have not read yet."""
        self.written = HeadAndTail(limit)
        self._loop = loop
        self._source: tuple[int, Job] | None = None
        self._followers = Followers()
        self._hold: Timer | None = None
        self._questions: list[Callable[[], bool]] = []
        self._ended = False

    # Where it comes from

    def watch(self, descriptor: int, read: Job) -> None:
        """Have *read* done when there is something at *descriptor*, unless this is held."""
        self._source = descriptor, read
        self._loop.watch(descriptor, read)

    def unwatch(self) -> None:
        """Read no more, and wait for nobody; again is fine."""
        if self._source is not None:
            if self._hold is None:
                self._loop.unwatch(self._source[0])
            else:
                self._hold.cancel()
        self._source = self._hold = None
        self._followers.clear()

    def append(self, data: bytes) -> None:
        """Take in *data*, and tell whoever waits for it."""
        slowest = self._followers.slowest(time.monotonic())
        self.written.append(data, slowest[0] if slowest else None)
        self._answer()
        self._hold_or_go_on()

    def end(self) -> None:
        """Tell whoever waits that nothing comes any more."""
        self._ended = True
        self._answer()

    # Who reads it

    def read(
        self, offset: int, size: int, wait: float, reader: int = 0
    ) -> OutputChunk | Future[OutputChunk]:
        """Return what there is from *offset* on; wait *wait* seconds for it if there is nothing.

        Unless it is 0, the command waits for that *reader*, from the answer on.

        Raises:
            CommandError: As many others follow it as may.
        """
        chunk = self._chunk(offset, size)
        waits = wait > 0 and not chunk.data and not chunk.ended
        if reader and self._source is not None:
            now = time.monotonic()
            until = now + limits.HOLD_SECONDS + (wait if waits else 0.0)
            self._followers.note(reader, offset, now, until)
            self._hold_or_go_on()
        return self._question(offset, size, wait, reader) if waits else chunk

    def expect_reader(self) -> None:
        """Wait for a first one."""
        if self._source is not None:
            self._followers.expect(time.monotonic() + limits.FIRST_HOLD_SECONDS)

    def leave(self, reader: int) -> None:
        """Wait for *reader* no more."""
        self._followers.remove(reader)
        self._hold_or_go_on()

    def _question(self, offset: int, size: int, wait: float, reader: int) -> Future[OutputChunk]:
        future: Future[OutputChunk] = Future()

        def settle() -> None:
            self._followers.extend(reader, time.monotonic() + limits.HOLD_SECONDS)
            future.set_result(self._chunk(offset, size))

        def answer() -> bool:
            """Answer if there is something now, and return whether it is answered."""
            now = self._chunk(offset, size)
            if now.data or now.ended:
                timer.cancel()
                settle()
                return True
            return False

        def give_up() -> None:
            self._questions.remove(answer)
            settle()

        timer = self._loop.call_later(wait, give_up)
        self._questions.append(answer)
        return future

    def _answer(self) -> None:
        if self._questions:
            self._questions = [answer for answer in self._questions if not answer()]

    def _chunk(self, offset: int, size: int) -> OutputChunk:
        start, data = self.written.read(offset, size)
        end = start + len(data)
        ended = self._ended and end >= self.written.size
        return OutputChunk(offset=start, data=data, next_offset=end, ended=ended)

    # Who is waited for

    def _hold_or_go_on(self) -> None:
        """Hold it while the slowest reader has as much before him as is kept of an end."""
        if self._source is None:
            return
        now = time.monotonic()
        slowest = self._followers.slowest(now)
        was_held = self._hold is not None
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if slowest is not None and self.written.is_full(slowest[0]):
            if not was_held:
                self._loop.unwatch(self._source[0])
            self._hold = self._loop.call_later(slowest[1] - now, self._hold_or_go_on)
        elif was_held:
            self._loop.watch(*self._source)
