"""The parts of an answer that an app reads."""

from __future__ import annotations

from typing import Any

from jidocode._host.client.calls import PendingStream
from jidocode._host.client.client import HostClient
from jidocode._host.deadline import Deadline


class PendingParts:
    """A call under way from an app, whose answer comes in parts: a `PartSource`."""

    def __init__(self, client: HostClient, stream: PendingStream) -> None:
        """Read *stream* by *client*."""
        self._client = client
        self._stream = stream

    def next_part(self, seconds: float) -> Any:
        """Return the next part; see `PartSource`."""
        return self._client.next_part(self._stream, Deadline.after(seconds))

    def answer(self) -> Any:
        """Return the answer, which is there."""
        return self._stream.result()

    def cancel(self) -> None:
        """Want no more."""
        self._client.cancel(self._stream)
