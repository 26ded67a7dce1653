"""MCP servers of a session behind an address, by the official package; and one that misbehaves."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sessions import called
from shell import SECONDS

from jidocode import McpServer, SessionSystem, allow_all
from jidocode.testing import eventually

SERVER = Path(__file__).parents[1] / "support/mcp_server.py"
SECRET = "se-cret-of-these-tests"  # noqa: S105 - it is nobody's


@pytest.fixture
def system() -> Iterator[SessionSystem]:
    with SessionSystem(
        policy=allow_all,
        preload=["jidocode.session.mcp.preload"],
        durability="memory",
        call_timeout=SECONDS,
    ) as system:
        yield system


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def serving(port: int, folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """Run the server of the package."""
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(port)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert process.poll() is None
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(listens, timeout=SECONDS)
        yield process
    finally:
        process.kill()
        process.wait()


def test_it_has_its_headers_and_may_be_started_anew(
    system: SessionSystem, project: Path, tmp_path: Path
) -> None:
    """While it is gone its tools are errors, and no more."""
    port = free_port()
    server = McpServer(
        name="web", url=f"http://127.0.0.1:{port}/mcp", headers={"X-Key": SECRET}, timeout=SECONDS
    )
    session = system.create_session(project, mcp_servers=[server])
    with serving(port, tmp_path) as process:
        assert called(session, "web__add", a=1, b=2) == "3"
        assert called(session, "web__header", name="x-key") == SECRET
        assert called(session, "web__picture") == "[image, image/png, 30 bytes, which is not shown]"
        assert len(called(session, "web__much", size=10**6)) < 31_000
        called(session, "web__learn")
        eventually(lambda: "web__added" in {tool.name for tool in session.tools}, timeout=SECONDS)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert "the MCP server web: " in session.tools.call("web__add", {"a": 1, "b": 2}).content
        assert session.manager.read_file("README.md").text
    with serving(port, tmp_path):
        eventually(
            lambda: session.tools.call("web__add", {"a": 1, "b": 2}).content == "3",
            timeout=SECONDS,
        )


_over = threading.Event()


class _Odd(BaseHTTPRequestHandler):
    """Answers all with what its server is told."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        mode = self.path.strip("/")
        if mode == "silent":
            _over.wait(SECONDS)
            return
        if mode == "moved":
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            return
        self.send_response(401 if mode == "refused" else 200)
        self.send_header("Content-Type", "application/json")
        if mode == "packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if mode == "quotes":
            self.wfile.write(self.headers["Authorization"].encode())
        if mode == "endless":
            try:
                while True:
                    self.wfile.write(bytes(2**16))
            except OSError:
                pass

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
        """Say nothing."""


def test_one_that_misbehaves_is_an_error(system: SessionSystem, project: Path) -> None:
    """Within its time, and without its secrets."""
    modes = ["silent", "refused", "endless", "packed", "quotes", "moved"]
    web = ThreadingHTTPServer(("127.0.0.1", 0), _Odd)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    try:
        servers = [
            McpServer(
                name=mode,
                url=f"http://127.0.0.1:{web.server_port}/{mode}",
                headers={"Authorization": SECRET},
                timeout=5,
            )
            for mode in modes
        ]
        session = system.create_session(project, mcp_servers=servers)
        problems = {each.server: str(each.error) for each in session.mcp.servers()}
        assert "None" not in problems.values()
        assert SECRET not in str(problems)
        assert problems["silent"] == "the MCP server silent: it was not ready within 5 s"
        assert "more than 16777216 bytes" in problems["endless"]
        session.stop()
    finally:
        _over.set()
        web.shutdown()
        web.server_close()
        thread.join()
