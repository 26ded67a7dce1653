"""What a host imports and does before it forks, so that the keeper of an MCP server costs little.

Name it to have that: `SessionSystem(preload=["jidocode.session.mcp.preload"])`. The package is then
imported once, in the host, which all processes share; and so is what is worked out at the first
connection and kept, for a whole one is played here, with a server in this thread.
"""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.server.lowlevel import Server

from jidocode.session.mcp import connection, server
from jidocode.session.mcp.reading import read_result, read_tools

__all__ = ["connection", "server"]


async def _list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(
        tools=[types.Tool(name="look", description="Looks.", input_schema={"type": "object"})]
    )


async def _call_tool(_context: Any, _params: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text="yes")])


async def _connect() -> None:
    nobody: Server[Any] = Server("nobody", on_list_tools=_list_tools, on_call_tool=_call_tool)
    async with Client(nobody, mode="legacy", cache=None) as client:
        read_tools("nobody", (await client.list_tools()).tools)
        read_result(await client.call_tool("look", {}))
    line = types.JSONRPCRequest(jsonrpc="2.0", id=1, method="ping").model_dump_json(by_alias=True)
    types.jsonrpc_message_adapter.validate_json(line, by_name=False)


def rehearse() -> None:
    """Play a connection, with both ends of it in this thread."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_connect())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


rehearse()
