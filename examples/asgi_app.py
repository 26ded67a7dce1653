"""A web app on Starlette: a session for each browser tab, followed live.

    pip install jidocode starlette uvicorn
    python examples/asgi_app.py [FOLDER] [--port 8000]

Open http://127.0.0.1:8000, in several tabs if you like (five: a browser has six connections to a
server, and each tab keeps one). What is said there, and what commands write, are messages of the
tab's session: they come live as server-sent events, and are there again after a reload of the
page, a `kill -9` of the session's State (there is a button for it), or a restart of the server.
FOLDER (by default `asgi-sessions`) keeps the conversations, and a project folder for each session.

Anybody who reaches the app may run commands, though confined ones: so it listens on 127.0.0.1,
and takes nothing that a page of another site has a browser send.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import uvicorn
from anyio.abc import TaskGroup
from conversing import keep_output, say, start_command
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from jidocode import (
    AsyncSessionHandle,
    AsyncSessionSystem,
    InvalidRequestError,
    InvalidSessionIdError,
    JidocodeError,
    Message,
    SessionNotFoundError,
)

PAGE = Path(__file__).with_name("asgi_page.html")
IDLE_SECONDS = 600.0
"""A session stops when no tab has followed it for so long; the next one resumes it."""


class Tabs:
    """The sessions of all tabs."""

    def __init__(self, folder: Path, system: AsyncSessionSystem, tasks: TaskGroup) -> None:
        """Keep projects in *folder*; run in *tasks* what outlives a request."""
        self.tasks = tasks
        self.system = system
        self._projects = folder / "projects"
        self._projects.mkdir(exist_ok=True)
        self._opening = anyio.Lock()

    async def create(self) -> AsyncSessionHandle:
        """Open a new session, with an empty project folder of its own."""
        return await self.system.create_session(tempfile.mkdtemp(prefix="tab-", dir=self._projects))

    async def open(self, session_id: str) -> AsyncSessionHandle:
        """Return a session: as it is, or resumed if it was idle or the server was restarted."""
        async with self._opening:  # two requests of a page may find it closed at once
            try:
                return await self.system.get_session(session_id)
            except SessionNotFoundError:
                return await self.system.resume_session(session_id)

    async def run(self, session: AsyncSessionHandle, command: str) -> None:
        """Start *command*, and have its output become messages of the session."""
        if started := await start_command(session, command):
            self.tasks.start_soon(keep_output, session, *started)


class Streams:
    """The answers that are under way and have no end of their own."""

    def __init__(self) -> None:
        """None is under way."""
        self._scopes = set[anyio.CancelScope]()
        self._ended = False

    @contextmanager
    def one(self) -> Generator[anyio.CancelScope]:
        """Carry out the block until it ends, its scope is cancelled, or all are ended."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self._ended:  # it was asked for just before
                    scope.cancel()
                yield scope
            finally:
                self._scopes.discard(scope)

    def end(self) -> None:
        """End all of them, and those that are yet to begin."""
        self._ended = True
        for scope in self._scopes:
            scope.cancel()


