"""Journals that older versions wrote: what was kept once is kept for good."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import asdict
from conversations import all_pages, snapshot

from jidocode.session.conversation.blocks import Block, Usage
from jidocode.session.conversation.changes import (
    Change,
    Message,
    StreamChunk,
    ToolCall,
    ToolResult,
)
from jidocode.session.conversation.conversation import Conversation
from jidocode.session.conversation.reports import ConversationStatistics
from jidocode.session.journal.catalogue import list_journals
from jidocode.session.journal.change_log import JournalLog
from jidocode.session.journal.codec import decode, encode
from jidocode.session.journal.file import Journal
from jidocode.session.journal.place import journal_path
from jidocode.session.journal.recovery import recover
from jidocode.session.record import Session, SessionConfig

JOURNALS = Path(__file__).with_name("journals")
NAMES = sorted(path.stem for path in JOURNALS.glob("*.jsonl"))
WRITTEN_IN = 2025

SESSION = Session(
    id="11111111-2222-4333-8444-555555555555",
    name="shop",
    project_path="/projects/shop",
    project_key=(2049, 2**64 - 1),
    config=SessionConfig(
        provider="anthropic",
        model="claude-3-5-sonnet-20241022",  # defaults, then
        temperature=1,
        max_tokens=9000,
        extra_json='{"own":{"k":1}}',
    ),
    language=None,
    created_at=datetime(2025, 1, 1, tzinfo=UTC),
    updated_at=datetime(2025, 1, 1, 0, 0, 0, 5, tzinfo=UTC),
)

ADDED: dict[type, dict[str, object]] = {
    Message: {"blocks": (), "completion": None},
    StreamChunk: {"kind": "text"},
    ToolCall: {"message_id": None},
    ToolResult: {"message_id": None},
    ConversationStatistics: {"usage": Usage(calls=0)},
}
"""What the older version did not know, and what it is in what that version wrote."""


def plain(value: Any) -> object:
    """Return a value as what the older version said of it."""
    if isinstance(value, datetime):
        return value.isoformat() if value.year == WRITTEN_IN else "when it was opened"
    kind = cast("type[object]", type(value))
    name = {"type": kind.__name__.removeprefix("Journal")}
    fields = asdict(value, recurse=False)
    for added, default in ADDED.get(kind, {}).items():
        if fields[added] == default:
            del fields[added]
    return (name if isinstance(value, (Change, Block)) else {}) | fields


def seen(conversation: Conversation) -> dict[str, Any]:
    """Return all that a conversation says of itself."""
    after = conversation.ledger._log.readable_after
    everything = snapshot(conversation) | {
        "events": conversation.events(after_seq=after, limit=1000),
        "statistics": conversation.statistics(),
        "repair": conversation.repair,
    }
    for added in ("approvals", "summary"):
        if not everything[added]:
            del everything[added]
    found: dict[str, Any] = json.loads(json.dumps(everything, default=plain))
    return found


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((JOURNALS / f"{name}.json").read_text(encoding="ascii"))
    return found


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of an old journal."""
    return str(request.param)


@pytest.fixture
def directory(name: str, tmp_path: Path) -> Path:
    """A directory with an old journal."""
    shutil.copy(JOURNALS / f"{name}.jsonl", journal_path(tmp_path, SESSION.id))
    return tmp_path


def test_there_are_old_journals() -> None:
    """A test of none would pass."""
    assert len(NAMES) == 8


def test_an_old_journal_is_read_as_it_was_then(directory: Path, name: str) -> None:
    """All that is in it, what was closed, and what was wrong with it."""
    conversation = recover(SESSION, directory, "process")
    found = seen(conversation)
    conversation.close()

    assert found == expected(name)


def test_an_old_journal_goes_on(directory: Path, name: str) -> None:
    """A change of today stands behind the old ones, and both come back."""
    conversation = recover(SESSION, directory, "process")
    said = conversation.append_message("today", "user", "next")
    conversation.ledger.compact()
    conversation.close()
    conversation = recover(SESSION, directory, "process")
    messages = all_pages(conversation.messages)
    conversation.close()

    assert conversation.repair.clean
    assert messages[-1] == said
    assert len(messages) == len(expected(name)["messages"]) + 1


def test_an_old_journal_is_listed(directory: Path) -> None:
    """With the record of its session."""
    (found,) = list_journals(directory)

    assert found.session is not None
    assert found.session.id == SESSION.id


def test_a_change_is_written_today_as_it_was_then(directory: Path) -> None:
    """Byte by byte, so an older version reads it as well."""
    journal = Journal.open(journal_path(directory, SESSION.id))
    records = list(journal.records())
    again = [encode(change) for change in JournalLog(journal).after(0)]
    journal.close()

    assert again == [without_int_for_float(record.payload) for record in records]
    assert [decode(record).seq for record in records] == [record.seq for record in records]


def without_int_for_float(payload: bytes) -> bytes:
    # A config may give its temperature as an int; it comes back as the float it stands for.
    return payload.replace(b'"temperature":1,', b'"temperature":1.0,')
