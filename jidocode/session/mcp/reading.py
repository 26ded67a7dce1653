"""What a server says of its tools and of their results, made fit for a model.

It may be anything: names that no model takes, a million tools, pictures, characters that a
terminal would obey. Nothing here knows the `mcp` package but by the attributes of its objects.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from jidocode.base.text import LINE_LENGTH, printable, quote
from jidocode.session.mcp.messages import McpTool, Returned
from jidocode.session.mcp.tools import SEPARATOR
from jidocode.session.tools.bounding import MAX_RESULT_LENGTH, bounded
from jidocode.session.tools.tool import MAX_TOOL_NAME

MAX_TOOLS = 128
"""Tools of one server that are taken; its further ones are left out."""
MAX_DESCRIPTION = 4_000
"""Characters of a description."""
MAX_SCHEMA = 32_000
"""Characters of the schema of a tool's arguments; a tool that has more is left out."""
MAX_SCHEMAS = 400_000
"""Characters of all of them together: a model reads them with each request."""
MAX_OWN_NAME = 1000
"""Characters of a name that a server may give to a tool."""
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


def tool_name(prefix: str, own_name: str) -> str:
    """Return what a model calls the tool *own_name* of the server with *prefix*.

    It is the same at each start, whatever other tools there are, and no two are the same.
    """
    room = MAX_TOOL_NAME - len(prefix) - len(SEPARATOR)
    name = _FOREIGN.sub("_", own_name)
    if name != own_name or not 0 < len(name) <= room:
        mark = hashlib.sha256(own_name.encode("utf-8", "replace")).hexdigest()[:8]
        name = f"{name[: room - len(mark) - 1]}_{mark}"
    return f"{prefix}{SEPARATOR}{name}"


def read_tools(prefix: str, listed: Iterable[Any]) -> tuple[tuple[McpTool, ...], list[str]]:
    """Return the tools that are taken of those *listed*, and why others are not."""
    tools: dict[str, McpTool] = {}
    left_out: list[str] = []
    size = 0
    for each in listed:
        if len(tools) == MAX_TOOLS:
            left_out.append(f"there are more than {MAX_TOOLS} tools")
            break
        schema = _as_json(each.input_schema)
        if schema is None:
            left_out.append(f"the arguments of {quote(each.name)} are no JSON")
        elif len(schema) > MAX_SCHEMA:
            left_out.append(f"the arguments of {quote(each.name)} take {len(schema)} characters")
        elif size + len(schema) > MAX_SCHEMAS:
            left_out.append(f"the arguments of all tools take more than {MAX_SCHEMAS} characters")
            break
        elif each.input_schema.get("type") != "object":  # a model's server would refuse all
            left_out.append(f"the arguments of {quote(each.name)} are no object")
        elif not each.name or len(each.name) > MAX_OWN_NAME:
            left_out.append(f"{quote(each.name)} is no name")
        else:
            tool = _read_tool(prefix, each, schema)
            tools.setdefault(tool.name, tool)
            size += len(schema)
    return tuple(tools.values()), left_out


def _as_json(schema: object) -> str | None:
    """Return *schema* as JSON; None if it has numbers, such as NaN, that only Python's JSON has."""
    try:
        return json.dumps(schema, allow_nan=False)
    except ValueError:
        return None


def _read_tool(prefix: str, listed: Any, schema: str) -> McpTool:
    hints = listed.annotations
    said = listed.description or (hints.title if hints else None) or listed.title or ""
    return McpTool(
        name=tool_name(prefix, listed.name),
        own_name=listed.name,
        description=printable(said[:MAX_DESCRIPTION]),
        schema=schema,
        reads_only=bool(hints and hints.read_only_hint),
    )


def read_result(result: Any) -> Returned:
    """Return what *result*, of a call, says to a model."""
    parts = [_read_block(block) for block in result.content[:MAX_RESULT_LENGTH]]
    if not any(parts) and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    text = bounded("\n".join(part for part in parts if part))
    # As JSON and a journal can have it: it may have half characters.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return Returned(text or "[nothing]", is_error=bool(result.is_error))


def _read_block(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            size = len(block.data) * 3 // 4
            return f"[{block.type}, {_word(block.mime_type)}, {size} bytes, which is not shown]"
        case "resource":
            text = getattr(block.resource, "text", None)
            where = _word(block.resource.uri)
            return f"[resource {where}, which is not shown]" if text is None else str(text)
        case "resource_link":
            return f"[resource {_word(block.uri)}: {_word(block.name)}]"
        case other:
            return f"[{_word(other)}, which is not shown]"


def _word(text: object) -> str:
    return printable(str(text)[:LINE_LENGTH]).replace("\n", " ")
