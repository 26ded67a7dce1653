"""An app whose workers share the sessions of one system, for WSGI and for ASGI servers.

    jidocode serve --name shop &
    uvicorn --app-dir examples workers_app:asgi --workers 2    # or: --reload
    gunicorn --chdir examples workers_app:wsgi --workers 2     # or: --preload

    curl 'http://127.0.0.1:8000/?project=/path/of/a/project&text=hello'

Each request says something in the session of a project, which is opened by the first of them,
and answers who has taken it, and how many things were said there by now, through whichever
worker. Kill a worker, or change this file under `--reload`: the sessions live on.
"""

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from jidocode import SessionSystem

NAME = os.environ.get("SHOP", "shop")
VERSION = 1


@functools.cache
def system_of(pid: int) -> SessionSystem:
    """Return the system as process *pid* sees it: a fork has to attach itself."""
    del pid
    return SessionSystem.attach(NAME, timeout=30)


def answer(query: str) -> bytes:
    """Do what a request asks for."""
    asked = parse_qs(query)
    session = system_of(os.getpid()).open_session(asked["project"][0])
    session.state.append_message("user", asked["text"][0])
    messages = session.state.statistics().messages
    return f"worker {os.getpid()} version {VERSION} messages {messages}\n".encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer, in a thread or process of the server's."""
    body = answer(environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer, in a thread: with `AsyncSessionSystem.attach` none is needed."""
    del receive
    if scope["type"] != "http":
        return
    body = await asyncio.to_thread(answer, scope["query_string"].decode())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
