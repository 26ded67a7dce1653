"""What a model is told before the conversation."""

from __future__ import annotations

from jidocode.base import log
from jidocode.base.text import describe, line
from jidocode.errors import CallError, InvalidRequestError
from jidocode.session.manager.client import AsyncManagerClient

MAX_AGENTS_FILE = 30_000
"""Characters of the project's own instructions that a model is told."""

_PROMPT = """\
You are a coding agent at work in one project folder. All paths are relative to it. Look at files \
before you change them, change no more than what was asked for, and say in the end, briefly, what \
you did. A tool that refuses a call says why: do not make the same call again."""


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
