"""The ledger: the one way for a change to happen.

A change gets its number, is written to the log, and then it is folded, in that order.
So what could not be written has not happened, and what is folded can be rebuilt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from jidocode.base.text import quote
from jidocode.errors import EventGapError, InvalidRequestError
from jidocode.session.conversation import limits
from jidocode.session.conversation.blocks import Completion
from jidocode.session.conversation.change_log import ChangeLog
from jidocode.session.conversation.changes import Change, Message, UsageCounted, message_by
from jidocode.session.conversation.fold import Fold
from jidocode.session.conversation.reports import ModelAnswered, Repair

C = TypeVar("C", bound=Change)

Draft = Callable[[int], C]
"""A change that has no number yet: called with its number, it returns the change."""


class Ledger:
    """Numbers changes, writes them to a log, and folds them.

    Args:
        fold: What the changes in *log* add up to.
        log: Where further changes go.
        drafts: What must be written before any other change, see `settle`.
    """

    def __init__(self, fold: Fold, log: ChangeLog, drafts: Iterable[Draft[Change]] = ()) -> None:
        self.fold = fold
        self._log = log
        self._drafts = deque(drafts)
        self.answered: list[ModelAnswered] = []
        """Answers that were counted, and of which nobody was told; whoever tells takes them out."""

    @property
    def last_seq(self) -> int:
        """The last number given out, 0 for none."""
        return self._log.last_seq

    @property
    def repair(self) -> Repair:
        """What was wrong with the log when it was opened, and what was done about it."""
        return self._log.repair

    # Changes

    def commit(self, draft: Draft[C]) -> C:
        """Make the change that *draft* says, and return it.

        Raises:
            JournalWriteError: It could not be written, so nothing has changed.
        """
        self.settle()
        change = self._write(draft)
        if self._log.wants_compaction:
            self.compact()
        return change

    def settle(self) -> None:
        """Write down what a crash left to be written; does nothing once that succeeded.

        The disk may be full when a State starts. It is better to start and to answer what is
        known than not to start, so this is tried again before each change, and no change
        overtakes it. Whoever looks whether a message or a tool call is open, to refuse a
        change or not, settles first: what a crash left open seems to be so until then.

        Raises:
            JournalWriteError: It could not be written yet.
        """
        while self._drafts:
            self._write(self._drafts[0])
            self._drafts.popleft()

    def _write(self, draft: Draft[C]) -> C:
        change = draft(self.last_seq + 1)
        self._log.append(change)
        self.fold.apply(change)
        return change

    def count(self, counted_id: str, completion: Completion | None) -> None:
        """Add what an answer, or a summary, took to what the session took in all; once.

        It is done before what it is of is written: who tries again after a failure in between
        has it counted once.
        """
        so_far = self.fold.usage
        if completion is not None and so_far.counted_id != counted_id:
            usage = so_far.usage + completion.usage
            self.commit(lambda seq: UsageCounted(seq=seq, counted_id=counted_id, usage=usage))
            self.answered.append(
                ModelAnswered(
                    model=completion.model,
                    stop_reason=completion.stop_reason,
                    usage=completion.usage,
                    total=usage,
                )
            )

    def require_fresh_call(self, call_id: str) -> None:
        """Refuse the id of a call that there is, or was.

        A server may give the same ids again in each of its answers. Under a known one the old
        result would be taken for the new call's, and the tool never be called.
        """
        self.settle()
        if call_id in self.fold.tool_calls or self.message_with_id(call_id) is not None:
            raise InvalidRequestError(f"tool call {quote(call_id)} is there already")

    # Reading

    def message(self, seq: int) -> Message:
        """Return the message with that number, from memory or from the log.

        Raises:
            JournalDamagedError: It cannot be read any more.
        """
        message = self.fold.messages.at(seq)
        if message is not None:
            return message
        message = message_by(self._log.read(seq))
        assert message is not None  # noqa: S101 - messages are noted by these numbers
        return message

    def message_with_id(self, message_id: str) -> Message | None:
        """Return the last message with that id, from memory or from the log.

        Raises:
            JournalDamagedError: It cannot be read any more.
        """
        known = self.fold.messages.with_id(message_id)
        if known is not None:
            return known
        maybe = map(self.message, self.fold.messages.seqs_with_id(message_id))
        return next((message for message in maybe if message.id == message_id), None)

    def changes_after(self, seq: int) -> Iterator[Change]:
        """Yield the changes that follow *seq*, one by one.

        Raises:
            EventGapError: The one after *seq* cannot be read any more, or *seq* lies in
                the future.
        """
        if not self._log.readable_after <= seq <= self.last_seq:
            raise EventGapError(seq, self._log.readable_after)
        return self._log.after(seq)

    # Compaction

    # A log only grows, and most of a long one is dead: lists of todos that were replaced,
    # chunks of messages that have ended. A compaction leaves the changes that add up to
    # the present, under their old numbers, so readers go on where they were. The latest
    # changes stay too, also dead ones: subscribers that come back after a crash need them.
    #
    # Messages never die, so they need a limit. It is enforced here and nowhere else: to
    # forget a message any sooner would save nothing on the disk. Those in memory are kept
    # in any case, for their numbers would be missing from `Messages` otherwise.

    def compact(self) -> None:
        """Have the log forget what is not needed, the oldest messages first of all."""
        self.fold.drop_oldest_messages(self._excess_messages())
        self._log.compact(self.fold.needed_seqs())

    def _excess_messages(self) -> int:
        """Return how many messages are too many for a journal, by count or by size."""
        messages = self.fold.messages
        excess = max(0, len(messages) - limits.MAX_STORED_MESSAGES)
        size = 0
        for place in range(len(messages) - 1, excess - 1, -1):
            size += self._log.size_of(messages.seqs[place])
            if size > limits.MAX_STORED_SIZE:
                excess = place + 1
                break
        return min(excess, len(messages) - messages.in_memory)

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()
