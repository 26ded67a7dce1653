"""`jidocode mcp` with the official client at its other end, and what runs below it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal

import httpx2
import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent
from shell import COMMAND, SECONDS, environment

from jidocode.testing import eventually

Mode = Literal["auto", "legacy"]

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"},
    },
}
"""What a client says first."""


def text_of(result: CallToolResult) -> str:
    """Return the one text of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def over_stdio(*arguments: str, mode: Mode = "auto") -> Client:
    """Return a client that starts `jidocode mcp` with *arguments*."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "jidocode", "mcp", *arguments], env=environment()
    )
    return Client(parameters, mode=mode, read_timeout_seconds=SECONDS)


@asynccontextmanager
async def over_http(url: str, token: str, mode: Mode = "auto") -> AsyncGenerator[Client]:
    """Give a client of a server that listens."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as web:
        transport = streamable_http_client(url, http_client=web)
        async with Client(transport, mode=mode, read_timeout_seconds=SECONDS) as client:
            yield client


@contextmanager
def listening(
    log: Path, *arguments: str, **env: str
) -> Generator[tuple[subprocess.Popen[bytes], str]]:
    """Run `jidocode mcp --http 0`; give the process and its address."""
    command = [*COMMAND, "mcp", "--http", "0", *arguments]
    with log.open("w") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment(**env)
        )
    try:

        def look() -> str:
            assert process.poll() is None, log.read_text()
            found = re.search(r"http://127\.0\.0\.1:\d+/mcp", log.read_text())
            return found[0] if found else ""

        yield process, eventually(look, "an address", timeout=SECONDS)
    finally:
        process.kill()
        process.wait()


def below(pid: int) -> list[psutil.Process]:
    """Return all that a process has started, and what that has."""
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    """Return whether none of them runs."""
    return not any(
        each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes
    )


def runs_below(pid: int, *words: str) -> bool:
    """Return whether a program with *words* in its command line runs below *pid*."""
    for each in below(pid):
        with suppress(psutil.NoSuchProcess):
            if {*words} <= {*each.cmdline()}:
                return True
    return False


def the_server() -> psutil.Process:
    """Return the `jidocode mcp` that a client in this process has started."""
    (server,) = [each for each in psutil.Process().children() if "mcp" in each.cmdline()]
    return server
