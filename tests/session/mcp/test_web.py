"""The HTTP client by which a server behind an address is asked."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from jidocode.session.mcp.web import web_client


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["X-Key"].encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
        """Say nothing."""


def test_a_server_on_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy, which is another machine, can reach none here, and would get the headers."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def ask(port: int) -> str:
        async with web_client({"X-Key": "a key"}, 60.0) as client:
            return (await client.get(f"http://127.0.0.1:{port}/")).text

    with HTTPServer(("127.0.0.1", 0), _Server) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            assert asyncio.run(ask(server.server_port)) == "a key"
        finally:
            server.shutdown()
            serving.join()
