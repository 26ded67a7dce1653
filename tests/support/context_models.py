"""A model that can read so much and no more, and that summarizes as it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

from scripted_models import ScriptedModel
from valid_history import problems

from jidocode import (
    ContextOverflowError,
    Delta,
    ModelRequest,
    ModelRequestError,
    ModelUnavailableError,
    Stop,
    StopReason,
    TextDelta,
    TokenUsage,
)

SUMMARY = "they spoke of tea"


class SmallModel(ScriptedModel):
    """Reads *room* characters, the first message not counted; otherwise as `ScriptedModel`.

    Asked for a summary it writes `SUMMARY`, unless *summary* is one of `nothing`, `refusal`,
    `error`; or `busy`, and it was not asked twice. It fails over a list of messages that is not
    valid, and writes into *notes* what it is asked: a line `summary`, `overflow` or `ask` each
    time.
    """

    def __init__(self, *, room: int, notes: str, summary: str = "good") -> None:
        super().__init__()
        self._room = room
        self._notes = Path(notes)
        self._summary = summary

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        said = [dict(message) for message in request.messages[1:]]
        found = problems(said, "openai")
        if found:
            raise ModelRequestError(repr(found))
        length = sum(len(str(message["content"])) for message in said)
        wants_summary = "Write a summary" in str(said[-1]["content"])
        what = "overflow" if length > self._room else "summary" if wants_summary else "ask"
        with self._notes.open("a") as notes:
            notes.write(f"{what}\n")
        if what == "overflow":
            raise ContextOverflowError(f"{length} characters")
        if what == "ask":
            async for delta in super().stream(request):
                yield delta
            return
        assert not request.tools
        match self._summary:
            case "busy":
                self._summary = "good"
                raise ModelUnavailableError("slow down", 429)
            case "error":
                raise ModelRequestError("no summaries here")
            case "refusal":
                yield TextDelta("I cannot do that.")
                yield Stop(StopReason.REFUSAL)
            case "nothing":
                yield TokenUsage(input_tokens=7)
                yield Stop(StopReason.END)
            case _:
                yield TextDelta(SUMMARY)
                yield TokenUsage(input_tokens=7, output_tokens=3)
                yield Stop(StopReason.LENGTH)
