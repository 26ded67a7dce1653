"""`HeaderTimeout`: connections of which nobody knows yet whose they are, few and not for long.

Any user's program of the machine can connect and say nothing. Each such connection takes a
descriptor, of which a process has some hundred; uvicorn itself waits for ever.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_SILENT = 64
"""Connections that have not said the head of a request; for one more, the oldest is hung up on."""
SILENT_SECONDS = 5.0
"""In which a head has to come."""


class HeaderTimeout(H11Protocol):
    """A connection to the server, which is hung up on unless it asks something soon."""

    _silent: ClassVar[dict[HeaderTimeout, asyncio.TimerHandle]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Let it in, for a while."""
        super().connection_made(transport)
        if len(self._silent) >= MOST_SILENT:
            next(iter(self._silent))._hang_up()  # noqa: SLF001 - another one of these
        self._silent[self] = self.loop.call_later(SILENT_SECONDS, self._hang_up)

    def data_received(self, data: bytes) -> None:
        """Let it stay once it has asked something: what has no token is then hung up on."""
        super().data_received(data)
        if self.headers is not None:  # pyright: ignore[reportUnnecessaryComparison] # until then
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._forget()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        timer = self._silent.pop(self, None)
        if timer is not None:
            timer.cancel()
