"""Coroutines that read slowly: what was written before the end is read first, then that is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from loops import Runner

from jidocode import (
    AsyncChangeStream,
    AsyncSessionSystem,
    HostExitedError,
    Message,
    SessionNotFoundError,
)
from jidocode.otp import ChildExited

TEXTS = [str(number) for number in range(250)]
"""More than one page."""


async def read_all(changes: AsyncChangeStream) -> list[str]:
    """Return what was said in *changes*, which has to say then that its session has ended."""
    found: list[str] = []
    with pytest.raises((SessionNotFoundError, HostExitedError)):  # noqa: PT012 - it ends by that
        while (change := await changes.get(20)) is not None:
            if isinstance(change, Message):
                found.append(change.content)
    return found


def test_a_coroutine_reads_to_the_end(loop: Runner, tmp_path: Path, project: Path) -> None:
    """Changes and events, also when the system has ended; and a monitor tells."""

    async def main() -> None:
        async with AsyncSessionSystem(state_dir=tmp_path / "state") as system:
            session = await system.create_session(project)
            begun, later = (session.state.subscribe(from_seq=1) for _ in range(2))
            assert await begun.get(20)
            events, everything = session.events(), system.events()
            monitor = await system.monitor(("state", session.id))
            for text in TEXTS:
                await session.state.append_message("user", text)
            await session.stop()

            assert await read_all(begun) == TEXTS
            assert (await monitor.wait(20)) is not None
        assert await read_all(later) == TEXTS
        assert isinstance([event.fact async for event in events][-1], ChildExited)
        assert len([event async for event in everything]) > 3
        assert (await monitor.wait(1)) is not None

    loop.run(main)
