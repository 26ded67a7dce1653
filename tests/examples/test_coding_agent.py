"""The coding agent runs as a user would run it, against a server that plays a model's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_servers import ModelServer, event, said, serving

PROGRAM = Path(__file__).parents[2] / "examples/coding_agent.py"


def talk(server: ModelServer, project: Path, home: Path, typed: str) -> str:
    """Type *typed*; return what the program has printed."""
    own = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "a-key", "MODEL": "small"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(project)],
        input=typed,
        env={**os.environ, **own, "XDG_STATE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_it_asks_edits_and_resumes(project: Path, tmp_path: Path) -> None:
    """The second start knows what was said at the first."""
    function = {"name": "write_file", "arguments": '{"path": "new.txt", "content": "hi"}'}
    answers = [
        said(event(tool_calls=[{"index": 0, "id": "c1", "function": function}])),
        said(event(content="It is "), event(content="written.")),
        said(event(content="As I said.")),
    ]
    with serving(answers) as server:
        first = talk(server, project, tmp_path / "home", "write hi to new.txt\ny\n")
        second = talk(server, project, tmp_path / "home", "really?\n")

    assert "write_file: new.txt" in first
    assert "It is written." in first
    assert (project / "new.txt").read_text() == "hi"
    assert "user: write hi to new.txt\n" in second
    assert "As I said." in second
    roles = [message["role"] for message in server.asked[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert {tool["function"]["name"] for tool in server.asked[0].body["tools"]} >= {"read_file"}
