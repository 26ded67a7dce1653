"""The tools that every session has: files, commands and todos, for a model.

How to add one: an attrs class of its arguments, a function, and an entry in `TOOLS`.
"""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from msgspec import Meta

from jidocode.session.conversation.changes import Todo, TodoStatus
from jidocode.session.tools.tool import Tool, ToolContext, ToolKind

Path = Annotated[str, Meta(description="The path, relative to the project.")]


@frozen
class ReadFile:
    """Arguments of `read_file`."""

    path: Path
    offset: Annotated[int, Meta(description="The first line, counted from 1.", ge=1)] = 1
    limit: Annotated[int, Meta(description="How many lines at most.", ge=1, le=2000)] = 2000


def read_file(session: ToolContext, arguments: ReadFile) -> str:
    """Return lines with their numbers, and say what is missing."""
    part = session.manager.read_file(arguments.path, offset=arguments.offset, limit=arguments.limit)
    lines = str(part)
    if part.more:
        following = part.first_line + lines.count("\n") + 1
        return f"{lines}\n[more lines follow; go on with offset {following}]"
    return lines or "[no lines]"


@frozen
class WriteFile:
    """Arguments of `write_file`."""

    path: Path
    content: Annotated[str, Meta(description="The whole text of the file.")]


def write_file(session: ToolContext, arguments: WriteFile) -> str:
    """Replace a file or make one."""
    written = session.manager.write_file(arguments.path, arguments.content)
    return f"{written.path} was written"


@frozen
class ListDirectory:
    """Arguments of `list_directory`."""

    path: Path = "."


def list_directory(session: ToolContext, arguments: ListDirectory) -> str:
    """Return a name per line; directories end in a slash."""
    listing = session.manager.list_directory(arguments.path)
    lines = [
        f"{entry.name}/" if entry.kind == "directory" else entry.name for entry in listing.entries
    ]
    if listing.truncated:
        lines.append("[there are more]")
    return "\n".join(lines) or "[it is empty]"


@frozen
class TodoItem:
    """One of the todos of `todo_write`."""

    content: Annotated[str, Meta(description="What to do.")]
    status: TodoStatus = "pending"


@frozen
class TodoWrite:
    """Arguments of `todo_write`."""

    todos: Annotated[tuple[TodoItem, ...], Meta(description="The whole list, in order.")]


def todo_write(session: ToolContext, arguments: TodoWrite) -> str:
    """Replace the list of todos."""
    todos = session.state.replace_todos(
        [Todo(each.content, each.status) for each in arguments.todos]
    )
    done = sum(todo.status == "completed" for todo in todos)
    return f"{len(todos)} todos, {done} of them completed"


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="read_file",
        description="Read lines of a text file of the project; each has its number before it.",
        kind=ToolKind.READ,
        arguments=ReadFile,
        run=read_file,
    ),
    Tool(
        name="list_directory",
        description="List what a directory of the project holds.",
        kind=ToolKind.READ,
        arguments=ListDirectory,
        run=list_directory,
    ),
    Tool(
        name="write_file",
        description="Write a whole text file of the project: make it, or replace what is there.",
        kind=ToolKind.EDIT,
        arguments=WriteFile,
        run=write_file,
    ),
    Tool(
        name="todo_write",
        description="Replace the session's list of todos by another one.",
        kind=ToolKind.THINK,
        arguments=TodoWrite,
        run=todo_write,
    ),
)
"""What every session has, in the order in which a model sees it."""
