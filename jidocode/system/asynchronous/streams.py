"""What coroutines read or wait for more than once: events, monitors, calls under way.

All of them are classes and no generators: one that is not read to its end leaves nothing
behind that a loop would have to close.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, overload

from jidocode._host.client.calls import PendingCall, PendingStream
from jidocode._host.client.client import HostClient
from jidocode._host.client.monitor import Monitor
from jidocode._host.deadline import Deadline, deadline_after
from jidocode.base.changes import Changes
from jidocode.base.closing import AsyncClosing
from jidocode.base.refs import ActorRef
from jidocode.errors import CallTimeoutError
from jidocode.otp.server.messages import Down
from jidocode.system.asynchronous.loops import current_loop
from jidocode.system.asynchronous.running import AsyncRunner
from jidocode.system.asynchronous.waiting import wait_for
from jidocode.system.events import Event, EventStream


class AsyncEventStream(AsyncClosing):
    """One reader's events, oldest first: read them by `async for`, or `get` them.

    It ends, and loses the oldest events if its reader is slow, as an `EventStream` does.
    """

    def __init__(self, runner: AsyncRunner, source: EventStream) -> None:
        """Read from *source*."""
        self._runner = runner
        self._source = source

    @property
    def dropped(self) -> int:
        """How many events were lost because this reader was too slow."""
        return self._source.dropped

    @property
    def closed(self) -> bool:
        """Whether nothing more comes; what is in the buffer can still be read."""
        return self._source.closed

    async def get(self, timeout: float | None = None) -> Event | None:
        """Return the next event; see `EventStream.get`. If it is cancelled, none is lost."""
        await current_loop().checkpoint()  # a reader of many events lets others run
        plan = self._source._reading(timeout)  # noqa: SLF001 - it is its twin's
        return await self._runner.carry_out(plan)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """Hear no more, also a task that waits; what is in the buffer can still be read."""
        self._source.close()


class AsyncMonitor:
    """Tells once, to whoever waits, that a process is gone (OTP: monitor).

    Attributes:
        ref: The process.
    """

    def __init__(self, client: HostClient, monitor: Monitor) -> None:
        """Wait for *monitor*."""
        self._client = client
        self._monitor = monitor
        self.ref: ActorRef = monitor.ref

    @overload
    async def wait(self) -> Down: ...

    @overload
    async def wait(self, timeout: float | None) -> Down | None: ...

    async def wait(self, timeout: float | None = None) -> Down | None:
        """Return the `Down` as soon as there is one; see `Monitor.wait`."""
        self._client.check_owner()
        monitor = self._monitor
        return await wait_for(monitor.changes, lambda: monitor.down, deadline_after(timeout))

    def cancel(self) -> None:
        """Watch no longer (OTP: demonitor)."""
        self._monitor.cancel()


class AsyncCallHandle:
    """A call under way; `AsyncSessionSystem.begin_call` makes one. Any number of tasks may ask it.

    One that nobody holds any more is cancelled.
    """

    def __init__(
        self,
        client: HostClient,
        pending: PendingCall,
        deadline: Callable[[float | None], Deadline],
    ) -> None:
        """Wait for *pending*."""
        self._client = client
        self._pending = pending
        self._deadline = deadline
        self._changes = Changes()
        pending.on_end = self._changes.tell

    def __repr__(self) -> str:
        state = "done" if self.done else "under way"
        return f"<AsyncCallHandle to {self._pending.target}, {state}>"

    @property
    def done(self) -> bool:
        """Whether `result` would not wait."""
        return self._pending.ended

    async def result(self, timeout: float | None = None) -> Any:
        """Return the answer as soon as it is there; see `CallHandle.result`.

        Who is cancelled here may ask again.
        """
        pending, deadline = self._pending, self._deadline(timeout)
        self._client.check_owner()
        await _await_end(self._client, self._changes, pending, deadline)
        return pending.result()

    def cancel(self) -> bool:
        """Want no answer any more; see `CallHandle.cancel`."""
        return self._client.cancel(self._pending)

    def __del__(self) -> None:
        if hasattr(self, "_pending"):
            self._client.cancel(self._pending)


class AsyncCallStream(AsyncClosing):
    """A call whose answer comes in parts: read them by `async for`, in one task at a time.

    See `CallStream`. Close it, or use it in an `async with` block: then the process is told that
    nobody reads on. One that nobody holds any more is closed.
    """

    def __init__(self, client: HostClient, pending: PendingStream, seconds: float) -> None:
        """Read from *pending*, and wait *seconds* for each part."""
        self._client = client
        self._pending = pending
        self._seconds = seconds
        self._changes = Changes()
        pending.parts.on_arrival = self._changes.tell

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Return the next part as soon as it is there; see `CallStream`."""
        self._client.check_owner()
        pending, deadline = self._pending, Deadline.after(self._seconds)
        parts = pending.parts
        if not parts.is_ready:
            self._client.check()
            ready = await wait_for(self._changes, lambda: parts.is_ready or None, deadline.at)
            if ready is None:
                raise CallTimeoutError(pending.target, deadline.seconds)
        if parts.peek() is not None:
            return parts.take(pending.target)
        pending.result()
        raise StopAsyncIteration

    async def result(self) -> Any:
        """Return the answer, and drop the parts before it that were not read."""
        async for _ in self:
            pass
        return self._pending.result()

    async def aclose(self) -> None:
        """Want no more parts, and no answer; closing twice is fine."""
        self._client.cancel(self._pending)

    def __del__(self) -> None:
        if hasattr(self, "_pending"):
            self._client.cancel(self._pending)


async def _await_end(
    client: HostClient, changes: Changes, pending: PendingCall, deadline: Deadline
) -> None:
    if pending.ended:
        return
    client.check()  # the end of all settles the calls it knows of; is this one of them?
    if await wait_for(changes, lambda: pending.ended or None, deadline.at) is None:
        raise CallTimeoutError(pending.target, deadline.seconds)
