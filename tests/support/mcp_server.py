"""A server of the Model Context Protocol for tests: `python mcp_server.py [PORT]`.

It speaks on its standard input and output, or by streamable HTTP on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp_types import ToolAnnotations

READS = ToolAnnotations(read_only_hint=True)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(22)
server = MCPServer("tests")


@server.tool(annotations=READS)
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def write(name: str, text: str) -> str:
    """Write a file beside the project's own, and say where."""
    Path(name).write_text(text, "utf-8")
    return str(Path(name).resolve())


@server.tool(annotations=READS)
def variable(name: str) -> str:
    """Return a variable."""
    return os.environ.get(name, "there is none")


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("it is not possible")


@server.tool(annotations=READS)
def much(size: int) -> str:
    """Return a long text."""
    return "x" * size


@server.tool(annotations=READS)
def picture() -> Image:
    """Return a picture."""
    return Image(data=PICTURE, format="png")


@server.tool()
async def hang(note: str) -> str:
    """Note in a file that it began, and, if it is cancelled, that it was."""

    def write(text: str) -> None:
        Path(note).write_text(text, "utf-8")

    write("began")
    try:
        await asyncio.sleep(1000)
    except BaseException:
        write("cancelled")
        raise
    return "never"


@server.tool()
def daemon() -> str:
    """Start a program that leaves its session, and return its pid."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return str(process.pid)


@server.tool(annotations=READS)
def pid() -> str:
    """Return the server's own."""
    return str(os.getpid())


@server.tool()
def die() -> str:
    """End at once."""
    os._exit(3)


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


@server.tool()
async def roots(context: Context) -> str:
    """Ask the client for the folders it works in."""
    listed = await context.session.list_roots()
    return " ".join(str(root.uri) for root in listed.roots)


@server.tool(annotations=READS)
def header(context: Context, name: str) -> str:
    """Return what the request has in its head."""
    return str((context.headers or {}).get(name))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
