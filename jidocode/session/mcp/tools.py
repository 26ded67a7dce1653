"""The tools of an MCP server as `Tool`s, which a model has called by the same rules as all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from jidocode.errors import InvalidRequestError
from jidocode.session.mcp.messages import McpTool, Offered
from jidocode.session.tools.arguments import JsonArguments
from jidocode.session.tools.steps import InSteps, Steps, use
from jidocode.session.tools.tool import Tool, ToolKind

SEPARATOR = "__"
"""Between what stands for a server and what for its tool."""


def prefix_of(name: str) -> str | None:
    """Return the prefix of the server whose tool has *name*; None if it is no such tool."""
    prefix, separator, tool = name.partition(SEPARATOR)
    return prefix if prefix and separator and tool else None


def tools_of(offered: Offered, name: str | None = None) -> list[Tool]:
    """Return the tools of a server, or that with *name* alone."""
    return [_tool(offered, each) for each in offered.tools if name in {None, each.name}]


def _tool(offered: Offered, tool: McpTool) -> Tool:
    return Tool(
        name=tool.name,
        description=tool.description,
        kind=ToolKind.READ if tool.reads_only else ToolKind.EXECUTE,
        arguments=JsonArguments(tool.schema),
        run=InSteps(partial(_call, offered, tool)),
        subject=_subject,
    )


def _call(offered: Offered, tool: McpTool, arguments: Mapping[str, Any]) -> Steps[str]:
    prefix, _, _ = tool.name.partition(SEPARATOR)
    returned = yield from use(
        lambda session: session.mcp._call(offered, prefix, tool.own_name, arguments)  # noqa: SLF001 - for these alone
    )
    if returned.is_error:
        raise InvalidRequestError(returned.text)
    return returned.text


def _subject(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False, sort_keys=True)
