"""`CallStream`: a call whose answer comes in parts, as whoever waits for it reads it."""

from __future__ import annotations

from typing import Any, Protocol, Self

from jidocode.base.closing import Closing


class PartSource(Protocol):
    """Where a `CallStream` has its parts from."""

    def next_part(self, seconds: float) -> Any:
        """Return the next part.

        Raises:
            StopIteration: There is none: the answer is there.
            CallTimeoutError: There was none for *seconds*; it may be asked again.
            Exception: Whatever a call raises.
        """
        ...

    def answer(self) -> Any:
        """Return the answer, which is there; raises what the call was refused with."""
        ...

    def cancel(self) -> None:
        """Want no more; again is fine."""
        ...


class CallStream(Closing):
    """A call whose answer comes in parts: an iterator of them, for one thread at a time.

    The process sends a part by `GenServer.send_part` while it is at work, and is at most
    32 parts ahead of whoever reads them: it waits then. All parts that it has sent come
    before the answer, or before the error if it dies.

    Close it, or use it as a context manager: then the process is told that nobody reads
    on. One that nobody holds any more is closed.
    """

    def __init__(self, source: PartSource, timeout: float) -> None:
        """Read from *source*, and wait *timeout* seconds for each part."""
        self._source = source
        self._timeout = timeout

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """Return the next part as soon as it is there.

        Raises:
            StopIteration: All have been read, and there is a `result`.
            CallTimeoutError: Neither a part nor the answer came in time; ask again, or close.
            CallError: The stream was closed.
            Exception: Whatever a call raises.
        """
        return self._source.next_part(self._timeout)

    def result(self) -> Any:
        """Return the answer, and drop the parts before it that were not read.

        May be asked again; raises as the iterator does.
        """
        try:
            while True:
                next(self)
        except StopIteration:
            return self._source.answer()

    def close(self) -> None:
        """Want no more parts, and no answer; closing twice is fine."""
        self._source.cancel()

    def __del__(self) -> None:
        if hasattr(self, "_source"):
            self.close()
