"""`jidocode acp` and its editor; whoever is killed, nothing is left but what was said."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from acp import RequestError
from acp.schema import PromptResponse
from acp_clients import AGENT, editing, refused, until
from mcp_clients import below, gone, runs_below
from model_servers import ModelServer, event, said
from scripted_models import SCRIPTED
from shell import COMMAND, SECONDS, environment, jidocode

from jidocode import SessionSystem
from jidocode.bridges.acp.wire import LONGEST_LINE
from jidocode.testing import eventually

RUN = 'call run_command {"command": "touch begun; sleep 1000 & sleep 1001"}'
INITIALIZE: dict[str, Any] = {"protocolVersion": 1, "clientCapabilities": {}}


def request(number: int, method: str, **params: object) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


def answer(agent: subprocess.Popen[bytes], number: int | None) -> dict[str, Any]:
    """Return what the agent answers, and allow all that it asks meanwhile."""
    assert agent.stdin is not None
    assert agent.stdout is not None
    while True:
        message: dict[str, Any] = json.loads(agent.stdout.readline())
        if message.get("method") == "session/request_permission":
            outcome = {"outcome": {"outcome": "selected", "optionId": "allow_once"}}
            reply = {"jsonrpc": "2.0", "id": message["id"], "result": outcome}
            agent.stdin.write(json.dumps(reply).encode() + b"\n")
            agent.stdin.flush()
        elif "id" in message and message["id"] == number:
            return message


@pytest.fixture
def agent() -> Iterator[subprocess.Popen[bytes]]:
    """An agent that an editor has started."""
    with subprocess.Popen(
        AGENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(request(1, "initialize", **INITIALIZE))
            process.stdin.flush()
            assert answer(process, 1)["result"]["protocolVersion"] == 1
            yield process
        finally:
            process.kill()


@pytest.fixture
def working(agent: subprocess.Popen[bytes], project: Path) -> list[psutil.Process]:
    """The processes of an agent whose model has had a command started."""
    assert agent.stdin is not None
    agent.stdin.write(request(2, "session/new", cwd=str(project), mcpServers=[]))
    agent.stdin.flush()
    session = answer(agent, 2)["result"]["sessionId"]
    mode = request(3, "session/set_mode", sessionId=session, modeId="allow-all")
    text = {"type": "text", "text": RUN}
    agent.stdin.write(mode + request(4, "session/prompt", sessionId=session, prompt=[text]))
    agent.stdin.flush()
    eventually(lambda: runs_below(agent.pid, "sleep", "1001"), timeout=SECONDS)
    return below(agent.pid)


def test_when_the_editor_is_gone_all_ends(
    agent: subprocess.Popen[bytes], working: list[psutil.Process]
) -> None:
    """The end of its input is what an editor leaves, however it ended."""
    assert agent.stdin is not None
    began = time.monotonic()
    agent.stdin.close()
    assert agent.wait(SECONDS) == 0
    eventually(lambda: gone(working), timeout=SECONDS)
    assert time.monotonic() - began < 10  # a second, on a machine that has time


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, 0),
        (signal.SIGINT, 0),
        (signal.SIGHUP, 0),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_when_the_agent_is_ended_nothing_is_left(
    agent: subprocess.Popen[bytes],
    working: list[psutil.Process],
    number: signal.Signals,
    status: int,
) -> None:
    """No command, no process of a session."""
    agent.send_signal(number)
    assert agent.wait(SECONDS) == status
    eventually(lambda: gone(working), timeout=SECONDS)


def test_when_its_system_is_killed_it_ends_and_says_so(
    agent: subprocess.Popen[bytes], working: list[psutil.Process]
) -> None:
    """The editor starts another one then."""
    for each in working:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    assert agent.wait(SECONDS) == 1


def test_what_is_no_message_is_answered_and_the_next_one_heard(
    agent: subprocess.Popen[bytes],
) -> None:
    """Whatever stands in a line, and however long it is."""
    assert agent.stdin is not None
    assert agent.stdout is not None
    wrong = [b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"[]", b'"x"', b"9" * 10_000]
    wrong += [b"x" * (LONGEST_LINE + 1), b"{}", b'{"id": [1]}', b'{"method": 1}', b'{"id": {}}']
    wrong += [
        b'{"id": 99, "error": 1}',
        b'{"id": 99, "result": 1}',
        b'{"method": "x", "id": {}}',
        b"",
    ]
    agent.stdin.write(b"\n".join(wrong) + b"\n" + request(5, "session/list"))
    agent.stdin.flush()
    codes = list[int]()
    while True:
        message = json.loads(agent.stdout.readline())
        if message["id"] == 5:
            break
        assert message["id"] is None
        codes.append(message["error"]["code"])
    assert codes == [-32700] * 3 + [-32600] * 3 + [-32700] + [-32600] * 3
    agent.stdin.close()
    assert agent.wait(SECONDS) == 0


def test_a_session_goes_on_after_its_agent_was_killed(project: Path) -> None:
    """In mid-sentence and mid-command; a new agent lists, replays and resumes it."""

    async def talk() -> None:
        async with editing() as editor:
            session = await editor.new(project)
            await editor.say(session, "say one")
            await editor.agent.set_session_mode(session_id=session, mode_id="allow-all")
            prompt = asyncio.create_task(editor.say(session, "say two", RUN))
            await until((project / "begun").exists)
            processes = below(editor.process.pid)
            editor.process.kill()
            await until(lambda: gone(processes))
            with pytest.raises((ConnectionError, asyncio.CancelledError)):
                await prompt
        async with editing() as editor:
            agent, cwd = editor.agent, str(project)
            listed = await agent.list_sessions(cwd=cwd)
            assert [each.session_id for each in listed.sessions] == [session]
            loaded = await agent.load_session(session_id=session, cwd=cwd, mcp_servers=[])
            assert loaded is not None
            assert loaded.modes is not None
            assert loaded.modes.current_mode_id == "allow-all"
            assert editor.text(session) == "onetwo"
            (call,) = editor.of(session, "tool_call")
            ended = editor.of(session, "tool_call_update")[-1]
            assert (ended["toolCallId"], ended["status"]) == (call["toolCallId"], "failed")
            assert "interrupted" in ended["content"][0]["content"]["text"]
            await editor.say(session, "echo")
            assert "'one'" in editor.text(session)

    asyncio.run(asyncio.wait_for(talk(), 120))


def test_the_command_asks_a_server_for_its_model(project: Path) -> None:
    """A person chooses among those that it was told of."""

    async def talk() -> None:
        async with ModelServer([said(event(content="Hello "), event(content="there."))]) as server:
            command = [*COMMAND, "acp", "--model", "m", "--base-url", server.url]
            async with editing(*command, "--other-model", "n") as editor:
                new = await editor.agent.new_session(cwd=str(project), mcp_servers=[])
                assert new.config_options is not None
                options = new.config_options[1].options
                assert [each.value for each in options] == ["m", "n"]
                await editor.say(new.session_id, "hello")
                assert editor.text(new.session_id) == "Hello there."
                assert server.asked[0].body["model"] == "m"

    asyncio.run(asyncio.wait_for(talk(), 120))


async def accepted(prompt: Callable[[], Awaitable[PromptResponse]]) -> PromptResponse:
    """Return what comes of a prompt, which is refused until the turn before it has ended."""
    while True:
        with suppress(RequestError):
            return await prompt()


def test_several_editors_work_in_one_system(name: str, project: Path, tmp_path: Path) -> None:
    """Whose sessions go on when an editor is killed; its turn does not."""
    command = (*COMMAND, "acp", "--attach", name)

    async def talk(system: SessionSystem) -> None:
        async with editing(*command) as one, editing(*command) as two:
            session = await one.new(project)
            await one.say(session, "say one")
            cwd = str(project)
            await two.agent.load_session(session_id=session, cwd=cwd, mcp_servers=[])
            assert two.text(session) == "one"
            # What another one has open is not stopped for a new session.
            error = await refused(two.agent.new_session(cwd=cwd, mcp_servers=[]))
            assert session in str(error)
            prompt = asyncio.create_task(one.say(session, "say two", "wait"))
            await until(lambda: one.text(session).endswith("two"))
            assert "under way" in str(await refused(two.say(session, "say no")))
            one.process.kill()
            with pytest.raises((ConnectionError, asyncio.CancelledError)):
                await prompt
            await until(lambda: not system.get_session(session).state.streams())
            ended = await accepted(lambda: two.say(session, "say three"))
            assert ended.stop_reason == "end_turn"
            await two.agent.close_session(session_id=session)
            assert system.session_running(session)

    with SessionSystem(name=name, model=SCRIPTED, state_dir=tmp_path / "journals") as system:
        asyncio.run(asyncio.wait_for(talk(system), 120))


def test_the_page_says_how_editors_start_it() -> None:
    """The words of its JSON are those that the command takes."""
    page = (Path(__file__).parents[2] / "docs/editors.md").read_text("utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        server = json.loads(block)["agent_servers"]["jidocode"]
        assert server["command"].endswith("jidocode")
        done = subprocess.run(
            [*COMMAND, *server["args"]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=environment(**server["env"]),
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_does_not_go_together_is_said(tmp_path: Path) -> None:
    """In a sentence, on the standard error."""
    config = tmp_path / "jidocode.toml"
    config.write_text("")
    assert "--model" in jidocode("acp", status=2)
    assert "--attach" in jidocode("acp", "--attach", "x", "--config", str(config), status=2)
    assert jidocode("acp", "--attach", "nobody", status=1).count("\n") == 1
