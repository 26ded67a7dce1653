"""Somebody between a client that can say no token, and a server that wants one."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@contextmanager
def proxy(url: str, token: str) -> Generator[str]:
    """Give an address where requests are those to *url*, with *token*; all else stays as it is."""

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = [
                (name, value) for name, value in self.headers.items() if name.lower() not in _HOP
            ]
            headers.append(("Authorization", f"Bearer {token}"))
            with (
                httpx2.Client(timeout=60) as client,
                client.stream(self.command, url, headers=headers, content=body) as answer,
            ):
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                self.end_headers()
                for data in answer.iter_raw():
                    self.wfile.write(data)
                    self.wfile.flush()

        do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815 - http.server wants them so

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - it is called so there
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that is gone is no fault."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
        thread.join()
