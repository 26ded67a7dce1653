"""What the changes of a session add up to.

Rules of this file: it takes a change and answers questions, nothing else. There is no log
in it, no clock and no file, and no change is refused: it happened. So the same changes
always add up to the same, and whoever has them has the conversation. That is what
a journal relies on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from attrs import evolve

from jidocode.base.text import quote
from jidocode.session.conversation import limits
from jidocode.session.conversation.blocks import NOTHING_USED
from jidocode.session.conversation.bounded import BoundedMap
from jidocode.session.conversation.changes import (
    Approval,
    ApprovalAnswer,
    Change,
    FileAccess,
    JournalOpened,
    Message,
    MessagesCleared,
    PromptAdded,
    ReasoningCleared,
    ReasoningStep,
    SessionChanged,
    SettingsChanged,
    StreamBegan,
    StreamBlock,
    StreamChunk,
    Summary,
    TodosReplaced,
    ToolCall,
    ToolContextReplaced,
    ToolResult,
    UsageCounted,
    message_by,
)
from jidocode.session.conversation.messages import Messages, StreamedMessage, id_key
from jidocode.session.record import Session


class Fold:
    """Adds up changes. Read its attributes, and change them by `apply` only, or `note` at a replay.

    What was set as a whole is held as the change that set it; before the first one
    there is one with the number 0, which is in no log.

    Args:
        session: The session's record until a change says otherwise.
        keeps_all: Whether the log of the changes keeps all messages, see `Messages`.
    """

    def __init__(self, session: Session, *, keeps_all: bool) -> None:
        length = limits.MAX_KEPT_LENGTH
        self.messages = Messages(keeps_all=keeps_all)
        self.streams: dict[str, StreamedMessage] = {}
        self.tool_calls: BoundedMap[str, ToolCall] = BoundedMap(limits.MAX_TOOL_CALLS, length)
        self.reasoning: BoundedMap[str, ReasoningStep] = BoundedMap(
            limits.MAX_REASONING_STEPS, length
        )
        self.prompts: BoundedMap[str, PromptAdded] = BoundedMap(limits.MAX_PROMPTS, length)
        self.files: BoundedMap[tuple[str, str], FileAccess] = BoundedMap(
            limits.MAX_FILE_ACCESSES, length
        )
        self.approvals: BoundedMap[str, Approval] = BoundedMap(limits.MAX_APPROVALS, length)
        self.summary: Summary | None = None
        self.usage = UsageCounted(seq=0, counted_id="", usage=NOTHING_USED)
        self.todos = TodosReplaced(seq=0, todos=())
        self.tool_context = ToolContextReplaced(seq=0, context={})
        self.settings = SettingsChanged(seq=0, settings={})
        self.session = SessionChanged(seq=0, session=session)
        self.journal_opened: JournalOpened | None = None
        self.dropped_messages = 0
        self.dropped_tool_calls = 0

    def apply(self, change: Change) -> None:
        """Carry out *change*, whose number is above all before it."""
        message = self.note(change)
        if message is not None:
            self.remember(message)

    def note(self, change: Change) -> Message | None:
        """Carry out *change*, but for a message, which it returns, to `remember` or to leave out.

        Such a message is known by its number, as one is that has left the memory.
        """
        message = message_by(change)
        if message is not None:
            self.messages.note(message.seq, id_key(message.id))
        match change:
            case Message():
                self.end_stream(change.id)
            case MessagesCleared():
                self.messages.clear()
                self.summary = None
            case StreamBegan():
                self.streams[change.id] = StreamedMessage(change, [change.seq])
            case StreamChunk() | StreamBlock():
                if change.stream_id in self.streams:  # its beginning may have been damaged
                    self.streams[change.stream_id].take(change)
            case ReasoningStep():
                self.reasoning.put(change.id, change)
            case ReasoningCleared():
                self.reasoning.clear()
            case ToolCall():
                self._put_tool_call(change)
            case ToolResult():
                self._settle_call(change)
            case Summary():
                self.summary = change
            case UsageCounted():
                self.usage = change
            case Approval():
                self.approvals.put(change.id, change)
            case ApprovalAnswer():
                self._answer(change)
            case TodosReplaced():
                self.todos = change
            case ToolContextReplaced():
                self.tool_context = change
            case SettingsChanged():
                self.settings = change
            case SessionChanged():
                self.session = change
            case PromptAdded():
                self.prompts.put(change.id, change)
            case FileAccess():
                self._put_file_access(change)
            case JournalOpened():
                self.journal_opened = change
            case _:
                raise TypeError(f"{quote(change)} is no change of a conversation")
        return message

    def remember(self, message: Message) -> None:
        """Take a message into memory that was noted; the oldest there may be dropped for it."""
        self.dropped_messages += self.messages.remember(message)

    def _answer(self, answer: ApprovalAnswer) -> None:
        asked = self.approvals.get(answer.approval_id)
        if asked is not None:  # it may have been dropped, or damaged
            self.approvals.put(asked.id, evolve(asked, answer=answer))

    def _settle_call(self, result: ToolResult) -> None:
        call = self.tool_calls.get(result.call_id)
        if call is not None:  # it may have been dropped, or damaged
            self._put_tool_call(evolve(call, result=result))

    def _put_tool_call(self, call: ToolCall) -> None:
        self.dropped_tool_calls += len(self.tool_calls.put(call.id, call))

    def _put_file_access(self, access: FileAccess) -> None:
        # Taken out first: the file that was not touched for the longest time goes first.
        key = access.path, access.kind
        if key in self.files:
            self.files.pop(key)
        self.files.put(key, access)

    def end_stream(self, message_id: str) -> None:
        """Note that a message is not being said any more, if it was."""
        self.streams.pop(message_id, None)

    def drop_oldest_messages(self, count: int) -> None:
        """Forget the *count* oldest messages; they must not be in memory."""
        self.messages.drop_oldest(count)
        self.dropped_messages += count

    def count_anew(self) -> None:
        """Forget how much was dropped: the figures count from the start of a process."""
        self.dropped_messages = self.dropped_tool_calls = 0

    # Questions

    @property
    def known_session(self) -> Session | None:
        """The session's record, if a change said it."""
        return self.session.session if self.session.seq else None

    def unanswered_calls(self) -> list[ToolCall]:
        """Return the tool calls without a result, oldest first."""
        return [call for call in self.tool_calls.values() if call.result is None]

    def needed_seqs(self) -> Iterator[int]:
        """Yield the numbers of the changes that add up to this: all others were superseded.

        A call with a result is made by two changes, a message that is being said by
        several. An ended message is made by one, which has the whole of it.
        """
        calls, approvals = self.tool_calls.values(), self.approvals.values()
        changes: Iterable[Change | None] = chain(
            (self.session, self.todos, self.tool_context, self.settings, self.journal_opened),
            (self.summary, self.usage),
            calls,
            (call.result for call in calls),
            approvals,
            (asked.answer for asked in approvals),
            self.reasoning.values(),
            self.prompts.values(),
            self.files.values(),
        )
        yield from self.messages.seqs
        yield from (change.seq for change in changes if change is not None and change.seq > 0)
        for stream in self.streams.values():
            yield from stream.seqs
