"""`CallHandle`: a call under way, for whoever does something else meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jidocode._host.client.calls import PendingCall
from jidocode._host.client.client import HostClient
from jidocode._host.deadline import Deadline


class CallHandle:
    """A call under way; `Application.begin_call` makes one. Any thread may ask it.

    One that nobody holds any more is cancelled.
    """

    def __init__(
        self,
        client: HostClient,
        pending: PendingCall,
        deadline: Callable[[float | None], Deadline],
    ) -> None:
        self._client = client
        self._pending = pending
        self._deadline = deadline

    def __repr__(self) -> str:
        state = "done" if self.done else "under way"
        return f"<CallHandle to {self._pending.target}, {state}>"

    @property
    def done(self) -> bool:
        """Whether `result` would not wait."""
        return self._pending.ended

    def result(self, timeout: float | None = None) -> Any:
        """Return the answer as soon as it is there; again, if it is asked again.

        Args:
            timeout: Seconds to wait; `ApplicationSettings.call_timeout` by default.

        Raises:
            CallTimeoutError: It is not there in time, and may be later: ask again.
            CallError: It was cancelled.
            InvalidTimeError: *timeout* is no time.
            Exception: Whatever `Application.call` raises.
        """
        return self._client.result_of(self._pending, self._deadline(timeout))

    def cancel(self) -> bool:
        """Want no answer any more; False if it is there already.

        The process is not told, and goes on with what it was asked.
        """
        return self._client.cancel(self._pending)

    def __del__(self) -> None:
        if hasattr(self, "_pending"):
            self._client.cancel(self._pending)
