"""How a conversation comes back from its journal, and what is closed then.

Whatever a State has acknowledged is in the journal, so the next State has only to fold
the changes again. What it finds half done is another matter. A crash leaves messages
that were being said, and tool calls without a result, and nobody will ever go on
with them: whoever was at it has died too, or will be told that the State did. A history
for a model must have neither, for model providers refuse it. So both are ended, in the
journal, and it is said that they were interrupted. A tool is never run again for it:
nobody knows how far it got.

Without this every later turn of the session would fail, or a tool might do twice what
should be done once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping

from attrs import asdict, evolve

from jidocode.base import log
from jidocode.errors import JournalError, JournalWriteError
from jidocode.session.conversation import limits
from jidocode.session.conversation.changes import (
    INTERRUPTED_CALL,
    Change,
    JournalOpened,
    Message,
    MessagesCleared,
    SessionChanged,
    ToolCall,
    ToolResult,
    message_by,
    now,
)
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.fold import Fold
from jidocode.session.conversation.ledger import Draft, Ledger
from jidocode.session.conversation.messages import StreamedMessage
from jidocode.session.journal.change_log import JournalLog
from jidocode.session.journal.codec import decode, decode_as, holds, message_key
from jidocode.session.journal.file import Durability, Journal
from jidocode.session.journal.format import JournalRecord
from jidocode.session.journal.ownership import Hold
from jidocode.session.journal.place import check_place, journal_path
from jidocode.session.record import Session


def recover(
    session: Session,
    directory: str | os.PathLike[str],
    durability: Durability,
    system: str | None = None,
) -> Conversation:
    """Return the conversation of *session*, rebuilt from its journal in *directory* and kept there.

    The later one of two records of the session counts: the journal's, or *session*.
    Where the project is, the latter knows.

    A disk that is full, or may not be written, does not keep a conversation from
    coming back: it can be read, and what has to be written is tried before each change.

    If a *system* has the session open, it must have it still, now and before each change.

    Raises:
        JournalError: The journal cannot be opened (see `Journal.open`), lies
            within the project, or is of another session or project.
        JournalLostError: The session is not kept for *system* any more, see `Hold`.
    """
    path = journal_path(directory, session.id)
    check_place(path, session)
    hold = None if system is None else Hold(path, system)
    replay = Replay(session)
    journal = Journal.open(path, durability=durability, each=replay.take)
    try:
        fold = replay.finish()
        latest = _latest(fold.known_session, session)
    except BaseException:
        journal.close()
        raise
    if not journal.repair.clean:
        log.warning("the journal of session {} was damaged: {}", session.id, journal.repair)
    ledger = Ledger(fold, JournalLog(journal, hold), _to_be_written(fold, latest, journal))
    try:
        ledger.settle()
    except JournalWriteError as error:
        log.warning("session {} can only be read: {}", session.id, error.message)
    return Conversation(ledger)


class Replay:
    """Folds the records of a journal, in order.

    Opening a journal of 200,000 messages must not take the time to decode them, nor the
    memory to hold them. So a message is noted by its number and its id, and only those
    are decoded, in the end, that stay in memory. No other change depends on what a message
    says, except that it ends one that was being said.
    """

    def __init__(self, session: Session) -> None:
        self._fold = Fold(session, keeps_all=JournalLog.keeps_all)
        self._latest: deque[JournalRecord] = deque(maxlen=limits.MAX_MESSAGES)

    def take(self, record: JournalRecord) -> None:
        """Fold one record, or put it off; raises as `decode`."""
        key = message_key(record)
        if key is not None:
            self._latest.append(record)
            self._fold.messages.note(record.seq, key)
            if self._fold.streams:
                self._fold.end_stream(decode_as(Message, record).id)
            return
        if holds(record, MessagesCleared):
            self._latest.clear()
        if self._fold.note(decode(record)) is not None:
            self._latest.append(record)

    def finish(self) -> Fold:
        """Fold what was put off, and return the whole."""
        for record in self._latest:
            message = message_by(decode(record))
            assert message is not None  # noqa: S101 - `take` has seen to that
            self._fold.remember(message)
        self._fold.count_anew()
        return self._fold


def _latest(known: Session | None, given: Session) -> Session:
    """Return the record that counts.

    The record is changed in two places: by the State, in the journal, and by the
    supervisor, which starts the next State with its own. A crash may come between the two.
    """
    if known is None:
        return given
    same_project = known.project_path == given.project_path or (
        known.project_key == given.project_key
    )
    if known.id != given.id or not same_project:
        raise JournalError("the journal is of another session or project")
    latest = max(given, known, key=lambda session: session.updated_at)
    if latest is given or (known.project_path, known.project_key) == (
        given.project_path,
        given.project_key,
    ):
        return latest
    return evolve(latest, project_path=given.project_path, project_key=given.project_key)


# What is written after a start, in this order: the record first, because a journal without
# one is of nobody; `JournalOpened` last, because with it all is settled. They are drafts,
# made when they can be written: until then neither their number nor their time is known, and
# what was wrong with the file may be repaired by the write of the one before.


def _to_be_written(fold: Fold, session: Session, journal: Journal) -> Iterator[Draft[Change]]:
    if session != fold.known_session:
        yield lambda seq: SessionChanged(seq=seq, session=session)
    for stream in fold.streams.values():
        yield _end_of(stream)
    for call in fold.unanswered_calls():
        yield _result_of(call)
    yield lambda seq: JournalOpened(seq=seq, created_at=now(), repair=_found_in(journal))


def _end_of(stream: StreamedMessage) -> Draft[Message]:
    return lambda seq: stream.whole(seq, "interrupted", now())


def _result_of(call: ToolCall) -> Draft[ToolResult]:
    return lambda seq: ToolResult(
        seq=seq,
        call_id=call.id,
        content=INTERRUPTED_CALL,
        is_error=True,
        created_at=now(),
        message_id=call.message_id,
    )


def _found_in(journal: Journal) -> Mapping[str, object]:
    """Return the repair of *journal* as JSON, {} if there was none."""
    found = journal.repair
    return {} if found.clean else asdict(found) | {"kept_aside": list(found.kept_aside)}
