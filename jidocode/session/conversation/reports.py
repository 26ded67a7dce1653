"""What a conversation says of itself: how much it holds, and what was wrong with its log."""

from __future__ import annotations

from attrs import frozen

from jidocode.base.records import Record
from jidocode.session.conversation.blocks import Usage


@frozen(eq=False, repr=False, kw_only=True)
class ConversationStatistics(Record):
    """How much a conversation holds.

    Attributes:
        messages: That can be read now.
        dropped_messages: Dropped for new ones since this State started.
        tool_calls: Kept now.
        dropped_tool_calls: Dropped for new ones since this State started.
        todos: In the list.
        streams: Messages that are being said.
        last_seq: The last number given out, 0 for none.
        usage: What the models that were asked in it took, since it began.
    """

    messages: int
    dropped_messages: int
    tool_calls: int
    dropped_tool_calls: int
    todos: int
    streams: int
    last_seq: int
    usage: Usage


@frozen(eq=False, repr=False, kw_only=True)
class ModelAnswered(Record):
    """A model has answered in a session, and what that took is written down.

    Attributes:
        model: Which model it was; empty if nobody said.
        stop_reason: Why the answer ended, in the server's words; empty if it broke off.
        usage: What this answer took.
        total: What all answers in the session took, this one among them.
    """

    model: str
    stop_reason: str
    usage: Usage
    total: Usage


@frozen(eq=False, repr=False, kw_only=True)
class Repair(Record):
    """What was found when a journal was opened, and what was done about it.

    Attributes:
        created: There was nothing in it yet, or no file.
        header_lost: The header could not be read, and was written anew. If nothing else was
            wrong, and it was not `created`, the file was empty: somebody emptied it.
        torn_bytes: Bytes of an incomplete record at the end; cut off. It was
            never acknowledged.
        bad_records: Lines that are no valid record; taken out.
        missing: Numbers that should be in the file and are not; 0 with *header_lost*, for
            then nobody knows.
        kept_aside: Names of the files, next to the journal, that hold what was cut
            off and taken out.
        pending: Why the repair could not be carried out yet; empty if it was.
            The next append tries again.
    """

    created: bool = False
    header_lost: bool = False
    torn_bytes: int = 0
    bad_records: int = 0
    missing: int = 0
    kept_aside: tuple[str, ...] = ()
    pending: str = ""

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.header_lost or self.torn_bytes or self.bad_records or self.missing)
