"""The server of the `mcp` package over the tools of a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import anyio
import mcp_types as types
from anyio import CancelScope, to_thread
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from jidocode.base.end_signals import told_to_end
from jidocode.base.stop import Stop
from jidocode.bridges.mcp.offer import Answer, Offer
from jidocode.errors import HostError
from jidocode.session.tools.tool import Tool, ToolKind

_PROGRESS_SECONDS = 1.0
"""How often a client that wants to know is told that a call goes on."""

_HINTS = {
    ToolKind.READ: types.ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
    ToolKind.SEARCH: types.ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
    ToolKind.THINK: types.ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
    ToolKind.EDIT: types.ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False
    ),
    ToolKind.EXECUTE: types.ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
    ),
}


def make_server(offer: Offer) -> Server[Any]:
    """Return the server that shows what is offered, and makes the calls."""
    listed = types.ListToolsResult(tools=[_described(tool) for tool in offer.tools])

    async def list_tools(
        context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del context, params
        return listed

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        answer = await _call(offer, context, params)
        text = types.TextContent(type="text", text=answer.text)
        return types.CallToolResult(content=[text], is_error=answer.is_error)

    return Server(
        "jidocode",
        version=version("jidocode"),
        instructions="Tools for the files of one project; all paths are relative to it.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=dict(tool.schema),
        annotations=_HINTS[tool.kind],
    )


async def _call(
    offer: Offer, context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> Answer:
    stop, answers = Stop(), list[Answer]()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell_progress, context)
            # If the client cancels, or is gone, the thread is left to write down what became of
            # the call: that takes as long as a command needs to end.
            answer = await to_thread.run_sync(
                offer.call, params.name, params.arguments or {}, stop, abandon_on_cancel=True
            )
            answers.append(answer)
            tasks.cancel_scope.cancel()
    finally:
        stop.request()
    return answers[0]


async def _tell_progress(context: ServerRequestContext[Any]) -> None:
    begin = anyio.current_time()
    while True:
        await anyio.sleep(_PROGRESS_SECONDS)
        await context.session.report_progress(anyio.current_time() - begin)


def run_until_told(offer: Offer, serving: Callable[[], Awaitable[None]]) -> None:
    """Run *serving* until it ends, or this process is told to end, by SIGTERM, SIGINT or SIGHUP.

    Raises:
        HostExitedError: The session's system has ended, which is noticed within a second.
    """
    lost: list[HostError] = []

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_told, told, tasks.cancel_scope)
            tasks.start_soon(_cancel_when_lost, offer, tasks.cancel_scope, lost)
            await serving()
            tasks.cancel_scope.cancel()

    with told_to_end() as told:
        anyio.run(run)
    if lost:
        raise lost[0]


async def _cancel_when_told(told: int, scope: CancelScope) -> None:
    await anyio.wait_readable(told)
    scope.cancel()


async def _cancel_when_lost(offer: Offer, scope: CancelScope, lost: list[HostError]) -> None:
    try:
        await offer.until_lost()
    except HostError as error:
        lost.append(error)
        scope.cancel()
