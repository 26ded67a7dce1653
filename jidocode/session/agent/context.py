"""What a model is told before the conversation, and when a summary stands for that."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jidocode.base import log
from jidocode.base.text import describe
from jidocode.errors import CallError, InvalidRequestError
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
        used: Tokens of the last request and its answer, as the server counts them.
    """

    bound: int | None
    used: int = 0

    @property
    def is_full(self) -> bool:
        """Whether a summary is to stand for the conversation now."""
        return self.bound is not None and self.used >= self.bound * _FULL


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
        log.warning("{} is not read: {}", path, describe(error))
        return ""
    return text[:MAX_AGENTS_FILE]


def with_todos(summary: str, todos: Iterable[Todo]) -> str:
    """Return *summary* with what there is to do, which was said before it."""
    lines = [f"- {todo.content} ({todo.status})" for todo in todos]
    return "\n".join([summary, "", "Todos:", *lines]) if lines else summary
