"""What a model is told before the conversation."""

from __future__ import annotations

_PROMPT = """\
You are a coding agent at work in one project folder. All paths are relative to it. Look at files \
before you change them, change no more than what was asked for, and say in the end, briefly, what \
you did. A tool that refuses a call says why: do not make the same call again."""


def system_prompt(instructions: str) -> str:
    """Return what stands before a conversation, with the app's own *instructions*."""
    return "\n\n".join(part for part in (_PROMPT, instructions.strip()) if part)
