"""One answer of a model, however often it has to be asked for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

from jidocode.base import log
from jidocode.errors import ModelError, ModelInterruptedError
from jidocode.session.agent.model import (
    Delta,
    Model,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from jidocode.session.agent.retrying import RetryRules, wait_before_next

MOST_CHARACTERS = 1_000_000
"""Of one answer, its reasoning and calls of tools with it: a message takes no more."""
MOST_DELTAS = 1_000_000
"""Pieces of one answer: a model that yields more does not end."""


class _Count:
    """How much of an answer has come: not every model bounds that by itself."""

    def __init__(self) -> None:
        self._deltas = self._characters = 0

    def add(self, delta: Delta) -> None:
        """Count *delta* in.

        Raises:
            ModelInterruptedError: It is too much.
        """
        self._deltas += 1
        match delta:
            case TextDelta():
                self._characters += len(delta.text)
            case ReasoningDelta():
                self._characters += len(delta.text) + len(delta.signature)
            case ToolCallDelta():
                self._characters += len(delta.name) + len(delta.arguments)
            case _:
                pass
        if self._characters > MOST_CHARACTERS:
            raise ModelInterruptedError(f"it said more than {MOST_CHARACTERS} characters")
        if self._deltas > MOST_DELTAS:
            raise ModelInterruptedError(f"more than {MOST_DELTAS} pieces came")


async def ask_model(
    model: Model, request: ModelRequest, rules: RetryRules
) -> AsyncGenerator[Delta, None]:
    """Yield the deltas of one answer of *model*; ask again, by *rules*, as long as none came.

    To close the generator, or to cancel the task that iterates, ends the request at once.

    Raises:
        ModelError: There is no answer, or no more of it; whatever else a model raises is one.
    """
    clock = asyncio.get_running_loop().time
    began, asked, count = clock(), 0, _Count()
    while True:
        asked += 1
        come = False
        failure: ModelError | None = None
        try:
            async with aclosing(model.stream(request)) as deltas:
                async for delta in deltas:
                    come = True
                    count.add(delta)
                    yield delta
        except ModelError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - one of somebody else's may raise anything
            # Its message is left out: it may quote the request, and the key.
            failure = ModelError(f"it raised {type(error).__name__}")
        if failure is None:
            return
        # Raised out here, it has no context: that may hold the request, and the key.
        wait = (
            None
            if come
            else wait_before_next(
                rules,
                failure,
                asked=asked,
                elapsed=clock() - began,
                chance=random.random(),  # noqa: S311 - no secret
            )
        )
        if wait is None:
            raise failure
        log.warning("{}; it is asked again in {:.1f} s", failure, wait)
        await asyncio.sleep(wait)
