"""Clients on 127.0.0.1 that know a token, by the protocol's streamable HTTP.

Any program of any user of this machine can connect, and a page in a browser can have that do so:
the first lacks the token, the second is refused for its Host or Origin, too.
"""

from __future__ import annotations

import contextlib
import hmac
import socket
from collections.abc import Generator

import anyio
import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from jidocode.bridges.mcp.header_timeout import HeaderTimeout
from jidocode.bridges.mcp.offer import Offer
from jidocode.bridges.mcp.server import make_server, run_until_told

_GRACE_SECONDS = 1
"""In which answers under way are sent at the end; streams of events end after it."""


def listen(port: int) -> socket.socket:
    """Return a socket that clients can connect to; *port* 0 is any that is free.

    Raises:
        OSError: The port is taken.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


def address(sock: socket.socket) -> str:
    """Return the address that clients are told."""
    return f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"


def serve_http(offer: Offer, sock: socket.socket, token: str) -> None:
    """Serve clients that know *token* until this process is told to end.

    Raises:
        HostExitedError: The session's system has ended.
    """
    app = Guarded(make_server(offer).streamable_http_app(), token)
    config = uvicorn.Config(
        app,
        log_config=None,
        http=HeaderTimeout,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    run_until_told(offer, lambda: _run(_Server(config), sock))


async def _run(server: uvicorn.Server, sock: socket.socket) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_with_us, server)
        with anyio.CancelScope(shield=True):
            await server.serve([sock])
        tasks.cancel_scope.cancel()


async def _end_with_us(server: uvicorn.Server) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to `run_until_told`."""
        yield


class Guarded:
    """Lets nobody in who does not say the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and not self._knows(Headers(scope=scope)):
            refusal = PlainTextResponse(
                "the token is missing or wrong\n",
                401,
                {"WWW-Authenticate": "Bearer", "Connection": "close"},
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        said = headers.get("authorization", "").encode("utf-8", "replace")
        return hmac.compare_digest(said, self._expected)
