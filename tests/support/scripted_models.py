"""A model that does what it is told: no server, and every answer is known."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from jidocode import (
    Delta,
    ModelInterruptedError,
    ModelRequest,
    ModelSpec,
    ModelUnavailableError,
    ReasoningDelta,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    ToolCallDelta,
)

SCRIPTED = ModelSpec("scripted_models:ScriptedModel")
"""The spec of the model below."""

WORDS = {
    "say",
    "burst",
    "think",
    "call",
    "wait",
    "until",
    "crash",
    "break",
    "echo",
    "again",
    "busy",
}


class ScriptedModel:
    """Answers the last message by the script that it is.

    Each line is a piece: `say TEXT`, `think TEXT`, `call NAME ARGUMENTS`; `burst TEXT`, as `say`,
    but together with what follows, as a server's last packet has it; `wait`, for ever;
    `until PATH`, for a file; `break`, for an answer that breaks off; `crash`, for a process that
    does; `echo`, for the request; `busy`, for a server that answers only if it is asked again.
    After results of tools it says how many there are, unless it is to repeat the calls: `again`.
    To what is no script it says `hm`.
    """

    def __init__(self, *, hint: str = "", model: str = "") -> None:
        self.hint = hint
        self.model = model
        self._script = ""
        self._was_busy = False

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        messages = list(request.messages)
        results = 0
        while messages[-1]["role"] == "tool":
            results += 1
            messages.pop()
        if not results:
            self._script = _text(messages[-1]["content"])
        calls = 0
        script = self._script.splitlines()
        if not any(line.partition(" ")[0] in WORDS for line in script):
            script = ["say hm"]
        if results and "again" not in script:
            script = [f"say {results} done"]
        for line in script:
            word, _, rest = line.partition(" ")
            match word:
                case "say":
                    yield TextDelta(rest)
                case "burst":
                    yield TextDelta(rest)
                    continue
                case "think":
                    yield ReasoningDelta(rest, "signed")
                case "call":
                    name, _, arguments = rest.partition(" ")
                    half = len(arguments) // 2
                    yield ToolCallDelta(calls, f"call_{calls}", name, arguments[:half])
                    yield ToolCallDelta(calls, arguments=arguments[half:])
                    calls += 1
                case "wait":
                    await asyncio.Event().wait()
                case "until":
                    while not Path(rest).exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
                        await asyncio.sleep(0.01)
                case "crash":
                    await asyncio.sleep(0.2)
                    os._exit(3)
                case "busy":
                    self._was_busy = not self._was_busy
                    if self._was_busy:
                        raise ModelUnavailableError("slow down", 429)
                case "break":
                    raise ModelInterruptedError("it broke off")
                case "echo":
                    yield TextDelta(repr((request.messages, request.parameters)))
                case _:
                    pass
            await asyncio.sleep(0)
        yield TokenUsage(input_tokens=10, output_tokens=2)
        yield Stop(StopReason.TOOL_CALLS if calls else StopReason.END)

    async def aclose(self) -> None:
        pass


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join([part.get("text", "") for part in content])
