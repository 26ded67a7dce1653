"""Models that do what none should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

from jidocode import Delta, ModelRequest, Stop, StopReason, TextDelta, TokenUsage, ToolCallDelta

END = Stop(StopReason.END)


class _Text(str):
    """A text of a class of its own."""

    __slots__ = ()


def _calls(*arguments: str) -> list[object]:
    calls = [ToolCallDelta(each, f"id{each}", "glob", said) for each, said in enumerate(arguments)]
    return [TextDelta("so"), *calls, END]


YIELDS: dict[str, list[object]] = {
    "no delta": [lambda: 1],
    "nothing": [None],
    "a class": [TextDelta],
    "bytes": [TextDelta(cast("Any", b"x"))],
    "a text of its own": [TextDelta(_Text("x"))],
    "no index": [ToolCallDelta(cast("Any", None), "a"), ToolCallDelta(1, "b")],
    "a number for an id": [ToolCallDelta(0, cast("Any", 5), "glob", "{}")],
    "no count": [TokenUsage(input_tokens=cast("Any", None))],
    "no reason": [Stop(cast("Any", object()))],
}
"""What is no answer."""

COUNTS = {"negative": -5, "many": 2**60, "huge": 10**400}
"""Tokens that nobody can have counted."""

ARGUMENTS: dict[str, list[object]] = {
    "NaN": _calls('{"pattern": NaN}'),
    "infinity": _calls('{"pattern": 1e999}'),
    "deep": _calls('{"pattern":' + "[" * 400 + "]" * 400 + "}"),
    "deeper": _calls('{"pattern":' + "[" * 900 + "]" * 900 + "}"),
    "long": _calls('{"pattern": "' + "\u4e2d" * 200_000 + '"}'),
    "long together": _calls(*['{"pattern": "' + "\u4e2d" * 90_000 + '"}'] * 3),
}
"""Calls with arguments that are JSON, and that no State keeps."""

RAISES: dict[str, type[BaseException]] = {
    each.__name__: each
    for each in (
        asyncio.CancelledError,
        GeneratorExit,
        KeyboardInterrupt,
        SystemExit,
        BaseException,
    )
}


class OddModel:
    """Answers the last message by what stands under it in the tables above; else it says `on`."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        said = request.messages[-1]["content"]
        if said in RAISES:
            yield TextDelta("so")
            raise RAISES[said]
        if said == "for ever":
            for _ in range(1_000_000):  # and it waits for nothing
                yield ToolCallDelta(0)
        if said in COUNTS:
            yield TextDelta("so")
            yield TokenUsage(input_tokens=COUNTS[said], output_tokens=2)
            yield END
            return
        for delta in YIELDS.get(said) or ARGUMENTS.get(said) or [TextDelta("on"), END]:
            yield cast("Delta", delta)

    async def aclose(self) -> None:
        pass
