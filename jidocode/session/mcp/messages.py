"""What the process that keeps an MCP server is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from msgspec import Struct

from jidocode.base.records import Record
from jidocode.base.structs import Discreet
from jidocode.errors import McpServerError

ANSWER_TIME = 10.0
"""Seconds that the process has to answer, beyond those that its server has."""


@frozen(eq=False, repr=False)
class McpTool(Record):
    """A tool of an MCP server, as a model may see it.

    Attributes:
        name: What a model calls it.
        own_name: What its server calls it.
        description: What it is for, in the server's words.
        schema: The JSON Schema of its arguments, as text.
        reads_only: Whether its server says that it changes nothing.
    """

    name: str
    own_name: str = field(repr=False)
    description: str = field(repr=False)
    schema: str = field(repr=False)
    reads_only: bool


@frozen(eq=False, repr=False)
class McpServerTools(Record):
    """What a server offers now.

    Attributes:
        server: Its name.
        tools: The names of its tools, as models call them; none if they cannot be called.
        error: Why they cannot be called; None if they can.
    """

    server: str
    tools: tuple[str, ...] = ()
    error: McpServerError | None = None


class Offered(Struct, frozen=True):
    """The answer to `ListTools`, by which `Tool`s are made.

    Attributes:
        server: The server's name.
        timeout: Seconds that a call of one may take.
        tools: All of them.
        error: Why there are none.
    """

    server: str
    timeout: float = 0.0
    tools: tuple[McpTool, ...] = ()
    error: McpServerError | None = None


class Connect(Struct, frozen=True):
    """Begin, if that has not begun; answered at once."""


class ListTools(Struct, frozen=True):
    """Answered with `Offered`, as soon as the server is ready, or has failed."""


class CallTool(Discreet, frozen=True):
    """Make a call; answered with `Returned`, refused with `McpServerError`.

    Attributes:
        call_id: A fresh one.
        tool: The tool, as its server calls it.
        arguments: A JSON object.
        waiter: The process that waits for the answer, and with whose end the call ends.
    """

    hidden = ("arguments",)

    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    waiter: int


class Returned(Discreet, frozen=True):
    """What came of a call, for a model.

    Attributes:
        text: What the server says.
        is_error: Whether it says that the call failed.
    """

    hidden = ("text",)

    text: str
    is_error: bool


class CancelCall(Struct, frozen=True):
    """Cancel a call, if it is under way; answered at once."""

    call_id: str
