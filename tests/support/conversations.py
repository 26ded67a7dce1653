"""What can be seen of a conversation, for comparing two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from jidocode.session.conversation.approvals import approvals
from jidocode.session.conversation.changes import Change
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.history import HistoryFormat
from jidocode.session.conversation.summaries import summary
from jidocode.session.state.client import StateClient
from jidocode.session.state.operations import OPERATIONS

C = TypeVar("C", bound=Change)

FORMATS: tuple[HistoryFormat, ...] = ("openai", "anthropic")


def asking(conversation: Conversation) -> StateClient:
    """Return a client that asks *conversation* without a process."""

    def ask(request: Any, /, **_options: object) -> Any:
        operation = OPERATIONS.by_name[request.operation]
        return operation(conversation, *request.args, **request.kwargs)

    return StateClient(cast("Any", ask))


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
        "approvals": all_pages(partial(approvals, conversation)),
        "summary": summary(conversation),
        "todos": conversation.todos(),
        "tool_context": conversation.tool_context(),
        "settings": conversation.settings(),
        "session": conversation.session,
    }
