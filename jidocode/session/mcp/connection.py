"""The connection to one MCP server, by the client of the `mcp` package.

All of its life is in one task, `keep`. For the package's task groups and cancel scopes belong to
the task that has entered them: a client that is opened in one and closed in another ends in the
middle of something else, or never. Calls come from other tasks, which only send, and wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import anyio
import mcp_types as types
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from jidocode.base import log
from jidocode.base.text import LINE_LENGTH, describe, line, redact
from jidocode.errors import JidocodeError, McpServerError
from jidocode.session.commands.limits import CommandRules
from jidocode.session.mcp.messages import McpTool, Returned
from jidocode.session.mcp.program import Program
from jidocode.session.mcp.reading import MAX_TOOLS, read_result, read_tools
from jidocode.session.mcp.spec import McpServer
from jidocode.session.mcp.transport import PipeTransport
from jidocode.session.mcp.web import web_client
from jidocode.session.project.boundary import Boundary

REFRESH_SECONDS = 0.5
"""Between two lists of tools: a server may say all the time that they have changed."""
LAST_WORDS = 500
"""Characters of what a program has said at last that are logged, and of the last line in errors."""
LAST_SECONDS = 0.3
"""From the end of a program's streams to its own."""


class Connection:
    """A server that is connected, or not any more.

    Attributes:
        tools: Its tools, as they are now.
    """

    def __init__(
        self, server: McpServer, project: Boundary, rules: CommandRules, closed: Sequence[str]
    ) -> None:
        """Be ready to connect to *server*, in *project*."""
        self.tools: tuple[McpTool, ...] = ()
        self._server = server
        self._project = project
        self._rules = rules
        self._closed = closed
        self._client: Client | None = None
        self._pipes: PipeTransport | None = None
        self._left_out: list[str] = []  # why, as was logged last
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()

    async def keep(self, on_ready: Callable[[], object]) -> McpServerError:
        """Connect, call *on_ready*, and stay connected; return why that has ended.

        It is cancelled to have it end.
        """
        try:
            async with self._transport() as transport:
                await self._stay(transport, on_ready)
        except McpServerError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the server's
            return self.error(error)
        return McpServerError(self._server.name, "it has ended")

    async def _stay(
        self, transport: AbstractAsyncContextManager[Any], on_ready: Callable[[], object]
    ) -> None:
        client = Client(
            transport,
            client_info=types.Implementation(name="jidocode", version=version("jidocode")),
            list_roots_callback=self._say_roots,
            message_handler=self._hear,
            cache=None,
        )
        # If it hangs, this task is cancelled: a scope around half of a client's life would have
        # to end within it.
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of asyncio's has one
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            is_late = True
            task.cancel()

        late = loop.call_later(self._server.timeout, give_up)
        try:
            async with client:
                await self._list(client)
                late.cancel()
                self._client = client
                on_ready()
                await self._follow(client)
        except asyncio.CancelledError:
            if not is_late or task.uncancel():
                raise
            problem = f"it was not ready within {self._server.timeout:g} s"
            raise McpServerError(self._server.name, problem) from None
        finally:
            late.cancel()
            self._client = None

    async def _follow(self, client: Client) -> None:
        """Keep the list of tools, until the connection is lost."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._refresh, client)
            if client.protocol_version >= "2026":  # before that, notifications come by themselves
                tasks.start_soon(self._listen, client)
            await self._lost.wait()
            tasks.cancel_scope.cancel()

    async def _refresh(self, client: Client) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._list(client)
            except (MCPError, TimeoutError, ValueError, RuntimeError) as error:
                log.warning("the tools that have changed are not known: {}", self.error(error))
            await anyio.sleep(REFRESH_SECONDS)

    async def _listen(self, client: Client) -> None:
        with contextlib.suppress(MCPError, TimeoutError, RuntimeError):  # it never tells
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self._changed.set()

    async def _list(self, client: Client) -> None:
        listed: list[types.Tool] = []
        cursor: str | None = None
        while True:
            with anyio.fail_after(self._server.timeout):
                page = await client.list_tools(cursor=cursor)
            listed += page.tools
            cursor = page.next_cursor
            if not cursor or not page.tools or len(listed) > MAX_TOOLS:
                break
        self.tools, left_out = read_tools(self._server.prefix, listed)
        if left_out and left_out != self._left_out:
            why = line("; ".join(left_out))
            log.warning("the MCP server {}: tools are left out: {}", self._server.name, why)
        self._left_out = left_out

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked of it any more; why, `keep` says."""
        return self._lost.is_set()

    async def _hear(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._changed.set()

    async def _say_roots(self, context: ClientRequestContext) -> types.ListRootsResult:
        del context
        uri = Path(self._project.root).as_uri()
        return types.ListRootsResult.model_validate({"roots": [{"uri": uri}]})

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Returned:
        """Make a call; it is cancelled with the task that waits for it.

        Raises:
            McpServerError: It does not answer, or refuses.
        """
        if self._client is None:
            raise McpServerError(self._server.name, "it has ended")
        try:
            async with asyncio.timeout(self._server.timeout):
                return read_result(await self._client.call_tool(tool, dict(arguments)))
        except TimeoutError:
            problem = f"it did not answer within {self._server.timeout:g} s"
            raise McpServerError(self._server.name, problem) from None
        except Exception as error:  # noqa: BLE001 - whatever comes of what a server says
            if self._server.url is not None and _is_lost(error):
                self._lost.set()
            broken = None if self._pipes is None else self._pipes.problem
            raise broken or self.error(error) from None

    def error(self, error: BaseException) -> McpServerError:
        """Return what *error* says of the server, without what that was told in secret."""
        while isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        if isinstance(error, McpServerError):
            return error
        if isinstance(error, JidocodeError):
            said = error.message
        else:
            said = str(error) if isinstance(error, MCPError) else describe(error)
        # Further lines quote what was sent, or came, and cut it: half a key is still one.
        first = said.partition("\n")[0]
        return McpServerError(
            self._server.name, _without_secrets(first, self._server)[:LINE_LENGTH]
        )

    # How it is reached

    @asynccontextmanager
    async def _transport(self) -> AsyncGenerator[AbstractAsyncContextManager[Any]]:
        server = self._server
        if server.url is not None:
            async with web_client(server.headers, server.timeout) as web:
                yield streamable_http_client(server.url, http_client=web)
            return
        program = Program(server, self._project, self._rules, self._closed)
        self._pipes = pipes = PipeTransport(server.name, program.streams, self._lost.set)
        watching = asyncio.ensure_future(program.ended.wait())
        watching.add_done_callback(lambda _done: self._lost.set())
        failure: Exception | None = None
        try:
            try:
                yield pipes.messages()
            except Exception as error:  # noqa: BLE001 - raised below
                failure = error
            await program.wait(LAST_SECONDS)  # its streams end a moment before it does
        finally:
            end = program.end
            has_ended = program.ended.is_set()
            watching.cancel()
            said = _without_secrets(pipes.said_last(), server)
            await program.close()
            if said:
                tell = log.debug if self.tools else log.warning
                tell(
                    "the MCP server {} has said at last: {}", server.name, line(said[-LAST_WORDS:])
                )
        problem = program.problem or pipes.problem
        if problem is None and failure is not None and not has_ended:
            problem = self.error(failure)
        *_, last = ["", *said.splitlines()]
        why = f": {line(last[-LAST_WORDS:])}" if last else ""
        raise problem or McpServerError(server.name, f"{end}{why}")


def _without_secrets(text: str, server: McpServer) -> str:
    """Return *text* without those of *server*, its address among them."""
    secrets = (*server.secrets, server.url or "")
    return redact(text, (each for each in secrets if len(each) > 3))  # noqa: PLR2004 - others are words


def _is_lost(error: Exception) -> bool:
    """Whether a server behind an address has to be connected to anew."""
    return not isinstance(error, MCPError) or "terminated" in str(error) or "losed" in str(error)
