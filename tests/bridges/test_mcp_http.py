"""`jidocode mcp --http`: who is let in, and who is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio import to_thread
from attrs import frozen
from mcp import Client
from mcp_clients import INITIALIZE, below, gone, listening, over_http, runs_below, text_of
from shell import SECONDS

from jidocode.bridges.mcp.header_timeout import MOST_SILENT
from jidocode.bridges.mcp.token import VARIABLE, take_token
from jidocode.errors import InvalidSettingError
from jidocode.testing import eventually

TOKEN = "a-token-of-these-tests"  # noqa: S105 - it is nobody's
JSON = {"Accept": "application/json, text/event-stream"}


@frozen
class Server:
    """One that listens."""

    process: subprocess.Popen[bytes]
    url: str
    project: Path


@pytest.fixture
def server(project: Path, tmp_path: Path) -> Iterator[Server]:
    """A server whose token is in its environment."""
    log, arguments = tmp_path / "log", (str(project), "--policy", "allow-all")
    with listening(log, *arguments, JIDOCODE_MCP_TOKEN=TOKEN) as (process, url):
        yield Server(process, url, project)
        processes = below(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        eventually(lambda: gone(processes), timeout=SECONDS)
        assert (TOKEN in log.read_text(), "Traceback" in log.read_text()) == (False, False)


def test_who_is_let_in(server: Server) -> None:
    """Who knows the token, from this machine, and is no page of another site."""
    wrong = [f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer", TOKEN, "\xff"]
    for headers in ({}, *({"Authorization": each} for each in wrong)):
        for method, url in (
            ("POST", server.url),
            ("GET", server.url),
            ("DELETE", server.url),
            ("POST", f"{server.url}/x"),
        ):
            content = httpx2.Headers({**JSON, **headers}, encoding="latin-1")
            answer = httpx2.request(method, url, headers=content)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")

    right = {**JSON, "Authorization": f"Bearer {TOKEN}"}
    for header, status in (
        ({"Host": "shop.example"}, 421),  # a name of its own may lead here
        ({"Origin": "http://shop.example"}, 403),
        ({}, 200),
    ):
        answer = httpx2.post(server.url, headers={**right, **header}, json=INITIALIZE)
        assert answer.status_code == status

    port = httpx2.URL(server.url).port or 0
    listed = Path("/proc/net/tcp").read_text().splitlines()
    (place,) = [line.split()[1] for line in listed if f":{port:04X} 00000000:0000 0A" in line]
    assert place == f"0100007F:{port:04X}"


def test_who_says_nothing_keeps_nobody_out(server: Server) -> None:
    """Any user's program can connect, as often as this process has room for."""
    address = ("127.0.0.1", httpx2.URL(server.url).port or 0)
    silent = [socket.create_connection(address) for _ in range(2 * MOST_SILENT)]
    half = socket.create_connection(address)
    half.sendall(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx")
    try:
        headers = {**JSON, "Authorization": f"Bearer {TOKEN}"}
        with httpx2.Client(headers=headers, timeout=SECONDS) as client:
            assert client.post(server.url, json=INITIALIZE).status_code == 200
        for each in (*silent, half):
            each.settimeout(SECONDS)
            said = _all_of(each)
            assert said.startswith(b"HTTP/1.1 401") if each is half else said == b""
    finally:
        for each in (*silent, half):
            each.close()


def _all_of(connection: socket.socket) -> bytes:
    """Return what comes until it is hung up on."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(4096):
            said += more
    return said


def test_two_clients_work_at_once(server: Server) -> None:
    """In the same session; what one cancels is no matter to the other."""

    async def talk() -> None:
        async with (
            over_http(server.url, TOKEN) as first,
            over_http(server.url, TOKEN, mode="legacy") as second,
        ):
            await work(server, first, second)

    anyio.run(talk)


async def work(server: Server, *clients: Client) -> None:
    """Have *clients* run commands, at once; cancel one of each; look for the token in one."""
    lines = [f"echo {number}; sleep 0.2" for number in range(4)]
    answers = await asyncio.gather(
        *(
            client.call_tool("run_command", {"command": each})
            for each in lines
            for client in clients
        )
    )
    assert [text_of(each)[0] for each in answers] == [*"00112233"]
    for number, client in enumerate(clients):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel, scope, server.project / f"up{number}")
                line = f"echo > up{number}; sleep 1234"
                await client.call_tool("run_command", {"command": line})
        assert scope.cancelled_caught
    process = server.process.pid
    await to_thread.run_sync(
        lambda: eventually(lambda: not runs_below(process, "1234"), timeout=SECONDS)
    )
    line = "env; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; echo end"
    said = text_of(await clients[0].call_tool("run_command", {"command": line}))
    assert ("end" in said, TOKEN in said) == (True, False)


async def _cancel(scope: anyio.CancelScope, up: Path) -> None:
    while not await anyio.Path(up).exists():  # noqa: ASYNC110 - the command tells
        await anyio.sleep(0.05)
    scope.cancel()


def test_a_token_is_made_and_said_once(project: Path, tmp_path: Path) -> None:
    """If there is none; and one in a file is not said at all."""
    log = tmp_path / "log"
    with listening(log, str(project)) as (process, url):
        (token,) = re.findall(r"^token: (\S{43})$", log.read_text(), re.MULTILINE)
        headers = {**JSON, "Authorization": f"Bearer {token}"}
        assert httpx2.post(url, headers=headers, json=INITIALIZE).status_code == 200
        assert token.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert len(log.read_text().splitlines()) == 2


def test_a_token_comes_from_a_private_file_or_the_environment(tmp_path: Path) -> None:
    """The file counts more; and the variable is there no more."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    environ = {VARIABLE: "b" * 16}
    assert take_token(file, environ) == TOKEN
    assert environ == {}
    assert take_token(None, {VARIABLE: "b" * 16}) == "b" * 16
    assert take_token(None, {}) is None

    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        with pytest.raises(InvalidSettingError, match="chmod 600"):
            take_token(file, {})
    file.chmod(0o600)
    for text in ("", "short", "with spaces in it, long", "x" * 600, "\xff" * 20):
        file.write_text(text)
        with pytest.raises(InvalidSettingError, match="16 to 512") as caught:
            take_token(file, {})
        assert not text or text not in str(caught.value)
    with pytest.raises(InvalidSettingError, match=VARIABLE):
        take_token(None, {VARIABLE: "short"})
    os.mkfifo(tmp_path / "pipe", 0o600)  # into which nobody writes
    with pytest.raises(InvalidSettingError, match="a file of your own"):
        take_token(tmp_path / "pipe", {})


def test_one_that_is_to_ignore_the_end_of_its_terminal_does(project: Path, tmp_path: Path) -> None:
    """As below `nohup`; SIGTERM ends it all the same."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whom this process starts has it so
    try:
        with listening(tmp_path / "log", str(project), JIDOCODE_MCP_TOKEN=TOKEN) as (process, url):
            assert httpx2.get(url).status_code == 401  # it has seen to its signals by now
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
            [ignored] = re.findall(r"^SigIgn:\s*(\w+)$", status, re.MULTILINE)
            assert int(ignored, 16) & 1 << signal.SIGHUP - 1
            process.send_signal(signal.SIGHUP)
            assert httpx2.get(url).status_code == 401
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
