"""How a conversation comes back from its journal, and what is closed then.

A crash leaves messages that were being said, and tool calls without a result.
A history for a model must have neither, so both are ended, and it is said that
they were interrupted. A tool is never run again for it: nobody knows what it did.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attrs import evolve
from msgspec import Struct
from msgspec.structs import asdict

from jidocode.base import log
from jidocode.base.text import quote
from jidocode.errors import JournalError, JournalWriteError
from jidocode.session.conversation.changes import (
    Change,
    Message,
    MessagesCleared,
    Opened,
    SessionChanged,
    ToolResult,
    now,
)
from jidocode.session.conversation.log import JournalLog
from jidocode.session.journal.codec import decode, is_kind
from jidocode.session.journal.file import Durability, Journal, Repair
from jidocode.session.journal.format import Record
from jidocode.session.record import Session

if TYPE_CHECKING:
    from jidocode.session.conversation.conversation import Conversation

INTERRUPTED_CALL = "interrupted: the session crashed before there was a result"
"""The result of a tool call that was open at a crash. The tool may have run."""


class Unsettled(Protocol):
    """Something that is to be written down after a start, once that is possible."""

    def change(self, seq: int, conversation: Conversation) -> Change | None:
        """Return the change with number *seq* that settles it, None if none is needed."""
        ...


class RecordChosen(Struct, frozen=True):
    """This record of the session counts."""

    session: Session

    def change(self, seq: int, conversation: Conversation) -> Change | None:
        """See `Unsettled`."""
        if conversation.known_session == self.session:
            return None
        return SessionChanged(seq=seq, session=self.session)


class StreamLeftOpen(Struct, frozen=True):
    """A message was being said."""

    message_id: str

    def change(self, seq: int, conversation: Conversation) -> Change:
        """See `Unsettled`."""
        return conversation.ended(self.message_id, "interrupted", seq)


class CallLeftOpen(Struct, frozen=True):
    """A tool was called."""

    call_id: str

    def change(self, seq: int, conversation: Conversation) -> Change:
        """See `Unsettled`."""
        del conversation
        return ToolResult(
            seq=seq,
            call_id=self.call_id,
            content=INTERRUPTED_CALL,
            is_error=True,
            created_at=now(),
        )


class LogOpened(Struct, frozen=True):
    """The journal was opened."""

    def change(self, seq: int, conversation: Conversation) -> Change:
        """See `Unsettled`."""
        found = conversation.repair
        return Opened(seq=seq, created_at=now(), repair={} if found.clean else _plain(found))


def _plain(repair: Repair) -> dict[str, Any]:
    fields = asdict(repair)
    return fields | {"kept_aside": list(repair.kept_aside)}


class Replay:
    """Rebuilds a conversation from the records of its journal, in order.

    Of the messages, which are most of a journal, only those are decoded that
    a conversation keeps in memory.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._latest: deque[Record] = deque(maxlen=conversation.messages_in_memory)

    def take(self, record: Record) -> None:
        """Carry out one record, or put it off; raises as `decode`."""
        if is_kind(record, Message):
            self._latest.append(record)
            self._conversation.index_message(record.seq)
            if self._conversation.streams():
                self._conversation.forget_stream(_message(record).id)
            return
        change = decode(record)
        if isinstance(change, MessagesCleared):
            self._latest.clear()
        self._conversation.apply(change)

    def finish(self, log: JournalLog) -> None:
        """Carry out what was put off; from now on changes go to *log*."""
        self._conversation.attach(log, map(_message, self._latest))


def _message(record: Record) -> Message:
    change = decode(record)
    assert isinstance(change, Message)  # noqa: S101 - told from its first bytes
    return change


def journal_path(directory: str | os.PathLike[str], session_id: str) -> Path:
    """Return where the journal of a session is in *directory*."""
    return Path(directory) / f"{session_id}.jsonl"


def check_place(path: Path, session: Session) -> None:
    """Check that the Manager of *session* cannot write to the journal *path*.

    Raises:
        JournalError: It lies within the project.
    """
    if path.resolve().is_relative_to(Path(session.project_path).resolve()):
        raise JournalError(
            f"the journal of a session must not be within its project "
            f"{quote(session.project_path)}: choose another state_dir"
        )


def recover(
    conversation: Conversation, directory: str | os.PathLike[str], durability: Durability
) -> None:
    """Rebuild an empty *conversation* from its journal in *directory*, and keep it there.

    The later one of two records of the session counts: the journal's, or the
    one that the conversation was made with. Where the project is, the latter knows.

    Raises:
        JournalError: The journal cannot be opened (see `Journal.open`), lies
            within the project, or is of another session or project.
    """
    session = conversation.session
    path = journal_path(directory, session.id)
    check_place(path, session)
    replay = Replay(conversation)
    journal = Journal.open(path, durability=durability, each=replay.take)
    try:
        replay.finish(JournalLog(journal))
        chosen = _chosen(conversation.known_session, session)
    except BaseException:
        journal.close()
        raise
    if not journal.repair.clean:
        log.warning("the journal of session {} was damaged: {}", session.id, journal.repair)
    conversation.unsettle(_left_open(conversation, chosen))
    try:
        conversation.settle()
    except JournalWriteError as error:
        log.warning("session {} can only be read: {}", session.id, error.message)


def _chosen(known: Session | None, given: Session) -> Session:
    if known is None:
        return given
    same_project = known.project_path == given.project_path or (
        known.project_key == given.project_key
    )
    if known.id != given.id or not same_project:
        raise JournalError("the journal is of another session or project")
    latest = max(given, known, key=lambda session: session.updated_at)
    return evolve(latest, project_path=given.project_path, project_key=given.project_key)


def _left_open(conversation: Conversation, session: Session) -> list[Unsettled]:
    return [
        RecordChosen(session),
        *(StreamLeftOpen(stream.id) for stream in conversation.streams()),
        *(CallLeftOpen(call_id) for call_id in conversation.unanswered_calls()),
        LogOpened(),
    ]
