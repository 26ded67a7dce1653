"""A few kills in turns of an agent; `make attack` makes more of them."""

from __future__ import annotations

import random
import uuid
from pathlib import Path
from typing import Any

import pytest
from checkers import MARK, census, settled
from turns import Turns
from valid_history import problems

KILLS = 15


@pytest.mark.timeout(300)
def test_whoever_is_killed_in_a_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The conversation stays valid, nothing is lost, no tool runs twice, nobody is left."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    turns = Turns(random.Random(20), tmp_path)

    turns.run(lambda: turns.kills.total() < KILLS)

    assert turns.kills.total() >= KILLS
    assert len(turns.kills) >= 3, "they are of several kinds"
    assert settled(lambda: not census(f"{MARK}={mark}"))


CALL = {"id": "c", "type": "function", "function": {"name": "do", "arguments": "{}"}}
USER: dict[str, Any] = {"role": "user", "content": "u"}
ASKS: dict[str, Any] = {"role": "assistant", "tool_calls": [CALL]}
RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "c", "content": "r"}
USES: dict[str, Any] = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "c", "name": "do", "input": {}}],
}
GIVES: dict[str, Any] = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r", "is_error": False}],
}
SAYS: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "u"}]}


def test_the_judge_of_conversations() -> None:
    """It takes what is valid, and complains of what a server would refuse."""
    assert problems([USER, ASKS, RESULT], "openai") == []
    assert problems([SAYS, USES, GIVES], "anthropic") == []
    for openai in ([USER, ASKS], [USER, RESULT], [USER, ASKS, RESULT, RESULT], [USER, ASKS, USER]):
        assert problems(openai, "openai"), openai
    for wrong in ([SAYS, USES], [SAYS, GIVES], [SAYS, USES, SAYS], [SAYS, SAYS], [USES, GIVES]):
        assert problems(wrong, "anthropic"), wrong
