"""McpClient: the process that keeps one MCP server of a session.

It is started when the tools of the server are wanted first, and is temporary: its end ends nobody
else, and whatever the server has started ends with it. When the server ends, so does
this, and the next use starts both again. One that cannot be reached at all is not tried again
at each use: for a while it is remembered why.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from jidocode.base.exits import ExitReason
from jidocode.errors import McpServerError
from jidocode.otp import AsyncGenServer
from jidocode.otp.server.gen_server import GenServer
from jidocode.otp.server.messages import Caller
from jidocode.otp.server.results import CallResult, Refuse, Reply
from jidocode.session.commands.limits import CommandRules
from jidocode.session.idle import HowIdle, Use
from jidocode.session.mcp.messages import CallTool, CancelCall, Connect, ListTools, Offered
from jidocode.session.mcp.spec import McpServer
from jidocode.session.project.boundary import Boundary
from jidocode.session.project.holding import open_held
from jidocode.session.record import Session

if TYPE_CHECKING:
    from jidocode.session.mcp.connection import Connection

REMEMBERED = 30.0
"""Seconds for which it is remembered why a server could not be reached."""
END_SECONDS = 4.5
"""How long the end of the connection may take; the host ends what is left."""
MAX_CALLS = 64
"""Calls that may be under way at once."""


class McpClient(AsyncGenServer):
    """The server: one connection."""

    kind: ClassVar[str] = "mcp"

    async def init(
        self, session: Session, server: McpServer, rules: CommandRules, closed: Sequence[str]
    ) -> None:
        """Begin to connect to *server* (called by the host, first).

        If it is confined, it is so by *rules*, as a command, and cannot read the folders *closed*.

        Raises:
            BoundaryError: Another folder stands there, and the session's supervisor has none.
            OSError: None is there, idem.
        """
        self._server = server
        self._project = await self.ask(_pinned, session)
        self._use = Use()
        self._calls: dict[str, asyncio.Task[CallResult]] = {}
        self._unused = asyncio.Event()  # the last call has ended
        self._settled = asyncio.Event()  # it is ready, or has failed
        self._error: McpServerError | None = None
        self._is_remembered = False
        self._connection: Connection | None = None
        self._task = asyncio.ensure_future(self._keep(rules, closed))

    async def _keep(self, rules: CommandRules, closed: Sequence[str]) -> None:
        """Keep the connection, in this one task; then see to the end of this process."""
        try:
            # Imported here because it takes most of a second, unless the host has done it.
            from jidocode.session.mcp.connection import Connection  # noqa: PLC0415 - see above

            self._connection = Connection(self._server, self._project, rules, closed)
            self._error = await self._connection.keep(self._settled.set)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            self._error = McpServerError(
                self._server.name, f"its process failed: {type(error).__name__}"
            )
        if not self._settled.is_set():
            self._is_remembered = True
            self._settled.set()
            await asyncio.sleep(REMEMBERED)
        if self._calls:
            self._unused.clear()
            for call in self._calls.values():
                call.cancel()
            await self._unused.wait()  # their callers hear why
        self.stop()

    async def handle_call(self, request: Any, caller: Caller) -> CallResult:
        """Say which tools there are, make a call of one, or cancel that."""
        match request:
            case HowIdle():
                return Reply(0.0 if self._calls else self._use.idle_seconds())
            case Connect():
                return Reply(None)
            case ListTools():
                self._use.note()
                return Reply(await self._offered())
            case CallTool():
                self._use.note()
                try:
                    return await self._call(request)
                finally:
                    self._use.note()
            case CancelCall():
                call = self._calls.get(request.call_id)
                if call is not None:
                    call.cancel()
                return Reply(None)
            case _:
                return await super().handle_call(request, caller)

    async def terminate(self, reason: ExitReason) -> None:
        """End the connection, and the server if it is a program."""
        del reason
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=END_SECONDS)
        self._project.close()

    async def _offered(self) -> Offered:
        await self._settled.wait()
        connection = self._connection
        if connection is not None and connection.is_lost and not self._is_remembered:
            await asyncio.Event().wait()  # for the end of this process: whoever asks, asks the next
        if self._error is not None or connection is None:
            return Offered(self._server.name, error=self._error)
        return Offered(self._server.name, self._server.timeout, connection.tools)

    async def _call(self, request: CallTool) -> CallResult:
        if len(self._calls) >= MAX_CALLS:
            problem = f"{MAX_CALLS} calls are under way, and no more may be"
            return Refuse(McpServerError(self._server.name, problem))
        call = asyncio.ensure_future(self._make(request))
        self._calls[request.call_id] = call
        try:
            with _cancelled_with(request.waiter, call):
                await asyncio.wait({call})
        finally:
            call.cancel()
            del self._calls[request.call_id]
            if not self._calls:
                self._unused.set()
        if call.cancelled():
            problem = "the call was cancelled" if self._error is None else self._error.problem
            return Refuse(McpServerError(self._server.name, problem))
        return call.result()

    async def _make(self, request: CallTool) -> CallResult:
        await self._settled.wait()
        if self._error is not None or self._connection is None:
            return Refuse(self._error or McpServerError(self._server.name, "it has ended"))
        try:
            return Reply(await self._connection.call(request.tool, request.arguments))
        except McpServerError as error:
            if self._server.url is None and self._connection.is_lost:
                await asyncio.Event().wait()  # until `_keep` knows why, and cancels this
            return Refuse(error)


def _pinned(server: GenServer, session: Session) -> Boundary:
    """Return the folder of *session*, which may have been moved."""
    key = session.project_key
    return Boundary(session.project_path, key=key, elsewhere=lambda: open_held(server, key))


@contextmanager
def _cancelled_with(process: int, task: asyncio.Task[Any]) -> Generator[None]:
    """Have *task* cancelled if *process* ends meanwhile: nobody else wants what comes of it."""
    loop = asyncio.get_running_loop()
    descriptor: int | None = None
    with contextlib.suppress(OSError):  # none is left: the call ends by its time
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            task.cancel()
    if descriptor is None:
        yield
        return
    found = descriptor

    def cancel() -> None:
        loop.remove_reader(found)  # once: a second time it would keep the server from hearing of it
        task.cancel()

    loop.add_reader(descriptor, cancel)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
