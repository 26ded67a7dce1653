"""A server of the Model Context Protocol by the official package; its argument is a port.

It speaks streamable HTTP on 127.0.0.1.
"""

from __future__ import annotations

import sys

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import ToolAnnotations

READS = ToolAnnotations(read_only_hint=True)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(22)
server = MCPServer("tests")


@server.tool(annotations=READS)
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool(annotations=READS)
def much(size: int) -> str:
    """Return a long text."""
    return "x" * size


@server.tool(annotations=READS)
def picture() -> Image:
    """Return a picture."""
    return Image(data=PICTURE, format="png")


@server.tool()
async def learn(context: Context) -> str:
    """Have one more tool, and say so, many times."""

    def added() -> str:
        """Be new."""
        return "new"

    server.add_tool(added)
    for _ in range(200):
        await context.notify_tools_changed()
    return "learned"


@server.tool(annotations=READS)
def header(context: Context, name: str) -> str:
    """Return what the request has in its head."""
    return str((context.headers or {}).get(name))


if __name__ == "__main__":
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
