"""A tree without sessions is started, asked and closed by coroutines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from loops import Runner
from servers import worker
from streamers import Streamer

from jidocode import AsyncSessionSystem, HealthStatus, HostError, HostExitedError, NoProcessError
from jidocode.otp import (
    AsyncApplication,
    ChildExited,
    ChildSpec,
    InvalidChildSpecError,
    Normal,
    Start,
)
from jidocode.testing.leftovers import processes_below

W = ("worker", "w")


def test_a_tree_is_asked(loop: Runner, tmp_path: Path) -> None:
    """By the names that `otp.start` gives."""

    async def main() -> None:
        streamer = ChildSpec(
            id="s", start=Start(Streamer, tmp_path / "log"), name=("streamer", "s")
        )
        async with AsyncApplication(worker("w", name=W), streamer, call_timeout=30.0) as app:
            assert app.settings.call_timeout == 30.0
            ref = await app.whereis(W)
            assert ref is not None
            assert await app.call(W, "pid") == ref.os_pid
            under_way = await app.begin_call(W, "pid")
            assert await under_way.result() == ref.os_pid
            async with await app.call_stream(("streamer", "s"), ("count", 3)) as parts:
                assert len([part async for part in parts]) == 3
            assert "w" in str(await app.tree())
            assert (await app.system_health()).status is HealthStatus.HEALTHY
            async with app.events() as events:
                monitor = await app.monitor(W)
                await app.stop(W)
                assert (await monitor.wait()).reason == Normal()
                async for event in events:
                    if isinstance(event.fact, ChildExited):
                        break
            assert await app.call(W, "pid") != ref.os_pid
            await app.cast(W, "nothing")
            with pytest.raises(NoProcessError):
                await app.call(("worker", "nobody"), "pid")
        assert processes_below(os.getpid()) == {}
        with pytest.raises(HostExitedError):
            await app.call(W, "pid")

    loop.run(main)


def test_a_start_that_fails_says_why(loop: Runner) -> None:
    """And what was not started has no processes."""

    async def main() -> None:
        wrong: Any = 5
        with pytest.raises(InvalidChildSpecError):
            async with AsyncApplication(wrong):
                pass
        app = AsyncApplication()
        assert repr(app) == "<AsyncApplication not started>"
        with pytest.raises(HostError, match="not started"):
            await app.tree()
        await app.aclose()

    loop.run(main)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.5])
def test_what_is_closed_while_it_starts_is_closed(loop: Runner, seconds: float) -> None:
    """Whoever starts it is told; and nothing is left when either returns."""

    async def main() -> None:
        system = AsyncSessionSystem()
        told: list[BaseException] = []

        async def start() -> None:
            try:
                await system.__aenter__()
            except HostError as error:
                told.append(error)

        async def close() -> None:
            await loop.sleep(seconds)
            await system.aclose()
            assert processes_below(os.getpid()) == {}

        async def start_again() -> None:
            await loop.sleep(0.01)
            with pytest.raises(RuntimeError, match="started once"):
                await system.__aenter__()

        await loop.together(start, close, start_again)
        assert len(told) <= 1  # none, if it was as fast as that
        assert processes_below(os.getpid()) == {}
        with pytest.raises(RuntimeError, match="started once"):
            await system.__aenter__()

    loop.run(main)
