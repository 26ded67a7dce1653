"""What tests ask a session again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen
from valid_history import problems

from jidocode import SessionHandle, Tool, ToolKind


@frozen
class Words:
    """Arguments of a tool."""

    text: str = ""


def a_tool(name: str, run: Callable[[Any, Any], str | Awaitable[str]]) -> Tool:
    """Return a tool that takes words, and has to be allowed."""
    return Tool(name=name, description="Say.", kind=ToolKind.EXECUTE, arguments=Words, run=run)


def pids_of(session: SessionHandle) -> dict[str, int]:
    """Return the process of each child that has one, by its id."""
    return {info.id: info.ref.os_pid for info in session.which_children() if info.ref}


def runs(session: SessionHandle) -> bool:
    """Return whether a command does."""
    return any(each.running for each in session.commands.list())


def called(session: SessionHandle, name: str, /, **arguments: object) -> str:
    """Make a call of a tool that works out; return its result."""
    result = session.tools.call(name, arguments)
    assert not result.is_error, result.content
    return result.content


def history_of(session: SessionHandle) -> list[dict[str, object]]:
    """Return the conversation as a model gets it, which is valid."""
    found = session.state.history()
    assert problems(found, "openai") == []
    return found
