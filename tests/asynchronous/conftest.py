"""What the tests of coroutines get."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from loops import RUNNERS, Opening, Runner, nobody_waits

from jidocode import AsyncSessionHandle, AsyncSessionSystem


@pytest.fixture(params=RUNNERS, ids=lambda runner: runner.name)
def loop(request: pytest.FixtureRequest) -> Runner:
    """A kind of loop."""
    runner: Runner = request.param
    return runner


@pytest.fixture
def opened(project: Path) -> Opening:
    """Start a system with one session; at its end nobody waits for anything any more."""

    @asynccontextmanager
    async def opened(
        children: Any = (), **settings: Any
    ) -> AsyncGenerator[tuple[AsyncSessionSystem, AsyncSessionHandle], None]:
        settings.setdefault("call_timeout", 30.0)
        async with AsyncSessionSystem(**settings) as system:
            session = await system.create_session(project, children=children)
            yield system, session
            nobody_waits(system)

    return opened