class Live(Response):
    """What happens in a session, as server-sent events, until the client or the session goes.

    There are two kinds: `said`, a message, whose id is its number, so that a browser that connects
    again goes on where it was; and `processes`, how the session's processes are, after each change.
    """

    media_type = "text/event-stream"

    def __init__(self, session: AsyncSessionHandle, after: int, streams: Streams) -> None:
        """Tell what was said after number *after*, as one of *streams*."""
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._session = session
        self._after = after
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it (called by Starlette)."""
        del scope
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)

        async def tell(event: str, data: object, number: int | None = None) -> None:
            lines = [] if number is None else [f"id: {number}"]
            lines += [f"event: {event}", f"data: {json.dumps(data)}", "", ""]
            body = "\n".join(lines).encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})

        try:
            with self._streams.one() as stream:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._tell_what_is_said, tell)
                    tasks.start_soon(self._tell_of_processes, tell)
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    stream.cancel()
        except* JidocodeError:
            pass  # the session has ended; a browser connects again, and that opens it again
        await send({"type": "http.response.body", "body": b""})

    async def _tell_what_is_said(self, tell: Callable[..., Awaitable[None]]) -> None:
        async with self._session.state.subscribe(from_seq=self._after + 1) as changes:
            async for change in changes:
                if isinstance(change, Message):
                    said = {"role": change.role, "text": change.content, **change.metadata}
                    await tell("said", said, change.seq)

    async def _tell_of_processes(self, tell: Callable[..., Awaitable[None]]) -> None:
        async with self._session.events() as events:
            while True:
                health = await self._session.health_check()
                children = [
                    {
                        "id": child.id,
                        "pid": child.ref and child.ref.os_pid,
                        "status": child.status.value,
                        "restarts": child.restarts,
                    }
                    for child in health.children
                ]
                await tell("processes", {"status": health.status.value, "children": children})
                if await events.get() is None:
                    return


# Requests


def tabs_of(request: Request) -> Tabs:
    """Return the sessions of the app."""
    tabs: Tabs = request.app.state.tabs
    return tabs


async def posted(request: Request) -> dict[str, object]:
    """Return the JSON object that was posted.

    A page of another site cannot have a browser send that type unless this app allows it.
    """
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(415, "send application/json")
    try:
        body: object = await request.json()
    except ValueError as error:
        raise HTTPException(400, "this is no JSON") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "send a JSON object")
    return {str(name): value for name, value in body.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # JSON


async def posted_text(request: Request) -> str:
    """Return the text that was posted."""
    match await posted(request):
        case {"text": str(text)} if text.strip():
            return text
        case _:
            raise HTTPException(400, "send a text")


async def page(request: Request) -> Response:
    """Answer with the page."""
    del request
    return FileResponse(PAGE)


async def enter(request: Request) -> Response:
    """Open the session that a tab had; a new one if it had none, or that is nowhere."""
    tabs, known = tabs_of(request), (await posted(request)).get("session")
    session = None
    if isinstance(known, str):
        try:
            session = await tabs.open(known)
        except (SessionNotFoundError, InvalidSessionIdError):
            session = None
    session = session or await tabs.create()
    return JSONResponse({"session": session.id})


async def opened(request: Request) -> AsyncSessionHandle:
    """Return the session that a path names."""
    return await tabs_of(request).open(request.path_params["session"])


async def follow(request: Request) -> Response:
    """Tell what was said, and what is being said and done."""
    after = request.headers.get("last-event-id", "")
    number = int(after) if re.fullmatch("[0-9]{1,15}", after) else 0
    return Live(await opened(request), number, request.app.state.streams)


async def take_message(request: Request) -> Response:
    """Append what somebody says."""
    text = await posted_text(request)
    message = await say(await opened(request), "user", text)
    return JSONResponse({"number": message.seq})


async def take_command(request: Request) -> Response:
    """Start a command."""
    command = await posted_text(request)
    await tabs_of(request).run(await opened(request), command)
    return JSONResponse({})


async def kill_state(request: Request) -> Response:
    """Kill the State of a session as hard as that can be done, to see it come back."""
    await posted(request)
    session = await opened(request)
    state = await tabs_of(request).system.get_state(session.id)
    with suppress(ProcessLookupError):  # it is dead already
        os.kill(state.os_pid, signal.SIGKILL)
    return JSONResponse({"killed": state.os_pid})


async def answer_error(request: Request, error: Exception) -> Response:
    """Say what was wrong."""
    del request
    status = 503
    if isinstance(error, SessionNotFoundError | InvalidSessionIdError):
        status = 404
    elif isinstance(error, InvalidRequestError):
        status = 400
    elif isinstance(error, HTTPException):
        status = error.status_code
    text = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"error": text}, status)


def create_app(folder: Path) -> Starlette:
    """Return the app that keeps everything in *folder*."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with (
            AsyncSessionSystem(
                state_dir=folder / "state",
                strategy="one_for_one",  # commands go on while State comes back
                idle_timeout=IDLE_SECONDS,
                max_sessions=100,
            ) as system,
            anyio.create_task_group() as tasks,
        ):
            app.state.tabs = Tabs(folder, system, tasks)
            yield
            tasks.cancel_scope.cancel()

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/sessions", enter, methods=["POST"]),
            Route("/sessions/{session}/live", follow),
            Route("/sessions/{session}/messages", take_message, methods=["POST"]),
            Route("/sessions/{session}/commands", take_command, methods=["POST"]),
            Route("/sessions/{session}/kill", kill_state, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        exception_handlers={HTTPException: answer_error, JidocodeError: answer_error},
        lifespan=lifespan,
    )
    app.state.streams = Streams()
    return app


class Server(uvicorn.Server):
    """Stops though somebody follows: uvicorn waits for all answers, and these have no end."""

    def __init__(self, app: Starlette, port: int) -> None:
        """Serve *app* on 127.0.0.1."""
        # A client that does not read what it is sent is waited for so many seconds, and no longer.
        super().__init__(
            uvicorn.Config(app, host="127.0.0.1", port=port, timeout_graceful_shutdown=3)
        )
        self._streams: Streams = app.state.streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, and then the rest (called by uvicorn)."""
        self._streams.end()
        await super().shutdown(sockets)


def main() -> None:
    """Serve the app until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="A session for each browser tab.")
    parser.add_argument("folder", nargs="?", default="asgi-sessions", type=Path)
    parser.add_argument("--port", default=8000, type=int)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt):  # uvicorn raises it when all has ended
        Server(create_app(options.folder.absolute()), options.port).run()


if __name__ == "__main__":
    main()
