"""The tools that every session has: files, commands and todos, for a model.

How to add one: an attrs class of its arguments, a function that is done in steps, and an entry
in `TOOLS`.
"""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from msgspec import Meta

from jidocode.base.text import quote
from jidocode.errors import EditMismatchError, FileChangedError, InvalidRequestError
from jidocode.session.conversation.changes import FileAccessKind, Todo, TodoStatus
from jidocode.session.project.editing import Edit
from jidocode.session.project.results import WrittenFile
from jidocode.session.tools.steps import InSteps, Steps, use
from jidocode.session.tools.tool import Tool, ToolKind

Path = Annotated[str, Meta(description="The path, relative to the project.")]


@frozen
class ReadFile:
    """Arguments of `read_file`."""

    path: Path
    offset: Annotated[int, Meta(description="The first line, counted from 1.", ge=1)] = 1
    limit: Annotated[int, Meta(description="How many lines at most.", ge=1, le=2000)] = 2000


def read_file(arguments: ReadFile) -> Steps[str]:
    """Return lines with their numbers, and say what is missing."""
    part = yield from use(
        lambda session: session.manager.read_file(
            arguments.path, offset=arguments.offset, limit=arguments.limit
        )
    )
    if part.sha256 is not None:
        path = yield from _absolute(arguments.path)
        yield from _note(path, "read", part.sha256)
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


def write_file(arguments: WriteFile) -> Steps[str]:
    """Make a file, or replace one as it was last read or written here."""
    path = yield from _absolute(arguments.path)
    read = yield from use(lambda session: session.state.file_access(path, "read"))
    wrote = yield from use(lambda session: session.state.file_access(path, "write"))
    last = max((each for each in (read, wrote) if each), key=lambda each: each.seq, default=None)
    try:
        written = yield from _write(arguments, last.sha256 if last else "absent")
    except FileChangedError as error:
        if error.sha256 is None:  # it is gone, and may be made again
            written = yield from _write(arguments, "absent")
        else:
            why = "it has changed since you read it" if last else "you have not read it"
            raise InvalidRequestError(f"the file is there, and {why}: read it first") from error
    yield from _note(path, "write", written.sha256)
    return f"{written.path} was written{_hint(protected=written.protected)}"


def _hint(*, protected: bool) -> str:
    if not protected:
        return ""
    return "; it is reported, for other programs execute what stands there"


def _write(arguments: WriteFile, if_sha256: str) -> Steps[WrittenFile]:
    return use(
        lambda session: session.manager.write_file(
            arguments.path, arguments.content, if_sha256=if_sha256
        )
    )


def _absolute(path: str) -> Steps[str]:
    """Return the path under which the State has what was done with a file."""
    return use(lambda session: session.manager.validate_path(path))


def _note(path: str, kind: FileAccessKind, sha256: str) -> Steps[object]:
    return use(lambda session: session.state.add_file_access(path, kind, sha256))


@frozen
class Replacement:
    """One of the edits of `edit_file`."""

    old: Annotated[str, Meta(description="The text to replace, exactly, with all its spaces.")]
    new: Annotated[str, Meta(description="The text to put there.")]
    expect: Annotated[int, Meta(description="How often the old text is there.", ge=1)] = 1


@frozen
class EditFile:
    """Arguments of `edit_file`."""

    path: Path
    edits: Annotated[tuple[Replacement, ...], Meta(description="All are made, or none.")]


def edit_file(arguments: EditFile) -> Steps[str]:
    """Replace exact texts, and return what was changed."""
    edits = [Edit(each.old, each.new, each.expect) for each in arguments.edits]
    try:
        edited = yield from use(lambda session: session.manager.edit_file(arguments.path, *edits))
    except EditMismatchError as error:
        nearest = f"nearest to it:\n{error.nearest}" if error.nearest else "nothing is like it"
        raise InvalidRequestError(f"{error}; {nearest}") from error
    path = yield from _absolute(arguments.path)
    yield from _note(path, "write", edited.sha256)
    places = "1 place" if edited.replacements == 1 else f"{edited.replacements} places"
    return f"{edited.path} was edited in {places}{_hint(protected=edited.protected)}\n{edited.diff}"


@frozen
class Glob:
    """Arguments of `glob`."""

    pattern: Annotated[str, Meta(description="Such as **/*.py; ** is any number of directories.")]
    path: Path = "."


