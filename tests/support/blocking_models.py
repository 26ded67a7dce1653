"""Models that hold up their process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from jidocode import Delta, ModelRequest, ModelSpec, Stop, StopReason, TextDelta

BLOCKING = ModelSpec("blocking_models:BlockingModel")
"""The spec of the model below."""


class BlockingModel:
    """Says a word to each message; if that is a path, makes a file there, and blocks."""

    def __init__(self, *, sign: Path | None = None) -> None:
        if sign is not None:
            sign.touch()
            time.sleep(1000)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        yield TextDelta("so")
        said = Path(request.messages[-1]["content"])
        if said.is_absolute():
            await asyncio.sleep(0.5)  # until that has gone
            said.touch()  # noqa: ASYNC240 - it blocks anyway
            time.sleep(1000)  # noqa: ASYNC251 - on purpose
        yield Stop(StopReason.END)

    async def aclose(self) -> None:
        pass
