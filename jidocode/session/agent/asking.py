"""One answer of a model, however often it has to be asked for it."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import cast

from attrs import fields

from jidocode.base import log
from jidocode.base.text import clip, line, quote, raised_at
from jidocode.errors import ModelError, ModelInterruptedError
from jidocode.session.agent.model import (
    MOST_CALLS,
    Delta,
    Model,
    ModelRequest,
    ReasoningDelta,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)
from jidocode.session.agent.retrying import ModelRetry, RetryRules, wait_before_next
from jidocode.session.conversation.checks import MAX_COUNT

MOST_CHARACTERS = 1_000_000
"""Of one answer, its reasoning and calls of tools with it: a message takes no more."""
MOST_DELTAS = 1_000_000
"""Pieces of one answer: a model that yields more does not end."""


_FIELDS: Mapping[type, Sequence[tuple[str, type]]] = {
    TextDelta: (("text", str),),
    ReasoningDelta: (("text", str), ("signature", str)),
    ToolCallDelta: (("index", int), ("id", str), ("name", str), ("arguments", str)),
    TokenUsage: tuple((each.name, int) for each in fields(TokenUsage)),
    Stop: (("reason", StopReason),),
}


def _checked(delta: object) -> Delta:
    """Return *delta*, which another process can take, and a State write down.

    A count that makes no sense counts as none: the answer is there all the same.

    Raises:
        ModelError: It is none, or one with something else in it.
    """
    kinds = _FIELDS.get(type(delta))
    if kinds is None:
        raise ModelError(f"it yielded a {line(type(delta).__name__)}, which is no delta")
    for name, kind in kinds:
        if type(getattr(delta, name)) is not kind:
            raise ModelError(
                f"it yielded a {type(delta).__name__} whose {name} is no {kind.__name__}"
            )
    if isinstance(delta, TokenUsage):
        counts = {name: getattr(delta, name) for name, _ in kinds}
        return TokenUsage(**{n: c if 0 <= c <= MAX_COUNT else 0 for n, c in counts.items()})
    return cast("Delta", delta)


class _Count:
    """How much of an answer has come: not every model bounds that by itself."""

    def __init__(self) -> None:
        self._deltas = self._characters = 0
        self._calls: set[int] = set()

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
                self._calls.add(delta.index)
            case _:
                pass
        if self._characters > MOST_CHARACTERS:
            raise ModelInterruptedError(f"it said more than {MOST_CHARACTERS} characters")
        if len(self._calls) > MOST_CALLS:
            raise ModelInterruptedError(f"more than {MOST_CALLS} calls of tools came")
        if self._deltas > MOST_DELTAS:
            raise ModelInterruptedError(f"more than {MOST_DELTAS} pieces came")


def _told(error: ModelError) -> ModelError:
    """Return *error*, of whatever class, as one of those that any process can read.

    A model's own class may be none that whoever prompts can import, or that can be pickled.
    """
    kind: type[ModelError] = next(
        each for each in type(error).__mro__ if each.__module__ == ModelError.__module__
    )
    said = ("problem", "status", "retry_after")
    problem, status, wait = (getattr(error, name, None) for name in said)
    return kind(
        clip(problem) if type(problem) is str else quote(problem),
        int(status) if isinstance(status, int) else None,
        wait if type(wait) in (int, float) else None,
    )


def _begun(stream: object) -> AsyncGenerator[object, None]:
    """Return *stream*, which is what a model has returned.

    Raises:
        ModelError: It is no async generator.
    """
    if all(hasattr(stream, name) for name in ("__aiter__", "__anext__", "aclose")):
        return cast("AsyncGenerator[object, None]", stream)
    if inspect.iscoroutine(stream):
        stream.close()  # nobody awaits it
    raise ModelError(
        "its stream must return an async generator (async def with yield), "
        f"and returned a {line(type(stream).__name__)}"
    )


async def ask_model(
    model: Model,
    request: ModelRequest,
    rules: RetryRules,
    on_retry: Callable[[ModelRetry], object] | None = None,
) -> AsyncGenerator[Delta, None]:
    """Yield the deltas of one answer of *model*; ask again, by *rules*, as long as none came.

    *on_retry* hears of each time that it is asked again, before the wait.

    To close the generator, or to cancel the task that iterates, ends the request at once.

    Raises:
        ModelError: There is no answer, or no more of it, as one without a `Stop`; whatever else
            a model raises is one.
    """
    clock = asyncio.get_running_loop().time
    began, asked, count = clock(), 0, _Count()
    while True:
        asked += 1
        come = has_stopped = False
        failure: ModelError | None = None
        try:
            async with aclosing(_begun(model.stream(request))) as deltas:
                async for said in deltas:
                    come = True
                    delta = _checked(said)
                    count.add(delta)
                    has_stopped = has_stopped or isinstance(delta, Stop)
                    yield delta
            if not has_stopped:
                failure = ModelInterruptedError("it ended without a Stop")
        except ModelError as error:
            failure = _told(error)
        except Exception as error:  # noqa: BLE001 - one of somebody else's may raise anything
            # Its message is left out: it may quote the request, and the key.
            log.warning("the model raised {}", raised_at(error))
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
        retry = ModelRetry(error=failure, seconds=wait)
        log.warning("{}", retry.message)
        if on_retry is not None:
            on_retry(retry)
        await asyncio.sleep(wait)
