"""`PartQueue`: what happens in a turn, on its way to whoever drives it, if anybody still does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from jidocode.session.agent.messages import TurnPart, joined

PULSE = 1.0
"""Seconds after which whoever prompted is sent a sign of life, which tells whether he is there."""


class PartQueue:
    """Parts of a turn that are sent one message after the other; what waits goes together."""

    def __init__(
        self, send: Callable[[tuple[TurnPart, ...]], Awaitable[bool]], on_gone: Callable[[], object]
    ) -> None:
        """Send by *send*; call *on_gone* once nobody reads any more."""
        self._send = send
        self._on_gone = on_gone
        self._waiting: list[TurnPart] = []
        self._wake = asyncio.Event()
        self._ends = False
        self._task = asyncio.create_task(self._run())

    def add(self, part: TurnPart) -> None:
        """Send *part* as soon as those before it have gone."""
        one = joined(self._waiting[-1], part) if self._waiting else None
        if one is None:
            self._waiting.append(part)
        else:
            self._waiting[-1] = one
        self._wake.set()

    async def _run(self) -> None:
        while self._waiting or not self._ends:
            with suppress(TimeoutError):
                async with asyncio.timeout(PULSE):
                    await self._wake.wait()
            self._wake.clear()
            parts, self._waiting = self._waiting, []
            if (parts or not self._ends) and not await self._send(tuple(parts)):
                self._on_gone()
                return

    async def beat(self) -> bool:
        """Send a sign of life; return whether anybody reads."""
        return await self._send(())

    async def finish(self) -> None:
        """Return when all has been sent."""
        self._ends = True
        self._wake.set()
        await self._task

    def close(self) -> None:
        """Send no more."""
        self._task.cancel()
