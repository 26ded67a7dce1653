"""A model that does what its prompt says, tools whose every call can be counted, and who prompts.

A prompt is the JSON of a list of steps, one for each answer; a step is a list of pieces:
`["say", TEXT]`, `["think", TEXT]`, `["call", NAME, ARGUMENTS]`, and `["pause", SECONDS]`. What is
no such list is answered with a word.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, cast

from attrs import frozen

from jidocode import (
    Delta,
    JidocodeError,
    ModelRequest,
    ModelSpec,
    ReasoningDelta,
    SessionHandle,
    SessionSystem,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
    Tool,
    ToolCallDelta,
    ToolKind,
    ToolResult,
    TurnHandle,
    allow_all,
)

Line = Sequence[Any]
"""What was told: a word, and what belongs to it; it can be made JSON."""


class PlannedModel:
    """Says of each step what stands there, in small pieces."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        """Answer with the step that is next since the last prompt."""
        place, prompt = 0, ""
        for message in reversed(request.messages):
            if message["role"] == "user":
                prompt = str(message["content"])
                break
            place += message["role"] == "assistant"
        calls = 0
        for word, *rest in _steps(prompt, place):
            match word:
                case "say":
                    for letter in rest[0]:
                        yield TextDelta(letter)
                case "think":
                    yield ReasoningDelta(rest[0], "signed")
                case "pause":
                    await asyncio.sleep(rest[0])
                case _:
                    text = json.dumps(rest[1])
                    # As some servers do: the same ids in each answer.
                    yield ToolCallDelta(calls, f"call_{calls}", rest[0], text[:9])
                    yield ToolCallDelta(calls, arguments=text[9:])
                    calls += 1
        yield TokenUsage(input_tokens=10, output_tokens=2)
        yield Stop(StopReason.TOOL_CALLS if calls else StopReason.END)

    async def aclose(self) -> None:
        """Nothing is open."""


def _steps(prompt: str, place: int) -> list[list[Any]]:
    try:
        steps = json.loads(prompt)
    except ValueError:
        return [["say", "hm"]]
    return cast("list[list[Any]]", steps[place]) if place < len(steps) else [["say", "hm"]]


@frozen
class Deed:
    """What is counted, and where."""

    mark: str
    file: str


def _do(_session: object, deed: Deed) -> str:
    descriptor = os.open(deed.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, deed.mark.encode() + b"\n")
    finally:
        os.close(descriptor)
    return f"did {deed.mark}"


MODEL = ModelSpec("deeds:PlannedModel")
TOOLS = [
    Tool(name=name, description="Does a deed.", kind=kind, arguments=Deed, run=_do)
    for name, kind in (("do", ToolKind.EXECUTE), ("look", ToolKind.READ))
]


def prompt_and_tell(
    session: SessionHandle,
    prompt: str,
    tell: Callable[[Line], object],
    began: Callable[[TurnHandle], object] = bool,
) -> None:
    """Prompt, and tell each thing that is acknowledged as soon as it is."""
    try:
        turn = session.agent.prompt(prompt)
    except JidocodeError as error:
        tell(["refused", type(error).__name__])
        return
    tell(["user", turn.id, prompt])
    began(turn)
    for event in turn:
        if isinstance(event, ToolResult):
            tell(["result", event.call_id, event.content, event.is_error])
    result = turn.result()
    tell(["end", str(result.outcome), result.text])


def main() -> None:
    """Attach, and make each prompt of standard input, a line `[SYSTEM, SESSION, PROMPT]`."""

    def tell(line: Line) -> None:
        print(json.dumps(line), flush=True)

    system: SessionSystem | None = None
    for line in sys.stdin:
        name, session_id, prompt = json.loads(line)
        if system is None:
            system = SessionSystem.attach(name, policy=allow_all, tools=TOOLS)
        prompt_and_tell(system.get_session(session_id), prompt, tell)


if __name__ == "__main__":
    main()
