"""The MCP servers that an editor wants a session to have."""

from __future__ import annotations

from collections.abc import Iterable

from acp import schema

from jidocode.base.text import quote
from jidocode.errors import InvalidRequestError
from jidocode.session.mcp.spec import McpServer

EditorServer = (
    schema.HttpMcpServer | schema.SseMcpServer | schema.AcpMcpServer | schema.McpServerStdio
)


def as_servers(wanted: Iterable[EditorServer] | None) -> tuple[McpServer, ...]:
    """Return them as sessions take them.

    Raises:
        InvalidRequestError: One speaks in a way that ours do not; none is left out in silence.
        InvalidMcpServerError: One breaks a rule.
    """
    return tuple(_server(each) for each in wanted or ())


def _server(wanted: EditorServer) -> McpServer:
    match wanted:
        case schema.McpServerStdio():
            variables = {each.name: each.value for each in wanted.env}
            return McpServer(
                name=wanted.name, command=wanted.command, args=wanted.args, env=variables
            )
        case schema.HttpMcpServer():
            headers = {each.name: each.value for each in wanted.headers}
            return McpServer(name=wanted.name, url=wanted.url, headers=headers)
        case schema.SseMcpServer() | schema.AcpMcpServer():
            name = quote(wanted.name)
            raise InvalidRequestError(
                f"the MCP server {name} speaks {wanted.type}, not stdio or http"
            )
