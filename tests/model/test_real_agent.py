"""Turns of an agent with a real model, small as it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sessions import history_of

from jidocode import (
    Edit,
    ModelSpec,
    SessionSystem,
    TextDelta,
    TurnHandle,
    TurnOutcome,
    allow_all,
)
from jidocode.testing import eventually

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

SHORT = {"temperature": 0, "max_tokens": 12}
LONG = {"temperature": 0, "max_tokens": 900}
PATIENCE = 60.0
"""Seconds: a token may take one, if the machine has much else to do."""
PROGRAM = Path(__file__).parents[2] / "examples/coding_agent.py"


@pytest.fixture
def system(llama: str, tmp_path: Path) -> Iterator[SessionSystem]:
    with opened(llama, tmp_path) as system:
        yield system


def opened(llama: str, folder: Path) -> SessionSystem:
    model = ModelSpec(options={"model": "gemma", "base_url": f"{llama}/v1", "api_key": "none"})
    return SessionSystem(model=model, policy=allow_all, state_dir=folder / "state")


def is_busy(llama: str) -> bool:
    (slot,) = httpx2.get(f"{llama}/slots", timeout=PATIENCE).json()
    return bool(slot["is_processing"])


def is_free(llama: str) -> bool:
    return not is_busy(llama)


def read(turn: TurnHandle, pieces: int) -> str:
    """Return the first pieces of text."""
    found = list[str]()
    for event in turn:
        if isinstance(event, TextDelta):
            found.append(event.text)
        if len(found) == pieces:
            break
    return "".join(found)


def test_a_turn_streams_and_a_system_that_resumes_has_it(
    llama: str, tmp_path: Path, project: Path
) -> None:
    """The second answer is to the whole conversation."""
    with opened(llama, tmp_path) as system:
        session = system.create_session(project, config=SHORT)
        turn = session.agent.prompt("Count from one to ten.")
        pieces = [event.text for event in turn if isinstance(event, TextDelta)]
        first = turn.result()
        assert len(pieces) > 1
        assert first.text == "".join(pieces)
        assert first.outcome in {TurnOutcome.END, TurnOutcome.LENGTH}
        assert first.usage.input_tokens > 20

    with opened(llama, tmp_path) as system:
        session = system.resume_session(session.id)
        second = session.agent.prompt("And then?").result()
        assert [each["role"] for each in history_of(session)] == ["user", "assistant"] * 2
        assert second.usage.input_tokens > first.usage.input_tokens


def test_to_cancel_frees_the_server(llama: str, system: SessionSystem, project: Path) -> None:
    """It does not go on for nobody."""
    session = system.create_session(project, config=LONG)
    turn = session.agent.prompt("Tell me a very long story.")
    said = read(turn, 3)
    assert is_busy(llama)

    result = turn.cancel()

    assert result.outcome is TurnOutcome.CANCELLED
    eventually(lambda: is_free(llama), timeout=PATIENCE)
    assert str(history_of(session)[-1]["content"]).startswith(said)


def test_an_agent_that_is_killed_frees_it_too(
    llama: str, system: SessionSystem, project: Path
) -> None:
    """What it said is kept, and the next one goes on with it."""
    session = system.create_session(project, config=LONG)
    turn = session.agent.prompt("Tell me a very long story.")
    said = read(turn, 6)
    time.sleep(0.1)  # what is younger may be lost
    (pid,) = [
        each.ref.os_pid for each in session.which_children() if each.id == "agent" and each.ref
    ]

    os.kill(pid, signal.SIGKILL)

    assert turn.result().outcome is TurnOutcome.INTERRUPTED
    eventually(lambda: is_free(llama), timeout=PATIENCE)
    eventually(lambda: not session.state.streams())
    assert str(history_of(session)[-1]["content"]).startswith(said)
    session.update_config(SHORT)
    assert session.agent.prompt("Go on.").result().text
    assert len(history_of(session)) == 4


def test_a_turn_edits_a_file_in_a_form(system: SessionSystem, project: Path) -> None:
    """The form is what the server is told beside the conversation; the app does as it says."""
    schema = {
        "type": "object",
        "properties": {"path": {"enum": ["README.md"]}, "new": {"enum": ["Sells things well."]}},
        "required": ["path", "new"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "edit", "schema": schema}}
    config: dict[str, Any] = {**SHORT, "max_tokens": 60, "response_format": form}
    session = system.create_session(project, config=config)

    result = session.agent.prompt("README.md says: Sells things. Make it better.").result()

    edit = json.loads(result.text)
    session.manager.edit_file(edit["path"], Edit("Sells things.", edit["new"]))
    assert "Sells things well." in (project / "README.md").read_text()


def test_the_example_talks_with_it(llama: str, tmp_path: Path, project: Path) -> None:
    """And has the conversation again at its next start."""

    def talk(typed: str) -> str:
        own = {"OPENAI_BASE_URL": f"{llama}/v1", "OPENAI_API_KEY": "none", "MODEL": "gemma"}
        done = subprocess.run(
            [sys.executable, str(PROGRAM), str(project)],
            input=typed,
            env={**os.environ, **own, "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    first = talk("Say yes and nothing else.\n")
    assert "tokens]" in first
    assert "user: Say yes" in talk("")