def glob(arguments: Glob) -> Steps[str]:
    """Return a path per line."""
    found = yield from use(
        lambda session: session.manager.glob(arguments.pattern, path=arguments.path)
    )
    lines = list(found.paths)
    if found.truncated:
        lines.append("[there are more: ask for less]")
    return "\n".join(lines) or "[nothing]"


@frozen
class Grep:
    """Arguments of `grep`."""

    pattern: Annotated[str, Meta(description="A regular expression, without look-around.")]
    path: Path = "."
    glob: Annotated[str | None, Meta(description="Only files with such names, *.py.")] = None
    ignore_case: Annotated[bool, Meta(description="Whether A is a.")] = False


def grep(arguments: Grep) -> Steps[str]:
    """Return a match per line, with its place."""
    found = yield from use(
        lambda session: session.manager.grep(
            arguments.pattern,
            path=arguments.path,
            glob=arguments.glob,
            ignore_case=arguments.ignore_case,
        )
    )
    lines = [str(match) for match in found.matches]
    if found.truncated:
        lines.append("[there are more: ask for less]")
    return "\n".join(lines) or f"[nothing in {found.files} files]"


@frozen
class RunCommand:
    """Arguments of `run_command`."""

    command: Annotated[str, Meta(description="A line for the shell.")]
    timeout: Annotated[float, Meta(description="Seconds until it is ended.", gt=0, le=3600)] = 120.0


def run_command(arguments: RunCommand) -> Steps[str]:
    """Return what a command has written, and how it has ended."""
    done = yield from use(
        lambda session: session.commands.run(
            arguments.command, timeout=arguments.timeout, merge=True
        )
    )
    end = f"[exit code {done.exit_code}]"
    if done.timed_out:
        end = f"[ended after {arguments.timeout:g} s]"
    elif done.signal is not None:
        end = f"[ended by signal {done.signal}]"
    if done.protected_changes:
        kept = [path for path in done.protected_changes if path not in done.undone_changes]
        for what, paths in (("changed", kept), ("undone", done.undone_changes)):
            if paths:
                end += f"\n[{what}, for other programs execute it: {', '.join(map(quote, paths))}]"
        if done.set_aside:
            end += f"\n[what was there is kept: {', '.join(map(quote, done.set_aside))}]"
    return f"{done.stdout.rstrip()}\n{end}".lstrip()


@frozen
class ListDirectory:
    """Arguments of `list_directory`."""

    path: Path = "."


def list_directory(arguments: ListDirectory) -> Steps[str]:
    """Return a name per line; directories end in a slash."""
    listing = yield from use(lambda session: session.manager.list_directory(arguments.path))
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


def todo_write(arguments: TodoWrite) -> Steps[str]:
    """Replace the list of todos."""
    wanted = [Todo(each.content, each.status) for each in arguments.todos]
    todos = yield from use(lambda session: session.state.replace_todos(wanted))
    done = sum(todo.status == "completed" for todo in todos)
    return f"{len(todos)} todos, {done} of them completed"


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="read_file",
        description="Read lines of a text file of the project; each has its number before it.",
        kind=ToolKind.READ,
        arguments=ReadFile,
        run=InSteps(read_file),
    ),
    Tool(
        name="list_directory",
        description="List what a directory of the project holds.",
        kind=ToolKind.READ,
        arguments=ListDirectory,
        run=InSteps(list_directory),
    ),
    Tool(
        name="write_file",
        description="Write a whole text file of the project; read one that is there before.",
        kind=ToolKind.EDIT,
        arguments=WriteFile,
        run=InSteps(write_file),
    ),
    Tool(
        name="edit_file",
        description="Replace exact texts in a text file of the project, all at once.",
        kind=ToolKind.EDIT,
        arguments=EditFile,
        run=InSteps(edit_file),
    ),
    Tool(
        name="glob",
        description="Find files of the project by a pattern for their names.",
        kind=ToolKind.SEARCH,
        arguments=Glob,
        run=InSteps(glob),
    ),
    Tool(
        name="grep",
        description="Find lines of the project's text files by a regular expression.",
        kind=ToolKind.SEARCH,
        arguments=Grep,
        run=InSteps(grep),
    ),
    Tool(
        name="run_command",
        description="Run a shell command in the project, without network, and wait for its end.",
        kind=ToolKind.EXECUTE,
        arguments=RunCommand,
        run=InSteps(run_command),
    ),
    Tool(
        name="todo_write",
        description="Replace the session's list of todos by another one.",
        kind=ToolKind.THINK,
        arguments=TodoWrite,
        run=InSteps(todo_write),
    ),
)
"""What every session has, in the order in which a model sees it."""
