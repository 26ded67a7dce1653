"""What a State may be asked, next to `SESSION_OPERATIONS`: all of it is about its conversation."""

from __future__ import annotations

from jidocode.session.arguments import require_wait
from jidocode.session.conversation import approvals, importing, summaries
from jidocode.session.conversation.changes import Change, ChunkKind
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.reports import Repair
from jidocode.session.requests import Operations

MAX_WAIT = 60.0
"""Seconds that a caller may wait for an event."""


class NoEventYet(Exception):  # noqa: N818 - no failure: the State makes the caller wait
    """There is no event for a caller who has time to wait.

    Attributes:
        seconds: How long it would wait.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def append_chunk(
    holder: Conversation, message_id: str, text: str, *, offset: int, kind: ChunkKind = "text"
) -> int:
    """Append *text* to a message, and return how many characters it has then.

    *offset* is how many came before: 0, and then what the last chunk returned. What is
    there already changes nothing, so a chunk may be sent again. What a model thinks on the
    way is of the *kind* `reasoning`; it is counted, too.

    Raises:
        InvalidRequestError: An argument breaks a rule, no such message is
            running, or *offset* is not where it ends.
    """
    return holder.append_chunk(message_id, offset, text, kind=kind)


def events(
    holder: Conversation, *, after_seq: int, limit: int = 100, wait: float = 0.0
) -> list[Change]:
    """Return a page of the changes that follow *after_seq* one by one.

    If there is none, an answer comes with the next one, or empty after *wait* seconds.

    Raises:
        EventGapError: The one after *after_seq* cannot be read any more.
        InvalidRequestError: An argument breaks a rule.
        NoEventYet: There is none, and *wait* is not 0.
    """
    require_wait("wait", wait, most=MAX_WAIT)
    page = holder.events(after_seq=after_seq, limit=limit)
    if wait and not page:
        raise NoEventYet(wait)
    return page


def repair(holder: Conversation) -> Repair:
    """Return what was wrong with the journal when it was opened last, and what was done."""
    return holder.repair


OPERATIONS: Operations[Conversation] = Operations(
    Conversation.append_message,
    Conversation.messages,
    Conversation.clear_messages,
    Conversation.begin_stream,
    append_chunk,
    Conversation.append_block,
    Conversation.end_stream,
    Conversation.streams,
    Conversation.add_reasoning_step,
    Conversation.reasoning,
    Conversation.clear_reasoning,
    Conversation.add_tool_call,
    Conversation.add_tool_result,
    Conversation.tool_call,
    Conversation.tool_calls,
    Conversation.tool_call_maker,
    Conversation.tool_context,
    Conversation.replace_tool_context,
    Conversation.todos,
    Conversation.replace_todos,
    Conversation.settings,
    Conversation.update_settings,
    Conversation.add_prompt,
    Conversation.prompts,
    Conversation.add_file_access,
    Conversation.file_access,
    Conversation.file_accesses,
    summaries.summarize,
    summaries.summary,
    approvals.ask,
    approvals.answer,
    approvals.approvals,
    importing.import_history,
    Conversation.add_usage,
    Conversation.statistics,
    repair,
    events,
)
