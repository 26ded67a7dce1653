"""`Tool`: something that a model or an editor may ask of a session, as data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, cast

from attrs import field, fields, frozen, has

from jidocode.base.records import Record
from jidocode.base.text import describe, quote
from jidocode.errors import InvalidToolError
from jidocode.session.tools.arguments import JsonArguments, schema_of

if TYPE_CHECKING:
    from jidocode.session.commands.client import CommandsClient
    from jidocode.session.manager.client import ManagerClient
    from jidocode.session.mcp.client import McpServersClient
    from jidocode.session.state.client import StateClient

MAX_TOOL_NAME = 64
"""Characters of the name of a tool that the servers of models take."""
_NAME = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_TOOL_NAME}}}")


class ToolKind(StrEnum):
    """What a tool does, for whoever has to allow it or shows it."""

    READ = "read"
    SEARCH = "search"
    THINK = "think"
    EDIT = "edit"
    EXECUTE = "execute"

    @property
    def is_harmless(self) -> bool:
        """Whether it changes nothing but the conversation."""
        return self in {ToolKind.READ, ToolKind.SEARCH, ToolKind.THINK}


class ToolContext(Protocol):
    """The session that a tool works in, such as a `SessionHandle`."""

    @property
    def id(self) -> str:
        """The session's id."""
        ...

    @property
    def manager(self) -> ManagerClient:
        """Its files."""
        ...

    @property
    def state(self) -> StateClient:
        """Its conversation."""
        ...

    @property
    def commands(self) -> CommandsClient:
        """Its commands."""
        ...

    @property
    def mcp(self) -> McpServersClient:
        """Its MCP servers."""
        ...


@frozen(eq=False, repr=False, kw_only=True)
class Tool(Record):
    """Something that a model or an editor may ask of a session.

    Attributes:
        name: What a model calls it: letters, digits, `_` and `-`, 64 at most.
        description: What it is for, in the words that a model reads.
        kind: What it does. Whatever edits or executes has to be allowed.
        arguments: The attrs class of its arguments; of an MCP server's tool their JSON Schema
            (`JsonArguments`), and *run* gets a dict. Their types, and what
            `Annotated[int, msgspec.Meta(description=..., ge=1)]` says of them, make the schema.
        run: Does it: gets the session and an instance of *arguments*, and returns a text for
            the model. A message that it raises is told to the model. For an
            `AsyncSessionSystem` it may be a coroutine function, which gets an
            `AsyncSessionHandle`; one that is none gets a `SessionHandle`, in a thread.
        subject: Says in one text what a call is about, for whoever is asked to allow it: a
            path, a command. The first argument by default. Of the kind `edit` it is taken for
            a path of the project, and made the file's own.

    Raises:
        InvalidToolError: It is none.
    """

    name: str
    description: str = field(repr=False)
    kind: ToolKind
    arguments: type | JsonArguments = field(repr=False)
    run: Callable[[Any, Any], str | Awaitable[str]] = field(repr=False)
    subject: Callable[[Any], str] = field(default=lambda arguments: _first(arguments), repr=False)  # noqa: PLW0108 - it stands below

    def __attrs_post_init__(self) -> None:
        name, kind, arguments = cast("tuple[object, ...]", (self.name, self.kind, self.arguments))
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidToolError(
                f"the name of a tool is 1 to {MAX_TOOL_NAME} letters, digits, _ and -, "
                f"not {quote(name)}"
            )
        if not isinstance(kind, ToolKind):
            raise InvalidToolError(f"the kind of {name} must be a ToolKind, not {quote(kind)}")
        if not isinstance(arguments, JsonArguments) and not (
            isinstance(arguments, type) and has(arguments)
        ):
            raise InvalidToolError(f"the arguments of {name} must be an attrs class")
        try:
            schema_of(arguments)
        except Exception as error:  # whatever reading the types of a foreign class raises
            raise InvalidToolError(
                f"the arguments of {name} have no JSON schema: {describe(error)}"
            ) from error

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of its arguments."""
        return schema_of(self.arguments)


def is_awaited(function: Callable[..., object]) -> bool:
    """Whether *function* is a coroutine function, or an object that is called like one."""
    call = getattr(function, "__call__", None)  # noqa: B004 - it is looked at, and not whether it is there
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def check_tools(tools: Iterable[object]) -> tuple[Tool, ...]:
    """Return *tools*.

    Raises:
        InvalidToolError: One is none, or two have one name.
    """
    checked: dict[str, Tool] = {}
    for tool in tools:
        if not isinstance(tool, Tool):
            raise InvalidToolError(f"a tool must be a Tool, not {quote(tool)}")
        if tool.name in checked:
            raise InvalidToolError(f"there are two tools {tool.name}")
        checked[tool.name] = tool
    return tuple(checked.values())


def _first(arguments: object) -> str:
    for each in fields(cast("Any", type(arguments))):
        return str(getattr(arguments, each.name))
    return ""
