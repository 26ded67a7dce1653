"""What a model is told before the conversation, and when a summary stands for that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from msgspec import Struct

from jidocode.base import log
from jidocode.base.text import NOTE_LENGTH, describe, line, without_middle
from jidocode.errors import CallError, InvalidRequestError
from jidocode.session.conversation.blocks import Usage
from jidocode.session.conversation.changes import Todo
from jidocode.session.manager.client import AsyncManagerClient

MAX_AGENTS_FILE = 30_000
"""Characters of the project's own instructions that a model is told."""
_FULL = 0.8

_PROMPT = """\
You are a coding agent at work in one project folder. All paths are relative to it. Look at files \
before you change them, change no more than what was asked for, and say in the end, briefly, what \
you did. A tool that refuses a call says why: do not make the same call again."""

SUMMARIZE = """\
The conversation becomes too long. Write a summary that will stand in its place, for yourself: \
what was asked for, in the words that matter; what was done, found out and decided, with the \
paths; what is still to be done next. No tools; only the summary."""


class Gauge(Struct):
    """How full a model's context is.

    Attributes:
        bound: Tokens that it may have; None if nobody says.
        used: Tokens of the last request and its answer, as the server counts them; None as long
            as nobody has looked.
    """

    bound: int | None
    used: int | None = None

    def note(self, usage: Usage) -> None:
        """Know what the last answer took."""
        self.used = usage.input_tokens + usage.output_tokens

    @property
    def is_full(self) -> bool:
        """Whether a summary is to stand for the conversation now."""
        return self.bound is not None and (self.used or 0) >= self.bound * _FULL


def system_prompt(instructions: str, agents_file: str) -> str:
    """Return what stands before a conversation: ours, the app's, and the project's."""
    own = f"The project's own instructions:\n\n{agents_file}" if agents_file.strip() else ""
    return "\n\n".join(part for part in (_PROMPT, instructions.strip(), own) if part)


async def read_agents_file(manager: AsyncManagerClient, path: str | None) -> str:
    """Return the beginning of the project's own instructions; nothing if there are none."""
    if path is None:
        return ""
    try:
        text = (await manager.read_file(path)).text
    except FileNotFoundError:
        return ""
    except (OSError, InvalidRequestError, CallError) as error:
        log.warning("{} is not read: {}", line(path), describe(error))
        return ""
    if len(text) > MAX_AGENTS_FILE:
        return f"{text[:MAX_AGENTS_FILE]}\n[{path} goes on: read it, if need be]"
    return text


def with_todos(todos: Iterable[Todo]) -> str:
    """Return what follows a summary: what there is to do, which was said before it."""
    lines = [f"- {todo.content} ({todo.status})" for todo in todos]
    return "\n".join(["\n\nTodos:", *lines]) if lines else ""


def transcript(said: Iterable[Mapping[str, Any]], most: int | None = None) -> str:
    """Return the messages of a request as one text, of *most* characters at most.

    What is too long has its beginning and its end: what was asked for, and what was done last.
    Of each message alone likewise, so that one that is huge does not take the place of all others.
    """
    texts = [_as_text(message) for message in said]
    if most is None:
        return "\n\n".join(texts)
    each = max(most // 8, NOTE_LENGTH)
    return without_middle("\n\n".join(without_middle(text, each) for text in texts), most)


def _as_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = cast("list[Mapping[str, Any]]", content)
        content = "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in parts)
    calls = cast("list[Mapping[str, Any]]", message.get("tool_calls") or [])
    functions = [cast("Mapping[str, Any]", call["function"]) for call in calls]
    lines = [str(content)] if content else []
    lines += [f"[calls {each['name']} {each['arguments']}]" for each in functions]
    return f"{message['role']}: " + "\n".join(lines)
