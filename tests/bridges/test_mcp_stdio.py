"""`jidocode mcp` and one client that has started it; whoever of them is killed, nothing is left."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import termios
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import psutil
import pytest
from mcp_clients import INITIALIZE, below, gone, over_stdio, runs_below, text_of, the_server
from sessions import runs
from shell import COMMAND, SECONDS, environment, jidocode

from jidocode import SessionSystem
from jidocode.testing import eventually


def call(number: int, tool: str, **arguments: object) -> dict[str, object]:
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def test_a_client_starts_it_and_ends_it(project: Path) -> None:
    """With a system of its own; when the client is gone, so is all of it."""
    started: list[psutil.Process] = []

    async def talk() -> None:
        async with over_stdio(str(project), "--policy", "allow-all") as client:
            server = the_server()
            started.extend([server, *below(server.pid)])
            pwd = await client.call_tool("run_command", {"command": "pwd; echo loud; env"})
            assert text_of(pwd).startswith(f"{project}\nloud\n")
            read = await client.call_tool("read_file", {"path": "README.md"})
            assert "Sells things." in text_of(read)

    anyio.run(talk)
    assert len(started) > 3
    eventually(lambda: gone(started), timeout=SECONDS)


def test_the_page_says_how_an_editor_starts_it(project: Path) -> None:
    """The words of its JSON are those that the command takes."""
    page = (Path(__file__).parents[2] / "docs/mcp.md").read_text("utf-8")
    block = page.partition("```json\n")[2].partition("```")[0]
    server = json.loads(block)["mcpServers"]["shop"]
    assert server["command"] == "jidocode"
    arguments = [str(project) if "/" in each else each for each in server["args"]]
    command = [*COMMAND, *arguments]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture
def running(project: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """A server with a command under way, as an editor has it, and all that runs below it."""
    command = [*COMMAND, "mcp", str(project), "--policy", "allow-all"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            for message in (
                INITIALIZE,
                {"jsonrpc": "2.0", "method": "notifications/initialized"},
                call(2, "run_command", command="sleep 1000 & sleep 1001"),
            ):
                server.stdin.write(json.dumps(message).encode() + b"\n")
                server.stdin.flush()
            assert json.loads(server.stdout.readline())["result"]["serverInfo"]["version"]
            eventually(lambda: runs_below(server.pid, "sleep", "1001"), timeout=SECONDS)
            yield server, below(server.pid)
        finally:
            server.kill()


def test_the_end_of_its_input_ends_all(
    running: tuple[subprocess.Popen[bytes], list[psutil.Process]],
) -> None:
    """That is what an editor that was killed leaves."""
    server, processes = running
    assert server.stdin is not None
    server.stdin.close()
    assert server.wait(SECONDS) == 0
    eventually(lambda: gone(processes), timeout=SECONDS)


def test_a_signal_ends_all_in_order(
    running: tuple[subprocess.Popen[bytes], list[psutil.Process]], project: Path
) -> None:
    """Though its client says nothing, and does not read what there is."""
    server, processes = running
    assert server.stdin is not None
    assert server.stdout is not None
    sink = server.stdout.fileno()
    (project / "big").write_text(("x" * 100 + "\n") * 240)
    for number in range(3, 13):
        server.stdin.write(json.dumps(call(number, "read_file", path="big")).encode() + b"\n")
    server.stdin.flush()
    eventually(lambda: waiting_in(sink) > 50_000, timeout=SECONDS)
    server.send_signal(signal.SIGTERM)
    assert server.wait(SECONDS) == 0
    eventually(lambda: gone(processes), timeout=SECONDS)


def waiting_in(pipe: int) -> int:
    """Return how many bytes can be read there."""
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_if_it_is_killed_nothing_is_left(
    running: tuple[subprocess.Popen[bytes], list[psutil.Process]],
) -> None:
    """No command, no process of the session."""
    server, processes = running
    server.kill()
    eventually(lambda: gone(processes), timeout=SECONDS)


def test_if_its_system_is_killed_it_ends_and_says_so(project: Path) -> None:
    """A client starts another one then."""
    server = subprocess.Popen(
        [*COMMAND, "mcp", str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        server.stdin.flush()
        assert server.stdout.readline()
        for each in below(server.pid):
            with suppress(psutil.NoSuchProcess):  # it has ended with those before it
                each.kill()
        said = server.stderr.read().decode()
        assert (server.wait(SECONDS), said.count("\n")) == (1, 1), said
        assert "Error: " in said


def test_what_is_no_message_does_not_end_it(project: Path, tmp_path: Path) -> None:
    """Its input may be a file, and what it does not understand it answers or drops."""
    odd = [b"{", b"null", b"[]", b"\xff\xfe", b"x" * 1_000_000, b"", b'{"jsonrpc": "2.0", "id": 7}']
    wanted = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "ping"}).encode()
    server = subprocess.Popen(
        [*COMMAND, "mcp", str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(b"\n".join([*odd, json.dumps(INITIALIZE).encode(), *odd, wanted, b""]))
        server.stdin.flush()
        answer: dict[str, object] = {}
        while answer.get("id") != 9:
            answer = json.loads(server.stdout.readline())
        assert answer["result"] == {}
        server.stdin.close()
        assert server.wait(SECONDS) == 0

    dialogue = tmp_path / "dialogue"
    dialogue.write_bytes(json.dumps(INITIALIZE).encode() + b"\n")
    with dialogue.open("rb") as source:
        command = [*COMMAND, "mcp", str(project)]
        done = subprocess.run(
            command,
            stdin=source,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.fixture
def named(name: str, tmp_path: Path) -> Iterator[tuple[str, SessionSystem]]:
    """A system of this process that others attach to."""
    with SessionSystem(name=name, state_dir=tmp_path / "journals") as system:
        yield name, system


def test_it_works_in_an_open_session(named: tuple[str, SessionSystem], project: Path) -> None:
    """Which goes on when the client ends; its commands do not, though it is killed."""
    name, system = named
    session = system.create_session(project, name="shop")

    async def talk() -> None:
        options = ("--system", name, "--session", "shop", "--policy", "allow-all")
        async with over_stdio(*options, mode="legacy") as client:
            assert not (
                await client.call_tool("todo_write", {"todos": [{"content": "sell"}]})
            ).is_error
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_hang, client, tasks.cancel_scope)
                await anyio.to_thread.run_sync(
                    lambda: eventually(lambda: runs(session), timeout=SECONDS)
                )
                server = the_server()
                server.kill()
                await anyio.to_thread.run_sync(
                    lambda: eventually(lambda: not runs(session), timeout=SECONDS)
                )
                tasks.cancel_scope.cancel()

    anyio.run(talk)
    assert [todo.content for todo in session.state.todos()] == ["sell"]
    assert session.run("echo here").stdout == "here\n"


async def _hang(client: object, scope: anyio.CancelScope) -> None:
    from mcp import Client, MCPError  # noqa: PLC0415 - for this alone

    assert isinstance(client, Client)
    try:
        await client.call_tool("run_command", {"command": "sleep 1000"})
    except MCPError:
        await anyio.sleep_forever()
    scope.cancel()


def test_what_does_not_go_together_is_said(project: Path) -> None:
    """In a sentence."""
    for arguments in (
        ("--session", "shop"),
        ("--system", "nobody"),
        ("--token-file", __file__),
        ("--policy", "whatever"),
        (str(project), "--system", "nobody", "--session", "shop"),
    ):
        assert "Error: " in jidocode("mcp", *arguments, status=2)
    said = jidocode("mcp", "--system", "nobody", "--session", "shop", status=1)
    assert said.count("\n") == 1
