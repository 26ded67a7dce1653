"""What of a server's words a model reads."""

from __future__ import annotations

import base64
import json
import math
import re
from typing import Any

import mcp_types as types
from hypothesis import given, strategies as st

from jidocode.session.mcp.reading import read_result, read_tools, tool_name


def tool(name: str, **more: Any) -> types.Tool:
    return types.Tool(name=name, input_schema={"type": "object"}, **more)


@given(st.text(), st.sampled_from(["a", "a" * 24]))
def test_any_tool_has_a_name_that_models_take(own_name: str, prefix: str) -> None:
    """It begins with its server's prefix."""
    name = tool_name(prefix, own_name)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)
    assert name.partition("__")[0] == prefix


@given(st.lists(st.text(min_size=1), unique=True, max_size=20))
def test_no_two_tools_have_one_name(own_names: list[str]) -> None:
    """However much alike they are."""
    assert len({tool_name("a", each) for each in own_names}) == len(own_names)


def test_good_names_stay() -> None:
    """And are the same at each start."""
    assert tool_name("shop", "add_item-2") == "shop__add_item-2"
    assert tool_name("shop", "add item") == tool_name("shop", "add item") != "shop__add_item"


def test_lists_and_their_texts_are_bounded() -> None:
    """What is left out is told."""
    listed = [tool(f"t{number}", description="d" * 10_000) for number in range(1000)]
    deep = types.Tool(name="deep", input_schema={"type": "object", "title": "x" * 40_000})
    tools, left_out = read_tools("s", [deep, tool(""), *listed])

    assert len(tools) == 128
    assert {len(each.description) for each in tools} == {4000}
    assert len(left_out) == 3
    assert "'deep'" in left_out[0]


def test_what_models_servers_would_refuse_is_left_out() -> None:
    """All of a request, for one tool: arguments that are no object, or far too many."""
    plain = types.Tool(name="plain", input_schema={"type": "string"})
    endless = types.Tool(name="endless", input_schema={"type": "object", "maximum": math.inf})
    big = [
        types.Tool(name=f"t{number}", input_schema={"type": "object", "title": "x" * 30_000})
        for number in range(20)
    ]
    tools, left_out = read_tools("s", [plain, endless, *big])
    assert len(tools) == 13
    assert left_out == [
        "the arguments of 'plain' are no object",
        "the arguments of 'endless' are no JSON",
        "the arguments of all tools take more than 400000 characters",
    ]


def test_what_terminals_obey_is_shown() -> None:
    """In a description; the lines stay."""
    (read,), _ = read_tools("s", [tool("t", description="one\n\x1b[2Jtwo\u202e")])
    assert read.description == "one\n\\x1b[2Jtwo\\u202e"


def test_hints_say_what_only_reads() -> None:
    """Nobody else does."""
    reads = types.ToolAnnotations(read_only_hint=True)
    tools, _ = read_tools("s", [tool("a"), tool("b", annotations=reads)])
    assert [each.reads_only for each in tools] == [False, True]


def test_a_result_is_text() -> None:
    """And says what is not shown."""
    data = base64.b64encode(bytes(300)).decode()
    embedded = types.TextResourceContents(uri="file:///a", text="inside")
    result = types.CallToolResult(
        content=[
            types.TextContent(type="text", text="hello"),
            types.ImageContent(type="image", data=data, mime_type="image/png\n\x1b"),
            types.EmbeddedResource(type="resource", resource=embedded),
            types.ResourceLink(type="resource_link", uri="file:///b", name="b"),
        ]
    )
    assert read_result(result).text.splitlines() == [
        "hello",
        "[image, image/png \\x1b, 300 bytes, which is not shown]",
        "inside",
        "[resource file:///b: b]",
    ]


def test_structured_content_is_read_if_there_is_nothing_else() -> None:
    """Of nothing at all that is said."""
    result = types.CallToolResult(content=[], structured_content={"price": 3})
    assert json.loads(read_result(result).text) == {"price": 3}
    assert read_result(types.CallToolResult(content=[])).text == "[nothing]"


def test_a_long_result_has_its_beginning_and_its_end() -> None:
    """Its error stays one."""
    long = types.TextContent(type="text", text=f"a{'b' * 1_000_000}c")
    read = read_result(types.CallToolResult(content=[long], is_error=True))
    assert (read.text[0], read.text[-1], read.is_error) == ("a", "c", True)
    assert len(read.text) < 31_000
