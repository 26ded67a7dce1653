"""What can be seen of a conversation, for comparing two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from jidocode.session.conversation.changes import Change
from jidocode.session.conversation.conversation import Conversation

C = TypeVar("C", bound=Change)


def all_pages(read: Callable[..., list[C]], limit: int = 1000) -> list[C]:
    """Return all that *read* returns in pages."""
    found: list[C] = []
    while page := read(after_seq=found[-1].seq if found else 0, limit=limit):
        found += page
    return found


def snapshot(conversation: Conversation) -> dict[str, Any]:
    """Return everything that a conversation holds."""
    return {
        "messages": all_pages(conversation.messages),
        "streams": conversation.streams(),
        "tool_calls": all_pages(conversation.tool_calls),
        "reasoning": all_pages(conversation.reasoning),
        "prompts": all_pages(conversation.prompts),
        "files": all_pages(conversation.file_accesses),
        "todos": conversation.todos(),
        "tool_context": conversation.tool_context(),
        "settings": conversation.settings(),
        "session": conversation.session,
    }
